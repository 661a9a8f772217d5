"""Calls of the native neighbour search."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from ._clouds import CloudRows, Clouds, native
from ._library import check, cpu_library, pointer, start_on_gpu

__all__ = ["knn_cpu", "knn_cuda", "workspace"]

#: Dimensions the spatial index has.
INDEXED_DIMS = 3


class _Knn(ctypes.Structure):
    """`og_reid_knn` of csrc/og_reid.h."""

    _fields_ = [
        ("points", Clouds),
        ("queries", Clouds),
        *((name, ctypes.c_int64) for name in ("k", "threads", "local")),
        *((name, ctypes.c_void_p) for name in ("index", "squared", "workspace")),
    ]


def workspace(task: ctypes.Structure, function: str) -> Tensor:
    """Scratch memory for a task, as much as the library asks for; to be kept during the call."""
    library = cpu_library()
    assert library is not None
    size = getattr(library, f"{function}_workspace")(ctypes.byref(task))
    check(min(size, 0), function)
    return torch.empty(size, dtype=torch.uint8)


def knn_cpu(
    points: CloudRows, queries: CloudRows, k: int, local: bool, distances: bool
) -> tuple[Tensor, Tensor]:
    """Squared distances (none unless wanted) and indices by the CPU library."""
    library = cpu_library()
    assert library is not None
    function = "og_reid_knn" if points.rows.shape[1] <= INDEXED_DIMS else "og_reid_features"
    index = torch.empty(len(queries.rows), k, dtype=torch.int64)
    squared = torch.empty(len(queries.rows) if distances else 0, k)
    # Where points and queries are the same tensors, the library prepares them once.
    own = native(points)
    task = _Knn(
        own,
        own if queries is points else native(queries),
        k,
        torch.get_num_threads(),
        local,
        pointer(index),
        pointer(squared if distances else None),
    )
    scratch = workspace(task, function)
    task.workspace = pointer(scratch)
    status = getattr(library, f"{function}_cpu")(ctypes.byref(task))
    check(status, f"{function}_cpu")
    return squared, index


def knn_cuda(
    points: CloudRows, queries: CloudRows, k: int, local: bool, distances: bool
) -> tuple[Tensor, Tensor]:
    """The same by the CUDA library; `ptr` lies on the GPU, too."""
    device = points.rows.device
    index = torch.empty(len(queries.rows), k, dtype=torch.int64, device=device)
    squared = torch.empty(len(queries.rows) if distances else 0, k, device=device)
    task = _Knn(
        native(points),
        native(queries),
        k,
        1,
        local,
        pointer(index),
        pointer(squared if distances else None),
    )
    rows = (ctypes.c_int64(len(each.rows)) for each in (points, queries))
    start_on_gpu("og_reid_knn_cuda", device, ctypes.byref(task), *rows)
    return squared, index
