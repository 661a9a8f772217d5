"""Tensors drawn by a seed, and when two are equal up to rounding."""

from __future__ import annotations

import torch
from torch import Tensor


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def indices(batch: int, count: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randint(0, count, (batch, *shape), generator=generator)


def close(got: Tensor, want: Tensor) -> bool:
    """Equal up to rounding of sums whose size is that of the largest entry."""
    if not want.numel():
        return got.shape == want.shape
    return bool((got - want).abs().max() <= 2e-5 * want.abs().max() + 1e-6)
