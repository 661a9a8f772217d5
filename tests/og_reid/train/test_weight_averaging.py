from __future__ import annotations

import torch
from torch import nn

from og_reid.train.weight_averaging import SWA, update_bn


def test_weights_are_averaged() -> None:
    model = nn.Linear(2, 1, bias=False)
    average = SWA()
    average.apply(model)
    for value in (1.0, 2.0, 6.0):
        model.weight.data.fill_(value)
        average.add(model)
    model.weight.data.zero_()
    restored = SWA()
    restored.load_state_dict(average.state_dict(), torch.device("cpu"))
    assert restored.count == 3
    restored.apply(model)
    torch.testing.assert_close(model.weight.data, torch.full((1, 2), 3.0))


def test_an_empty_average_changes_nothing() -> None:
    model = nn.Linear(2, 1)
    before = model.weight.detach().clone()
    SWA().apply(model)
    assert torch.equal(model.weight, before)


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.norm(points)


def test_norms_become_the_plain_mean(rng: torch.Generator) -> None:
    model = Norm()
    model.norm.running_mean.fill_(7.0)
    batches = [torch.randn(8, 3, generator=rng) * size for size in (1.0, 2.0, 5.0)]
    update_bn(model, map(model, batches))
    means = torch.stack([batch.mean(0) for batch in batches])
    variances = torch.stack([batch.var(0) for batch in batches])
    torch.testing.assert_close(model.norm.running_mean, means.mean(0))
    torch.testing.assert_close(model.norm.running_var, variances.mean(0))
    assert model.norm.momentum == 0.1


def test_a_model_without_norms_is_left_alone() -> None:
    def batches() -> object:
        raise AssertionError("no batch is needed")
        yield

    update_bn(nn.Linear(2, 1), batches())
