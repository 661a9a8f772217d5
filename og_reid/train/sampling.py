"""The order of batches that a configuration asks for."""

from __future__ import annotations

from torch import Tensor

from ..config import DataConfig
from ..data.samplers import BalancedSampler, ClassSampler, PKSampler, Sampler, ShuffleSampler

__all__ = ["build_sampler"]


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
    return PKSampler(pids, camids, identities=data.identities, views=data.views, seed=seed)
