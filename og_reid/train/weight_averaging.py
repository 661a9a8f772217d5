"""Averages of a network's weights (SWA, EMA), and BatchNorm statistics for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pose.deprecation import deprecated_members

__all__ = ["EMA", "SWA", "update_bn"]


class SWA:
    """Stochastic weight averaging: mean of the weights of many steps (Izmailov et al., UAI 2018).

    Attributes:
        count: Number of averaged steps.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.count = 0
        self._mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Adds the current weights to the mean."""
        self.count += 1
        for name, weight in model.named_parameters():
            if name in self._mean:
                self._mean[name].lerp_(weight, 1 / self.count)
            else:
                self._mean[name] = weight.detach().clone()

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Copies the mean into the model; an empty mean changes nothing."""
        for name, weight in model.named_parameters():
            if name in self._mean:
                weight.copy_(self._mean[name])

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: ``count``, and ``mean`` by parameter."""
        return {"count": self.count, "mean": dict(self._mean)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restores a state of `state_dict` on ``device``."""
        self.count = state["count"]
        self._mean = {name: mean.to(device) for name, mean in state["mean"].items()}


@deprecated_members
class EMA:
    """Exponential moving average of a model's weights and running statistics.

    The decay after n steps is ``min(decay, (1 + n) / (10 + n))``, to reduce the influence of the
    initial weights.

    Args:
        model: Model with the initial value of the average.
        decay: Fraction of the mean that stays at a step, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Starts at the current weights."""
        self._decay, self._count = decay, 0
        self._mean = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Adds the current weights to the mean; integers are copied."""
        decay = min(self._decay, (1 + self._count) / (10 + self._count))
        self._count += 1
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self._mean[name].lerp_(value, 1 - decay)
            else:
                self._mean[name].copy_(value)

    def apply(self, model: nn.Module) -> None:
        """Copies the mean into the model."""
        model.load_state_dict(self._mean)

    @contextmanager
    def swapped_in(self, model: nn.Module) -> Iterator[None]:
        """Averaged weights in the model within the block; its own weights afterwards."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.apply(model)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: ``count``, and ``mean`` by parameter."""
        return {"count": self._count, "mean": dict(self._mean)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restores a state of `state_dict` on ``device``."""
        self._count = state["count"]
        self._mean = {name: mean.to(device) for name, mean in state["mean"].items()}


@torch.no_grad()
def update_bn(model: nn.Module, passes: Iterable[object]) -> None:
    """Recomputes the BatchNorm running statistics as plain means over batches.

    Running statistics of the training do not fit averaged weights.

    Args:
        model: Network; left in training mode.
        passes: Lazy forward passes: drawing an item runs the model on one batch; the items
            themselves are ignored.
    """
    norms = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # plain mean
    model.train()
    for _ in passes:
        pass
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
