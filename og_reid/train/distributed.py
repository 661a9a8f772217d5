"""Data-parallel training: one process per rank, as ``torchrun`` starts them.

Every rank takes its rows of each batch; embeddings and labels are gathered before the loss. Losses
over pairs therefore use all pairs, and gradients equal those of one process with the whole batch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pose.deprecation import deprecated_members

__all__ = [
    "DistInfo",
    "MainRankFilter",
    "all_gather_rows",
    "broadcast_from_main",
    "get_dist_info",
    "init_distributed",
    "main_process_first",
    "reraise_peer_failure",
]


T = TypeVar("T")


@deprecated_members
@dataclass(frozen=True)
class DistInfo:
    """Rank of this process and number of ranks.

    Attributes:
        rank: In [0, world_size).
        world_size: Number of processes; 1 outside of a process group.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """True if this is rank 0, which writes files and logs."""
        return self.rank == 0

    @property
    def rows(self) -> slice:
        """Rows of a batch of this rank: ``rank, rank + world_size, ...``."""
        return slice(self.rank, None, self.world_size)


def get_dist_info() -> DistInfo:
    """Rank and size of torch's process group; rank 0 of 1 without one."""
    if dist.is_available() and dist.is_initialized():
        return DistInfo(dist.get_rank(), dist.get_world_size())
    return DistInfo()


class MainRankFilter(logging.Filter):
    """Log records of rank 0; of other ranks, records of level ERROR and above only."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True if a record is logged by this process."""
        return record.levelno >= logging.ERROR or get_dist_info().is_main


_FILTER = MainRankFilter()


@contextmanager
def init_distributed(device: str, *, seconds: float = 1800.0) -> Iterator[DistInfo]:
    """Process group of the ranks started by ``torchrun``; an existing group is kept.

    Within the block, the logger ``og_reid`` has a `MainRankFilter`.

    Args:
        device: ``cpu`` (gloo) or ``cuda`` (nccl; each process takes the GPU of its local rank).
        seconds: Timeout of every collective, in seconds.

    Yields:
        Rank and size of the group.

    Raises:
        RuntimeError: A peer does not respond.
    """
    logger = logging.getLogger("og_reid")
    added = _FILTER not in logger.filters
    logger.addFilter(_FILTER)
    try:
        with _process_group(device, seconds):
            yield get_dist_info()
    finally:
        if added:
            logger.removeFilter(_FILTER)


@contextmanager
def _process_group(device: str, seconds: float) -> Iterator[None]:
    """Torch's process group for the block; an existing one is kept."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or get_dist_info().world_size > 1:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "nccl" if device == "cuda" else "gloo"
    with reraise_peer_failure(world):
        dist.init_process_group(backend, timeout=timedelta(seconds=seconds))
    try:
        yield
    finally:
        dist.destroy_process_group()


def main_process_first(processes: DistInfo, make: Callable[[], T]) -> T:
    """Result of ``make``, called on rank 0 first, then on the other ranks (barrier).

    Args:
        processes: Ranks of the run.
        make: Called once by every rank, for example to fill a cache read by the others.
    """
    if processes.world_size == 1:
        return make()
    made = [make()] if processes.is_main else []
    with reraise_peer_failure(processes.world_size):
        dist.barrier()
    return made[0] if made else make()


@contextmanager
def reraise_peer_failure(world: int) -> Iterator[None]:
    """Errors of a lost peer (ended, or timed out), re-raised as a readable error.

    Args:
        world: Number of ranks; with 1, errors pass unchanged.

    Raises:
        RuntimeError: A collective failed because of another rank.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        lost = isinstance(error, dist.DistError) or "gloo" in text or "ProcessGroup" in text
        if world == 1 or not lost:
            raise
        raise RuntimeError(
            "another process of this run ended or does not respond, so this one ends, too: see its "
            "output, and resume from the last checkpoint with --resume "
            f"({text.splitlines()[0][:200]})"
        ) from error


def broadcast_from_main(processes: DistInfo, number: int, device: torch.device) -> int:
    """Rank 0's value of an integer, on every rank.

    Args:
        processes: Ranks of the run.
        number: Value of this rank.
        device: Device of this rank's collectives.
    """
    if processes.world_size == 1:
        return number
    value = torch.tensor([number], device=device)
    dist.broadcast(value, 0)
    return int(value)


def all_gather_rows(features: dict[str, Tensor], world: int) -> dict[str, Tensor]:
    """Rows of all ranks, in the order of the batch, with gradients to each rank.

    Args:
        features: Tensors by name, each (B / world, ...), with equally many rows on each rank.
        world: Number of ranks.

    Returns:
        Tensors by name, each (B, ...); row ``i * world + r`` is row i of rank r.
    """
    if world == 1:
        return features
    return {name: _Join.apply(value, world) for name, value in features.items()}


class _Join(torch.autograd.Function):
    """Row i of rank r becomes row i * world + r; see `DistInfo.rows`.

    The gradient is summed over ranks, as for all collectives of torch: all ranks minimise the
    same loss, and the mean of their parameters' gradients is that of one process.
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
