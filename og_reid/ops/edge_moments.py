"""Mean and variance over the edges of neighbour graphs, without the (B, M, k, C) edges.

Within `sync_batchnorm` moments are those of all data-parallel processes, with gradients to each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "Moments",
    "edge_moments",
    "share_moments",
    "share_total",
    "sharing",
    "sync_batchnorm",
    "weighted_moments",
]

#: Mean and biased variance, or means of two terms, (C,) each.
Moments = tuple[Tensor, Tensor]

_sharing = 1


@contextmanager
def sync_batchnorm(world: int) -> Iterator[None]:
    """Synchronised batch moments: within the block they are those of all ``world`` processes.

    Args:
        world: Size of the default group of `torch.distributed`, whose processes must compute the
            same moments in the same order, over equally many values or with weights;
            1: no synchronisation.
    """
    global _sharing
    before, _sharing = _sharing, world
    try:
        yield
    finally:
        _sharing = before


def sharing() -> int:
    """World size of the synchronised moments; 1 outside of `sync_batchnorm`."""
    return _sharing


def share_moments(moments: Moments, weight: Tensor | None = None) -> Moments:
    """Moments over the values of all processes, from those of each process.

    The gradient is that of the sum of the losses of all processes, as in
    `torch.nn.SyncBatchNorm`.

    Args:
        moments: (mean, biased variance) of the values of this process.
        weight: () sum of the weights of these values, at least 0; None: all processes have
            equally many values of weight 1.
    """
    if _sharing == 1:
        return moments
    mean, variance = moments
    own: Tensor | float = 1 / _sharing
    if weight is not None:
        total = share_total(weight)
        own = weight / torch.where(total > 0, total, 1.0)
    joint = _Total.apply(mean * own)
    return joint, _Total.apply((variance + (mean - joint).square()) * own)


def share_total(value: Tensor) -> Tensor:
    """Sum of a tensor over all synchronised processes, with gradients to each."""
    total: Tensor = value if _sharing == 1 else _Total.apply(value)
    return total


class _Total(torch.autograd.Function):
    """Sum of a tensor over processes; the gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


def edge_moments(
    near: Tensor,
    degree: Tensor,
    center: Tensor,
    mean_near: Tensor,
    number: Tensor | None = None,
) -> Moments:
    """Mean and variance of y_ij = near_j + center_i over all edges (i, j) of a batch.

    With n' and c' the terms less their means over the E edges, deg_j the in-degree of point j and
    number_i the number of edges of centre i,
    Var = sum_j deg_j n'_j^2 / E + sum_i number_i (c'_i^2 + 2 c'_i . mean_near'_i) / E:
    no edge is computed, and nothing cancels as in E[y^2] - E[y]^2.

    Args:
        near: (B, N, C) neighbour term of each point.
        degree: (B, N) in-degree of each point, see `in_degree`.
        center: (B, M, C) centre term.
        mean_near: (B, M, C) mean of `near` over the neighbours of each centre.
        number: (B, M) neighbours of each centre; None: equally many.

    Returns:
        (mean, biased variance), each (C,), in float32 at least, over all processes within
        `sync_batchnorm`.
    """
    if near.dtype in (torch.bfloat16, torch.float16):
        near, center, mean_near = near.float(), center.float(), mean_near.float()
    rows = (near.flatten(0, 1), center.flatten(0, 1), mean_near.flatten(0, 1))
    own = None if number is None else _fraction(number, near.dtype)
    with torch.autocast(near.device.type, enabled=False):
        return share_moments(weighted_moments(*rows, _fraction(degree, near.dtype), own))


def weighted_moments(
    near: Tensor, center: Tensor, mean_near: Tensor, degree: Tensor, own: Tensor | None
) -> Moments:
    """The formula of `edge_moments` on flattened batches, with normalised weights.

    Args:
        near: (P, C) neighbour term.
        center: (Q, C) centre term.
        mean_near: (Q, C) mean of `near` over the neighbours of each centre.
        degree: (P,) fraction of all edges that end in each point.
        own: (Q,) fraction of all edges that start in each centre; None: equal ones.
    """
    mean, variance = _EdgeMoments.apply(near, center, mean_near, degree, own)
    return mean, variance


def _fraction(number: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers of edges as fractions of their total."""
    total = number.sum().clamp_min(1)
    return number.flatten().to(dtype) / total


def _means(near: Tensor, center: Tensor, weight: Tensor, own: Tensor | None) -> Moments:
    """Means of both terms over the edges."""
    return weight @ near, center.mean(0) if own is None else own @ center


class _EdgeMoments(torch.autograd.Function):
    """The formula of `edge_moments` on flattened batches, with few passes over the points.

    Its gradients are those of the terms as independent inputs: the centred sums make the
    derivatives through the means vanish.
    """

    @staticmethod
    def forward(
        ctx: Any,
        near: Tensor,
        center: Tensor,
        mean_near: Tensor,
        weight: Tensor,
        own: Tensor | None,
    ) -> Moments:
        near_mean, center_mean = _means(near, center, weight, own)
        centered = center - center_mean
        variance = weight @ (near - near_mean).square_()
        cross = torch.add(centered, mean_near - near_mean, alpha=2.0)
        cross = cross.mul_(centered)
        variance = variance + (cross.mean(0) if own is None else own @ cross)
        ctx.save_for_backward(near, center, mean_near, weight, own, near_mean, center_mean)
        return near_mean + center_mean, variance

    @staticmethod
    def backward(ctx: Any, grad_mean: Tensor, grad_variance: Tensor) -> tuple[Tensor | None, ...]:
        near, center, mean_near, weight, own, near_mean, center_mean = ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives the means depend on the terms
            near_mean, center_mean = _means(near, center, weight, own)
        grad_weight = grad_own = None
        if ctx.needs_input_grad[3]:
            grad_weight = near @ grad_mean + (near - near_mean).square() @ grad_variance
        if ctx.needs_input_grad[4]:
            centered = center - center_mean
            cross = centered * torch.add(centered, mean_near - near_mean, alpha=2.0)
            grad_own = center @ grad_mean + cross @ grad_variance
        slope = 2.0 * grad_variance
        grad_near = torch.addcmul(grad_mean - slope * near_mean, near, slope)
        grad_near *= weight[:, None]
        if own is None:
            slope, grad_mean = slope / len(center), grad_mean / len(center)
        grad_mean_near = torch.addcmul(-slope * center_mean, center, slope)
        constant = grad_mean - slope * near_mean
        grad_center = torch.addcmul(grad_mean_near, mean_near, slope).add_(constant)
        if own is not None:
            grad_mean_near *= own[:, None]
            grad_center *= own[:, None]
        return grad_near, grad_center, grad_mean_near, grad_weight, grad_own
