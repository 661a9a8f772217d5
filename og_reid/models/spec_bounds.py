"""Bounds on the stored specification of a network, checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["check_sizes", "check_spec"]

# (smallest, largest) number by argument; lists hold numbers of the same range. Far wider than what
# is trainable, so that only damaged or crafted files are refused.
_RANGES: Mapping[str, tuple[int, int]] = {
    "dims": (1, 1 << 14),
    "dim": (1, 1 << 14),
    "k": (1, 1 << 16),
    "num_conv": (1, 16),
    "num_points": (1, 1 << 20),
    "embedding_dim": (1, 1 << 16),
    "ball_counts": (1, 1 << 16),
    "feature_channels": (0, 1 << 14),
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


def check_spec(spec: Any) -> Mapping[str, Any]:
    """Refuses specifications beyond reasonable memory or build time.

    Args:
        spec: Specification of a network (`og_reid.models.to_spec`, ``architecture()`` of an image
            network) or of its preprocessing.

    Returns:
        ``spec`` itself.

    Raises:
        ValueError: ``spec`` is no mapping, or a value is of the wrong type or out of its range; the
            message names it.
    """
    if not isinstance(spec, Mapping):
        raise ValueError(
            f"the description of a network must be a mapping; got {type(spec).__name__}"
        )
    for name, value in spec.items():
        if name in _FLAGS and not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false; got {_short(value)}")
        if name in _LENGTHS and len(value) != _LENGTHS[name]:
            raise ValueError(f"{name} must hold {_LENGTHS[name]} values; got {_short(value)}")
        if name in _RANGES:
            _check_numbers(name, value, 2)
    return spec


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


def check_sizes(dims: tuple[int, ...], wider: tuple[bool, ...], k: int, num_points: int) -> None:
    """Refuses sizes of an OG-Net whose last graph has fewer points than neighbours.

    Args:
        dims: channels after each layer.
        wider: True for layers that are followed by a down-sampling.
        k: neighbours per point.
        num_points: points after the first down-sampling.

    Raises:
        ValueError: a size is too small; the message says which.
    """
    if not dims or min(dims) < 2 or k < 1 or num_points < 1:
        raise ValueError(
            "dims must hold widths >= 2, k and num_points must be positive; got "
            f"dims={dims}, k={k}, num_points={num_points}"
        )
    # Points at the input of the last layer: halved by each widening between it and the first.
    halvings = max(0, sum(wider[:-1]) - 1)
    if num_points >> halvings < k:
        raise ValueError(
            f"num_points must leave k={k} points to the last layer; {num_points} leave "
            f"{num_points >> halvings}: use num_points >= {k << halvings} or a smaller k"
        )
