"""Calls of the native k-nearest-neighbour search; float32 clouds on one device."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from .library import check, cpu_library, pointer, start_on_gpu, workspace_on_gpu
from .ragged import CloudRows, Clouds, native

__all__ = ["knn_cpu", "knn_cuda", "workspace"]

#: Dimensions the spatial indexes have.
INDEXED_DIMS = 3
#: Limits of the GPU index: most neighbours, most clouds, and fewest points per cloud (below, an
#: exhaustive search is faster).
CURVE_NEIGHBORS, CURVE_CLOUDS, CURVE_POINTS = 128, 32000, 8192


class _Knn(ctypes.Structure):
    """`og_reid_knn` of csrc/og_reid.h."""

    _fields_ = [
        ("points", Clouds),
        ("queries", Clouds),
        *((name, ctypes.c_int64) for name in ("k", "threads", "local")),
        *((name, ctypes.c_void_p) for name in ("index", "squared", "workspace")),
    ]


def workspace(task: ctypes.Structure, function: str) -> Tensor:
    """Scratch memory of a task, of the size that the library gives; to be kept during the call."""
    library = cpu_library()
    assert library is not None
    size = getattr(library, f"{function}_workspace")(ctypes.byref(task))
    check(min(size, 0), function)
    return torch.empty(size, dtype=torch.uint8, device="cpu")


def knn_cpu(
    points: CloudRows, queries: CloudRows, k: int, local: bool, distances: bool
) -> tuple[Tensor, Tensor]:
    """Squared distances (none unless wanted) and indices by the CPU library."""
    library = cpu_library()
    assert library is not None
    function = "og_reid_knn" if points.rows.shape[1] <= INDEXED_DIMS else "og_reid_knn_features"
    index = torch.empty(len(queries.rows), k, dtype=torch.int64, device="cpu")
    squared = torch.empty(
        len(queries.rows) if distances else 0, k, dtype=torch.float32, device="cpu"
    )
    # The library prepares points and queries once if they are the same tensors.
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
    squared = torch.empty(
        len(queries.rows) if distances else 0, k, dtype=torch.float32, device=device
    )
    task = _Knn(
        native(points),
        native(queries),
        k,
        1,
        local,
        pointer(index),
        pointer(squared if distances else None),
    )
    rows = [ctypes.c_int64(len(each.rows)) for each in (points, queries)]
    if _along_curve(points, k):
        order = _order_on_curve(points)
        scratch = workspace_on_gpu("og_reid_knn_curve", rows[0], device)
        task.workspace = pointer(scratch)
        places = ctypes.c_void_p(pointer(order))
        start_on_gpu("og_reid_knn_curve_cuda", device, ctypes.byref(task), *rows, places)
    else:
        start_on_gpu("og_reid_knn_cuda", device, ctypes.byref(task), *rows)
    return squared, index


def _along_curve(points: CloudRows, k: int) -> bool:
    """True if the GPU index takes the clouds and is faster."""
    clouds, dims = len(points.ptr) - 1, points.rows.shape[1]
    fits = 1 <= dims <= INDEXED_DIMS and k <= CURVE_NEIGHBORS and clouds <= CURVE_CLOUDS
    return fits and len(points.rows) >= CURVE_POINTS * clouds


def _order_on_curve(points: CloudRows) -> Tensor:
    """(M,) int64 rows of the clouds in the order of the space-filling curve of each cloud."""
    rows, device = len(points.rows), points.rows.device
    bounds = torch.zeros(len(points.ptr) - 1, 6, dtype=torch.int32, device=device)
    places = torch.empty(rows, dtype=torch.int64, device=device)
    addresses = (ctypes.c_void_p(pointer(each)) for each in (bounds, places))
    start_on_gpu(
        "og_reid_knn_curve_places_cuda",
        device,
        ctypes.byref(native(points)),
        ctypes.c_int64(rows),
        *addresses,
    )
    return places.argsort(stable=True)
