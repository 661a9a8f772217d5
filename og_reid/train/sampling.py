"""The order of batches that a configuration asks for."""

from __future__ import annotations

from torch import Tensor

from ..config import DataConfig
from ..data.samplers import (
    BalancedSampler,
    ClassSampler,
    PKSampler,
    Sampler,
    ShuffleSampler,
    StratifiedSampler,
    effective_epochs,
)

__all__ = ["build_sampler", "tell_epochs"]


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


def tell_epochs(sampler: Sampler, pids: Tensor) -> str:
    """How often the images of people come in an epoch: a line for the log."""
    often = effective_epochs(sampler, pids)
    low, middle, high = (float(value) for value in (often.min(), often.median(), often.max()))
    return (
        f"an epoch of {sampler.steps_per_epoch} steps shows an image of a person {middle:.2f} "
        f"times (median of {len(often)} people; {low:.2f} to {high:.2f})"
    )
