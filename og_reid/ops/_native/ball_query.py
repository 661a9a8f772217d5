"""Calls of the native ball queries; float32 clouds on one device, at most `MOST_SCALES` radii."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from .knn import knn_cuda, workspace
from .library import check, cpu_library, pointer, start_on_gpu
from .ragged import CloudRows, Clouds, native, regular_starts

__all__ = ["MOST_SCALES", "ball_query_cpu", "ball_query_cuda", "nearest_cuda"]

#: Values of og_reid_ball_query_mode of csrc/og_reid.h.
MODES = {"nearest": 0, "first": 1, "count": 2}
#: OG_REID_MOST_SCALES of csrc/og_reid.h: most radii of one query.
MOST_SCALES = 16

_Entry = TypeVar("_Entry", ctypes.c_float, ctypes.c_int64, ctypes.c_void_p)


class _BallQuery(ctypes.Structure):
    """`og_reid_ball_query` of csrc/og_reid.h."""

    _fields_ = [
        ("points", Clouds),
        ("centers", Clouds),
        *((name, ctypes.c_int64) for name in ("mode", "scales", "threads")),
        *((name, ctypes.c_void_p) for name in ("squared_radii", "counts", "out", "workspace")),
    ]


def ball_query_cpu(
    x: Tensor, centers: Tensor, radii: Sequence[float], counts: Sequence[int], mode: str
) -> list[Tensor]:
    """One (B, M, count) int64 tensor per radius; of mode ``count`` one of (B, M, len(radii))."""
    return _run(x, centers, radii, counts, mode, on_gpu=False)


def ball_query_cuda(
    x: Tensor, centers: Tensor, radii: Sequence[float], counts: Sequence[int], mode: str
) -> list[Tensor]:
    """The same by the CUDA library; not of mode ``nearest``, which `nearest_cuda` serves."""
    return _run(x, centers, radii, counts, mode, on_gpu=True)


def nearest_cuda(x: Tensor, centers: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(B, M, k) indices and squared distances of the nearest points by the CUDA library."""
    squared, index = knn_cuda(_rows(x), _rows(centers), k, local=True, distances=True)
    shape = (*centers.shape[:2], k)
    return index.view(shape), squared.view(shape)


def _rows(x: Tensor) -> CloudRows:
    batch, count, dims = x.shape
    if x.device.type == "cpu":
        starts = regular_starts(batch, count)
    else:
        starts = count * torch.arange(batch + 1, device=x.device)
    return CloudRows(x.contiguous().view(batch * count, dims), starts)


@functools.cache
def _array(entry: type[_Entry], size: int) -> type[ctypes.Array[_Entry]]:
    """An array type, kept: making one anew takes ctypes longer than a search in a small cloud."""
    return entry * size


def _run(
    x: Tensor,
    centers: Tensor,
    radii: Sequence[float],
    counts: Sequence[int],
    mode: str,
    on_gpu: bool,
) -> list[Tensor]:
    points, balls = _rows(x), _rows(centers)
    # Squared in float32: a product of two of them is exact in float64 and rounded once.
    floats = _array(ctypes.c_float, len(radii))
    limits = floats(*(radius * radius for radius in floats(*radii)))
    slots = _array(ctypes.c_int64, len(counts))(*counts)
    shapes = [len(radii)] if mode == "count" else counts
    out = [
        torch.empty(*centers.shape[:2], size, dtype=torch.int64, device=x.device) for size in shapes
    ]
    addresses = _array(ctypes.c_void_p, len(out))(*map(pointer, out))
    task = _BallQuery(
        native(points),
        native(balls),
        MODES[mode],
        len(radii),
        torch.get_num_threads(),
        ctypes.addressof(limits),
        ctypes.addressof(slots),
        ctypes.addressof(addresses),
    )
    if on_gpu:
        sizes = (ctypes.c_int64(len(each.rows)) for each in (points, balls))
        start_on_gpu("og_reid_ball_query_cuda", x.device, ctypes.byref(task), *sizes)
        return out
    scratch = workspace(task, "og_reid_ball_query")
    task.workspace = pointer(scratch)
    library = cpu_library()
    assert library is not None
    check(library.og_reid_ball_query_cpu(ctypes.byref(task)), "og_reid_ball_query_cpu")
    return out
