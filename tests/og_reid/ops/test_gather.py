"""Gathering the rows of neighbours: against the plain-torch twin, and derivatives."""

from __future__ import annotations

import pytest
import torch

from og_reid.ops import gather_neighbors
from og_reid.ops.gather import gather_neighbors_torch
from tensors import indices, seeded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(4,), (4, 3), (0, 3)])
def test_gathering_equals_twin(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = seeded(2, 9, 5).to(dtype)
    index = indices(2, 9, *shape)
    for each in (index, index - 2):
        results = []
        for function in (gather_neighbors, gather_neighbors_torch):
            leaf = x.clone().requires_grad_()
            rows = function(leaf, each)
            results.append([rows, *torch.autograd.grad((rows * rows).sum(), leaf)])
        torch.testing.assert_close(*results)


def test_gathering_twice_differentiable() -> None:
    x, index = seeded(2, 6, 3).double().requires_grad_(), indices(2, 6, 4, 3) - 1
    assert torch.autograd.gradcheck(lambda y: gather_neighbors(y, index), (x,))
    assert torch.autograd.gradgradcheck(lambda y: gather_neighbors(y, index) ** 2, (x,))
