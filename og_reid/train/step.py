"""One step of the optimiser: batches forward and backward, in any precision, on any processes."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pose.deprecation import deprecated_getattr

from ..config.schema import OptimConfig
from ..data.samplers import step_generator
from ..models.norm import sync_batchnorm_layers
from ..ops.edge_moments import sync_batchnorm
from .distributed import DistInfo, all_gather_rows
from .task import Batch, Task

__all__ = ["Stepper", "check_precision", "fork_rng"]

# Keys of random streams: dropout in `objective`, dropout in `features`. Tasks have others.
_OBJECTIVE, _FEATURES = 12, 13
_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(optim: OptimConfig, device: torch.device) -> None:
    """Refuses a precision that the device does not have."""
    if optim.precision == "fp16" and device.type != "cuda":
        raise ValueError(
            f"optim.precision=fp16 needs device=cuda; got {device.type}: take bf16 or fp32"
        )


class Stepper:
    """Does the steps of a run.

    Of several batches (``optim.accumulate``) the mean of the gradients is taken. That is the
    gradient of one batch of all their items where the loss is a mean over items that does not see
    the others, such as the cross-entropy, and where nothing else joins the items of a batch:
    BatchNorm takes its moments, and losses over pairs see their pairs, in each batch alone.
    Several processes, in contrast, share moments and pairs: what they find is that of one process.

    Args:
        task: What is trained; its model lies on the device. With several processes its
            normalisation layers are changed to share their moments.
        optimizer: Of its parameters.
        optim: Precision, clipping, accumulation.
        seed: Of dropout.
        device: Where batches are moved.
        processes: That share each batch.
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
        self._see, self._learner = learner.see, cast("nn.Module", learner)
        if processes.world_size > 1:
            sync_batchnorm_layers(task.model)
            # Norms share their moments as they go; the argument has a younger name from torch 2.13.
            known = inspect.signature(DistributedDataParallel).parameters
            name = (
                "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
            )
            self._learner = DistributedDataParallel(self._learner, **cast("Any", {name: False}))
            # That weights of 1 x 1 convolutions have two equal layouts costs nothing.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")

    def forward_only(self, index: int, batch: Batch) -> None:
        """The network sees a batch and learns nothing, but for the moments of its norms."""
        with sync_batchnorm(self._world):
            self._see(index, batch)

    def gradients(self, first: int, batches: list[Batch], scale: float) -> tuple[float, float]:
        """Puts the mean gradient of some batches into the parameters.

        Args:
            first: Number of the first batch.
            batches: One or more, with this process's rows.
            scale: Factor on the loss.

        Returns:
            Loss and accuracy, means over the batches, of all processes' rows. A loss that is not
            finite has no gradients.
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
        """Clips the gradients and lets the optimiser use them.

        Returns:
            Norm of the gradient before it was clipped. When it is not finite nothing was changed.
        """
        self.scaler.unscale_(self._optimizer)
        limit = self._optim.clip or float("inf")
        norm = float(nn.utils.clip_grad_norm_(self._task.model.parameters(), limit))
        finite = norm - norm == 0
        if finite or self.scaler.is_enabled():
            # The scaler leaves out a step that overflowed and goes on with a smaller scale.
            self.scaler.step(self._optimizer)
            self.scaler.update()
        return norm


class _Learner(nn.Module):
    """From a batch to its loss, as one module: what `DistributedDataParallel` wraps."""

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

    def see(self, index: int, batch: Batch) -> dict[str, Tensor]:
        """Features of this process's rows, in single precision."""
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
        """Loss and accuracy of all processes' rows."""
        found = all_gather_rows(self.see(index, batch), self._processes.world_size)
        with fork_rng(self._seed, self._device, _OBJECTIVE, index):
            outcome = self._task.objective(found)
        return outcome.loss, outcome.accuracy


@contextmanager
def fork_rng(seed: int, device: torch.device, *keys: int) -> Iterator[None]:
    """Dropout draws from torch's global generators: sets them here, and puts them back after."""
    devices = [device] if device.type == "cuda" else []
    generator = step_generator(seed, *keys)
    with torch.random.fork_rng(devices):
        torch.set_rng_state(generator.get_state())
        if devices:
            torch.cuda.manual_seed(generator.initial_seed())
        yield


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
