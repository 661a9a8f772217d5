"""How far a run is, how it learns there, and the average of its last weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..config.schema import BudgetConfig, OptimConfig, TrainConfig

__all__ = [
    "EMA",
    "SWA",
    "BudgetTimer",
    "Schedule",
    "build_optimizer",
    "learning_rate",
    "loss_scale",
    "update_bn",
]


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


def loss_scale(step: int, warmup_steps: int) -> float:
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

    def loss_scale(self, step: int) -> float:
        """Factor on the loss of a step, counted from 0."""
        return loss_scale(step, self.config.loss.warmup_epochs * self.steps_per_epoch)

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


def build_optimizer(
    groups: Sequence[Mapping[str, Any]], optim: OptimConfig
) -> torch.optim.Optimizer:
    """The configured optimiser; its learning rates are set anew at each step.

    ``sgd`` has Nesterov's momentum and pulls all parameters to 0. ``adamw`` pulls matrices to 0,
    but no biases and norms. ``amsgrad`` is Adam with a step size that never grows again (Reddi et
    al., ICLR 2018) and the decay of all parameters as a part of the gradient (L2), as the OG-Net
    authors train.

    Args:
        groups: ``params``, and ``lr`` as a factor of ``optim.lr``, which is kept in the optimiser's
            groups as ``lr_factor``.
        optim: Kind and numbers.
    """
    sets = [
        {**group, "params": list(group["params"]), "weight_decay": optim.weight_decay}
        for group in groups
    ]
    if optim.kind == "adamw":
        sets = [part for each in sets for part in _by_decay(each)]
    for each in sets:
        each["lr_factor"] = each["lr"]
        each["lr"] = optim.lr * each["lr_factor"]
    if optim.kind == "sgd":
        return torch.optim.SGD(sets, lr=optim.lr, momentum=optim.momentum, nesterov=True)
    if optim.kind == "amsgrad":
        return torch.optim.Adam(sets, lr=optim.lr, amsgrad=True)
    return torch.optim.AdamW(sets, lr=optim.lr)


def _by_decay(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A group in two: matrices, and biases and norms, which are not pulled to 0."""
    matrices = [each for each in group["params"] if each.dim() > 1]
    others = [each for each in group["params"] if each.dim() <= 1]
    return [{**group, "params": matrices}, {**group, "params": others, "weight_decay": 0.0}]


class SWA:
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


class EMA:
    """Exponential moving average of the weights and running statistics of a model.

    Its decay rises from 0 to its full value in the first steps, ``(1 + n) / (10 + n)`` after n of
    them, so that the first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Starts with the present weights; ``decay`` in (0, 1) is kept of the mean in a step."""
        self._decay, self._count = decay, 0
        self._mean = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Takes the present weights into the mean; whole numbers are taken as they are."""
        decay = min(self._decay, (1 + self._count) / (10 + self._count))
        self._count += 1
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self._mean[name].lerp_(value, 1 - decay)
            else:
                self._mean[name].copy_(value)

    def apply(self, model: nn.Module) -> None:
        """Puts the mean into the model."""
        model.load_state_dict(self._mean)

    @contextmanager
    def shown(self, model: nn.Module) -> Iterator[None]:
        """The model has the mean's weights within the block, and its own ones after it."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.apply(model)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"count": self._count, "mean": dict(self._mean)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """What `state_dict` gave, on ``device``."""
        self._count = state["count"]
        self._mean = {name: mean.to(device) for name, mean in state["mean"].items()}


@torch.no_grad()
def update_bn(model: nn.Module, looks: Iterable[object]) -> None:
    """Measures the BatchNorm statistics anew: their plain mean over batches.

    Averaged weights never saw the running statistics that were kept while training.

    Args:
        model: Left in training mode.
        looks: Runs the model on a batch whenever it gives an element; elements are ignored.
    """
    norms = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    model.train()
    for _ in looks:
        pass
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
