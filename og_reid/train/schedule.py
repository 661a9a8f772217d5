"""Budget of a run, and its learning-rate schedule."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from ..config.schema import BudgetConfig, OptimConfig, TrainConfig

__all__ = ["BudgetTimer", "Schedule", "learning_rate", "warmup_loss_scale"]


class BudgetTimer:
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

    def fraction(self, step: int, reading: tuple[float, float] | None = None) -> float:
        """Share of the budget used up after ``step`` steps, by whichever limit is nearest.

        Args:
            step: Steps done.
            reading: `cpu` and `wall` seconds that count instead of those of now.
        """
        cpu, wall = (self.cpu, self.wall) if reading is None else reading
        shares = [step / self._budget.steps]
        if self._budget.cpu_minutes is not None:
            shares.append(cpu / (60 * self._budget.cpu_minutes))
        if self._budget.wall_minutes is not None:
            shares.append(wall / (60 * self._budget.wall_minutes))
        return min(1.0, max(shares))


def learning_rate(
    fraction: float, optim: OptimConfig, *, epoch: int = 0, stage: float | None = None
) -> float:
    """Learning rate at a share in [0, 1] of the run: a linear rise, then the schedule.

    The schedule is half a cosine down to ``optim.final_lr``, or for ``step`` a factor of
    ``optim.drop`` after each of the epochs ``optim.drop_epochs``.

    Args:
        fraction: Share of the run.
        optim: Numbers of the schedule.
        epoch: Epochs done.
        stage: How far the cosine is, where that is not ``fraction``.
    """
    if fraction < optim.warmup:
        return optim.lr * fraction / optim.warmup
    if optim.schedule == "step":
        return optim.lr * optim.drop ** sum(epoch >= each for each in optim.drop_epochs)
    stage = fraction if stage is None else max(stage, optim.warmup)
    turned = (stage - optim.warmup) / (1 - optim.warmup)
    cosine = (1 + math.cos(math.pi * turned)) / 2
    return optim.lr * (optim.final_lr + (1 - optim.final_lr) * cosine)


def warmup_loss_scale(step: int, warmup_steps: int) -> float:
    """Factor on the loss of a step, counted from 0: it rises from .1 to 1 over the warm-up.

    The OG-Net authors' warm-up. Adam divides the factor out again but for its weight decay, which
    counts up to ten times as much in the meantime.
    """
    return min(1.0, 0.1 + 0.9 * (step + 1) / warmup_steps) if warmup_steps else 1.0


@dataclass(frozen=True)
class Schedule:
    """What is due at a step of a run.

    Under a budget of steps or minutes everything moves with the share of it that is used up. Under
    one of epochs the cosine of the learning rate goes down after each epoch, and the weights at
    the ends of the last epochs are averaged.

    Attributes:
        config: Settings of the run.
        steps_per_epoch: Of the optimiser: the sampler's, fewer where gradients are accumulated.
    """

    config: TrainConfig
    steps_per_epoch: int

    @property
    def budget(self) -> BudgetConfig:
        """The budget in steps, and in minutes if limited."""
        budget = self.config.budget
        if budget.epochs is None:
            return budget
        return replace(budget, steps=budget.epochs * self.steps_per_epoch)

    @property
    def norm_batches(self) -> int:
        """Batches to estimate BatchNorm statistics from."""
        optim = self.config.optim
        return optim.norm_batches or self.steps_per_epoch * optim.accumulate

    def learning_rate(self, step: int, fraction: float) -> float:
        """Learning rate of a step, counted from 0, at whose end ``fraction`` is used up."""
        epoch, epochs = step // self.steps_per_epoch, self.config.budget.epochs
        stage = None if epochs is None else epoch / epochs
        return learning_rate(fraction, self.config.optim, epoch=epoch, stage=stage)

    def warmup_loss_scale(self, step: int) -> float:
        """Factor on the loss of a step, counted from 0."""
        return warmup_loss_scale(step, self.config.loss.warmup_epochs * self.steps_per_epoch)

    def averages(self, step: int, fraction: float) -> bool:
        """Whether the weights after a step are averaged; arguments as for `learning_rate`."""
        epochs, average = self.config.budget.epochs, self.config.optim.average
        if not average:
            return False
        if epochs is None:
            return fraction >= 1 - average
        epoch, slot = divmod(step, self.steps_per_epoch)
        # .9 of 1000 epochs must not become 900.0000001.
        return slot == self.steps_per_epoch - 1 and epoch >= (1 - average) * epochs - 1e-6
