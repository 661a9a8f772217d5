"""Ragged batches: the rows of all clouds behind each other, with their offsets `ptr`."""

from __future__ import annotations

import ctypes
import functools
from typing import NamedTuple

import torch
from torch import Tensor

from .._arguments import check_tensors
from .library import pointer, values_readable

__all__ = ["CloudRows", "Clouds", "flatten", "native", "regular_starts", "sizes"]


class CloudRows(NamedTuple):
    """Clouds behind each other: cloud c holds the rows ptr[c] .. ptr[c + 1] - 1."""

    rows: Tensor  # (M, D)
    ptr: Tensor  # (clouds + 1,) int64


class Clouds(ctypes.Structure):
    """`og_reid_clouds` of csrc/og_reid.h."""

    _fields_ = [
        ("clouds", ctypes.c_int64),
        ("dims", ctypes.c_int64),
        ("rows", ctypes.c_void_p),
        ("ptr", ctypes.c_void_p),
    ]


def native(clouds: CloudRows) -> Clouds:
    """Sizes and addresses of contiguous rows; the caller keeps the tensors alive."""
    rows, ptr = clouds
    return Clouds(len(ptr) - 1, rows.shape[1], pointer(rows), pointer(ptr))


def flatten(x: Tensor, ptr: Tensor | None, name: str, ptr_name: str, plain: bool) -> CloudRows:
    """Checks dense (B, N, D) or ragged (M, D) clouds and brings them into ragged form.

    Args:
        x: (B, N, D), or with `ptr` (M, D).
        ptr: (clouds + 1,) integers, offsets of the clouds, or None. Its values are not checked on
            a GPU.
        name: name of `x` in messages.
        ptr_name: name of `ptr` in messages.
        plain: result of `can_bypass_dispatcher(x)`.

    Raises:
        ValueError: when they do not fit together.
    """
    check_tensors(**{ptr_name: ptr})
    wanted = "(B, N, D)" if ptr is None else "(M, D)"
    if x.ndim != (3 if ptr is None else 2) or not x.is_floating_point():
        hint = f"; ragged (M, D) points need {ptr_name}" if ptr is None and x.ndim == 2 else ""
        raise ValueError(
            f"{name} must be {wanted} floating point; got {tuple(x.shape)}, {x.dtype}{hint}"
        )
    if ptr is None:
        batch, count, dims = x.shape
        if plain:
            starts = regular_starts(batch, count)
        else:
            starts = count * torch.arange(batch + 1, device=x.device)
        return CloudRows(x.reshape(batch * count, dims), starts)
    if ptr.ndim != 1 or len(ptr) < 1 or ptr.is_floating_point():
        raise ValueError(f"{ptr_name} must be (clouds + 1,) integers; got {tuple(ptr.shape)}")
    starts = ptr.detach().to(torch.int64).contiguous()
    if x.device.type == "cpu":
        starts = starts.to(x.device)
    if not values_readable(starts):
        return CloudRows(x, starts.to(x.device))
    if starts[0] != 0 or starts[-1] != len(x) or bool((starts.diff() < 0).any()):
        raise ValueError(
            f"{ptr_name} must start at 0, end at the number of rows ({len(x)}) and never "
            f"decrease; got {starts.tolist() if len(starts) < 9 else starts}"
        )
    return CloudRows(x, starts.to(x.device))


@functools.lru_cache(maxsize=128)
def regular_starts(batch: int, count: int) -> Tensor:
    """`ptr` of clouds of one size on a CPU; cached, as its cost is noticeable for small clouds."""
    with torch.inference_mode(mode=False):  # else it could not be saved for backward
        return count * torch.arange(batch + 1, device="cpu")


def sizes(ptr: Tensor) -> list[int]:
    """Number of rows of each cloud."""
    counts: list[int] = ptr.diff().tolist()
    return counts
