"""Optimiser of a run: AdamW, Adam with AMSGrad, or SGD with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..config.schema import OptimConfig

__all__ = ["build_optimizer"]


def build_optimizer(
    groups: Sequence[Mapping[str, Any]], optim: OptimConfig
) -> torch.optim.Optimizer:
    """Optimiser of the settings; the loop sets its learning rates at each step.

    ``sgd`` has Nesterov's momentum and L2 decay of all parameters. ``adamw`` decays matrices only,
    no biases and norms. ``amsgrad`` is Adam with a step size that never grows again (Reddi et al.,
    ICLR 2018) and L2 decay of all parameters, as in the training of the OG-Net authors.

    Args:
        groups: ``params``, and ``lr`` as a factor of ``optim.lr``, stored as ``lr_factor`` in the
            groups of the optimiser.
        optim: Kind of the optimiser, and its parameters.
    """
    sets = [
        {**group, "params": list(group["params"]), "weight_decay": optim.weight_decay}
        for group in groups
    ]
    if optim.optimizer == "adamw":
        sets = [part for each in sets for part in _by_decay(each)]
    for each in sets:
        each["lr_factor"] = each["lr"]
        each["lr"] = optim.lr * each["lr_factor"]
    if optim.optimizer == "sgd":
        return torch.optim.SGD(sets, lr=optim.lr, momentum=optim.momentum, nesterov=True)
    if optim.optimizer == "amsgrad":
        return torch.optim.Adam(sets, lr=optim.lr, amsgrad=True)
    return torch.optim.AdamW(sets, lr=optim.lr)


def _by_decay(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Two groups of one: matrices, and biases and norms without decay."""
    matrices = [each for each in group["params"] if each.dim() > 1]
    others = [each for each in group["params"] if each.dim() <= 1]
    return [{**group, "params": matrices}, {**group, "params": others, "weight_decay": 0.0}]
