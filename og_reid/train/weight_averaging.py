"""Averages of a network's weights (SWA, EMA), and BatchNorm statistics for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["EMA", "SWA", "update_bn"]


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
    def swapped_in(self, model: nn.Module) -> Iterator[None]:
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
