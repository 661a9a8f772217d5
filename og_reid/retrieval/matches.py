"""Matches: the gallery items of each query's identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .labels import Labels

__all__ = ["LabelIndex", "Matches", "find_matches", "gallery_digest", "has_matches"]

_CHUNK = 1 << 16


@dataclass(frozen=True, eq=False)
class LabelIndex:
    """Labels prepared for a search: items without junk, identities numbered from 0.

    Attributes:
        query_pids: (Q,) int64.
        gallery_pids: (G,) int64; -1 = junk.
        query_camids: (Q,) int64, or None.
        gallery_camids: (G,) int64, or None.
        kept: (n,) int32 gallery rows without junk, ascending: the *items*, numbered 0..n-1.
        query_ids: (Q,) int32 identities of the queries, numbered from 0.
        item_ids: (n,) int32, the same numbers for the items; -1 = identity of no query.
    """

    query_pids: Tensor
    gallery_pids: Tensor
    query_camids: Tensor | None
    gallery_camids: Tensor | None
    kept: Tensor
    query_ids: Tensor
    item_ids: Tensor

    @classmethod
    def of(cls, labels: Labels) -> LabelIndex:
        """Index of checked labels."""
        query, gallery = labels.query, labels.gallery
        # int32: with half a million rows even labels count in memory.
        kept = (gallery.identities != -1).nonzero().squeeze(1).to(torch.int32)
        asked, query_ids = query.identities.unique(return_inverse=True)
        return cls(
            query.identities, gallery.identities, query.cameras, gallery.cameras, kept,
            query_ids.to(torch.int32), _numbers(asked, gallery.identities, kept),
        )  # fmt: skip

    def to(self, device: torch.device) -> LabelIndex:
        """The index on another device."""
        moved = {name: None if x is None else x.to(device) for name, x in vars(self).items()}
        return LabelIndex(**moved)  # type: ignore[arg-type]  # the values keep their types

    def same_camera(self, query: Tensor, item: Tensor) -> Tensor:
        """True where a query and an item, in pairs, share a camera; False if unknown."""
        if self.query_camids is None or self.gallery_camids is None:
            return torch.zeros_like(query, dtype=torch.bool)
        return self.query_camids[query] == self.gallery_camids[self.kept[item]]


@dataclass(frozen=True, eq=False)
class Matches:
    """The matches of all queries: gallery items of their identity.

    Attributes:
        ptr: (Q + 1,) int64; matches of query i are ``item[ptr[i] : ptr[i + 1]]``.
        item: (M,) int64 item numbers, ascending for each query.
        same_camera: (Q,) int64, number of further matches of the query's own camera, left out.
    """

    ptr: Tensor
    item: Tensor
    same_camera: Tensor

    @property
    def query(self) -> Tensor:
        """(M,) int64 query of each match."""
        count = self.ptr.diff()
        return torch.arange(len(count), device=count.device).repeat_interleave(count)


def find_matches(labels: LabelIndex, *, cameras: bool = True) -> Matches:
    """Matches: items of each query's identity; with ``cameras``, not those of its own camera.

    Raises:
        ValueError: No query has a match.
    """
    matches = _all_matches(labels, cameras)
    if not len(matches.item):
        raise ValueError(_no_match_message(labels, bool(matches.same_camera.any())))
    return matches


def has_matches(labels: LabelIndex) -> bool:
    """True if a query has a match, of another camera where cameras are known."""
    return bool(len(_all_matches(labels, True).item))


def _all_matches(labels: LabelIndex, cameras: bool) -> Matches:
    order = (labels.item_ids >= 0).nonzero().squeeze(1)
    order = order[labels.item_ids[order].argsort(stable=True)]
    sorted_ids = labels.item_ids[order]
    first = torch.searchsorted(sorted_ids, labels.query_ids)
    count = torch.searchsorted(sorted_ids, labels.query_ids, right=True) - first
    query = torch.arange(len(count), device=count.device).repeat_interleave(count)
    offset = torch.arange(len(query), device=count.device) - (count.cumsum(0) - count)[query]
    item = order[first[query] + offset]
    left_out = labels.same_camera(query, item) & cameras
    removed = torch.bincount(query[left_out], minlength=len(count))
    count = count - removed
    ptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
    return Matches(ptr, item[~left_out], removed)


def _numbers(asked: Tensor, gallery_pids: Tensor, kept: Tensor) -> Tensor:
    """Indices of the items' identities in ``asked``, in chunks: galleries may be huge."""
    numbers = torch.empty(len(kept), dtype=torch.int32, device="cpu")
    for start in range(0, len(kept), _CHUNK):
        pids = gallery_pids[kept[start : start + _CHUNK]]
        place = torch.searchsorted(asked, pids).clamp_(max=len(asked) - 1)
        numbers[start : start + _CHUNK] = torch.where(asked[place] == pids, place, -1)
    return numbers


def gallery_digest(labels: LabelIndex) -> str:
    """Digest of a gallery: 16 hexadecimal digits, independent of the order of its rows.

    Sum of the SplitMix64 hashes of each row's identity and camera.
    """
    total = np.uint64(len(labels.gallery_pids))
    for start in range(0, len(labels.gallery_pids), _CHUNK):
        some = slice(start, start + _CHUNK)
        rows = labels.gallery_pids[some].numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        if labels.gallery_camids is not None:
            rows += labels.gallery_camids[some].numpy().astype(np.uint64) + np.uint64(1)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            rows = (rows ^ (rows >> np.uint64(shift))) * np.uint64(factor)
        with np.errstate(over="ignore"):  # wraps around by design
            total += (rows ^ (rows >> np.uint64(31))).sum(dtype=np.uint64)
    return f"{int(total):016x}"


def _no_match_message(labels: LabelIndex, removed: bool) -> str:
    if removed:
        return (
            "camera filter removed every match: each query's identity is only seen by the query's "
            "own camera; if cameras are unknown, pass query_camids=None and gallery_camids=None, "
            "or labels.without_cameras(), or protocol='unfiltered' (--protocol unfiltered on the "
            "command line)"
        )
    asked, there = (each.unique()[:5].tolist() for each in (labels.query_pids, labels.gallery_pids))
    return (
        "no identity of the queries is in the gallery: are they of one data set, or folders mixed "
        f"up? First identities of the queries: {asked}, of the gallery: {there}"
    )
