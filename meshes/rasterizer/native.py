"""Calls of the native rasteriser, `meshes._raster`; float32 triangles on a CPU."""

from __future__ import annotations

import ctypes
import functools
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

import pose.runtime.forks  # noqa: F401  one thread after a fork
from pose.runtime.native import find_library, load_library, native_enabled

from .raster import Raster

__all__ = ["coverage_cpu", "raster_info", "rasterize_cpu", "usable_on_cpu"]

#: Must equal MESHES_ABI of csrc/meshes.h.
ABI = 1
_LIBRARY = "meshes._raster"
_BAD_INDEX = -2
_MOST_SIDE = 1 << 24  # pixels; whole numbers up to here are exact in float32
_MOST_FACES = (1 << 31) - 1
# Pixels and faces for which starting a thread pays off.
_THREAD_WORK = 1 << 14


def raster_info() -> dict[str, str | None]:
    """Path (``library``) and instruction set level (``level``) of the native code, or None."""
    library = _load()
    return {
        "library": None if library is None else find_library(_LIBRARY),
        "level": None if library is None else library.meshes_cpu_level().decode(),
    }


def usable_on_cpu(projected: Tensor, faces: Tensor, height: int, width: int) -> bool:
    """True if the library is loaded and takes this: float32 on a CPU, without a gradient."""
    return (
        projected.dtype == torch.float32
        and projected.device.type == faces.device.type == "cpu"
        and not (projected.requires_grad and torch.is_grad_enabled())
        and height <= _MOST_SIDE
        and width <= _MOST_SIDE
        and len(faces) <= _MOST_FACES
        and _library() is not None
    )


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


def rasterize_cpu(
    projected: Tensor,
    faces: Tensor,
    starts: Sequence[int],
    size: tuple[int, int],
    perspective: bool,
    one_sided: Tensor | None,
) -> list[Raster]:
    """A raster for each layer; layer k has the faces ``starts[k]`` to ``starts[k + 1] - 1``."""
    shape = (len(starts) - 1, len(projected), *size)
    face = torch.empty(shape, dtype=torch.int64, device="cpu")
    depth = torch.empty(shape, dtype=torch.float32, device="cpu")
    weights = torch.empty((*shape, 3), dtype=torch.float32, device="cpu")
    out = _Out(face.data_ptr(), depth.data_ptr(), weights.data_ptr())
    _run(
        "meshes_rasterize_cpu",
        ctypes.byref(out),
        (projected, faces, starts, size, perspective, one_sided),
    )
    return [Raster(*each) for each in zip(face, depth, weights, strict=True)]


def coverage_cpu(
    projected: Tensor,
    faces: Tensor,
    size: tuple[int, int],
    perspective: bool,
    one_sided: Tensor | None,
) -> Tensor:
    """(B, H, W) bool, True at pixels that a face covers."""
    covered = torch.empty((len(projected), *size), dtype=torch.bool, device="cpu")
    _run(
        "meshes_coverage_cpu",
        ctypes.c_void_p(covered.data_ptr()),
        (projected, faces, (0, len(faces)), size, perspective, one_sided),
    )
    return covered


def _run(
    function: str,
    out: object,
    scene: tuple[Tensor, Tensor, Sequence[int], tuple[int, int], bool, Tensor | None],
) -> None:
    projected, faces, starts, (height, width), perspective, one_sided = scene
    points = projected.detach().contiguous()
    corners = faces.to(torch.int64).contiguous()
    sides = None if one_sided is None else one_sided.contiguous()
    bounds = (ctypes.c_int64 * len(starts))(*starts)
    batch, vertices, _ = points.shape
    work = batch * (len(faces) + (len(starts) - 1) * height * width)
    triangles = _Triangles(
        batch,
        vertices,
        len(faces),
        len(starts) - 1,
        height,
        width,
        max(1, min(torch.get_num_threads(), work // _THREAD_WORK)),
        perspective,
        points.data_ptr(),
        corners.data_ptr(),
        ctypes.addressof(bounds),
        None if sides is None else sides.data_ptr(),
    )
    library = _library()
    assert library is not None
    status = getattr(library, function)(ctypes.byref(triangles), out)
    if status == _BAD_INDEX:
        raise ValueError(
            f"faces must be indices of the {vertices} vertices of projected; got "
            f"{int(corners.min())} to {int(corners.max())}"
        )
    if status:
        raise RuntimeError(f"{function} refused its sizes (status {status}): please report this")


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The library, or None: switched off, or (with one warning per process) not built."""
    library = _load()
    if library is None and native_enabled():
        warnings.warn(
            "the native library of meshes is missing or stale, so a rasteriser in plain torch, "
            "many times slower, is used; build it with: pip install . (needs CMake and a C++ "
            "compiler)",
            RuntimeWarning,
            stacklevel=4,
        )
    return library


@functools.cache
def _load() -> ctypes.CDLL | None:
    library = load_library(_LIBRARY, version_function="meshes_abi", version=ABI)
    if library is not None:
        library.meshes_cpu_level.restype = ctypes.c_char_p
    return library
