"""The order of batches that a configuration asks for."""

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

__all__ = ["arrange", "build_sampler", "describe_sampling", "share_rows"]


def arrange(
    config: TrainConfig, pids: Tensor, camids: Tensor | None
) -> tuple[Tensor, Tensor, Sampler]:
    """Identities and the order of batches: all that the labels alone decide.

    Args:
        config: All settings of the run.
        pids: (n,) int64 identities of the items; -1 = an image without one.
        camids: (n,) int64 cameras; None when they are unknown.

    Returns:
        (C,) the identities in ascending order, (n,) int64 the number of each item's or -1, and the
        order of batches.

    Raises:
        ValueError: The data does not fill a batch, shows fewer than two people, or images
            without an identity and without a use for them.
    """
    present, labels = relabel(pids, config)
    if len(present) < 2:
        raise ValueError(
            f"train_set must show at least 2 people to be told apart; got {len(present)}: add data"
        )
    return present, labels, build_sampler(config.data, pids, camids, config.seed)


def share_rows(sampler: Sampler, processes: DistInfo) -> None:
    """Raises ValueError for batches that do not divide into equal rows per rank, at least two."""
    size, world = len(sampler.indices(0)), processes.world_size
    if world > 1 and (size % world or size < 2 * world):
        raise ValueError(
            f"a batch of {size} must give each of {world} processes equally many items, "
            "at least 2: change data.identities, data.views or data.batch_size"
        )


def build_sampler(data: DataConfig, pids: Tensor, camids: Tensor | None, seed: int) -> Sampler:
    """The configured order of batches; raises ValueError when the data does not fill one.

    Args:
        data: What a batch is made of.
        pids: (n,) int64 identities of the items.
        camids: (n,) int64 cameras; None when they are unknown.
        seed: Of the order.
    """
    size = data.batch_size
    if data.sampling == "shuffle":
        return ShuffleSampler(len(pids), batch_size=size, seed=seed)
    if data.sampling == "balance":
        return BalancedSampler(pids, batch_size=size, seed=seed)
    if data.sampling == "class":
        return ClassSampler(pids, images=data.class_images, batch_size=size, seed=seed)
    if data.sampling == "stratified":
        return StratifiedSampler(pids, batch_size=size, tail=data.tail, seed=seed)
    if data.sampling == "camera":
        if camids is None:
            raise ValueError("data.sampling=camera needs cameras, and these items have none")
        return BalancedSampler(pids, camids, batch_size=size, seed=seed)
    return PKSampler(pids, camids, identities=data.identities, views=data.views, seed=seed)


def describe_sampling(sampler: Sampler, pids: Tensor) -> str:
    """How often the images of people come in an epoch: a line for the log."""
    often = samples_per_epoch(sampler, pids)
    low, middle, high = (float(value) for value in (often.min(), often.median(), often.max()))
    return (
        f"an epoch of {sampler.steps_per_epoch} steps shows an image of a person {middle:.2f} "
        f"times (median of {len(often)} people; {low:.2f} to {high:.2f})"
    )
