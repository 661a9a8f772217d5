"""Call of the native rank counting; tensors on the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from .library import check, cpu_library, pointer

__all__ = ["count_closer_cpu"]


class _RankCounts(ctypes.Structure):
    """`og_reid_rank_counts` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("queries", "items", "stride", "threads")),
        *((name, ctypes.c_void_p) for name in ("distances", "query_ids", "item_ids")),
        *((name, ctypes.c_void_p) for name in ("ptr", "thresholds", "landed", "equal")),
    ]


def count_closer_cpu(
    distances: Tensor,
    ids: tuple[Tensor, Tensor],
    ptr: Tensor,
    thresholds: Tensor,
    counts: tuple[Tensor, Tensor],
) -> None:
    """Adds the non-matching items of a (b, t) block of distances to the counts, in place.

    Args:
        distances: (b, t) float32; rows may be apart.
        ids: (b,) and (t,) int32 identities of queries and items.
        ptr: (b + 1,) int64 bounds of the thresholds of each query.
        thresholds: (M,) float32, contiguous.
        counts: (M,) int64 `landed` and `equal` of `RankThresholds`, contiguous.
    """
    library = cpu_library()
    assert library is not None
    kept = [each.contiguous() for each in (*ids, ptr)]
    task = _RankCounts(
        *(*distances.shape, distances.stride(0), torch.get_num_threads()),
        ctypes.c_void_p(distances.data_ptr()),
        *map(pointer, (*kept, thresholds, *counts)),
    )
    check(library.og_reid_rank_counts_cpu(ctypes.byref(task)), "og_reid_rank_counts_cpu")
