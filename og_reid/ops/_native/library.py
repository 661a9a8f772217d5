"""The native libraries `og_reid._cpu` and `og_reid._cuda`; see `pose.runtime.native`."""

from __future__ import annotations

import ctypes
import functools
import warnings

import torch
from torch import Tensor

import pose.runtime.forks  # noqa: F401  operators run in one thread after a fork
from pose.runtime.native import find_library, load_library, native_enabled

__all__ = [
    "check",
    "cpu_library",
    "cuda_library",
    "has_rows",
    "native_info",
    "pointer",
    "start_on_gpu",
    "usable_on_cpu",
    "usable_on_gpu",
    "values_readable",
    "workspace_on_gpu",
]

#: Must equal OG_REID_ABI of csrc/og_reid.h.
ABI = 10
PACKAGE = __name__.split(".", maxsplit=1)[0]


def native_info() -> dict[str, str | bool | None]:
    """Availability of the native code.

    Returns:
        `cpu_library` and `cuda_library`: path, or None (not built, or switched off);
        `cpu_level`: instruction set level of this processor (`baseline`, `x86-64-v3`,
        `x86-64-v4`) or None; `cuda_device`: whether torch has a GPU.
    """
    library = _load("_cpu")
    return {
        "cpu_library": None if library is None else find_library(f"{PACKAGE}._cpu"),
        "cpu_level": None if library is None else library.og_reid_cpu_level().decode(),
        "cuda_library": None if _load("_cuda") is None else find_library(f"{PACKAGE}._cuda"),
        "cuda_device": torch.cuda.is_available(),
    }


@functools.cache
def cpu_library() -> ctypes.CDLL | None:
    """The CPU library, or None: switched off, or (with one warning per process) not built."""
    library = _load("_cpu")
    if library is None and native_enabled():
        warnings.warn(
            "the native CPU library of og_reid is missing or stale, so slower torch code is used; "
            "build it with: pip install . (needs CMake and a C++ compiler)",
            RuntimeWarning,
            stacklevel=3,
        )
    return library


@functools.cache
def cuda_library() -> ctypes.CDLL | None:
    """The CUDA library, or None: switched off, or (with one warning per process) not built."""
    library = _load("_cuda")
    if library is None and native_enabled():
        warnings.warn(
            "the native CUDA library of og_reid is missing or stale, so plain torch code, many "
            "times slower, runs on the GPU; build it with: pip install . (needs CMake and nvcc)",
            RuntimeWarning,
            stacklevel=3,
        )
    return library


def usable_on_cpu(*tensors: Tensor) -> bool:
    """True if the CPU library is loaded and takes these tensors: float32, on a CPU, none empty."""
    for each in tensors:  # not all(...): the cost of a generator is noticeable for small clouds
        if each.device.type != "cpu" or each.dtype != torch.float32 or not each.numel():
            return False
    return cpu_library() is not None


def usable_on_gpu(*tensors: Tensor) -> bool:
    """True if the CUDA library is loaded and takes these tensors: float32, on a GPU, none empty."""
    plain = all(t.device.type == "cuda" and t.dtype == torch.float32 and t.numel() for t in tensors)
    return plain and cuda_library() is not None


class _Queue(ctypes.Structure):
    """`og_reid_queue` of csrc/og_reid.h."""

    _fields_ = [("device", ctypes.c_int64), ("stream", ctypes.c_void_p)]


def start_on_gpu(function: str, device: torch.device, *arguments: object) -> None:
    """Launch a function of the CUDA library on the current stream of a device, without waiting.

    The caller's tensors may be freed meanwhile: their memory is reused on the same stream only.
    """
    library = cuda_library()
    assert library is not None
    # Tests run the kernels on a CPU, which has no streams.
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else None
    queue = _Queue(device.index or 0, stream)
    check(getattr(library, function)(*arguments, ctypes.byref(queue)), function)


def workspace_on_gpu(function: str, argument: object, device: torch.device) -> Tensor:
    """Scratch memory on a GPU, of the size that the CUDA library gives for the argument."""
    library = cuda_library()
    assert library is not None
    size = getattr(library, f"{function}_workspace")(argument)
    check(min(size, 0), function)
    return torch.empty(size, dtype=torch.uint8, device=device)


def values_readable(*tensors: Tensor) -> bool:
    """True if values may be read: not on a GPU, where that waits, nor while compiling."""
    return not torch.compiler.is_compiling() and all(t.device.type == "cpu" for t in tensors)


def pointer(tensor: Tensor | None) -> int | None:
    """Address of a contiguous tensor, for a field of a task; the caller keeps the tensor alive.

    Not for an argument of a function, where ctypes would truncate it to 32 bits.
    """
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    address: int = tensor.data_ptr()
    return address


def has_rows(matrix: Tensor) -> bool:
    """True if rows are contiguous and do not overlap; a single row may have any stride."""
    return matrix.stride(1) == 1 and matrix.stride(0) >= matrix.shape[1]


def check(status: int, function: str) -> None:
    """Raises RuntimeError when a native function refused its sizes or a launch failed."""
    if status < 0:
        raise RuntimeError(f"{function} refused its sizes (status {status}): please report this")
    if status > 0:
        raise RuntimeError(f"{function} failed with CUDA error {status}")


@functools.cache
def _load(name: str) -> ctypes.CDLL | None:
    library = load_library(f"{PACKAGE}.{name}", version_function="og_reid_abi", version=ABI)
    if library is None:
        return None
    if name == "_cpu":
        library.og_reid_cpu_level.restype = ctypes.c_char_p
        for task in ("knn", "knn_features", "fps", "ball_query"):
            getattr(library, f"og_reid_{task}_workspace").restype = ctypes.c_int64
    else:
        library.og_reid_knn_curve_workspace.restype = ctypes.c_int64
    return library
