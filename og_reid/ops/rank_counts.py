"""Ranks by counting: non-matching items at or below the distances of a query's matches.

The thresholds of a query are the ascending distances of its matches (gallery items of its
identity). Each non-matching item is counted at the first threshold that is not below its distance;
cumulative sums of these counts give the rank of each match, without sorting the gallery.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._arguments import check_tensors, whole
from ._native.library import has_rows, usable_on_cpu
from ._native.rank_counts import count_closer_cpu

__all__ = ["RankThresholds", "count_closer", "count_closer_torch"]


@dataclass(frozen=True, eq=False)
class RankThresholds:
    """Distances of the matches of Q queries, and the non-matching items counted at them so far.

    Attributes:
        ptr: (Q + 1,) int64; the thresholds of query i are ``values[ptr[i] : ptr[i + 1]]``.
        values: (M,) float32, ascending for each query.
        landed: (M,) int64; ``landed[j]`` is the number of non-matching items at most as far as
            threshold j, but farther than the one before it. Of equal thresholds the first counts.
        equal: (M,) int64, number of items in ``landed[j]`` at exactly the distance of threshold j.
    """

    ptr: Tensor
    values: Tensor
    landed: Tensor
    equal: Tensor

    @staticmethod
    def empty_at(ptr: Tensor, values: Tensor) -> RankThresholds:
        """Thresholds with all counts at zero."""
        landed = torch.zeros(len(values), dtype=torch.int64, device=values.device)
        return RankThresholds(ptr, values, landed, landed.clone())


def count_closer(
    distances: Tensor,
    query_ids: Tensor,
    item_ids: Tensor,
    thresholds: RankThresholds,
    start: int = 0,
) -> None:
    """Adds the non-matching items of a block of distances to the counts of ``thresholds``.

    Args:
        distances: (b, t) float32 without NaN, of queries ``start`` to ``start + b - 1`` to t
            gallery items; rows may be apart.
        query_ids: (b,) int32 identities.
        item_ids: (t,) int32 identities; items of the query's own identity are not counted.
        thresholds: Thresholds of all Q queries; counts are changed in place.
        start: Number of the first query.

    Raises:
        ValueError: On shapes or types that do not fit.
    """
    check_tensors(distances=distances, query_ids=query_ids, item_ids=item_ids)
    if not isinstance(thresholds, RankThresholds):
        raise ValueError(f"thresholds must be RankThresholds; got {type(thresholds).__name__}")
    if distances.ndim != 2 or not distances.is_floating_point():
        raise ValueError(
            f"distances must be (b, t) floating point; got {tuple(distances.shape)}, "
            f"{distances.dtype}"
        )
    start = whole("start", start)
    queries, items = distances.shape
    if query_ids.shape != (queries,) or item_ids.shape != (items,):
        raise ValueError(
            f"query_ids and item_ids must be ({queries},) and ({items},); "
            f"got {tuple(query_ids.shape)} and {tuple(item_ids.shape)}"
        )
    if query_ids.dtype != torch.int32 or item_ids.dtype != torch.int32:
        raise ValueError(f"ids must be int32; got {query_ids.dtype} and {item_ids.dtype}")
    kinds = {each.dtype for each in (thresholds.ptr, thresholds.landed, thresholds.equal)}
    if kinds != {torch.int64}:
        raise ValueError(f"ptr, landed and equal of thresholds must be int64; got {kinds}")
    if not 0 <= start <= len(thresholds.ptr) - 1 - queries:
        raise ValueError(
            f"start + b must be at most {len(thresholds.ptr) - 1} queries; got {start} + {queries}"
        )
    native = usable_on_cpu(distances, thresholds.values) and has_rows(distances)
    if native and thresholds.values.is_contiguous():
        ptr = thresholds.ptr[start : start + len(distances) + 1]
        counts = (thresholds.landed, thresholds.equal)
        count_closer_cpu(distances, (query_ids, item_ids), ptr, thresholds.values, counts)
    else:
        count_closer_torch(distances, query_ids, item_ids, thresholds, start)


def count_closer_torch(
    distances: Tensor,
    query_ids: Tensor,
    item_ids: Tensor,
    thresholds: RankThresholds,
    start: int = 0,
) -> None:
    """Plain-torch twin of `count_closer`: its specification."""
    ptr = thresholds.ptr[start : start + len(distances) + 1]
    count = ptr.diff()
    width = int(count.max()) if len(count) else 0
    if width == 0 or distances.shape[1] == 0:
        return
    place = torch.arange(width, device=ptr.device)
    index = (ptr[:-1, None] + place).clamp(max=len(thresholds.values) - 1)
    values = thresholds.values[index].masked_fill(place >= count[:, None], torch.inf)
    distances = distances.contiguous()
    slot = torch.searchsorted(values, distances)
    passed = (slot < count[:, None]) & (query_ids[:, None] != item_ids)
    tied = passed & (values.gather(1, slot.clamp(max=width - 1)) == distances)
    slot += ptr[:-1, None]
    for into, mask in ((thresholds.landed, passed), (thresholds.equal, tied)):
        into += torch.bincount(slot[mask], minlength=len(into))
