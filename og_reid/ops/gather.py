"""Gathering the feature rows of neighbours.

===================  ==============================================================================
no neighbour         an index below 0 (`knn` pads with -1 where k > N); its row is zeros
index >= N           IndexError on a CPU; on a GPU, where the check would wait, no neighbour
gradients            summed in one order: bit-identical between runs; twice differentiable
===================  ==============================================================================
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._arguments import check_tensors
from ._native.library import usable_on_cpu, usable_on_gpu
from ._native.pool import pool_cuda, pool_grad_cpu, pool_grad_cuda
from .neighbor_index import all_present, flat_index, present

__all__ = [
    "add_rows",
    "gather_neighbors",
    "gather_neighbors_torch",
]


def gather_neighbors(features: Tensor, index: Tensor) -> Tensor:
    """Gather the rows of neighbours, per cloud.

    The rules are in the table of this module.

    Args:
        features: (B, N, C) floating point, one row per point; (N, C) of ragged clouds.
        index: (B, ...) int64 neighbours; for ragged clouds (...) rows of `features`, as from `knn`
            with `ptr`. Below 0: no neighbour.

    Returns:
        (B, ..., C) or (..., C): `out[b, i] = features[b, index[b, i]]`, zeros where there is no
        neighbour.

    Raises:
        ValueError: on shapes or dtypes that do not fit.
        IndexError: on a CPU, when an index is not below N.
    """
    check_tensors(features=features, index=index)
    if features.ndim == 2:
        return gather_neighbors(features[None], index[None])[0]
    _check(features, index)
    return torch.ops.og_reid.gather_neighbors(features, index)


def gather_neighbors_torch(features: Tensor, index: Tensor) -> Tensor:
    """Plain-torch twin of `gather_neighbors`: its specification."""
    check_tensors(features=features, index=index)
    if features.ndim == 2:
        return gather_neighbors_torch(features[None], index[None])[0]
    _check(features, index)
    cloud = torch.arange(len(index), device=index.device).view(-1, *[1] * (index.ndim - 1))
    # Row N holds zeros, for missing neighbours.
    padded = torch.cat([features, torch.zeros_like(features[:, :1])], dim=1)
    return padded[cloud, torch.where(index < 0, features.shape[1], index)]


def add_rows(total: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """total[index[i]] += rows[i], in the order of i: bit-identical between runs."""
    if total.device.type == "cpu":
        return total.index_add_(0, index, rows)
    # index_add_ uses atomics on a GPU; index_put_ sorts.
    return total.index_put_((index,), rows, accumulate=True)


def _check(features: Tensor, index: Tensor) -> None:
    if features.ndim != 3:
        raise ValueError(f"features must be (B, N, C) or (M, C); got {tuple(features.shape)}")
    if index.ndim < 1 or index.shape[0] != features.shape[0] or index.dtype != torch.int64:
        raise ValueError(
            f"index must be ({features.shape[0]}, ...) int64 to fit features; got "
            f"{tuple(index.shape)}, {index.dtype}"
        )


def _gather(features: Tensor, index: Tensor) -> Tensor:
    count, channels = features.shape[1:]
    if index.numel() and usable_on_gpu(features):
        # The mean over one neighbour is that neighbour.
        rows = features.new_empty(*index.shape, channels)
        pool_cuda(features, index.reshape(len(index), -1, 1), None, None, rows)
        return rows
    complete = index.device.type == "cpu" and all_present(index, count)
    if not features.shape[:2].numel():
        return features.new_zeros(*index.shape, channels)
    there = None if complete else present(index, count)
    flat = flat_index(index if there is None else torch.where(there, index, 0), count)
    rows = features.flatten(0, 1).index_select(0, flat).view(*index.shape, channels)
    return rows if there is None else rows.masked_fill_(~there[..., None], 0.0)


def _gather_grad(grad: Tensor, index: Tensor, count: int) -> Tensor:
    batch, channels = len(index), grad.shape[-1]
    if index.numel() and count and (usable_on_cpu(grad) or usable_on_gpu(grad)):
        run = pool_grad_cuda if grad.is_cuda else pool_grad_cpu
        edges = index.reshape(batch, -1, 1)
        return run(None, grad.reshape(batch, -1, channels), None, edges, count)
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
