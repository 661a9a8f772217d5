"""How far a run is, how fast it learns there, and the average of its last weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .config import BudgetConfig, OptimConfig

__all__ = ["Clock", "WeightAverage", "estimate_norms", "learning_rate"]


class Clock:
    """Processor and wall seconds of a run, over its interruptions."""

    def __init__(self, budget: BudgetConfig, *, cpu: float = 0.0, wall: float = 0.0) -> None:
        """Starts with the seconds that were spent before an interruption."""
        self._budget = budget
        self._cpu_zero = time.process_time() - cpu
        self._wall_zero = time.monotonic() - wall

    @property
    def cpu(self) -> float:
        """Processor seconds, summed over threads."""
        return time.process_time() - self._cpu_zero

    @property
    def wall(self) -> float:
        """Seconds on the clock."""
        return time.monotonic() - self._wall_zero

    def fraction(self, step: int) -> float:
        """Share of the budget used up after ``step`` steps, by whichever limit is nearest."""
        shares = [step / self._budget.steps]
        if self._budget.cpu_minutes is not None:
            shares.append(self.cpu / (60 * self._budget.cpu_minutes))
        if self._budget.wall_minutes is not None:
            shares.append(self.wall / (60 * self._budget.wall_minutes))
        return min(1.0, max(shares))


def learning_rate(fraction: float, optim: OptimConfig) -> float:
    """Learning rate at a share in [0, 1] of the run: a linear rise, then half a cosine."""
    if fraction < optim.warmup:
        return optim.lr * fraction / optim.warmup
    turned = (fraction - optim.warmup) / (1 - optim.warmup)
    cosine = (1 + math.cos(math.pi * turned)) / 2
    return optim.lr * (optim.final_lr + (1 - optim.final_lr) * cosine)


class WeightAverage:
    """Plain mean of the weights of many steps (Izmailov et al., UAI 2018)."""

    def __init__(self) -> None:
        """Starts empty."""
        self.count = 0
        self._mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Takes the present weights into the mean."""
        self.count += 1
        for name, weight in model.named_parameters():
            if name in self._mean:
                self._mean[name].lerp_(weight, 1 / self.count)
            else:
                self._mean[name] = weight.detach().clone()

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Puts the mean into the model; does nothing when it is empty."""
        for name, weight in model.named_parameters():
            if name in self._mean:
                weight.copy_(self._mean[name])

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"count": self.count, "mean": dict(self._mean)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """What `state_dict` gave, on ``device``."""
        self.count = state["count"]
        self._mean = {name: mean.to(device) for name, mean in state["mean"].items()}


@torch.no_grad()
def estimate_norms(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Measures the BatchNorm statistics anew: their plain mean over ``batches``.

    Averaged weights never saw the running statistics that were kept while training.

    Args:
        model: Left in training mode.
        batches: Arguments of the model, points and colours.
    """
    norms = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    model.train()
    for points, colors in batches:
        model(points, colors)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
