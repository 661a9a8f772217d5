"""Calls of the native rasteriser, `meshes._raster` and `meshes._raster_cuda`."""

from __future__ import annotations

import ctypes
import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import pose.runtime.forks  # noqa: F401  one thread after a fork
from pose.runtime.native import find_library, load_library, native_enabled

from .raster import Raster, check_indices

__all__ = [
    "Scenes",
    "coverage_native",
    "raster_info",
    "rasterize_native",
    "usable",
    "visible_native",
]

#: Must equal MESHES_ABI of csrc/meshes.h.
ABI = 2
_CPU, _CUDA = "meshes._raster", "meshes._raster_cuda"
_BAD_INDEX = -2
_MOST_SIDE = 1 << 24  # pixels; whole numbers up to here are exact in float32
_MOST_FACES = (1 << 31) - 1
# Pixels and faces for which starting a thread pays off.
_THREAD_WORK = 1 << 14


def raster_info() -> dict[str, str | None]:
    """Availability of the native rasteriser.

    Returns:
        `cpu_library` and `cuda_library`: path, or None (not built, or switched off);
        `cpu_level`: instruction set level (`baseline`, `x86-64-v3`, `x86-64-v4`) or None.
    """
    cpu = _load(_CPU)
    return {
        "cpu_library": None if cpu is None else find_library(_CPU),
        "cpu_level": None if cpu is None else cpu.meshes_cpu_level().decode(),
        "cuda_library": None if _load(_CUDA) is None else find_library(_CUDA),
    }


def usable(projected: Tensor, faces: Tensor, height: int, width: int) -> bool:
    """True if the library of the device is loaded and takes this: float32, without a gradient."""
    return (
        projected.dtype == torch.float32
        and projected.device == faces.device
        and projected.device.type in ("cpu", "cuda")
        and not (projected.requires_grad and torch.is_grad_enabled())
        and height <= _MOST_SIDE
        and width <= _MOST_SIDE
        and len(faces) <= _MOST_FACES
        and _library(_on_gpu(projected)) is not None
    )


def _on_gpu(projected: Tensor) -> bool:
    """True where the CUDA library works; tests run its kernels on a CPU."""
    return projected.device.type == "cuda"


class _Triangles(ctypes.Structure):
    """`meshes_triangles` of csrc/meshes.h."""

    _fields_ = [
        *(
            (name, ctypes.c_int64)
            for name in ("batch", "vertices", "faces", "layers", "height", "width", "threads")
        ),
        ("perspective", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("projected", "corners", "starts", "one_sided")),
    ]


class _Out(ctypes.Structure):
    """`meshes_raster` of csrc/meshes.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("face", "depth", "weights")]


class _Vertices(ctypes.Structure):
    """`meshes_vertices` of csrc/meshes.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "vertices", "faces", "height", "width")),
        *((name, ctypes.c_void_p) for name in ("projected", "corners", "face", "seen")),
        ("tolerance", ctypes.c_float),
    ]


class _Queue(ctypes.Structure):
    """`meshes_queue` of csrc/meshes.h."""

    _fields_ = [("device", ctypes.c_int64), ("stream", ctypes.c_void_p)]


@dataclass(frozen=True, eq=False)
class Scenes:
    """Triangles to draw.

    Attributes:
        projected: (B, V, 3) float32.
        faces: (F, 3).
        starts: (layers + 1,) first face of each layer, and their number.
        size: height and width, pixels.
        perspective: depth is the camera's z.
        one_sided: (F,) bool or None.
    """

    projected: Tensor
    faces: Tensor
    starts: Sequence[int]
    size: tuple[int, int]
    perspective: bool
    one_sided: Tensor | None


def rasterize_native(scenes: Scenes) -> list[Raster]:
    """A raster for each layer; layer k has the faces ``starts[k]`` to ``starts[k + 1] - 1``."""
    device = scenes.projected.device
    shape = (len(scenes.starts) - 1, len(scenes.projected), *scenes.size)
    face = torch.empty(shape, dtype=torch.int64, device=device)
    depth = torch.empty(shape, dtype=torch.float32, device=device)
    weights = torch.empty((*shape, 3), dtype=torch.float32, device=device)
    out = _Out(face.data_ptr(), depth.data_ptr(), weights.data_ptr())
    if _on_gpu(scenes.projected):
        keys = torch.empty(shape, dtype=torch.int64, device=device)
        _run("meshes_rasterize_cuda", scenes, ctypes.byref(out), ctypes.c_void_p(keys.data_ptr()))
    else:
        _run("meshes_rasterize_cpu", scenes, ctypes.byref(out))
    return [Raster(*each) for each in zip(face, depth, weights, strict=True)]


def coverage_native(scenes: Scenes) -> Tensor:
    """(B, H, W) bool, True at pixels that a face of the one layer covers."""
    device = scenes.projected.device
    covered = torch.empty((len(scenes.projected), *scenes.size), dtype=torch.bool, device=device)
    kind = "cuda" if _on_gpu(scenes.projected) else "cpu"
    _run(f"meshes_coverage_{kind}", scenes, ctypes.c_void_p(covered.data_ptr()))
    return covered


def visible_native(face: Tensor, projected: Tensor, faces: Tensor, tolerance: float) -> Tensor:
    """(B, V) bool of `visible_in`, on a CPU; ``face`` is that of the raster, (B, H, W)."""
    check_indices(projected, faces)
    points, corners = projected.detach().contiguous(), faces.to(torch.int64).contiguous()
    nearest = face.contiguous()
    seen = torch.empty(points.shape[:2], dtype=torch.bool, device="cpu")
    task = _Vertices(
        *points.shape[:2],
        len(corners),
        *face.shape[1:],
        points.data_ptr(),
        corners.data_ptr(),
        nearest.data_ptr(),
        seen.data_ptr(),
        tolerance,
    )
    library = _library(False)
    assert library is not None
    status = library.meshes_visible_cpu(ctypes.byref(task))
    if status == _BAD_INDEX:
        raise ValueError(
            f"raster must be of these {len(corners)} faces; its largest index is {int(face.max())}"
        )
    if status:
        raise RuntimeError(f"meshes_visible_cpu failed (status {status}): please report this")
    return seen


def _run(function: str, scenes: Scenes, *out: object) -> None:
    points = scenes.projected.detach().contiguous()
    corners = scenes.faces.to(torch.int64).contiguous()
    sides = None if scenes.one_sided is None else scenes.one_sided.contiguous()
    starts = (ctypes.c_int64 * len(scenes.starts))(*scenes.starts)
    batch, vertices, _ = points.shape
    (height, width), layers = scenes.size, len(starts) - 1
    work = batch * (len(corners) + layers * height * width)
    threads = max(1, min(torch.get_num_threads(), work // _THREAD_WORK))
    triangles = _Triangles(
        *(batch, vertices, len(corners), layers, height, width, threads, scenes.perspective),
        points.data_ptr(),
        corners.data_ptr(),
        ctypes.addressof(starts),
        None if sides is None else sides.data_ptr(),
    )
    arguments = [ctypes.byref(triangles), *out]
    if _on_gpu(points):
        check_indices(points, corners)
        # The caller's tensors may be freed meanwhile: their memory is reused on this stream only.
        device = points.device
        stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else None
        arguments.append(ctypes.byref(_Queue(device.index or 0, stream)))
    library = _library(_on_gpu(points))
    assert library is not None
    status = getattr(library, function)(*arguments)
    if status == _BAD_INDEX:
        check_indices(points, corners)
    if status:
        raise RuntimeError(f"{function} failed (status {status}): please report this")


@functools.cache
def _library(gpu: bool) -> ctypes.CDLL | None:
    """The library, or None: switched off, or (with one warning per process) not built."""
    library = _load(_CUDA if gpu else _CPU)
    if library is None and native_enabled():
        kind, tool = ("CUDA", "nvcc") if gpu else ("CPU", "a C++ compiler")
        warnings.warn(
            f"the native {kind} library of meshes is missing or stale, so a rasteriser in plain "
            f"torch, many times slower, is used; build it with: pip install . (needs CMake and "
            f"{tool})",
            RuntimeWarning,
            stacklevel=4,
        )
    return library


@functools.cache
def _load(name: str) -> ctypes.CDLL | None:
    library = load_library(name, version_function="meshes_abi", version=ABI)
    if library is not None and name == _CPU:
        library.meshes_cpu_level.restype = ctypes.c_char_p
    return library
