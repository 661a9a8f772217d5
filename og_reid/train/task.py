"""Task protocol of the training loop: batches, features, loss, validation, model files.

The loop handles steps, optimiser, schedule, checkpoints and ranks; a task handles point clouds or
images, independently of the state of the run.
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

#: All rows of a batch, for a single process.
ALL_ROWS = slice(None)


class Batch(Protocol):
    """Items of a training step, of any type that can be moved to a device."""

    def to(self, device: torch.device | str) -> Batch:
        """Copy of the batch on another device."""
        ...


@dataclass(frozen=True, eq=False)
class StepOutput:
    """Loss and accuracy of a batch.

    Attributes:
        loss: Scalar to minimise.
        accuracy: Fraction in [0, 1] of the batch that was classified correctly, for the log.
    """

    loss: Tensor
    accuracy: float


B = TypeVar("B", bound=Batch)


class Task(Protocol[B]):
    """Network, training data, and the loss that joins them.

    A batch must depend only on the seed of the run and the step: it is drawn again after an
    interruption, and ahead of time in another thread. It must not use torch's global generators;
    `features` and `objective` may (dropout), as the loop seeds them at each step.
    """

    @property
    def model(self) -> nn.Module:
        """Network, always the same object; the loop moves it, trains it and averages it.

        Contains all trained parameters; parameters without a loss must not require gradients.
        """
        ...

    @property
    def sampler(self) -> Sampler:
        """Order of the batches, and length of an epoch."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of ``params`` with ``lr``, a factor of the run's learning rate.

        `single_param_group` makes one group of all.
        """
        ...

    def batch(self, step: int, rows: slice = ALL_ROWS) -> B:
        """Batch of a step, on the CPU.

        Args:
            step: Counted from 0.
            rows: Rows of the batch for this rank; must equal those of the whole batch.
        """
        ...

    def features(self, batch: B) -> dict[str, Tensor]:
        """Outputs of the network for a batch, and further inputs of the loss, such as labels.

        Returns:
            Tensors with one row per item, on the batch's device. Rows of all ranks are gathered
            before `objective`, so that a loss over pairs uses all pairs.
        """
        ...

    def objective(self, features: dict[str, Tensor]) -> StepOutput:
        """Loss of the whole batch; parameters of the network, such as a classifier, may be used.

        Args:
            features: Tensors of `features`, of the whole batch, in single precision.
        """
        ...

    def names(self, step: int) -> list[str]:
        """Names of the items of a step's batch, for the report of a failed step."""
        ...

    def validate(self) -> Metrics | None:
        """Metrics of the current weights on validation data; None without such data."""
        ...

    def write_model(self, path: Path, provenance: Mapping[str, Any]) -> bool:
        """Model file of the network, written atomically.

        Args:
            path: A .safetensors file.
            provenance: Provenance of the run for the file's header, as plain JSON values.

        Returns:
            False for a network that no model file can describe.
        """
        ...


def relabel(pids: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Training classes in [0, C) of the identities of a training set.

    Args:
        pids: (n,) int64 identities; -1 for unlabelled (generated) items.
        config: Settings; unlabelled items need ``loss.lsro`` and a sampling without identities.

    Returns:
        (C,) identities in ascending order, and (n,) int64 the class of each item, or -1.

    Raises:
        ValueError: Unlabelled items that the settings do not use, or ``loss.lsro`` without such
            items.
    """
    unlabelled = pids == -1
    if unlabelled.any() and not (config.loss.lsro and config.data.sampling == "shuffle"):
        raise ValueError(
            f"train_set holds {int(unlabelled.sum())} unlabelled items (identity -1): "
            "leave them out, or set loss.lsro=true and data.sampling=shuffle; got "
            f"{config.loss.lsro} and {config.data.sampling}"
        )
    recolored = config.data.recolor and config.model.arch not in IMAGE_ARCHITECTURES
    if config.loss.lsro and not (recolored or unlabelled.any()):
        raise ValueError(
            "loss.lsro is for unlabelled samples: give generated images (og-reid train "
            "--unlabelled) or, for clouds, data.recolor above 0"
        )
    present = pids[~unlabelled].unique()
    labels = torch.searchsorted(present, pids).masked_fill(unlabelled, -1)
    return present, labels


def single_param_group(model: nn.Module) -> list[dict[str, Any]]:
    """One group of all parameters at the learning rate of the run, for `Task.parameter_groups`."""
    return [{"params": list(model.parameters()), "lr": 1.0}]


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
