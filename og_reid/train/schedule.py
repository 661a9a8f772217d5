"""Budget of a run, and its learning-rate schedule."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from pose.deprecation import deprecated_members

from ..config.schema import BudgetConfig, OptimConfig, TrainConfig

__all__ = ["BudgetTimer", "Schedule", "learning_rate", "warmup_loss_scale"]


class BudgetTimer:
    """Processor and wall-clock seconds of a run, summed over interruptions."""

    def __init__(self, budget: BudgetConfig, *, cpu: float = 0.0, wall: float = 0.0) -> None:
        """Starts at the ``cpu`` and ``wall`` seconds spent before an interruption."""
        self._budget = budget
        self._cpu_zero = time.process_time() - cpu
        self._wall_zero = time.monotonic() - wall

    @property
    def cpu(self) -> float:
        """Processor time in seconds, summed over threads."""
        return time.process_time() - self._cpu_zero

    @property
    def wall(self) -> float:
        """Wall-clock time in seconds."""
        return time.monotonic() - self._wall_zero

    def fraction(self, step: int, reading: tuple[float, float] | None = None) -> float:
        """Fraction in [0, 1] of the budget used up after ``step`` steps, by the nearest limit.

        Args:
            step: Steps done.
            reading: `cpu` and `wall` seconds in place of the current ones.
        """
        cpu, wall = (self.cpu, self.wall) if reading is None else reading
        used = [step / self._budget.steps]
        if self._budget.cpu_minutes is not None:
            used.append(cpu / (60 * self._budget.cpu_minutes))
        if self._budget.wall_minutes is not None:
            used.append(wall / (60 * self._budget.wall_minutes))
        return min(1.0, max(used))


def learning_rate(
    fraction: float, optim: OptimConfig, *, epoch: int = 0, stage: float | None = None
) -> float:
    """Learning rate at a fraction of the run: linear warm-up, then cosine or step decay.

    The cosine ends at ``optim.final_lr_ratio`` times the highest rate; step decay multiplies the
    rate by ``optim.gamma`` after each of the epochs ``optim.milestones``.

    Args:
        fraction: Fraction of the run, in [0, 1].
        optim: Settings of the schedule.
        epoch: Epochs done.
        stage: Phase of the cosine in [0, 1]; None for ``fraction``.
    """
    if fraction < optim.warmup:
        return optim.lr * fraction / optim.warmup
    if optim.schedule == "step":
        return optim.lr * optim.gamma ** sum(epoch >= each for each in optim.milestones)
    stage = fraction if stage is None else max(stage, optim.warmup)
    turned = (stage - optim.warmup) / (1 - optim.warmup)
    cosine = (1 + math.cos(math.pi * turned)) / 2
    return optim.lr * (optim.final_lr_ratio + (1 - optim.final_lr_ratio) * cosine)


def warmup_loss_scale(step: int, warmup_steps: int) -> float:
    """Factor of the loss at a step, counted from 0: rises from 0.1 to 1 over the warm-up.

    Warm-up of the OG-Net authors. Adam cancels the factor, except relative to its weight decay,
    which is up to ten times as strong during the warm-up.
    """
    return min(1.0, 0.1 + 0.9 * (step + 1) / warmup_steps) if warmup_steps else 1.0


@deprecated_members
@dataclass(frozen=True)
class Schedule:
    """Learning rate, warm-up and weight averaging at each step of a run.

    Under a budget of steps or minutes all follow the used fraction of the budget. Under a budget of
    epochs the cosine steps down after each epoch, and the weights at the ends of the last epochs
    are averaged.

    Attributes:
        config: Settings of the run.
        steps_per_epoch: Optimiser steps per epoch: the sampler's, fewer with accumulated gradients.
    """

    config: TrainConfig
    steps_per_epoch: int

    @property
    def budget(self) -> BudgetConfig:
        """Budget in steps, and in minutes where limited."""
        budget = self.config.budget
        if budget.epochs is None:
            return budget
        return replace(budget, steps=budget.epochs * self.steps_per_epoch)

    @property
    def norm_batches(self) -> int:
        """Number of batches for `og_reid.train.weight_averaging.update_bn`."""
        optim = self.config.optim
        return optim.bn_update_batches or self.steps_per_epoch * optim.grad_accum_steps

    def learning_rate(self, step: int, fraction: float) -> float:
        """Learning rate of a step.

        Args:
            step: Counted from 0.
            fraction: Used fraction of the budget at the end of the step, in [0, 1].
        """
        epoch, epochs = step // self.steps_per_epoch, self.config.budget.epochs
        stage = None if epochs is None else epoch / epochs
        return learning_rate(fraction, self.config.optim, epoch=epoch, stage=stage)

    def warmup_loss_scale(self, step: int) -> float:
        """Factor of the loss at a step, counted from 0."""
        return warmup_loss_scale(step, self.config.loss.warmup_epochs * self.steps_per_epoch)

    def averages(self, step: int, fraction: float) -> bool:
        """True if the weights after a step are averaged; arguments as for `learning_rate`."""
        epochs, average = self.config.budget.epochs, self.config.optim.swa_fraction
        if not average:
            return False
        if epochs is None:
            return fraction >= 1 - average
        epoch, slot = divmod(step, self.steps_per_epoch)
        # 0.9 of 1000 epochs must not round to 900.0000001.
        return slot == self.steps_per_epoch - 1 and epoch >= (1 - average) * epochs - 1e-6
