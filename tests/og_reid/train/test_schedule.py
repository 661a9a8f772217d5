from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from og_reid.config.schema import BudgetConfig, OptimConfig, TrainConfig, from_dict
from og_reid.train import schedule
from og_reid.train.schedule import (
    SWA,
    BudgetTimer,
    Schedule,
    build_optimizer,
    learning_rate,
    loss_scale,
    update_bn,
)
from og_reid.train.task import single_param_group


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


def by_epochs(epochs: int = 20, **optim: object) -> TrainConfig:
    settings = {"kind": "amsgrad", "lr": 2.0, "warmup": 0, "norm_batches": None, **optim}
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
    table = Schedule(by_epochs(epochs, average=average), steps_per_epoch=3)
    due = [step for step in range(3 * epochs) if table.averages(step, (step + 1) / (3 * epochs))]
    assert due == [3 * epoch + 2 for epoch in range(first, epochs)]
    assert not Schedule(by_epochs(average=0), 3).averages(59, 1.0)


def test_steps_give_the_share_of_the_run() -> None:
    config = from_dict({"budget": {"steps": 10}, "optim": {"lr": 2.0, "average": 0.25}})
    table = Schedule(config, steps_per_epoch=3)
    assert table.budget is config.budget
    assert table.norm_batches == 32
    assert Schedule(by_epochs(), 7).norm_batches == 7
    for step in range(10):
        fraction = (step + 1) / 10
        assert table.learning_rate(step, fraction) == learning_rate(fraction, config.optim)
        assert table.averages(step, fraction) == (fraction >= 0.75)
        assert table.loss_scale(step) == 1.0


def test_the_loss_is_warmed_up_as_published() -> None:
    """Against the authors' counter, which is raised before each step of the first epochs."""
    counter, table = 0.1, Schedule(by_epochs(), steps_per_epoch=5)
    for step in range(30):
        if step < 15:
            counter = min(1.0, counter + 0.9 / 15)
        assert table.loss_scale(step) == pytest.approx(counter)
    assert table.loss_scale(14) == 1.0
    assert loss_scale(0, 0) == 1.0


def problem(rng: torch.Generator) -> tuple[nn.Module, torch.Tensor]:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    for weight in model.parameters():
        weight.data.normal_(generator=rng)
    return model, torch.randn(40, 16, 4, generator=rng)


def test_amsgrad_by_hand(rng: torch.Generator) -> None:
    """Against torch's Adam, and against the update rule written out."""
    ours, batches = problem(rng)
    torchs, plain = copy.deepcopy(ours), copy.deepcopy(ours)
    optimizer = build_optimizer(
        single_param_group(ours), OptimConfig(kind="amsgrad", lr=0.05, weight_decay=0.02)
    )
    twin = torch.optim.Adam(torchs.parameters(), lr=0.05, weight_decay=0.02, amsgrad=True)
    weights = list(plain.parameters())
    first = [torch.zeros_like(each) for each in weights]
    second, largest = [each.clone() for each in first], [each.clone() for each in first]
    for step, batch in enumerate(batches, 1):
        for model, rule in ((ours, optimizer), (torchs, twin), (plain, None)):
            model.zero_grad()
            (model(batch).square().mean() * (5.0 if step < 5 else 1.0)).backward()
            if rule is not None:
                rule.step()
                continue
            with torch.no_grad():
                for index, weight in enumerate(weights):
                    slope = weight.grad + 0.02 * weight  # L2, biases and norms included
                    first[index] = 0.9 * first[index] + 0.1 * slope
                    second[index] = 0.999 * second[index] + 0.001 * slope**2
                    largest[index] = torch.maximum(largest[index], second[index])
                    size = (largest[index] / (1 - 0.999**step)).sqrt() + 1e-8
                    weight -= 0.05 * first[index] / (1 - 0.9**step) / size
    for mine, theirs, hand in zip(*(m.parameters() for m in (ours, torchs, plain)), strict=True):
        assert torch.equal(mine, theirs)
        torch.testing.assert_close(mine, hand, rtol=2e-4, atol=2e-5)


def test_adamw_decays_matrices_only(rng: torch.Generator) -> None:
    model, _ = problem(rng)
    before = [weight.detach().clone() for weight in model.parameters()]
    optimizer = build_optimizer(single_param_group(model), OptimConfig(weight_decay=0.5))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for weight, start in zip(model.parameters(), before, strict=True):
        factor = 0.95 if weight.dim() > 1 else 1.0
        torch.testing.assert_close(weight.detach(), factor * start)


def test_the_last_learning_rate_of_a_published_run() -> None:
    table = Schedule(by_epochs(1000), steps_per_epoch=2)
    expected = 0.02 + 1.98 * (1 + math.cos(math.pi * 0.999)) / 2
    assert table.learning_rate(1999, 1.0) == pytest.approx(expected)


def test_a_step_schedule_drops_after_its_epochs() -> None:
    """As PGFA's authors: lr for epochs 0 to 39 of 60, a tenth of it for 40 to 59."""
    optim = {"lr": 0.1, "warmup": 0, "schedule": "step", "drop_epochs": [40, 50]}
    table = Schedule(from_dict({"budget": {"epochs": 60}, "optim": optim}), steps_per_epoch=3)
    rates = [table.learning_rate(step, (step + 1) / 180) for step in range(180)]
    assert rates == pytest.approx([0.1] * 120 + [0.01] * 30 + [0.001] * 30)
    warm = Schedule(
        from_dict({"budget": {"steps": 100}, "optim": optim | {"warmup": 0.1}}), steps_per_epoch=2
    )
    assert warm.learning_rate(4, 0.05) == pytest.approx(0.05)
    assert warm.learning_rate(79, 0.8) == pytest.approx(0.1)
    assert warm.learning_rate(80, 0.81) == pytest.approx(0.01)


def test_sgd_by_hand(rng: torch.Generator) -> None:
    """Nesterov's momentum as torch defines it (Sutskever et al., ICML 2013), decay of everything,
    and a learning rate of its own for the second group."""
    model, batches = problem(rng)
    plain = copy.deepcopy(model)
    optim = OptimConfig(kind="sgd", lr=0.05, weight_decay=0.02, momentum=0.8)
    weights = list(model.parameters())
    groups = [{"params": weights[:2], "lr": 1.0}, {"params": weights[2:], "lr": 0.1}]
    optimizer = build_optimizer(groups, optim)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, pytest.approx(0.005)]
    assert [group["lr_factor"] for group in optimizer.param_groups] == [1.0, 0.1]
    speed = [torch.zeros_like(each) for each in weights]
    for batch in batches:
        for each in (model, plain):
            each.zero_grad()
            each(batch).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            for index, weight in enumerate(plain.parameters()):
                slope = weight.grad + 0.02 * weight
                speed[index] = 0.8 * speed[index] + slope
                weight -= (0.05 if index < 2 else 0.005) * (slope + 0.8 * speed[index])
    for mine, hand in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, hand, rtol=2e-4, atol=2e-5)


def test_every_group_keeps_its_share_of_the_rate_and_its_decay(rng: torch.Generator) -> None:
    model, _ = problem(rng)
    first, *rest = model.parameters()
    groups = [{"params": [first], "lr": 0.1}, {"params": rest, "lr": 1.0}]
    found = build_optimizer(groups, OptimConfig(lr=2.0, weight_decay=0.5)).param_groups
    told = [(group["lr_factor"], group["weight_decay"]) for group in found]
    assert told == [(0.1, 0.5), (0.1, 0.0), (1.0, 0.5), (1.0, 0.0)]
