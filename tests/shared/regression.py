"""Regression task, for tests of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from og_reid.config.load import from_dict
from og_reid.config.schema import TrainConfig
from og_reid.data.samplers import ShuffleSampler, step_generator
from og_reid.evaluation import Metrics, evaluate
from og_reid.train import StepOutput
from og_reid.train.task import ALL_ROWS


@dataclass(frozen=True, eq=False)
class Pair:
    x: Tensor
    y: Tensor

    def to(self, device: torch.device | str) -> Pair:
        return Pair(self.x.to(device), self.y.to(device))


class Regression:
    """y = w . x with dropout, and a bias that learns at a tenth of the rate."""

    figures: Iterator[float] = iter(())

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

    def objective(self, features: dict[str, Tensor]) -> StepOutput:
        wrong = features["guess"] - features["y"]
        return StepOutput(wrong.square().mean(), float((wrong.abs() < 0.1).float().mean()))

    def names(self, step: int) -> list[str]:
        return [str(index) for index in self.sampler.indices(step).tolist()]

    def validate(self) -> Metrics | None:
        mAP = next(self.figures, None)
        return None if mAP is None else metrics(mAP)

    def write_model(self, path: Path, origin: Mapping[str, Any]) -> bool:
        self.written.append({"file": path.name, **origin})
        return False


def metrics(mAP: float) -> Metrics:
    """Metrics with this mAP, 1 / n: one query with its match at rank n."""
    pids = torch.full((5,), 9)
    pids[round(1 / mAP) - 1] = 1
    return evaluate(distance=torch.arange(5.0)[None], query_pids=[1], gallery_pids=pids)


def config(**changes: object) -> TrainConfig:
    settings = {
        "optim": {"optimizer": "sgd", "lr": 0.1, "warmup": 0, "swa_fraction": 0, "weight_decay": 0},
        "budget": {"epochs": 40},
        "device": "cpu",
    }
    return from_dict({**settings, **changes})
