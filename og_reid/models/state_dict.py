"""State dicts: comparison by name and shape, and counters that old files lack."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["mismatched_entries", "state_dict_mismatch", "with_counters"]

# Steps that a BatchNorm was trained for: old files lack them, and evaluation does not use them.
_COUNTER = "num_batches_tracked"
_NAMED = 3  # entries of each kind that a short text names

Shapes = Mapping[str, "Tensor | tuple[int, ...]"]


def mismatched_entries(wanted: Shapes, found: Shapes) -> dict[str, list[str]]:
    """Names of the entries in which two state dicts differ, by kind of difference.

    Args:
        wanted: Tensors or their shapes, of the network.
        found: Tensors or their shapes, of a file.

    Returns:
        ``missing``, ``unexpected`` and ``of another shape`` (with both shapes), as far as there
        are any; empty for state dicts that fit.
    """
    kinds = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {_shape(found[name])} instead of {_shape(wanted[name])}"
            for name in wanted
            if name in found and _shape(found[name]) != _shape(wanted[name])
        ],
    }
    return {kind: names for kind, names in kinds.items() if names}


def state_dict_mismatch(wanted: Shapes, found: Shapes) -> str:
    """Short text of `mismatched_entries` with the first few names; empty for a fit."""
    texts = [
        f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
        for kind, names in mismatched_entries(wanted, found).items()
    ]
    return "; ".join(texts)


def _shape(value: Tensor | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else value


def with_counters(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, completed with the BatchNorm counters of ``wanted`` that they lack, at zero."""
    lacking = {
        key: torch.zeros(value.shape, dtype=value.dtype, device="cpu")
        for key, value in wanted.items()
        if key.endswith(f".{_COUNTER}") and key not in weights
    }
    return {**weights, **lacking}
