"""Pooling over neighbours in plain torch, by chunks of centres that stay in cache."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..gather import add_rows
from ..neighbor_index import all_present, flat_index, present
from .chunks import argument_type, centers_by_chunk, first_slot

__all__ = ["mean_chunks", "pool_chunks", "pool_grad_chunks"]


def _flat(index: Tensor, count: int) -> tuple[Tensor, Tensor | None]:
    """(B * M, k) rows of the flattened batch, and the mask of those that exist (None: all)."""
    slots = index.shape[2]
    if index.device.type == "cpu" and all_present(index, count):
        return flat_index(index, count).view(-1, slots), None
    there = present(index, count)
    flat = flat_index(torch.where(there, index, 0), count)
    return flat.view(-1, slots), there.view(-1, slots)


def _mean_weights(there: Tensor, dtype: torch.dtype) -> Tensor:
    """(M, k) weights of the slots in the mean."""
    return there.to(dtype) / there.sum(1, keepdim=True).clamp_min(1)


def mean_chunks(features: Tensor, index: Tensor) -> Tensor:
    """Result of the operator `mean_neighbors`."""
    flat, there = _flat(index, features.shape[1])
    rows, shape = features.flatten(0, 1), (*index.shape[:2], features.shape[2])
    if not len(rows):
        return features.new_zeros(shape)
    if there is None:
        mean = F.embedding_bag(flat, rows, mode="mean")
    else:
        weights = _mean_weights(there, rows.dtype)
        mean = F.embedding_bag(flat, rows, mode="sum", per_sample_weights=weights)
    return mean.view(shape)


def pool_chunks(features: Tensor, index: Tensor, mean: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum, mean (empty unless wanted) and slot of the maximum: those of `pool_neighbors`."""
    channels = features.shape[2]
    highest = features.new_empty(*index.shape[:2], channels)
    argument = torch.empty_like(highest, dtype=argument_type(index.shape[2]))
    rows, (flat, there) = features.flatten(0, 1), _flat(index, features.shape[1])
    none = features.new_empty(0)
    if not len(rows):
        return highest.zero_(), torch.zeros_like(highest if mean else none), argument.zero_()
    out, places = highest.view(-1, channels), argument.view(-1, channels)
    for part in centers_by_chunk(len(flat), flat.shape[1] * channels, features.device):
        slots = flat[part].t()
        near = rows.index_select(0, slots.reshape(-1)).view(*slots.shape, channels)
        if there is not None:
            near.masked_fill_(~there[part].t()[..., None], -torch.inf)
        torch.amax(near, 0, out=out[part])
        places[part] = first_slot(near, out[part])
    if there is not None:
        out.masked_fill_(~there.any(1, keepdim=True), 0.0)
    return highest, mean_chunks(features, index) if mean else none, argument


def pool_grad_chunks(
    grad_highest: Tensor | None,
    grad_mean: Tensor | None,
    argument: Tensor | None,
    index: Tensor,
    count: int,
) -> Tensor:
    """Gradient (B, count, C) of the features, from those of maximum and mean (None: none)."""
    given = grad_highest if grad_highest is not None else grad_mean
    assert given is not None
    channels = given.shape[2]
    result = given.new_zeros(len(index), count, channels)
    total, (flat, there) = result.view(-1, channels), _flat(index, count)
    if not len(total):
        return result
    if grad_mean is not None:
        weights = None if there is None else _mean_weights(there, total.dtype)
        for number, slot in enumerate(flat.unbind(1)):
            fraction = 1.0 / flat.shape[1] if weights is None else weights[:, number, None]
            add_rows(total, slot, grad_mean.reshape(-1, channels) * fraction)
    if grad_highest is not None:
        assert argument is not None
        highest, places = grad_highest.reshape(-1, channels), argument.view(-1, channels)
        for part in centers_by_chunk(len(flat), channels, total.device):
            slot, value = places[part].long(), highest[part]
            if there is not None:
                value = value.masked_fill(~there[part].gather(1, slot), 0.0)
            target = flat[part].gather(1, slot)
            if total.device.type == "cpu":
                total.scatter_add_(0, target, value)
            else:  # where scatter_add_ would use atomics
                columns = torch.arange(channels, device=total.device).expand_as(target)
                total.index_put_((target, columns), value, accumulate=True)
    return result
