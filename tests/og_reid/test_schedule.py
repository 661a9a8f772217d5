from __future__ import annotations

import pytest
import torch
from torch import nn

from og_reid import schedule
from og_reid.config import BudgetConfig, OptimConfig
from og_reid.schedule import Clock, WeightAverage, estimate_norms, learning_rate


def test_learning_rate_by_hand() -> None:
    optim = OptimConfig(lr=2.0, warmup=0.2, final_lr=0.1)
    assert learning_rate(0.1, optim) == pytest.approx(1.0)
    assert learning_rate(0.2, optim) == pytest.approx(2.0)
    assert learning_rate(0.6, optim) == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert learning_rate(1.0, optim) == pytest.approx(0.2)
    assert learning_rate(0.0, OptimConfig(lr=2.0, warmup=0.0)) == 2.0


def test_the_nearest_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"cpu": 100.0, "wall": 1000.0}
    monkeypatch.setattr(schedule.time, "process_time", lambda: now["cpu"])
    monkeypatch.setattr(schedule.time, "monotonic", lambda: now["wall"])
    clock = Clock(BudgetConfig(steps=10, cpu_minutes=1.0, wall_minutes=2.0), cpu=6.0)
    assert clock.cpu == 6.0
    assert clock.fraction(1) == pytest.approx(0.1)
    now["cpu"] += 24
    assert clock.fraction(1) == pytest.approx(0.5)
    now["wall"] += 90
    assert clock.fraction(1) == pytest.approx(0.75)
    assert clock.fraction(10) == 1.0
    now["wall"] += 900
    assert clock.fraction(1) == 1.0
    assert Clock(BudgetConfig(steps=10)).fraction(4) == pytest.approx(0.4)


def test_weights_are_averaged() -> None:
    model = nn.Linear(2, 1, bias=False)
    average = WeightAverage()
    average.apply(model)
    for value in (1.0, 2.0, 6.0):
        model.weight.data.fill_(value)
        average.add(model)
    model.weight.data.zero_()
    restored = WeightAverage()
    restored.load_state_dict(average.state_dict(), torch.device("cpu"))
    assert restored.count == 3
    restored.apply(model)
    torch.testing.assert_close(model.weight.data, torch.full((1, 2), 3.0))


def test_an_empty_average_changes_nothing() -> None:
    model = nn.Linear(2, 1)
    before = model.weight.detach().clone()
    WeightAverage().apply(model)
    assert torch.equal(model.weight, before)


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, points: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
        return self.norm(points)


def test_norms_become_the_plain_mean(rng: torch.Generator) -> None:
    model = Norm()
    model.norm.running_mean.fill_(7.0)
    batches = [torch.randn(8, 3, generator=rng) * size for size in (1.0, 2.0, 5.0)]
    estimate_norms(model, ((batch, batch) for batch in batches))
    means = torch.stack([batch.mean(0) for batch in batches])
    variances = torch.stack([batch.var(0) for batch in batches])
    torch.testing.assert_close(model.norm.running_mean, means.mean(0))
    torch.testing.assert_close(model.norm.running_var, variances.mean(0))
    assert model.norm.momentum == 0.1


def test_a_model_without_norms_is_left_alone() -> None:
    def batches() -> object:
        raise AssertionError("no batch is needed")
        yield

    estimate_norms(nn.Linear(2, 1), batches())
