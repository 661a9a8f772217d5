"""Call of the native top-k merge; float32 tensors on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from .library import check, cpu_library, pointer

__all__ = ["merge_topk_cpu"]


class _TopK(ctypes.Structure):
    """`og_reid_topk` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("queries", "items", "stride")),
        *((name, ctypes.c_int64) for name in ("k", "first", "threads")),
        *((name, ctypes.c_void_p) for name in ("distances", "values", "indices", "farthest")),
    ]


def merge_topk_cpu(distances: Tensor, results: Sequence[Tensor], first: int) -> None:
    """Merges (b, t) distances of items first .. first + t - 1 into b rows of results, in place.

    Args:
        distances: (b, t); rows may be apart.
        results: (b, k) values, (b, k) indices and (b,) farthest, contiguous.
        first: number of the first item.
    """
    library = cpu_library()
    assert library is not None
    task = _TopK(
        *(*distances.shape, distances.stride(0), results[0].shape[1], first),
        torch.get_num_threads(),
        ctypes.c_void_p(distances.data_ptr()),
        *map(pointer, results),
    )
    check(library.og_reid_topk_cpu(ctypes.byref(task)), "og_reid_topk_cpu")
