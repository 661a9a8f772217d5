"""Counting wrong answers among the distances of the right ones: ranks without sorting.

Every query has a few thresholds, the ascending distances of its right answers. A wrong answer lands
in the first threshold that is not below it; sums over the landed ones then give how many wrong
answers are at least as near as each right one.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from ._arguments import check_tensors, whole
from ._native.library import check, cpu_library, has_rows, pointer, usable_on_cpu

__all__ = ["RankThresholds", "count_closer", "count_closer_torch"]


@dataclass(frozen=True, eq=False)
class RankThresholds:
    """Distances of the right answers of Q queries, and what has landed in them so far.

    Attributes:
        ptr: (Q + 1,) int64; those of query i are ``ptr[i]`` to ``ptr[i + 1] - 1``.
        values: (M,) float32, ascending for each query.
        landed: (M,) int64; ``landed[j]`` = wrong answers at most as far as threshold j, but
            farther than the one before it. Of equal thresholds the first one gets them.
        equal: (M,) int64, those of ``landed`` at exactly the distance of the threshold.
    """

    ptr: Tensor
    values: Tensor
    landed: Tensor
    equal: Tensor

    @staticmethod
    def empty_at(ptr: Tensor, values: Tensor) -> RankThresholds:
        """With nothing landed."""
        landed = torch.zeros(len(values), dtype=torch.int64, device=values.device)
        return RankThresholds(ptr, values, landed, landed.clone())


def count_closer(
    distances: Tensor,
    query_ids: Tensor,
    item_ids: Tensor,
    thresholds: RankThresholds,
    start: int = 0,
) -> None:
    """Adds the wrong answers of a block of distances to ``thresholds``.

    Args:
        distances: (b, t) float32 of the queries ``start`` to ``start + b - 1`` to t gallery items,
            without NaN; rows may be apart.
        query_ids: (b,) int32.
        item_ids: (t,) int32; an item of the query's own identity is never a wrong answer.
        thresholds: Of all queries; changed in place.
        start: Number of the first query.

    Raises:
        ValueError: On shapes or types that do not fit.
    """
    check_tensors(distances=distances, query_ids=query_ids, item_ids=item_ids)
    if not isinstance(thresholds, RankThresholds):
        raise ValueError(f"thresholds must be Thresholds; got {type(thresholds).__name__}")
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
        _count_native(distances, query_ids, item_ids, thresholds, start)
    else:
        count_closer_torch(distances, query_ids, item_ids, thresholds, start)


def count_closer_torch(
    distances: Tensor,
    query_ids: Tensor,
    item_ids: Tensor,
    thresholds: RankThresholds,
    start: int = 0,
) -> None:
    """Plain-torch twin of `count_closer`."""
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


class _Rank(ctypes.Structure):
    """og_reid_rank of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("queries", "items", "stride", "threads")),
        *(
            (name, ctypes.c_void_p)
            for name in ("distances", "query_ids", "item_ids", "ptr", "thresholds", "landed",
                         "equal")
        ),
    ]  # fmt: skip


def _count_native(
    distances: Tensor, query_ids: Tensor, item_ids: Tensor, thresholds: RankThresholds, start: int
) -> None:
    library = cpu_library()
    assert library is not None
    query_ids, item_ids = query_ids.contiguous(), item_ids.contiguous()
    ptr = thresholds.ptr[start : start + len(distances) + 1].contiguous()
    task = _Rank(
        *distances.shape,
        distances.stride(0),
        torch.get_num_threads(),
        *(
            ctypes.c_void_p(distances.data_ptr()),
            *map(pointer, (query_ids, item_ids, ptr, thresholds.values)),
            *map(pointer, (thresholds.landed, thresholds.equal)),
        ),
    )
    check(library.og_reid_rank_cpu(ctypes.byref(task)), "og_reid_rank_cpu")
