"""Positions and colours of any numeric type as the float32 tensors of a point cloud."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["MAX_BYTES", "MAX_POINTS", "far_points", "near_points", "numeric_tensor", "unit_colors"]

MAX_POINTS = 5_000_000
"""Largest number of points of a file: scans of one person have fewer, headers may claim any."""

MAX_BYTES = 2**30
"""Largest size of a text file in bytes, and half the largest size of binary data."""

_LOSS = 1e-4  # metres that the rounding to float32 may move a point
_ROUNDING = 1e-6  # below 0: interpolation in float32 gives such colours
_ABOVE = 1.01  # 256 / 255 and other roundings above 1
_COARSE = 1e-3  # of the extent; also metres
_LARGEST = {
    torch.uint8: 2**8 - 1,
    torch.int8: 2**7 - 1,
    torch.uint16: 2**16 - 1,
    torch.int16: 2**15 - 1,
    torch.uint32: 2**32 - 1,
    torch.int32: 2**31 - 1,
    torch.uint64: 2**64 - 1,
    torch.int64: 2**63 - 1,
}
_WIDE = (torch.uint32, torch.int32, torch.uint64, torch.int64)


def numeric_tensor(value: Any, name: str) -> Tensor:
    """Real numbers in any container as a dense tensor of their own type.

    Args:
        value: Tensor, NumPy array of any byte order, strides and float or integer type, nested
            lists, or what NumPy makes an array of.
        name: Name of the argument, for messages.

    Raises:
        ValueError: Not real numbers, ragged, sparse, masked, or a tensor without data.
    """
    if isinstance(value, Tensor):
        tensor = value.detach()
        if (
            tensor.is_nested
            or tensor.layout != torch.strided
            or tensor.is_quantized
            or tensor.is_meta
        ):
            raise ValueError(f"{name} must be a dense tensor with data; got {_kind(tensor)}")
        if tensor.dtype.is_complex or tensor.dtype == torch.bool:
            raise ValueError(f"{name} must be real numbers; got {tensor.dtype}")
        return tensor
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of numbers; got {error}") from error
    if array.dtype.names is not None:
        raise ValueError(
            f"{name} must be a plain array of numbers; got a structured one with the fields "
            f"{', '.join(array.dtype.names)}: stack its columns"
        )
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be real numbers; got an array of {array.dtype}")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} must have no masked entries: drop those points")
    plain = array.dtype.newbyteorder("=")
    if plain.kind == "f" and plain.itemsize > 8:  # long double
        plain = np.dtype(np.float64)
    if array.dtype != plain or not array.flags.writeable or min(array.strides, default=0) < 0:
        with np.errstate(all="ignore"):  # NaN and infinity are refused later
            array = np.array(array, dtype=plain, order="C")
    return torch.from_numpy(array)


def near_points(points: Tensor) -> Tensor:
    """Coordinates in float32, moved to the origin where float32 could not hold them.

    Metres in a national grid have 6 or 7 digits before the dot, and float32 keeps 7 in all. Points
    of a wider type that the rounding would move by more than 0.1 mm are therefore taken relative to
    their centroid, in float64. All other points keep their coordinates.

    Args:
        points: (N, 3) of any real type.

    Returns:
        (N, 3) float32.

    Raises:
        ValueError: A coordinate is too large for float32.
    """
    if points.dtype in (torch.float32, torch.float16, torch.bfloat16):
        return points.float()
    wide = points.double()
    near = wide.float()
    if not bool(near.isfinite().all()):
        raise ValueError("points must be finite in float32; got coordinates above 3.4e38")
    if len(near) and float((near.double() - wide).abs().max()) > _LOSS:
        near = (wide - wide.mean(dim=0)).float()
    return near


def far_points(points: Tensor) -> str:
    """Sentence about points that float32 has coarsened far from the origin, else empty.

    The text is the same for all clouds, so that warnings can be counted.

    Args:
        points: (N, 3) float32.
    """
    if not len(points):
        return ""
    far = float(points.abs().max())
    if far < 2**14 or not math.isfinite(far):
        return ""
    spacing = 2.0 ** (math.floor(math.log2(far)) - 23)
    extent = float((points.amax(0) - points.amin(0)).max())
    if spacing <= _COARSE * max(extent, 1.0):
        return ""
    return (
        "points lie so far from the origin that the steps of float32 are above 1 mm there, and "
        "have lost their shape: subtract the centroid in float64 before the conversion to float32"
    )


def unit_colors(colors: Tensor) -> tuple[Tensor, str]:
    """Colours in [0, 1] by the rule of their type.

    Floats are taken as they are, and up to 1.01 as 1. Integers are divided by the largest value of
    their type. Types of 32 and 64 bits mostly hold narrower values: such colours up to 1 are
    fractions, up to 255 of 8 bits.

    Args:
        colors: (N, 3) finite, of any real type.

    Returns:
        (N, 3) float32, and a sentence about a probably different range, else empty.

    Raises:
        ValueError: Outside the range.
    """
    if not colors.numel():
        return colors.float(), ""
    if colors.is_floating_point():
        return _unit_floats(colors.float()), ""
    largest = _LARGEST[colors.dtype]
    kind = str(colors.dtype).removeprefix("torch.")
    values = colors.double()
    low, high = float(values.min()), float(values.max())
    if low < 0:
        raise ValueError(
            f"colors of type {kind} must be in 0..{largest}; got {low:g}..{high:g}: store 8-bit "
            "colours as uint8"
        )
    if colors.dtype in _WIDE:
        if high <= 1:
            return values.float(), ""
        if high <= 255:
            return (values / 255).float(), ""
        if high < largest / 256:
            raise ValueError(
                f"colors of type {kind} must be in 0..255 or use the range of the type; got "
                f"{low:g}..{high:g}: store 16-bit colours as uint16"
            )
    doubt = ""
    if largest > 255 and 0 < high <= 255:
        doubt = (
            f"colours of type {kind} are divided by {largest}, and none is above 255: almost "
            "black; 8-bit colours must be stored as uint8"
        )
    return (values / largest).float(), doubt


def _unit_floats(colors: Tensor) -> Tensor:
    low, high = float(colors.min()), float(colors.max())
    if low < -_ROUNDING or high > _ABOVE:
        hint = ""
        if low >= 0 and high <= 255:
            hint = ": divide 8-bit colours by 255"
        elif low >= 0 and high <= 65535:
            hint = ": divide 16-bit colours by 65535"
        raise ValueError(f"colors must be in [0, 1]; got {low:g}..{high:g}{hint}")
    return colors.clamp(0, 1) if low < 0 or high > 1 else colors


def _kind(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "one on the device meta"
    if tensor.is_nested:
        return "a nested one"
    return f"one of layout {tensor.layout} and type {tensor.dtype}"
