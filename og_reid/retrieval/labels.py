"""Who is who, seen by which camera, and which gallery items answer which query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .inputs import check_plain, row_numbers

__all__ = ["Labels", "check_labels"]

_LARGEST = np.iinfo(np.int64).max
_CHUNK = 1 << 16
_NAMES = (
    ": of names, give their places among the names of both sides, as of numpy.unique("
    "numpy.concatenate([queries, gallery]), return_inverse=True)[1]"
)
#: What to do with labels that are no whole numbers, by the kind of their type.
_HINTS = {
    "U": _NAMES, "S": _NAMES, "f": ": if they are whole, give labels.astype(int)",
    "O": ": unknown ones and names must become whole numbers, -1 is junk",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Labels:
    """Identities and cameras as given; cameras are None when unknown.

    Attributes:
        query_pids: (Q,) int64.
        gallery_pids: (G,) int64; -1 = junk.
        query_camids: (Q,) int64, or None.
        gallery_camids: (G,) int64, or None.
        kept: (n,) int32 gallery rows that are no junk, ascending: the *items*, numbered 0..n-1.
        query_ids: (Q,) int32, identities of the queries numbered from 0.
        item_ids: (n,) int32, the same numbers for the items; -1 = nobody asks for it.
    """

    query_pids: Tensor
    gallery_pids: Tensor
    query_camids: Tensor | None
    gallery_camids: Tensor | None
    kept: Tensor
    query_ids: Tensor
    item_ids: Tensor

    def to(self, device: torch.device) -> Labels:
        """The same on another device."""
        moved = {name: None if x is None else x.to(device) for name, x in vars(self).items()}
        return Labels(**moved)  # type: ignore[arg-type]  # the values keep their types

    def same_camera(self, query: Tensor, item: Tensor) -> Tensor:
        """Whether queries and items, numbered pairwise, are of one camera; False if unknown."""
        if self.query_camids is None or self.gallery_camids is None:
            return torch.zeros_like(query, dtype=torch.bool)
        return self.query_camids[query] == self.gallery_camids[self.kept[item]]


def check_labels(
    query_pids: Any,
    gallery_pids: Any,
    query_camids: Any = None,
    gallery_camids: Any = None,
    *,
    queries: int | None = None,
    items: int | None = None,
) -> Labels:
    """Labels from tensors, arrays or sequences of whole numbers.

    Args:
        query_pids: (Q,).
        gallery_pids: (G,); -1 = junk.
        query_camids: (Q,), or None.
        gallery_camids: (G,), or None.
        queries: Q, when it is known from elsewhere.
        items: G, when it is known from elsewhere.

    Raises:
        ValueError: On other lengths or types, on an empty side, on junk among the queries, and when
            only one side has cameras.
    """
    if (query_camids is None) != (gallery_camids is None):
        raise ValueError("query_camids and gallery_camids must be given together or not at all")
    query_pids, gallery_pids = (
        _whole(query_pids, "query_pids"),
        _whole(gallery_pids, "gallery_pids"),
    )
    queries = len(query_pids) if queries is None else queries
    items = len(gallery_pids) if items is None else items
    if queries == 0 or items == 0:
        raise ValueError(f"query and gallery must not be empty; got {queries} and {items} rows")
    if query_camids is not None:
        query_camids = _whole(query_camids, "query_camids")
        gallery_camids = _whole(gallery_camids, "gallery_camids")
    for name, labels, size in (
        ("query_pids", query_pids, queries),
        ("gallery_pids", gallery_pids, items),
        ("query_camids", query_camids, queries),
        ("gallery_camids", gallery_camids, items),
    ):
        if labels is not None and labels.shape != (size,):
            raise ValueError(
                f"{name} must be ({size},), one for each row of the features; "
                f"got {tuple(labels.shape)}"
            )
    junk = query_pids == -1
    if junk.any():
        raise ValueError(
            f"query_pids must not hold -1 (junk); got it in rows [{row_numbers(junk)}]"
        )
    # A number of a row takes four bytes: of half a million rows even labels count.
    kept = (gallery_pids != -1).nonzero().squeeze(1).to(torch.int32)
    if not len(kept):
        raise ValueError("gallery_pids must hold an identity; got only -1 (junk)")
    asked, query_ids = query_pids.unique(return_inverse=True)
    return Labels(
        query_pids, gallery_pids, query_camids, gallery_camids, kept,
        query_ids.to(torch.int32), _numbers(asked, gallery_pids, kept),
    )  # fmt: skip


def _numbers(asked: Tensor, gallery_pids: Tensor, kept: Tensor) -> Tensor:
    """Places of the items' identities in ``asked``, a few at a time: galleries may be huge."""
    numbers = torch.empty(len(kept), dtype=torch.int32, device="cpu")
    for start in range(0, len(kept), _CHUNK):
        pids = gallery_pids[kept[start : start + _CHUNK]]
        place = torch.searchsorted(asked, pids).clamp_(max=len(asked) - 1)
        numbers[start : start + _CHUNK] = torch.where(asked[place] == pids, place, -1)
    return numbers


def _whole(labels: Tensor | np.ndarray | Sequence[int], name: str) -> Tensor:
    if isinstance(labels, Tensor):
        check_plain(labels, name)
    else:
        array = labels if isinstance(labels, np.ma.MaskedArray) else np.asarray(labels)
        check_plain(array, name)
        if array.dtype.kind not in "iub" and array.size:
            hint = _HINTS.get(array.dtype.kind, "")
            raise ValueError(f"{name} must be whole numbers; got {array.dtype}{hint}")
        if array.dtype.kind == "u" and array.size and array.max() > _LARGEST:
            # As int64 the largest uint64 would be -1, which means junk.
            raise ValueError(f"{name} must be below 2**63; got {array.max()}")
        # Of an array of int64 no copy is made, but torch would warn of a read-only one.
        array = array.astype(np.int64, order="C", copy=not array.flags.writeable)
        labels = torch.from_numpy(array)
    if (labels.is_floating_point() or labels.is_complex()) and labels.numel():
        raise ValueError(f"{name} must be whole numbers; got {labels.dtype}")
    if not labels.dim():
        raise ValueError(f"{name} must have one number for each row; got a single one")
    return labels.detach().cpu().long()
