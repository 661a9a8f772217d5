from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from og_reid.config.load import from_dict
from og_reid.config.schema import BudgetConfig, OptimConfig, TrainConfig
from og_reid.train import schedule
from og_reid.train.schedule import BudgetTimer, Schedule, learning_rate, warmup_loss_scale


def test_learning_rate_by_hand() -> None:
    optim = OptimConfig(lr=2.0, warmup=0.2, final_lr_ratio=0.1)
    assert learning_rate(0.1, optim) == pytest.approx(1.0)
    assert learning_rate(0.2, optim) == pytest.approx(2.0)
    assert learning_rate(0.6, optim) == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert learning_rate(1.0, optim) == pytest.approx(0.2)
    assert learning_rate(0.0, OptimConfig(lr=2.0, warmup=0.0)) == 2.0


def test_the_nearest_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"cpu": 100.0, "wall": 1000.0}
    monkeypatch.setattr(schedule.time, "process_time", lambda: now["cpu"])
    monkeypatch.setattr(schedule.time, "monotonic", lambda: now["wall"])
    clock = BudgetTimer(BudgetConfig(steps=10, cpu_minutes=1.0, wall_minutes=2.0), cpu=6.0)
    assert clock.cpu == 6.0
    assert clock.fraction(1) == pytest.approx(0.1)
    now["cpu"] += 24
    assert clock.fraction(1) == pytest.approx(0.5)
    now["wall"] += 90
    assert clock.fraction(1) == pytest.approx(0.75)
    assert clock.fraction(10) == 1.0
    now["wall"] += 900
    assert clock.fraction(1) == 1.0
    assert BudgetTimer(BudgetConfig(steps=10)).fraction(4) == pytest.approx(0.4)


def by_epochs(epochs: int = 20, **optim: object) -> TrainConfig:
    settings = {"optimizer": "amsgrad", "lr": 2.0, "warmup": 0, "bn_update_batches": None, **optim}
    return from_dict(
        {"budget": {"epochs": epochs}, "optim": settings, "loss": {"warmup_epochs": 3}}
    )


def test_epochs_give_the_learning_rates_of_torch() -> None:
    """As the authors anneal: one step of torch's cosine an epoch, down to 1 %."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2.0)
    twin = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, eta_min=0.02)
    table = Schedule(by_epochs(), steps_per_epoch=7)
    assert table.budget.steps == 140
    clock = BudgetTimer(table.budget)
    for epoch in range(20):
        for step in range(7 * epoch, 7 * epoch + 7):
            rate = table.learning_rate(step, clock.fraction(step + 1))
            assert rate == pytest.approx(twin.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        twin.step()
    assert clock.fraction(140) == 1.0


def test_a_learning_rate_can_rise_in_a_run_of_epochs() -> None:
    table = Schedule(by_epochs(warmup=0.1), steps_per_epoch=10)
    rates = [table.learning_rate(step, (step + 1) / 200) for step in range(200)]
    assert rates[:19] == pytest.approx([2.0 * (step + 1) / 20 for step in range(19)])
    assert rates[19:30] == pytest.approx([2.0] * 11)
    assert max(rates[30:]) < 2.0


@pytest.mark.parametrize(
    ("epochs", "average", "first"),
    [(1000, 0.1, 900), (600, 0.1, 540), (1500, 0.1, 1350), (7, 0.25, 6)],
)
def test_ends_of_the_last_epochs_are_averaged(epochs: int, average: float, first: int) -> None:
    table = Schedule(by_epochs(epochs, swa_fraction=average), steps_per_epoch=3)
    due = [step for step in range(3 * epochs) if table.averages(step, (step + 1) / (3 * epochs))]
    assert due == [3 * epoch + 2 for epoch in range(first, epochs)]
    assert not Schedule(by_epochs(swa_fraction=0), 3).averages(59, 1.0)


def test_steps_give_the_fraction_of_the_run() -> None:
    config = from_dict({"budget": {"steps": 10}, "optim": {"lr": 2.0, "swa_fraction": 0.25}})
    table = Schedule(config, steps_per_epoch=3)
    assert table.budget is config.budget
    assert table.norm_batches == 32
    assert Schedule(by_epochs(), 7).norm_batches == 7
    for step in range(10):
        fraction = (step + 1) / 10
        assert table.learning_rate(step, fraction) == learning_rate(fraction, config.optim)
        assert table.averages(step, fraction) == (fraction >= 0.75)
        assert table.warmup_loss_scale(step) == 1.0


def test_the_loss_is_warmed_up_as_published() -> None:
    """Against the authors' counter, which is raised before each step of the first epochs."""
    counter, table = 0.1, Schedule(by_epochs(), steps_per_epoch=5)
    for step in range(30):
        if step < 15:
            counter = min(1.0, counter + 0.9 / 15)
        assert table.warmup_loss_scale(step) == pytest.approx(counter)
    assert table.warmup_loss_scale(14) == 1.0
    assert warmup_loss_scale(0, 0) == 1.0


def test_the_last_learning_rate_of_a_published_run() -> None:
    table = Schedule(by_epochs(1000), steps_per_epoch=2)
    expected = 0.02 + 1.98 * (1 + math.cos(math.pi * 0.999)) / 2
    assert table.learning_rate(1999, 1.0) == pytest.approx(expected)


def test_a_step_schedule_drops_after_its_epochs() -> None:
    """As PGFA's authors: lr for epochs 0 to 39 of 60, a tenth of it for 40 to 59."""
    optim = {"lr": 0.1, "warmup": 0, "schedule": "step", "milestones": [40, 50]}
    table = Schedule(from_dict({"budget": {"epochs": 60}, "optim": optim}), steps_per_epoch=3)
    rates = [table.learning_rate(step, (step + 1) / 180) for step in range(180)]
    assert rates == pytest.approx([0.1] * 120 + [0.01] * 30 + [0.001] * 30)
    warm = Schedule(
        from_dict({"budget": {"steps": 100}, "optim": optim | {"warmup": 0.1}}), steps_per_epoch=2
    )
    assert warm.learning_rate(4, 0.05) == pytest.approx(0.05)
    assert warm.learning_rate(79, 0.8) == pytest.approx(0.1)
    assert warm.learning_rate(80, 0.81) == pytest.approx(0.01)
