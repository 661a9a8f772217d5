"""Sampler of a configuration: identities, classes and the order of batches."""

from __future__ import annotations

from torch import Tensor

from ..config.schema import DataConfig, TrainConfig
from ..data.samplers import (
    BalancedSampler,
    ClassSampler,
    PKSampler,
    Sampler,
    ShuffleSampler,
    StratifiedSampler,
    samples_per_epoch,
)
from .distributed import DistInfo
from .task import relabel

__all__ = ["arrange", "build_sampler", "check_rank_rows", "describe_sampling"]


def arrange(
    config: TrainConfig, pids: Tensor, camids: Tensor | None
) -> tuple[Tensor, Tensor, Sampler]:
    """Identities, training classes and sampler of a training set.

    Args:
        config: All settings of the run.
        pids: (n,) int64 identities of the items; -1 for unlabelled ones.
        camids: (n,) int64 cameras; None where unknown.

    Returns:
        (C,) identities in ascending order; (n,) int64 class in [0, C) of each item, or -1; and the
        sampler.

    Raises:
        ValueError: The data does not fill a batch, has fewer than two identities, or holds
            unlabelled items that the settings do not use (see `relabel`).
    """
    present, labels = relabel(pids, config)
    if len(present) < 2:
        raise ValueError(f"train_set must hold at least 2 identities; got {len(present)}: add data")
    return present, labels, build_sampler(config.data, pids, camids, config.seed)


def check_rank_rows(sampler: Sampler, processes: DistInfo) -> None:
    """Raises ValueError for batches that do not divide into equal rows per rank, at least two."""
    size, world = len(sampler.indices(0)), processes.world_size
    if world > 1 and (size % world or size < 2 * world):
        raise ValueError(
            f"a batch of {size} must give each of {world} processes equally many items, "
            "at least 2: change data.num_ids, data.num_instances or data.batch_size"
        )


def build_sampler(data: DataConfig, pids: Tensor, camids: Tensor | None, seed: int) -> Sampler:
    """Sampler of the settings.

    Args:
        data: Settings of the sampling, and sizes of a batch.
        pids: (n,) int64 identities of the items.
        camids: (n,) int64 cameras; None where unknown.
        seed: Seed of the order.

    Raises:
        ValueError: The data does not fill a batch, or lacks cameras for ``data.sampling=camera``.
    """
    size = data.batch_size
    if data.sampling == "shuffle":
        return ShuffleSampler(len(pids), batch_size=size, seed=seed)
    if data.sampling == "balance":
        return BalancedSampler(pids, batch_size=size, seed=seed)
    if data.sampling == "class":
        return ClassSampler(pids, images=data.images_per_class, batch_size=size, seed=seed)
    if data.sampling == "stratified":
        return StratifiedSampler(pids, batch_size=size, tail=data.class_balance, seed=seed)
    if data.sampling == "camera":
        if camids is None:
            raise ValueError("data.sampling=camera needs cameras, and these items have none")
        return BalancedSampler(pids, camids, batch_size=size, seed=seed)
    return PKSampler(pids, camids, identities=data.num_ids, views=data.num_instances, seed=seed)


def describe_sampling(sampler: Sampler, pids: Tensor) -> str:
    """Log line: number of images of each identity in an epoch."""
    often = samples_per_epoch(sampler, pids)
    low, middle, high = (float(value) for value in (often.min(), often.median(), often.max()))
    return (
        f"an epoch of {sampler.steps_per_epoch} steps shows an image {middle:.2f} times "
        f"(median of {len(often)} identities; {low:.2f} to {high:.2f})"
    )
