"""Weighted mean, moments and max pooling over neighbours, continuous in the weights.

===================  ==============================================================================
mean                 m = sum_j w_j v_j / sum_j w_j; 0 where the sum of the weights is 0
maximum              max_j w_j (v_j - m): a neighbour of weight 0 contributes 0, so neighbours of
                     weight 0 can be added or removed without a jump
ties                 the gradient goes to the first neighbour that attains the maximum
NaN                  in a gathered row makes mean and maximum NaN
gradients            summed in one order: bit-identical between runs and numbers of threads
native               float32 on a CPU, without the (B, M, n, C) rows of all edges; first derivatives
anything else        the plain-torch twins
===================  ==============================================================================
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._native.library import cpu_library
from ._native.soft_pool import soft_pool_cpu, soft_pool_grad_cpu
from ._torch.chunks import argument_type
from .edge_moments import Moments, share_moments, weighted_moments
from .gather import gather_neighbors
from .neighbor_index import check_index, flat_index

__all__ = [
    "soft_mean",
    "soft_mean_torch",
    "soft_moments",
    "soft_moments_torch",
    "soft_pool",
    "soft_pool_torch",
]


def soft_pool(features: Tensor, index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and weighted max pooling over the neighbours of each centre.

    The rules are in the table of this module.

    Args:
        features: (B, N, C) floating point, one row per point.
        index: (B, M, n) int64 neighbours of each of M centres, each in 0..N-1, n >= 1:
            `index[b, i, j] = p` means that neighbour j of centre i is `features[b, p]`.
        weight: (B, M, n) weights of the neighbours, in [0, 1] (not checked).

    Returns:
        Two (B, M, C) tensors of the dtype of `features`: the mean m, and max_j w_j (v_j - m).

    Raises:
        ValueError: on shapes or dtypes that do not fit.
        IndexError: on a CPU, when an index is not in 0..N-1.
    """
    _check(features, index, weight)
    if not native_for(features, weight):
        return soft_pool_torch(features, index, weight)
    mean, highest, _ = torch.ops.og_reid.soft_pool(features, index, weight, True)
    return mean, highest


def soft_pool_torch(features: Tensor, index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Plain-torch twin of `soft_pool`: its specification."""
    near, weight = gather_neighbors(features, index), weight[..., None]
    mean = (normalized(weight, 2) * near).sum(2)
    return mean, (weight * (near - mean[:, :, None])).max(2).values


def soft_mean(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the neighbours of each centre: the first result of `soft_pool` alone.

    Arguments and errors are those of `soft_pool`.

    Returns:
        (B, M, C); 0 where the sum of the weights is 0.
    """
    _check(features, index, weight)
    if not native_for(features, weight):
        return soft_mean_torch(features, index, weight)
    mean: Tensor = torch.ops.og_reid.soft_pool(features, index, weight, False)[0]
    return mean


def soft_mean_torch(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Plain-torch twin of `soft_mean`: its specification."""
    return (normalized(weight, 2)[..., None] * gather_neighbors(features, index)).sum(2)


def soft_moments(
    near: Tensor, center: Tensor, index: Tensor, weight: Tensor, mean_near: Tensor | None = None
) -> Moments:
    """Weighted mean and variance of y_ij = near_j + center_i over the edges of a graph.

    Args:
        near: (B, N, C) neighbour term of each point.
        center: (B, M, C) centre term.
        index: (B, M, n) int64 neighbours of each centre, each in 0..N-1.
        weight: (B, M, n) weights of the edges, at least 0, not all 0.
        mean_near: (B, M, C) `soft_mean` of `near`, if known; rows of centres whose weights are all
            0 may hold any value.

    Returns:
        (mean, biased variance), each (C,), in float32 at least, over all processes within
        `sync_batchnorm`. The gradient towards `mean_near` is undefined for centres whose weights
        are all 0.
    """
    if mean_near is None:
        mean_near = soft_mean(near, index, weight)
    near, center, mean_near = (_full(each) for each in (near, center, mean_near))
    weight = _full(weight)
    fraction = normalized(weight, None)
    degree = fraction.new_zeros(near.shape[0] * near.shape[1])
    degree = degree.index_add_(0, flat_index(index, near.shape[1]), fraction.flatten())
    rows = (near.flatten(0, 1), center.flatten(0, 1), mean_near.flatten(0, 1))
    with torch.autocast(near.device.type, enabled=False):
        found = weighted_moments(*rows, degree, fraction.sum(2).flatten())
    return share_moments(found, weight.sum())


def soft_moments_torch(near: Tensor, center: Tensor, index: Tensor, weight: Tensor) -> Moments:
    """Plain-torch twin of `soft_moments`: its specification."""
    return row_moments(gather_neighbors(near, index) + center[:, :, None], weight)


def row_moments(rows: Tensor, weight: Tensor) -> Moments:
    """Mean and biased variance, (C,) each, of (B, M, n, C) rows with (B, M, n) weights.

    In float32 at least, over all processes within `sync_batchnorm`.
    """
    rows, weight = _full(rows).flatten(0, 2), _full(weight)
    fraction = normalized(weight, None).flatten()
    with torch.autocast(rows.device.type, enabled=False):
        mean = fraction @ rows
        variance = fraction @ (rows - mean).square()
    return share_moments((mean, variance), weight.sum())


def _full(tensor: Tensor) -> Tensor:
    """The tensor in float32 at least."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def native_for(*tensors: Tensor) -> bool:
    """True if the native code takes these tensors: float32, on a CPU, none empty."""
    plain = all(t.device.type == "cpu" and t.dtype == torch.float32 and t.numel() for t in tensors)
    return plain and _has_library()


def _has_library() -> bool:
    return cpu_library() is not None


# The effect of torch.compiler.assume_constant_result, which would load the compiler (a second).
_has_library.__dict__["_dynamo_marked_constant"] = True


def normalized(weight: Tensor, dim: int | None) -> Tensor:
    """Weights divided by their sum along a dimension, or by the total; 0 where that is 0."""
    total = weight.sum() if dim is None else weight.sum(dim, keepdim=True)
    return weight / torch.where(total > 0, total, 1.0)


def _check(features: Tensor, index: Tensor, weight: Tensor) -> None:
    if features.ndim != 3:
        raise ValueError(f"features must be (B, N, C); got {tuple(features.shape)}")
    if index.ndim != 3 or index.shape[0] != features.shape[0] or index.shape[2] < 1:
        raise ValueError(
            f"index must be ({features.shape[0]}, M, n >= 1); got {tuple(index.shape)}"
        )
    if index.dtype != torch.int64:
        raise ValueError(f"index must be int64; got {index.dtype}")
    if weight.shape != index.shape:
        raise ValueError(
            f"weight must be {tuple(index.shape)} to fit index; got {tuple(weight.shape)}"
        )


# Registration ------------------------------------------------------------------------------------


def _pool(
    features: Tensor, index: Tensor, weight: Tensor, highest: bool
) -> tuple[Tensor, Tensor, Tensor]:
    check_index(index, features.shape[1])
    results = _pool_fake(features, index, weight, highest)
    wanted = results if highest else (results[0], None, None)
    soft_pool_cpu(features, index, weight, *wanted)
    return results


def _pool_grad(
    grad_mean: Tensor,
    grad_highest: Tensor | None,
    argument: Tensor | None,
    features: Tensor,
    index: Tensor,
    weight: Tensor,
    mean: Tensor,
    weighed: bool,
) -> tuple[Tensor, Tensor]:
    grads = _pool_grad_fake(
        grad_mean, grad_highest, argument, features, index, weight, mean, weighed
    )
    soft_pool_grad_cpu(
        (grad_mean, grad_highest),
        argument,
        (features, index, weight, mean),
        grads[0].zero_(),
        grads[1] if weighed else None,
    )
    return grads


def _pool_fake(
    features: Tensor, index: Tensor, weight: Tensor, highest: bool
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (*index.shape[:2], features.shape[2])
    argument = features.new_empty(shape if highest else 0, dtype=argument_type(index.shape[2]))
    return features.new_empty(shape), features.new_empty(shape if highest else 0), argument


def _pool_grad_fake(
    grad_mean: Tensor,
    grad_highest: Tensor | None,
    argument: Tensor | None,
    features: Tensor,
    index: Tensor,
    weight: Tensor,
    mean: Tensor,
    weighed: bool,
) -> tuple[Tensor, Tensor]:
    return features.new_empty(features.shape), weight.new_empty(weight.shape if weighed else 0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    features, index, weight, ctx.highest = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(output[2], features, index, weight, output[0])


def _backward(
    ctx: Any, grad_mean: Tensor, grad_highest: Tensor, _: Tensor | None
) -> tuple[Tensor | None, ...]:
    argument, *inputs = ctx.saved_tensors
    highest = (grad_highest, argument) if ctx.highest else (None, None)
    weighed = ctx.needs_input_grad[2]
    grad, grad_weight = torch.ops.og_reid.soft_pool_grad(grad_mean, *highest, *inputs, weighed)
    return grad, None, grad_weight if weighed else None, None


def _no_second(ctx: Any, *_: Any) -> None:
    raise NotImplementedError("soft_pool has no second derivatives; use soft_pool_torch for them")


torch.library.define(
    "og_reid::soft_pool",
    "(Tensor features, Tensor index, Tensor weight, bool highest) -> (Tensor, Tensor, Tensor)",
)
torch.library.define(
    "og_reid::soft_pool_grad",
    "(Tensor grad_mean, Tensor? grad_highest, Tensor? argument, Tensor features, Tensor index, "
    "Tensor weight, Tensor mean, bool weighed) -> (Tensor, Tensor)",
)
torch.library.impl("og_reid::soft_pool", "CPU", _pool)
torch.library.impl("og_reid::soft_pool_grad", "CPU", _pool_grad)
torch.library.register_fake("og_reid::soft_pool", _pool_fake)
torch.library.register_fake("og_reid::soft_pool_grad", _pool_grad_fake)
torch.library.register_autograd("og_reid::soft_pool", _backward, setup_context=_save)
torch.library.register_autograd("og_reid::soft_pool_grad", _no_second)
