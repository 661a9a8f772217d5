"""Seeded random tensors, and comparison up to rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def indices(batch: int, count: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randint(0, count, (batch, *shape), generator=generator)


def close(got: Tensor, want: Tensor) -> bool:
    """True when equal up to the rounding of sums as large as the largest entry."""
    if not want.numel():
        return got.shape == want.shape
    return bool((got - want).abs().max() <= 2e-5 * want.abs().max() + 1e-6)


def weights(*shape: int, seed: int = 4) -> Tensor:
    """Weights of edges in [0, 1], some of them 0, some 1; those of the first centre are all 0."""
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.rand(*shape, generator=generator) * 1.6 - 0.3).clamp(0, 1)
    weight[0, 0] = 0
    return weight


def results(function: Callable[..., Any], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Outputs of a function of tensors, and the gradients of a loss of them."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    outputs = function(*leaves)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    loss = sum((y * seeded(*y.shape, seed=7).to(y)).sum() for y in outputs if y.requires_grad)
    assert isinstance(loss, Tensor)
    return [*outputs, *torch.autograd.grad(loss, leaves)]
