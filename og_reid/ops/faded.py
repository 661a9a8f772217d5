"""Pooling over neighbours that fade: moments by weight, and a maximum that nobody leaves abruptly.

These make the rows of all edges, in plain torch on any device; what the functions save is passes
over them. Where weights need gradients (positions are learnt, not given) they are the twins.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .edge_conv import EdgeNorm
from .moments import Moments

__all__ = ["faded_max", "faded_max_torch", "faded_moments", "faded_moments_torch"]


def faded_moments(rows: Tensor, weight: Tensor) -> Moments:
    """Mean and biased variance, (C,) each, of (..., C) rows that count by (...) weights, not all 0.

    Once differentiable, unless the weights need gradients.
    """
    if weight.requires_grad:
        return faded_moments_torch(rows, weight)
    mean, variance = _Moments.apply(rows.flatten(0, -2), _share(weight))
    return mean, variance


def faded_moments_torch(rows: Tensor, weight: Tensor) -> Moments:
    """Plain-torch twin of `faded_moments`: its specification."""
    rows, share = rows.flatten(0, -2), _share(weight)
    mean = share @ rows
    return mean, share @ (rows - mean).square()


def faded_max(
    rows: Tensor, weight: Tensor, fade: Tensor, share: Tensor, norm: EdgeNorm
) -> tuple[Tensor, Tensor, Tensor]:
    """Project the rows of edges, normalise, cut below 0, fade, and take the maximum per centre.

    max_j fade_j * relu(norm(weight z_j)): none is below 0, so a neighbour that has faded to 0 can
    leave unnoticed.

    Args:
        rows: (B, M, n, H) z of each edge.
        weight: (C, H) projection.
        fade: (B, M, n) in [0, 1].
        share: (B, M, n) how much an edge counts for the moments, not all 0.
        norm: with known moments, or without: then those of these edges are taken.

    Returns:
        The (B, M, C) maximum, and the (C,) mean and biased variance that were found, empty where
        they were known. They pass no gradients on. Once differentiable, unless fades need
        gradients.
    """
    if norm.mean is not None or fade.requires_grad or share.requires_grad:
        return faded_max_torch(rows, weight, fade, share, norm)
    highest, mean, variance = _FadedMax.apply(
        rows, weight, fade, _share(share), norm.scale, norm.shift, norm.eps
    )
    return highest, mean, variance


def faded_max_torch(
    rows: Tensor, weight: Tensor, fade: Tensor, share: Tensor, norm: EdgeNorm
) -> tuple[Tensor, Tensor, Tensor]:
    """Plain-torch twin of `faded_max`: its specification."""
    mean, variance, found = norm.mean, norm.variance, rows.new_empty(0)
    if mean is not None and variance is not None:
        factor = norm.scale * torch.rsqrt(variance + norm.eps)
        projected = F.linear(rows, weight * factor[:, None], norm.shift - mean * factor)
        return (projected.relu() * fade[..., None]).amax(2), found, found
    projected = F.linear(rows, weight)
    mean, variance = faded_moments_torch(projected, share)
    factor = norm.scale * torch.rsqrt(variance + norm.eps)
    normal = torch.addcmul(norm.shift - mean * factor, projected, factor)
    return (normal.relu() * fade[..., None]).amax(2), mean.detach(), variance.detach()


def _share(weight: Tensor) -> Tensor:
    """Weights, flattened, as shares of their sum; zeros where there is nothing to share."""
    return (weight / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)).flatten()


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, share: Tensor) -> Moments:
        mean = share @ rows
        ctx.save_for_backward(rows, share, mean)
        return mean, share @ (rows - mean).square_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_mean: Tensor, grad_variance: Tensor) -> tuple[Tensor, None]:
        rows, share, mean = ctx.saved_tensors
        slope = 2 * grad_variance
        grad = torch.addcmul(grad_mean - slope * mean, rows, slope)
        return grad.mul_(share[:, None]), None


class _FadedMax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor,
        fade: Tensor,
        share: Tensor,
        scale: Tensor,
        shift: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        projected = F.linear(rows, weight)
        flat = projected.flatten(0, -2)
        mean = share @ flat
        variance = share @ (flat - mean).square_()
        inverse = torch.rsqrt(variance + eps)
        factor = scale * inverse
        normal = torch.addcmul(shift - mean * factor, projected, factor)
        highest, slot = normal.relu_().mul_(fade[..., None]).max(2)
        ctx.save_for_backward(rows, weight, fade, share, scale, mean, inverse, projected, slot)
        # Of equal ones any is right, so long as it is above 0.
        ctx.above = highest > 0
        ctx.mark_non_differentiable(mean, variance)
        return highest, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, fade, share, scale, mean, inverse, projected, slot = ctx.saved_tensors
        grad = torch.where(ctx.above, grad, 0) * fade.gather(2, slot)
        best = projected.gather(2, slot[:, :, None])[:, :, 0]
        grad_shift = grad.sum((0, 1))
        grad_scale = (grad * (best - mean)).sum((0, 1)) * inverse
        factor = scale * inverse
        # Through the moments each edge gets its share of - factor (grad_shift + normal grad_scale).
        slope = factor * inverse * grad_scale
        rest = torch.addcmul(slope * mean - factor * grad_shift, projected, -slope)
        rest.mul_(share.view(*fade.shape, 1))
        rest.scatter_add_(2, slot[:, :, None], (grad * factor)[:, :, None])
        grad_weight = rest.flatten(0, -2).T @ rows.flatten(0, -2)
        return rest @ weight, grad_weight, None, None, grad_scale, grad_shift, None
