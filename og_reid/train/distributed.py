"""Several processes that train one network, as ``torchrun`` starts them.

Every process takes its rows of each batch; descriptors and labels are joined before the loss, so
that losses over pairs see all pairs, and gradients are those of one process with the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "DistInfo",
    "all_gather_rows",
    "broadcast_from_main",
    "get_dist_info",
    "init_distributed",
    "main_process_first",
    "reraise_peer_failure",
]


T = TypeVar("T")


@dataclass(frozen=True)
class DistInfo:
    """Which of how many processes this is.

    Attributes:
        rank: Number of this one, from 0.
        world: Of all.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes files and tells what happens."""
        return self.rank == 0

    @property
    def rows(self) -> slice:
        """The rows of a batch that are this one's."""
        return slice(self.rank, None, self.world)


def get_dist_info() -> DistInfo:
    """The processes that were joined, or this one alone."""
    if dist.is_available() and dist.is_initialized():
        return DistInfo(dist.get_rank(), dist.get_world_size())
    return DistInfo()


@contextmanager
def init_distributed(device: str, *, seconds: float = 1800.0) -> Iterator[DistInfo]:
    """Joins the processes that ``torchrun`` started; does nothing when there is one.

    Args:
        device: ``cpu`` (gloo) or ``cuda`` (nccl; each process takes the GPU of its local rank).
        seconds: How long a process waits for the others at most.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or get_dist_info().world > 1:
        yield get_dist_info()
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "nccl" if device == "cuda" else "gloo"
    with reraise_peer_failure(world):
        dist.init_process_group(backend, timeout=timedelta(seconds=seconds))
    try:
        yield get_dist_info()
    finally:
        dist.destroy_process_group()


def main_process_first(processes: DistInfo, make: Callable[[], T]) -> T:
    """Calls ``make`` in the first process, and in the others when it is done there."""
    if processes.world == 1:
        return make()
    made = [make()] if processes.first else []
    with reraise_peer_failure(processes.world):
        dist.barrier()
    return made[0] if made else make()


@contextmanager
def reraise_peer_failure(world: int) -> Iterator[None]:
    """Tells in words when another process ended or does not answer."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        lost = isinstance(error, dist.DistError) or "gloo" in text or "ProcessGroup" in text
        if world == 1 or not lost:
            raise
        raise RuntimeError(
            "another process of this run ended or does not answer, so this one ends, too: see what "
            "the other one says, and go on from the last checkpoint with --resume "
            f"({text.splitlines()[0][:200]})"
        ) from error


def broadcast_from_main(processes: DistInfo, number: int, device: torch.device) -> int:
    """The number that the first process has."""
    if processes.world == 1:
        return number
    told = torch.tensor([number], device=device)
    dist.broadcast(told, 0)
    return int(told)


def all_gather_rows(features: dict[str, Tensor], world: int) -> dict[str, Tensor]:
    """The rows of all processes, in the order of the batch, with gradients to each of them.

    Args:
        features: Tensors with equally many rows on each process.
        world: Number of processes.
    """
    if world == 1:
        return features
    return {name: _Join.apply(value, world) for name, value in features.items()}


class _Join(torch.autograd.Function):
    """Row i of process r becomes row i * world + r; see `DistInfo.rows`.

    The gradient is summed over processes, as that of every collective of torch's: all of them
    minimise the same loss, and the mean of their parameters' gradients is that of one process.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, world: int) -> Tensor:
        ctx.world = world
        plain = value.contiguous()
        plain = plain.to(torch.uint8) if plain.dtype == torch.bool else plain
        parts = [torch.empty_like(plain) for _ in range(world)]
        dist.all_gather(parts, plain)
        return torch.stack(parts, 1).flatten(0, 1).to(value.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total.unflatten(0, (-1, ctx.world))[:, dist.get_rank()], None
