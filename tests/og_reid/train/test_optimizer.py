from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from og_reid.config.schema import OptimConfig
from og_reid.train.optimizer import build_optimizer
from og_reid.train.task import single_param_group


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
        single_param_group(ours), OptimConfig(optimizer="amsgrad", lr=0.05, weight_decay=0.02)
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


def test_sgd_by_hand(rng: torch.Generator) -> None:
    """Nesterov's momentum as torch defines it (Sutskever et al., ICML 2013), decay of everything,
    and a learning rate of its own for the second group."""
    model, batches = problem(rng)
    plain = copy.deepcopy(model)
    optim = OptimConfig(optimizer="sgd", lr=0.05, weight_decay=0.02, momentum=0.8)
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


def test_every_group_keeps_its_factor_of_the_rate_and_its_decay(rng: torch.Generator) -> None:
    model, _ = problem(rng)
    first, *rest = model.parameters()
    groups = [{"params": [first], "lr": 0.1}, {"params": rest, "lr": 1.0}]
    found = build_optimizer(groups, OptimConfig(lr=2.0, weight_decay=0.5)).param_groups
    reported = [(group["lr_factor"], group["weight_decay"]) for group in found]
    assert reported == [(0.1, 0.5), (0.1, 0.0), (1.0, 0.5), (1.0, 0.0)]
