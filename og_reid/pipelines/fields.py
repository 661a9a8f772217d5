"""Fields of specifications: conversion to the declared types, and checks of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["as_path", "as_tuple", "check_choice", "check_workers"]


def as_path(spec: object, name: str) -> None:
    """Converts a string field of a frozen dataclass to a path."""
    value = getattr(spec, name)
    if isinstance(value, str):
        object.__setattr__(spec, name, Path(value))


def as_tuple(spec: object, name: str, kind: Callable[[Any], object] | None = None) -> None:
    """Makes a tuple of a sequence, or of a single value, in a frozen dataclass.

    Args:
        spec: The dataclass.
        name: Field; a string is one value, not a sequence of letters.
        kind: Conversion of each value; None for none.
    """
    value = getattr(spec, name)
    values = (value,) if isinstance(value, str | Path) else value
    object.__setattr__(spec, name, tuple(values if kind is None else map(kind, values)))


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuses a value that is neither None nor one of the choices.

    Raises:
        ValueError: It is another.
    """
    if value is not None and value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}")


def check_workers(count: int) -> None:
    """Refuses a number of processes below 1.

    Raises:
        ValueError: It is.
    """
    if count < 1:
        raise ValueError(f"workers must be at least 1; got {count}")
