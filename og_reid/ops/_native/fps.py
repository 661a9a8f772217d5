"""Calls of the native farthest point sampling; float32 points on one device."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from .knn import workspace
from .library import check, cpu_library, pointer, start_on_gpu

__all__ = ["NOT_FINITE", "fps_cpu", "fps_cuda"]

#: Message of ValueError for points that are not finite, on a CPU.
NOT_FINITE = "x must be finite; got NaN or Inf: drop such points first"
#: OG_REID_NOT_FINITE of csrc/og_reid.h.
NOT_FINITE_STATUS = -2


class _FPS(ctypes.Structure):
    """`og_reid_fps` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "count", "picks", "threads")),
        *((name, ctypes.c_void_p) for name in ("rows", "centroids")),
        ("dead_zone", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("out", "workspace")),
    ]


def fps_cpu(points: Tensor, m: int, centroids: Tensor | None, dead_zone: bool) -> Tensor:
    """(B, m) int64 picks by the CPU library.

    Args:
        points: (B, N, 3), contiguous.
        m: picks per cloud.
        centroids: (B, 3) float64: start farthest from it and never repeat a point; None: start at
            point 0.
        dead_zone: never pick points near the origin.

    Raises:
        ValueError: when a point is NaN or infinite.
    """
    task, out = _task(points, m, centroids, dead_zone)
    scratch = workspace(task, "og_reid_fps")
    task.workspace = pointer(scratch)
    library = cpu_library()
    assert library is not None
    status = library.og_reid_fps_cpu(ctypes.byref(task))
    if status == NOT_FINITE_STATUS:
        raise ValueError(NOT_FINITE)
    check(status, "og_reid_fps_cpu")
    return out


def fps_cuda(points: Tensor, m: int, centroids: Tensor | None, dead_zone: bool) -> Tensor:
    """The same by the CUDA library, which never picks points that are not finite."""
    task, out = _task(points, m, centroids, dead_zone)
    scratch = torch.empty(task.batch * task.count, dtype=torch.float32, device=points.device)
    task.workspace = pointer(scratch)
    start_on_gpu("og_reid_fps_cuda", points.device, ctypes.byref(task))
    return out


def _task(points: Tensor, m: int, centroids: Tensor | None, dead_zone: bool) -> tuple[_FPS, Tensor]:
    """The task without its workspace, and the picks that it fills."""
    batch, count, _ = points.shape
    out = torch.empty(batch, m, dtype=torch.int64, device=points.device)
    threads = min(torch.get_num_threads(), batch)
    task = _FPS(batch, count, m, threads, pointer(points), pointer(centroids), dead_zone)
    task.out = pointer(out)
    return task, out
