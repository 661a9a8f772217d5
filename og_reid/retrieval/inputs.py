"""Conversion of array-likes and numbers, with the argument's name in every message."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "as_count",
    "as_number",
    "as_tensor",
    "check_plain",
    "group_labels",
    "native_array",
    "row_numbers",
]


def as_tensor(values: Any, name: str) -> Tensor:
    """Tensor from an array-like; without a copy of tensors and most arrays.

    Args:
        values: Tensor, array or (nested) list of real numbers.
        name: For messages.

    Raises:
        ValueError: ``values`` is none of these.
    """
    if not isinstance(values, Tensor):
        try:
            array = values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
            check_plain(array, name)
            if array.dtype.kind not in "fiub":
                raise ValueError(f"it is of {array.dtype}")
            array = native_array(array)
            # Torch refuses reversed arrays, and warns of read-only ones.
            array = array.astype(array.dtype, order="C", copy=False)
            values = torch.from_numpy(array if array.flags.writeable else array.copy())
        except (TypeError, ValueError) as error:
            if str(error).startswith(f"{name} "):
                raise
            raise ValueError(
                f"{name} must be a tensor, an array or a list of numbers; got "
                f"{type(values).__name__}: {error}"
            ) from error
    check_plain(values, name)
    if values.is_complex():
        raise ValueError(f"{name} must hold real numbers; got {values.dtype}")
    return values


def check_plain(values: Tensor | np.ndarray, name: str) -> None:
    """Refuses tensors and arrays with missing values.

    Raises:
        ValueError: Sparse, without data, or with masked entries.
    """
    if isinstance(values, Tensor):
        if values.layout != torch.strided:
            raise ValueError(f"{name} must be dense; got {values.layout}: give .to_dense()")
        if values.device.type == "meta":
            raise ValueError(f"{name} must hold data; got a tensor of the meta device")
    elif isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(
            f"{name} must have no masked entries; got {np.ma.count_masked(values)} masked entries: "
            "fill or leave them out"
        )


def native_array(array: np.ndarray) -> np.ndarray:
    """Array in a type that torch supports: native byte order, at most 8 bytes."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def as_count(value: Any, name: str, least: int | None = 1) -> int:
    """Whole number of at least ``least``, of any integer type; ``least`` None: any whole number.

    Raises:
        ValueError: ``value`` is none.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(
            f"{name} must be a whole number; got {value!r:.40} ({type(value).__name__})"
        ) from None
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}; got {number}")
    return number


def as_number(value: Any, name: str) -> float:
    """A finite real number of any type.

    Raises:
        ValueError: ``value`` is none.
    """
    try:
        number = float(value) if not isinstance(value, str | bytes) else math.nan
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"{name} must be a finite number; got {value!r:.40} ({type(value).__name__})"
        )
    return number


def row_numbers(mask: Tensor, start: int = 0) -> str:
    """Up to ten numbers of the True rows, for messages."""
    numbers = (mask.nonzero().squeeze(1) + start).tolist()
    return ", ".join(map(str, numbers[:10])) + (
        f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    )


def group_labels(labels: Any, count: int) -> Tensor:
    """(n,) int64 group of each row, checked.

    Raises:
        ValueError: Another length, or fractions.
    """
    labels = as_tensor(labels, "labels")
    if labels.shape != (count,) or labels.is_floating_point():
        raise ValueError(
            f"labels must be ({count},) whole numbers, one for each image; "
            f"got {tuple(labels.shape)} {labels.dtype}"
        )
    return labels.long()
