"""Optimiser step: forward and backward passes in any precision, on any number of ranks."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pose.deprecation import deprecated_getattr, deprecated_members

from ..config.schema import OptimConfig
from ..data.samplers import step_generator
from ..models.norm import sync_batchnorm_layers
from ..ops.edge_moments import sync_batchnorm
from .distributed import DistInfo, all_gather_rows
from .task import Batch, Task

__all__ = ["Stepper", "check_precision", "fork_rng"]

# Keys of the random streams of dropout in `objective` and `features`; tasks have others.
_OBJECTIVE, _FEATURES = 12, 13
_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(optim: OptimConfig, device: torch.device) -> None:
    """Raises ValueError for a precision that the device lacks."""
    if optim.precision == "fp16" and device.type != "cuda":
        raise ValueError(
            f"optim.precision=fp16 needs device=cuda; got {device.type}: take bf16 or fp32"
        )


@deprecated_members
class Stepper:
    """Gradients and updates of a run's steps.

    Gradients of several batches (``optim.grad_accum_steps``) are averaged. The mean equals the
    gradient of one large batch only where the loss is a mean over independent items, such as the
    cross-entropy: BatchNorm moments and the pairs of losses over pairs are those of each batch
    alone. Several ranks, in contrast, use common moments and pairs, and equal one process.

    Args:
        task: Task with its model on the device. With several ranks its normalisation layers are
            synchronised.
        optimizer: Optimiser of the model's parameters.
        optim: Precision, clipping and accumulation.
        seed: Seed of dropout.
        device: Device of model and batches.
        processes: Ranks of each batch.

    Raises:
        ValueError: The device lacks the precision.
    """

    def __init__(
        self,
        task: Task[Any],
        optimizer: torch.optim.Optimizer,
        optim: OptimConfig,
        *,
        seed: int,
        device: torch.device,
        processes: DistInfo,
    ) -> None:
        self._task, self._optimizer, self._optim = task, optimizer, optim
        self._device, self._world = device, processes.world_size
        check_precision(optim, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=optim.precision == "fp16")
        learner = _Learner(task, optim, seed, device, processes)
        self._features, self._learner = learner.features, cast("nn.Module", learner)
        if processes.world_size > 1:
            sync_batchnorm_layers(task.model)
            # Moments are synchronised already; torch 2.13 renames the argument.
            known = inspect.signature(DistributedDataParallel).parameters
            name = (
                "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
            )
            self._learner = DistributedDataParallel(self._learner, **cast("Any", {name: False}))
            # Weights of 1 x 1 convolutions have two equal layouts, which costs nothing.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")

    def forward_only(self, index: int, batch: Batch) -> None:
        """Forward pass without a loss; only the running statistics of norms change."""
        with sync_batchnorm(self._world):
            self._features(index, batch)

    def gradients(self, first: int, batches: list[Batch], scale: float) -> tuple[float, float]:
        """Mean gradient of the batches, stored in the parameters.

        Args:
            first: Number of the first batch.
            batches: One or more batches with this rank's rows.
            scale: Factor of the loss.

        Returns:
            Loss and accuracy of all ranks' rows, means over the batches. A loss that is not finite
            has no gradients.
        """
        self._task.model.train()
        self._optimizer.zero_grad(set_to_none=True)
        losses, accuracies = [], []
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            wait = self._world > 1 and not last
            with sync_batchnorm(self._world), self._learner.no_sync() if wait else nullcontext():  # type: ignore[operator]
                loss, accuracy = self._learner(first + number, batch)
                losses.append(float(loss.detach()))
                accuracies.append(accuracy)
                if not torch.isfinite(loss):
                    break
                self.scaler.scale(loss * (scale / len(batches))).backward()
        return sum(losses) / len(losses), sum(accuracies) / len(accuracies)

    def update(self) -> float:
        """Clipping of the gradients, and the optimiser's step.

        Returns:
            Norm of the gradient before clipping. If it is not finite, no parameter changed.
        """
        self.scaler.unscale_(self._optimizer)
        limit = self._optim.grad_clip or float("inf")
        norm = float(nn.utils.clip_grad_norm_(self._task.model.parameters(), limit))
        finite = norm - norm == 0
        if finite or self.scaler.is_enabled():
            # After an overflow, the scaler skips the step and takes a smaller scale.
            self.scaler.step(self._optimizer)
            self.scaler.update()
        return norm


class _Learner(nn.Module):
    """Module from a batch to its loss, wrapped by `DistributedDataParallel`."""

    def __init__(
        self,
        task: Task[Any],
        optim: OptimConfig,
        seed: int,
        device: torch.device,
        processes: DistInfo,
    ) -> None:
        super().__init__()
        self.model = task.model
        self._task, self._seed, self._device, self._processes = task, seed, device, processes
        self._dtype = _DTYPES[optim.precision]

    def features(self, index: int, batch: Batch) -> dict[str, Tensor]:
        """Features of this rank's rows, in single precision."""
        rank = self._processes.rank
        on = self._dtype is not None
        with (
            fork_rng(self._seed, self._device, _FEATURES, index, *([rank] if rank else [])),
            torch.autocast(self._device.type, self._dtype, enabled=on),
        ):
            found = self._task.features(batch.to(self._device))
        low = (torch.bfloat16, torch.float16)
        return {name: v.float() if v.dtype in low else v for name, v in found.items()}

    def forward(self, index: int, batch: Batch) -> tuple[Tensor, float]:
        """Loss and accuracy of all ranks' rows."""
        found = all_gather_rows(self.features(index, batch), self._processes.world_size)
        with fork_rng(self._seed, self._device, _OBJECTIVE, index):
            output = self._task.objective(found)
        return output.loss, output.accuracy


@contextmanager
def fork_rng(seed: int, device: torch.device, *keys: int) -> Iterator[None]:
    """Global generators of torch, the source of dropout, seeded for the block and restored.

    Args:
        seed: Seed of the run.
        device: Device of a second generator to seed, beside the CPU's.
        *keys: Key of the random stream, such as the step.
    """
    devices = [device] if device.type == "cuda" else []
    generator = step_generator(seed, *keys)
    with torch.random.fork_rng(devices):
        torch.set_rng_state(generator.get_state())
        if devices:
            torch.cuda.manual_seed(generator.initial_seed())
        yield


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
