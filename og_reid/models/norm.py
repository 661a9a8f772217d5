"""Batch normalisation over edges, from statistics that never need the edges themselves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["affine", "edge_moments", "running", "update_running"]

Moments = tuple[Tensor, Tensor]


def edge_moments(near: Tensor, degree: Tensor, center: Tensor, mean_near: Tensor) -> Moments:
    """Mean and variance of y_ij = near_j + center_i over all edges (i, j) of a batch.

    With n' and c' for the terms less their means over the edges,
    Var = sum_j deg_j n'_j^2 / E + mean_i(c'_i^2 + 2 c'_i . mean_near'_i),
    so no edge is ever made, and nothing cancels as in E[y^2] - E[y]^2.

    Args:
        near: (B, N, C) neighbour term of each point.
        degree: (B, N) how many edges end in each point.
        center: (B, M, C) centre term; every centre has equally many neighbours.
        mean_near: (B, M, C) mean of `near` over the neighbours of each centre.

    Returns:
        (mean, variance), each (C,); the variance is the biased one.
    """
    weight = degree.to(near.dtype).flatten()
    weight = weight / weight.sum()
    mean, variance = _EdgeMoments.apply(
        near.flatten(0, 1), weight, center.flatten(0, 1), mean_near.flatten(0, 1)
    )
    return mean, variance


class _EdgeMoments(torch.autograd.Function):
    """The formula of `edge_moments` on flattened batches, with few passes over the points.

    Its gradients are those of the terms as independent inputs: the centred sums make the
    derivatives through the means vanish.
    """

    @staticmethod
    def forward(
        ctx: Any, near: Tensor, weight: Tensor, center: Tensor, mean_near: Tensor
    ) -> Moments:
        near_mean, center_mean = weight @ near, center.mean(0)
        centered = center - center_mean
        variance = weight @ (near - near_mean).square_()
        cross = torch.add(centered, mean_near - near_mean, alpha=2.0)
        variance = variance + cross.mul_(centered).mean(0)
        ctx.save_for_backward(near, weight, center, mean_near, near_mean, center_mean)
        return near_mean + center_mean, variance

    @staticmethod
    def backward(
        ctx: Any, grad_mean: Tensor, grad_variance: Tensor
    ) -> tuple[Tensor, None, Tensor, Tensor]:
        near, weight, center, mean_near, near_mean, center_mean = ctx.saved_tensors
        slope = 2.0 * grad_variance
        grad_near = torch.addcmul(grad_mean - slope * near_mean, near, slope)
        grad_near *= weight[:, None]
        share = slope / center.shape[0]
        grad_mean_near = torch.addcmul(-share * center_mean, center, share)
        constant = grad_mean / center.shape[0] - share * near_mean
        grad_center = torch.addcmul(grad_mean_near, mean_near, share).add_(constant)
        return grad_near, None, grad_center, grad_mean_near


def affine(norm: nn.modules.batchnorm._BatchNorm, moments: Moments) -> tuple[Tensor, Tensor]:
    """(scale, shift), each (C,), so that the normalised value of y is `scale * y + shift`."""
    mean, variance = moments
    scale = norm.weight * torch.rsqrt(variance.clamp_min(0.0) + norm.eps)
    return scale, norm.bias - mean * scale


def running(norm: nn.modules.batchnorm._BatchNorm) -> Moments:
    """The running (mean, variance) of a normalisation layer."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


@torch.no_grad()
def update_running(norm: nn.modules.batchnorm._BatchNorm, moments: Moments, count: int) -> None:
    """Fold batch moments over `count` values into the running statistics, as torch does.

    The variance stored is the unbiased one; `momentum=None` means a cumulative average.
    """
    mean, variance = moments
    running_mean, running_variance = running(norm)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    if norm.momentum is None:
        weight = 1.0 / float(norm.num_batches_tracked)
    else:
        weight = norm.momentum
    running_mean.lerp_(mean, weight)
    running_variance.lerp_(variance * (count / max(1, count - 1)), weight)
