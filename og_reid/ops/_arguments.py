"""Checks of argument types at the entry of operators."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["check_floating", "check_numbers", "check_tensors", "whole"]


def check_tensors(**arguments: Any) -> None:
    """Refuses arguments that are neither a tensor nor None.

    Raises:
        ValueError: Naming the argument.
    """
    for name, value in arguments.items():
        if value is not None and not isinstance(value, Tensor):
            raise ValueError(
                f"{name} must be a tensor; got {type(value).__name__}: torch.as_tensor makes one "
                "of arrays and lists"
            )


def check_floating(**arguments: Tensor | None) -> None:
    """Refuses tensors that are not floating point; raises ValueError naming the argument."""
    for name, value in arguments.items():
        if value is not None and not value.is_floating_point():
            raise ValueError(f"{name} must be floating point; got {value.dtype}")


def whole(name: str, value: Any) -> int:
    """``value`` as a Python int; raises ValueError naming the argument."""
    if isinstance(value, (int, torch.SymInt)):
        return value  # type: ignore[return-value]
    try:
        return operator.index(value)
    except TypeError as error:
        raise ValueError(f"{name} must be a whole number; got {str(value)[:40]}") from error


def check_numbers(name: str, values: Any) -> None:
    """Refuses values that are no sequence of numbers, and NaN; raises ValueError naming them."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError(
            f"{name} must be a tuple of numbers, one for each scale; got {type(values).__name__}"
        )
    for each in values:
        if isinstance(each, (str, bytes)) or not hasattr(each, "__float__") or math.isnan(each):
            raise ValueError(f"{name} must hold numbers; got {str(each)[:40]}")
