"""What the loop asks of a task: batches, their features and loss, figures, and the finished model.

The loop knows steps, optimisers, schedules, checkpoints and processes, but neither clouds nor
photographs; a task knows those, but nothing of a step's place in a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from pose.deprecation import deprecated_getattr

from ..config.schema import IMAGE_ARCHITECTURES, TrainConfig
from ..data.samplers import Sampler
from ..evaluation import Metrics

__all__ = ["ALL_ROWS", "Batch", "StepOutput", "Task", "relabel", "single_param_group"]

ALL_ROWS = slice(None)


class Batch(Protocol):
    """Whatever a task makes of a step; it can be moved."""

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        ...


@dataclass(frozen=True, eq=False)
class StepOutput:
    """What a batch taught.

    Attributes:
        loss: Scalar to minimise.
        accuracy: Share in [0, 1] of the batch that was told right, for the log.
    """

    loss: Tensor
    accuracy: float


B = TypeVar("B", bound=Batch)


class Task(Protocol[B]):
    """A network, the data it learns from, and what it shall learn from it.

    A batch must depend on the seed of the run and the step alone: it is drawn again after an
    interruption, and ahead of time in another thread. It must leave torch's global generators
    alone; what runs in `features` and `objective` may use them (dropout), the loop sets them for
    each step.
    """

    @property
    def model(self) -> nn.Module:
        """The network, always the same object; the loop moves it, trains it and averages it.

        It holds all that is learned, and parameters that no loss depends on require no gradient.
        """
        ...

    @property
    def sampler(self) -> Sampler:
        """Which items form the batch of a step; the length of an epoch."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """``params`` with ``lr``, a factor of the run's; `single_param_group` has one group."""
        ...

    def batch(self, step: int, rows: slice = ALL_ROWS) -> B:
        """The batch of a step, on the CPU.

        Args:
            step: Counted from 0.
            rows: Which items of the batch are wanted, as the batch is shared by several
                processes. They must be the same as without it.
        """
        ...

    def features(self, batch: B) -> dict[str, Tensor]:
        """What the network sees in a batch, and what the loss needs besides, such as labels.

        Returns:
            Tensors with one row per item, on the batch's device. Those of all processes are
            joined before `objective` sees them, so that a loss over pairs sees all pairs.
        """
        ...

    def objective(self, features: dict[str, Tensor]) -> StepOutput:
        """The loss of the whole batch; it may use parameters of the network, such as a classifier.

        Args:
            features: As of `features`, of the whole batch, in single precision.
        """
        ...

    def names(self, step: int) -> list[str]:
        """Names of the items in the batch of a step, to be looked at when it went wrong."""
        ...

    def validate(self) -> Metrics | None:
        """Figures of the present weights on other people; None without any to look at."""
        ...

    def write_model(self, path: Path, origin: Mapping[str, Any]) -> bool:
        """Writes the network to a file, whole or not at all.

        Args:
            path: A .safetensors file.
            origin: What the file shall tell of the run, as plain JSON values.

        Returns:
            Whether it was written; False when the network is none that a file can describe.
        """
        ...


def relabel(pids: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Numbers for the identities of a training set.

    Args:
        pids: (n,) int64; -1 = nobody in particular: a generated or unlabelled image.
        config: ``loss.lsro`` is what such images need, and ``data.sampling`` must not ask who they
            are.

    Returns:
        (C,) the identities in ascending order, and (n,) int64 the number of each item's, or -1.

    Raises:
        ValueError: There are images of nobody and no use for them, or the other way round.
    """
    nobody = pids == -1
    if nobody.any() and not (config.loss.lsro and config.data.sampling == "shuffle"):
        raise ValueError(
            f"train_set holds {int(nobody.sum())} items of identity -1, nobody in particular: "
            "leave them out, or set loss.lsro=true and data.sampling=shuffle; got "
            f"{config.loss.lsro} and {config.data.sampling}"
        )
    recolored = config.data.recolor and config.model.preset not in IMAGE_ARCHITECTURES
    if config.loss.lsro and not (recolored or nobody.any()):
        raise ValueError(
            "loss.lsro is about people who are nobody: give generated images (og-reid train "
            "--unlabelled) or, for clouds, data.recolor above 0"
        )
    present = pids[~nobody].unique()
    labels = torch.searchsorted(present, pids).masked_fill(nobody, -1)
    return present, labels


def single_param_group(model: nn.Module) -> list[dict[str, Any]]:
    """All parameters with the learning rate of the run, for `Task.parameter_groups`."""
    return [{"params": list(model.parameters()), "lr": 1.0}]


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
