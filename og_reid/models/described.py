"""Bounds on the description of a network that a file gives, looked at before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["check_described"]

# Smallest and largest number by the name of an argument; lists hold numbers of the same range. Far
# wider than what trains, so that only damaged or crafted files are refused.
_RANGES: Mapping[str, tuple[int, int]] = {
    "dims": (1, 1 << 14),
    "k": (1, 1 << 16),
    "num_conv": (1, 16),
    "num_points": (1, 1 << 20),
    "embedding_dim": (1, 1 << 16),
    "ball_counts": (1, 1 << 16),
    "num_classes": (1, 1 << 24),
    "parts": (0, 64),
    "branches": (1, 64),
    "min_points": (0, 1 << 20),
    "height": (1, 1 << 14),
    "width": (1, 1 << 14),
}
_LENGTHS = {"ball_counts": 3}
_FLAGS = ("residual", "multi_scale", "neck")
_LONGEST = 64  # list


def check_described(described: Any) -> Mapping[str, Any]:
    """Refuses what no network can be built from, or fed with, in reasonable memory and time.

    Args:
        described: As of `og_reid.models.store`, ``architecture()`` of a network of photographs, or
            what it was trained to see.

    Returns:
        The same.

    Raises:
        ValueError: It is no mapping, or a number is none or out of its range; the message names it.
    """
    if not isinstance(described, Mapping):
        raise ValueError(
            f"the description of a network must be a mapping; got {type(described).__name__}"
        )
    for name, value in described.items():
        if name in _FLAGS and not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false; got {_short(value)}")
        if name in _LENGTHS and len(value) != _LENGTHS[name]:
            raise ValueError(f"{name} must hold {_LENGTHS[name]} values; got {_short(value)}")
        if name in _RANGES:
            _check_numbers(name, value, 2)
    return described


def _check_numbers(name: str, value: Any, depth: int) -> None:
    low, high = _RANGES[name]
    if isinstance(value, (list, tuple)) and depth:
        if len(value) > _LONGEST:
            raise ValueError(f"{name} must hold at most {_LONGEST} values; got {len(value)}")
        for each in value:
            _check_numbers(name, each, depth - 1)
    elif type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must hold whole numbers in [{low}, {high}]; got {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, (bool, float, str)) else str(type(value).__name__)
    return str(value)[:40] if type(value) is int and abs(value) < 1 << 64 else text[:40]
