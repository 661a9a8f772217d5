"""Packed weights: half precision, or 8-bit integers with a scale for each row."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Weights", "row_int8"]

#: Storage of weights: single precision, half precision, or 8 bits (matrices and kernels).
Weights = Literal["full", "half", "int8"]


def row_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric 8-bit form of a weight, row by row of its first axis.

    Args:
        weight: (n, ...) finite.

    Returns:
        (n, ...) int8 in -127..127, and (n,) float32 scales: the weight is about their product.
    """
    rows = weight.detach().float().flatten(1)
    scale = rows.abs().amax(1) / 127
    scale = torch.where(scale > 0, scale, 1.0)
    stored = (rows / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
    return stored.view(weight.shape), scale
