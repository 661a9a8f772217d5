"""The loop on a task of numbers: what it asks for, in which order, and what it does with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from og_reid.config import TrainConfig, from_dict
from og_reid.data.samplers import ShuffleSampler, step_generator
from og_reid.evaluation import Metrics
from og_reid.train import Outcome, fit
from og_reid.train.task import ALL_ROWS


@dataclass(frozen=True, eq=False)
class Pair:
    x: Tensor
    y: Tensor

    def to(self, device: torch.device | str) -> Pair:
        return Pair(self.x.to(device), self.y.to(device))


class Regression:
    """y = w . x with dropout, and a bias that learns at a tenth of the rate."""

    def __init__(self, dropout: float = 0.0) -> None:
        self.model = nn.Sequential(nn.Dropout(dropout), nn.Linear(3, 1))
        generator = torch.Generator().manual_seed(2)
        for weight in self.model.parameters():
            weight.data.normal_(generator=generator)
        self.x = torch.randn(12, 3, generator=generator)
        self.y = self.x @ torch.tensor([1.0, -2.0, 0.5]) + 0.3
        self.sampler = ShuffleSampler(12, batch_size=4, seed=1)
        self.written: list[Mapping[str, Any]] = []

    def parameter_groups(self) -> list[dict[str, Any]]:
        linear = self.model[1]
        return [{"params": [linear.weight], "lr": 1.0}, {"params": [linear.bias], "lr": 0.1}]

    def batch(self, step: int, rows: slice = ALL_ROWS) -> Pair:
        indices = self.sampler.indices(step)
        noise = 0.01 * torch.randn(len(indices), 3, generator=step_generator(3, step))
        return Pair((self.x[indices] + noise)[rows], self.y[indices][rows])

    def features(self, batch: Pair) -> dict[str, Tensor]:
        return {"guess": self.model(batch.x)[:, 0], "y": batch.y}

    def objective(self, features: dict[str, Tensor]) -> Outcome:
        wrong = features["guess"] - features["y"]
        return Outcome(wrong.square().mean(), float((wrong.abs() < 0.1).float().mean()))

    def names(self, step: int) -> list[str]:
        return [str(index) for index in self.sampler.indices(step).tolist()]

    def validate(self) -> Metrics | None:
        return None

    def write_model(self, path: Path, origin: Mapping[str, Any]) -> bool:
        self.written.append(origin)
        return False


def config(**changes: object) -> TrainConfig:
    settings = {
        "optim": {"kind": "sgd", "lr": 0.1, "warmup": 0, "average": 0, "weight_decay": 0},
        "budget": {"epochs": 40},
        "device": "cpu",
    }
    return from_dict({**settings, **changes})


def test_the_loop_solves_a_regression(tmp_path: Path) -> None:
    task = Regression()
    result = fit(config(), task, out_dir=tmp_path)
    assert len(result.history) == 40 * 3
    assert result.validation is None
    assert result.model is task.model
    torch.testing.assert_close(
        task.model[1].weight[0], torch.tensor([1.0, -2, 0.5]), atol=0.02, rtol=0
    )
    assert result.history[-1].accuracy == 1.0


def test_groups_learn_at_their_own_rate(tmp_path: Path) -> None:
    task = Regression()
    weight, bias = (each.detach().clone() for each in task.model.parameters())
    fit(
        config(
            budget={"steps": 1},
            optim={
                "kind": "sgd",
                "lr": 0.1,
                "weight_decay": 0,
                "momentum": 0.5,
                "warmup": 0,
                "average": 0,
                "clip": 0,
                "final_lr": 1,
            },
        ),
        task,
        out_dir=tmp_path,
    )
    twin = Regression()
    twin.objective(twin.features(twin.batch(0))).loss.backward()
    for (before, after), slope, rate in zip(
        ((weight, task.model[1].weight), (bias, task.model[1].bias)),
        (each.grad for each in twin.model.parameters()),
        (0.1, 0.01),
        strict=True,
    ):
        torch.testing.assert_close(before - after, 1.5 * rate * slope)


def test_a_model_knows_where_it_comes_from(tmp_path: Path) -> None:
    task = Regression()
    fit(config(budget={"steps": 2}, seed=7), task, out_dir=tmp_path)
    (origin,) = task.written
    assert origin["seed"] == 7
    assert origin["step"] == 2
    assert origin["config"]["optim"]["kind"] == "sgd"
    assert origin["versions"]["torch"] == torch.__version__
    assert set(origin["versions"]) == {"og_reid", "torch", "numpy", "python"}


def test_dropout_depends_on_the_step_alone(tmp_path: Path) -> None:
    losses = []
    for name in "ab":
        torch.rand(3)
        history = fit(config(budget={"steps": 3}), Regression(0.5), out_dir=tmp_path / name).history
        losses.append([record.loss for record in history])
    assert losses[0] == losses[1]
    plain = fit(config(budget={"steps": 3}), Regression(), out_dir=tmp_path / "c").history
    assert plain[0].loss != pytest.approx(losses[0][0])
