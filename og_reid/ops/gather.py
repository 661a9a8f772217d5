"""Gathering the rows of neighbours, and what else follows from an index of neighbours.

An index below 0 is no neighbour: `knn` pads with -1 where a cloud has too few points. On a CPU an
index beyond the last row is refused; on a GPU, where looking would mean waiting for it, it is no
neighbour either.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = [
    "add_rows",
    "all_present",
    "flat_index",
    "gather_neighbors",
    "gather_neighbors_torch",
    "in_degree",
    "present",
]


def gather_neighbors(features: Tensor, index: Tensor) -> Tensor:
    """Pick rows per cloud; gradients are summed in one order, so they repeat bit by bit.

    Args:
        features: (B, N, C) one row per point; (M, C) of ragged clouds behind each other.
        index: (B, ...) int64, `index[b, i] = j` picks `features[b, j]`; of ragged clouds (...),
            rows of `features`, as `knn` gives them with `ptr`. Below 0: no neighbour.

    Returns:
        (B, ..., C) or (..., C); zeros where there is no neighbour.

    Raises:
        ValueError: on shapes that do not fit.
        IndexError: on a CPU, when an index is not below N.
    """
    if features.ndim == 2:
        return gather_neighbors(features[None], index[None])[0]
    _check(features, index)
    return torch.ops.og_reid.gather_neighbors(features, index)


def gather_neighbors_torch(features: Tensor, index: Tensor) -> Tensor:
    """Plain-torch twin of `gather_neighbors`: its specification."""
    if features.ndim == 2:
        return gather_neighbors_torch(features[None], index[None])[0]
    _check(features, index)
    cloud = torch.arange(len(index), device=index.device).view(-1, *[1] * (index.ndim - 1))
    # Row N stands for all that is not there.
    padded = torch.cat([features, torch.zeros_like(features[:, :1])], dim=1)
    return padded[cloud, torch.where(index < 0, features.shape[1], index)]


def in_degree(index: Tensor, count: int, *, complete: bool = False) -> Tensor:
    """(B, count) int64: how often each of `count` points of a cloud appears in `index[b]`.

    `complete` is a promise that no neighbour is missing, which saves looking for them.
    """
    batch = index.shape[0]
    there = None if complete else present(index, count)
    flat = flat_index(index if there is None else torch.where(there, index, 0), count)
    one = torch.ones(1, dtype=torch.int32, device=index.device)
    ones = one.expand_as(flat) if there is None else there.flatten().int()
    # Unlike bincount this needs no look at the values; integers add up in any order.
    total = torch.zeros(max(batch * count, 1), dtype=torch.int32, device=index.device)
    total.scatter_add_(0, flat, ones)
    return total[: batch * count].view(batch, count).long()


def present(index: Tensor, count: int) -> Tensor:
    """Which entries of an index are one of `count` points."""
    return (index >= 0) & (index < count)


def flat_index(index: Tensor, count: int) -> Tensor:
    """(B * ...,) int64: per-cloud indices (B, ...) turned into rows of the flattened batch."""
    batch = index.shape[0]
    offset = torch.arange(batch, device=index.device) * count
    return (index + offset.view(-1, *[1] * (index.ndim - 1))).flatten()


def all_present(index: Tensor, count: int) -> bool:
    """Whether no index on a CPU is below 0.

    Raises:
        IndexError: when one is not below `count`.
    """
    if not index.numel():
        return True
    low, high = index.aminmax()
    if int(high) >= count:
        raise IndexError(f"index must be below the number of rows, {count}; got {int(high)}")
    return int(low) >= 0


def add_rows(total: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """total[index[i]] += rows[i] for one i after the other: the same bits on every run."""
    if total.device.type == "cpu":
        return total.index_add_(0, index, rows)
    # On a GPU index_add_ would use atomics; this sorts.
    return total.index_put_((index,), rows, accumulate=True)


def _check(features: Tensor, index: Tensor) -> None:
    if features.ndim != 3:
        raise ValueError(f"features must be (B, N, C) or (M, C); got {tuple(features.shape)}")
    if index.ndim < 1 or len(index) != len(features) or index.dtype != torch.int64:
        raise ValueError(
            f"index must be ({len(features)}, ...) int64 to fit features; got "
            f"{tuple(index.shape)}, {index.dtype}"
        )


def _gather(features: Tensor, index: Tensor) -> Tensor:
    count, channels = features.shape[1:]
    complete = index.device.type == "cpu" and all_present(index, count)
    if not features.shape[:2].numel():
        return features.new_zeros(*index.shape, channels)
    there = present(index, count)
    flat = flat_index(index if complete else torch.where(there, index, 0), count)
    rows = features.flatten(0, 1).index_select(0, flat).view(*index.shape, channels)
    return rows if complete else rows.masked_fill_(~there[..., None], 0.0)


def _gather_grad(grad: Tensor, index: Tensor, count: int) -> Tensor:
    batch, channels = len(index), grad.shape[-1]
    total = grad.new_zeros(batch * count, channels)
    if not len(total):
        return total.view(batch, count, channels)
    rows = grad.reshape(-1, channels)
    complete = index.device.type == "cpu" and all_present(index, count)
    if not complete:
        there = present(index, count)
        rows = rows.masked_fill(~there.view(-1, 1), 0.0)
        index = torch.where(there, index, 0)
    return add_rows(total, flat_index(index, count), rows).view(batch, count, channels)


def _gather_fake(features: Tensor, index: Tensor) -> Tensor:
    return features.new_empty(*index.shape, features.shape[2])


def _gather_grad_fake(grad: Tensor, index: Tensor, count: int) -> Tensor:
    return grad.new_empty(index.shape[0], count, grad.shape[-1])


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    features, index = inputs
    ctx.save_for_backward(index)
    ctx.count = features.shape[1]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (index,) = ctx.saved_tensors
    return torch.ops.og_reid.gather_neighbors_grad(grad, index, ctx.count), None


def _save_grad(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _grad_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (index,) = ctx.saved_tensors
    return torch.ops.og_reid.gather_neighbors(grad, index), None, None


torch.library.define("og_reid::gather_neighbors", "(Tensor features, Tensor index) -> Tensor")
torch.library.define(
    "og_reid::gather_neighbors_grad", "(Tensor grad, Tensor index, SymInt count) -> Tensor"
)
torch.library.impl("og_reid::gather_neighbors", "CPU", _gather)
torch.library.impl("og_reid::gather_neighbors", "CUDA", _gather)
torch.library.impl("og_reid::gather_neighbors_grad", "CPU", _gather_grad)
torch.library.impl("og_reid::gather_neighbors_grad", "CUDA", _gather_grad)
torch.library.register_fake("og_reid::gather_neighbors", _gather_fake)
torch.library.register_fake("og_reid::gather_neighbors_grad", _gather_grad_fake)
torch.library.register_autograd("og_reid::gather_neighbors", _backward, setup_context=_save)
torch.library.register_autograd(
    "og_reid::gather_neighbors_grad", _grad_backward, setup_context=_save_grad
)
