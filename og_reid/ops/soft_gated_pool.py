"""Weighted gated max pooling: gate each edge, project, normalise, weight, take the maximum.

In float32 on a CPU this runs native and in chunks of clouds, as `gated_max` does: the (B, M, n, C)
rows of a whole batch never exist. Other dtypes and devices, gradients towards the edge weights, and
moments over several processes (`sync_batchnorm`) take plain torch.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._native.gated_pool import GateBatch, WeightedMaximum, gate_fits
from .edge_conv import EdgeNorm
from .edge_moments import sharing
from .gated_pool import EdgeTerms
from .gather import gather_neighbors
from .neighbor_index import check_index
from .soft_pool import native_for, normalized, row_moments

__all__ = ["soft_gated_max", "soft_gated_max_torch"]


def soft_gated_max(
    terms: EdgeTerms,
    index: Tensor,
    edge_weight: Tensor,
    moment_weight: Tensor,
    weight: Tensor,
    norm: EdgeNorm,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted max pooling of gated, projected and normalised edges.

    The result is max_j w_j relu(norm(weight z_j)), z_j the gated row of edge j. No term is below
    0, so neighbours of weight 0 can be added or removed without a jump.

    Args:
        terms: terms of the gated rows z (H channels).
        index: (B, M, n) int64 neighbours of each of M centres, each in 0..N-1:
            `index[b, i, j] = p` means that edge j of centre i ends in point p of cloud b.
        edge_weight: (B, M, n) w, in [0, 1].
        moment_weight: (B, M, n) weights of the edges in mean and variance, at least 0.
        weight: (C, H) projection.
        norm: normalisation; without moments, by those of these edges.

    Returns:
        The (B, M, C) maximum, and the (C,) mean and biased variance of these edges (empty where
        `norm` has them), which carry no gradients. Differentiable once; twice in plain torch.

    Raises:
        IndexError: on a CPU, when an index is not in 0..N-1.
    """
    kind = functools.reduce(torch.promote_types, (t.dtype for t in (*terms, weight)))
    terms = EdgeTerms(*(t.to(kind) for t in terms))
    weight, known = weight.to(kind), norm.mean is not None
    native = native_for(*terms, edge_weight, weight) and gate_fits(terms, index, weight)
    shared = sharing() > 1 and not known  # the gradients of the moments come from all processes
    weighed = edge_weight.requires_grad or moment_weight.requires_grad
    if not native or shared or weighed:
        with torch.autocast(weight.device.type, enabled=False):
            return soft_gated_max_torch(terms, index, edge_weight, moment_weight, weight, norm)
    scale, shift, mean, variance, eps = norm
    highest, *found = torch.ops.og_reid.soft_gated_max(
        *(*terms, index, edge_weight, moment_weight, weight), *(scale, shift, mean, variance, eps)
    )[:3]
    none = highest.new_empty(0)
    return (highest, none, none) if known else (highest, *(each.detach() for each in found))


def soft_gated_max_torch(
    terms: EdgeTerms,
    index: Tensor,
    edge_weight: Tensor,
    moment_weight: Tensor,
    weight: Tensor,
    norm: EdgeNorm,
) -> tuple[Tensor, Tensor, Tensor]:
    """Plain-torch twin of `soft_gated_max`: its specification."""
    x = gather_neighbors(terms.near, index) + terms.center[:, :, None]
    hidden = F.silu(gather_neighbors(terms.gate_near, index) + terms.gate_center[:, :, None])
    y = F.linear(x * torch.sigmoid(F.linear(hidden, terms.expand, terms.bias)), weight)
    scale, shift, mean, variance, eps = norm
    found = (y.new_empty(0), y.new_empty(0))
    if mean is None or variance is None:
        mean, variance = row_moments(y, moment_weight)
        found = (mean.detach(), variance.detach())
    factor = scale * torch.rsqrt(variance + eps)
    normal = torch.addcmul(shift - mean * factor, y, factor)
    return ((normal.relu() * edge_weight[..., None]).max(2).values, *found)


def _forward(
    near: Tensor,
    center: Tensor,
    gate_near: Tensor,
    gate_center: Tensor,
    expand: Tensor,
    bias: Tensor,
    index: Tensor,
    edge_weight: Tensor,
    moment_weight: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    eps: float,
) -> tuple[Tensor, ...]:
    """Maximum, moments of y, y and slot of the maximum, and weighted moments of z.

    The moments of y = W z follow from those of z, which has half as many channels.
    """
    check_index(index, near.shape[1])
    terms = (near, center, gate_near, gate_center, expand, bias)
    work, (channels, half) = GateBatch(terms, index), weight.shape
    mean_z, covariance = near.new_zeros(half), near.new_zeros(half, half)
    if mean is None or variance is None:
        rows = normalized(moment_weight, None).reshape(len(index), -1)

        def visit(clouds: slice, z: Tensor) -> None:
            weighted = z * rows[clouds].reshape(-1, 1)
            mean_z.add_(weighted.sum(0))
            covariance.addmm_(weighted.t(), z)

        work.visit(visit)
        covariance.addr_(mean_z, mean_z, alpha=-1.0)
        mean = weight @ mean_z
        variance = ((weight @ covariance) * weight).sum(1).clamp_min_(0.0)
    else:
        mean, variance = mean.clone(), variance.clone()
    factor = scale * torch.rsqrt(variance + eps)
    offset = torch.addcmul(shift, mean, factor, value=-1.0)
    highest = near.new_empty(*index.shape[:2], channels)
    best, argument = torch.empty_like(highest), torch.empty_like(highest, dtype=torch.int32)
    work.project(
        weight.contiguous(),
        highest,
        argument,
        weighted=WeightedMaximum(edge_weight.contiguous(), factor, offset, best),
    )
    return highest, mean, variance, best, argument, mean_z, covariance


def _gradient(
    inputs: list[Tensor], results: list[Tensor], grad: Tensor, known: bool, eps: float
) -> list[Tensor]:
    """Gradients of the six terms, the weight, scale and shift.

    Through the moments, the row z of an edge of normalised moment weight u gets the gradient
    -u W' factor (grad_shift + normal grad_scale).
    """
    *terms, index, edge_weight, moment_weight, weight, scale = inputs
    highest, mean, variance, best, argument, mean_z, covariance = results
    # Of equal maxima any slot is right where they are above 0; where they are 0 there is no
    # gradient. A NaN passes NaN on.
    slot_weight = edge_weight.gather(2, argument.long())
    grad = torch.where(highest == 0, 0.0, grad * slot_weight)
    inverse = torch.rsqrt(variance + eps)
    factor = scale * inverse
    grad_shift = grad.sum((0, 1))
    grad_scale = (grad * (best - mean)).sum((0, 1)) * inverse
    slope = factor * inverse * grad_scale
    row = (slope * mean - factor * grad_shift) @ weight
    mix = (weight.t() * -slope) @ weight
    rows = normalized(moment_weight, None).reshape(len(index), -1)

    def rest(clouds: slice, z: Tensor, grad_z: Tensor) -> None:
        if known:
            grad_z.zero_()
        else:
            torch.addmm(row, z, mix, out=grad_z).mul_(rows[clouds].reshape(-1, 1))

    grads = GateBatch(terms, index).backward(weight, grad * factor, argument, rest)
    if not known:
        grads[-1].addr_(factor * grad_shift, mean_z, alpha=-1.0)
        grads[-1].sub_((weight @ covariance) * slope[:, None])
    return [*grads, grad_scale, grad_shift]


def _forward_fake(*inputs: Any) -> tuple[Tensor, ...]:
    near, index, weight = inputs[0], inputs[6], inputs[9]
    channels, half = weight.shape
    highest = near.new_empty(*index.shape[:2], channels)
    return (
        *(highest, near.new_empty(channels), near.new_empty(channels), torch.empty_like(highest)),
        torch.empty_like(highest, dtype=torch.int32),
        *(near.new_empty(half), near.new_empty(half, half)),
    )


def _gradient_fake(
    inputs: list[Tensor], results: list[Tensor], grad: Tensor, known: bool, eps: float
) -> list[Tensor]:
    *terms, _, _, _, weight, scale = inputs
    return [
        torch.empty_like(t, memory_format=torch.contiguous_format) for t in (*terms, weight)
    ] + [
        torch.empty_like(scale),
        torch.empty_like(scale),
    ]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, _, mean, _, ctx.eps = inputs
    ctx.known = mean is not None
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(*tensors, *output)


def _backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    saved = list(ctx.saved_tensors)
    given = torch.ops.og_reid.soft_gated_max_grad(saved[:11], saved[11:], grad, ctx.known, ctx.eps)
    *terms, weight, scale, shift = given
    return (*terms, None, None, None, weight, scale, shift, None, None, None)


def _no_second(ctx: Any, *_: Any) -> None:
    raise NotImplementedError(
        "soft_gated_max has no second derivatives; use soft_gated_max_torch for them"
    )


torch.library.define(
    "og_reid::soft_gated_max",
    "(Tensor near, Tensor center, Tensor gate_near, Tensor gate_center, Tensor expand, "
    "Tensor bias, Tensor index, Tensor edge_weight, Tensor moment_weight, Tensor weight, "
    "Tensor scale, Tensor shift, Tensor? mean, Tensor? variance, float eps) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
torch.library.define(
    "og_reid::soft_gated_max_grad",
    "(Tensor[] inputs, Tensor[] results, Tensor grad, bool known, float eps) -> Tensor[]",
)
torch.library.impl("og_reid::soft_gated_max", "CPU", _forward)
torch.library.impl("og_reid::soft_gated_max_grad", "CPU", _gradient)
torch.library.register_autocast("og_reid::soft_gated_max", "cpu", torch.float32)
torch.library.register_fake("og_reid::soft_gated_max", _forward_fake)
torch.library.register_fake("og_reid::soft_gated_max_grad", _gradient_fake)
torch.library.register_autograd("og_reid::soft_gated_max", _backward, setup_context=_save)
torch.library.register_autograd("og_reid::soft_gated_max_grad", _no_second)
