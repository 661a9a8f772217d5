"""Max and mean pooling over the neighbours of each centre, without the gathered rows of a batch.

===================  ==============================================================================
no neighbour         an index below 0; maximum and mean over none are 0
ties                 the gradient of a maximum goes to the first neighbour that attains it
NaN                  is a maximum
gradients            summed in one order: bit-identical between runs; twice differentiable
memory               the (B, M, k, C) gathered tensor never exists, forward or backward; of a
                     maximum the slot is kept, one byte for k <= 256
native               float32, on a CPU or a GPU; anything else takes chunks in plain torch
float16, bfloat16    pooled as float32
===================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from ._arguments import check_tensors
from ._native.library import usable_on_cpu, usable_on_gpu
from ._native.pool import pool_cpu, pool_cuda, pool_grad_cpu, pool_grad_cuda
from ._torch.chunks import argument_type
from ._torch.pool import mean_chunks, pool_chunks, pool_grad_chunks
from .gather import gather_neighbors_torch
from .neighbor_index import present

__all__ = ["Pooled", "mean_neighbors", "pool_neighbors", "pool_neighbors_torch"]

Native = TypeVar("Native", bound=Callable[..., Any])
#: Highest, mean, argument.
Pooled = tuple[Tensor, Tensor, Tensor]


def pool_neighbors(features: Tensor, index: Tensor, *, mean: bool = True) -> tuple[Tensor, Tensor]:
    """Maximum and mean over the neighbours of each centre.

    The rules are in the table of this module.

    Args:
        features: (B, N, C) floating point, one row per point; (N, C) of ragged clouds.
        index: (B, M, k) int64 neighbours of each of M centres, k >= 1: `index[b, i, j] = n` means
            that neighbour j of centre i is `features[b, n]`; for ragged clouds (M, k) rows of
            `features`. Below 0: no neighbour.
        mean: whether to compute the mean.

    Returns:
        Two (B, M, C) or (M, C) tensors: the maximum and the mean of `features[b, index[b, i]]`.
        The mean is empty without `mean`.

    Raises:
        ValueError: on shapes that do not fit.
        IndexError: on a CPU, when an index is not below N.
    """
    check_tensors(features=features, index=index)
    if features.ndim == 2 == index.ndim:
        highest, average = pool_neighbors(features[None], index[None], mean=mean)
        return highest[0], average[0] if mean else average
    _check(features, index)
    highest, average, _ = torch.ops.og_reid.pool_neighbors(features, index, mean)
    return highest, average


def pool_neighbors_torch(features: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Plain-torch twin of `pool_neighbors`: its specification."""
    grouped, there = gather_neighbors_torch(features, index), (index >= 0)[..., None]
    lowest = grouped.masked_fill(~there, -torch.inf).max(-2).values
    number = there.sum(-2)
    return lowest.masked_fill(number == 0, 0.0), grouped.sum(-2) / number.clamp_min(1)


def mean_neighbors(features: Tensor, index: Tensor) -> Tensor:
    """Mean over the neighbours of each centre: the second result of `pool_neighbors` alone.

    Arguments and errors are those of `pool_neighbors`.

    Returns:
        (B, M, C) or (M, C); 0 for a centre without neighbours.
    """
    check_tensors(features=features, index=index)
    if features.ndim == 2 == index.ndim:
        return mean_neighbors(features[None], index[None])[0]
    _check(features, index)
    return torch.ops.og_reid.mean_neighbors(features, index)


def _check(features: Tensor, index: Tensor) -> None:
    if features.ndim != 3:
        raise ValueError(f"features must be (B, N, C); got {tuple(features.shape)}")
    if index.ndim != 3 or index.shape[0] != features.shape[0] or index.shape[2] < 1:
        raise ValueError(
            f"index must be ({features.shape[0]}, M, k >= 1); got {tuple(index.shape)}"
        )
    if index.dtype != torch.int64:
        raise ValueError(f"index must be int64; got {index.dtype}")


# Registration ------------------------------------------------------------------------------------


def _is_half(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.float16, torch.bfloat16)


def _native(index: Tensor, values: Tensor, on_cpu: Native, on_gpu: Native) -> Native | None:
    """The native function for these tensors; None: plain torch."""
    if not index.numel():
        return None
    if usable_on_cpu(values):
        return on_cpu
    return on_gpu if usable_on_gpu(values) else None


def _pool(features: Tensor, index: Tensor, mean: bool) -> Pooled:
    if _is_half(features):
        highest, average, argument = _pool(features.float(), index, mean)
        return highest.to(features.dtype), average.to(features.dtype), argument
    pool = _native(index, features, pool_cpu, pool_cuda)
    if pool is None:
        return pool_chunks(features, index, mean)
    highest, average, argument = _pool_fake(features, index, mean)
    pool(features, index, highest, argument, average if mean else None)
    return highest, average, argument


def _mean(features: Tensor, index: Tensor) -> Tensor:
    if _is_half(features):
        return _mean(features.float(), index).to(features.dtype)
    pool = _native(index, features, pool_cpu, pool_cuda)
    if pool is None:
        return mean_chunks(features, index)
    mean = _mean_fake(features, index)
    pool(features, index, None, None, mean)
    return mean


def _grad(
    grad_highest: Tensor | None,
    grad_mean: Tensor | None,
    argument: Tensor | None,
    index: Tensor,
    count: int,
) -> Tensor:
    given = [t for t in (grad_highest, grad_mean) if t is not None]
    if _is_half(given[0]):
        highest, mean = (None if t is None else t.float() for t in (grad_highest, grad_mean))
        return _grad(highest, mean, argument, index, count).to(given[0].dtype)
    run = _native(index, given[0], pool_grad_cpu, pool_grad_cuda)
    if run is None:
        return pool_grad_chunks(grad_highest, grad_mean, argument, index, count)
    return run(grad_highest, grad_mean, argument, index, count)


def _pool_fake(features: Tensor, index: Tensor, mean: bool) -> Pooled:
    shape = (*index.shape[:2], features.shape[2])
    argument = features.new_empty(shape, dtype=argument_type(index.shape[2]))
    return features.new_empty(shape), features.new_empty(shape if mean else 0), argument


def _mean_fake(features: Tensor, index: Tensor) -> Tensor:
    return features.new_empty(*index.shape[:2], features.shape[2])


def _grad_fake(
    grad_highest: Tensor | None,
    grad_mean: Tensor | None,
    argument: Tensor | None,
    index: Tensor,
    count: int,
) -> Tensor:
    given = grad_highest if grad_highest is not None else grad_mean
    assert given is not None
    return given.new_empty(given.shape[0], count, given.shape[2])


def _save_pool(ctx: Any, inputs: tuple[Any, ...], output: Pooled) -> None:
    features, index, ctx.mean = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(index, output[2])
    ctx.count = features.shape[1]


def _pool_backward(
    ctx: Any, grad_highest: Tensor, grad_mean: Tensor, _: Tensor | None
) -> tuple[Tensor, None, None]:
    index, argument = ctx.saved_tensors
    grad = torch.ops.og_reid.pool_neighbors_grad(
        grad_highest, grad_mean if ctx.mean else None, argument, index, ctx.count
    )
    return grad, None, None


def _save_mean(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.count = inputs[0].shape[1]


def _mean_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (index,) = ctx.saved_tensors
    return torch.ops.og_reid.pool_neighbors_grad(None, grad, None, index, ctx.count), None


def _save_grad(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    highest, mean, argument, index, _ = inputs
    ctx.given = (highest is not None, mean is not None)
    ctx.save_for_backward(index, *(() if argument is None else (argument,)))


def _grad_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Second derivatives: the gradient is linear in the incoming gradients."""
    index, *argument = ctx.saved_tensors
    highest = mean = None
    if ctx.given[0]:
        # (B, M, C) source rows of the maxima
        rows = index.gather(2, argument[0].long())
        there = present(rows, grad.shape[1])
        highest = grad.gather(1, torch.where(there, rows, 0)).masked_fill(~there, 0.0)
    if ctx.given[1]:
        mean = torch.ops.og_reid.mean_neighbors(grad, index)
    return highest, mean, None, None, None


torch.library.define(
    "og_reid::pool_neighbors",
    "(Tensor features, Tensor index, bool mean) -> (Tensor, Tensor, Tensor)",
)
torch.library.define("og_reid::mean_neighbors", "(Tensor features, Tensor index) -> Tensor")
torch.library.define(
    "og_reid::pool_neighbors_grad",
    "(Tensor? grad_highest, Tensor? grad_mean, Tensor? argument, Tensor index, SymInt count) "
    "-> Tensor",
)
for device in ("CPU", "CUDA"):
    torch.library.impl("og_reid::pool_neighbors", device, _pool)
    torch.library.impl("og_reid::mean_neighbors", device, _mean)
    torch.library.impl("og_reid::pool_neighbors_grad", device, _grad)
torch.library.register_fake("og_reid::pool_neighbors", _pool_fake)
torch.library.register_fake("og_reid::mean_neighbors", _mean_fake)
torch.library.register_fake("og_reid::pool_neighbors_grad", _grad_fake)
torch.library.register_autograd("og_reid::pool_neighbors", _pool_backward, setup_context=_save_pool)
torch.library.register_autograd("og_reid::mean_neighbors", _mean_backward, setup_context=_save_mean)
torch.library.register_autograd(
    "og_reid::pool_neighbors_grad", _grad_backward, setup_context=_save_grad
)
