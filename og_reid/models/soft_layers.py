"""Layers of OG-Net over soft neighbourhoods: continuous functions of the points.

Weights and shapes are those of the layers they replace; the rules of the neighbourhoods differ:

====================  =============================================================================
neighbours            k nearest in space (last layer: in space and features), and the nearest within
                      three radii, as in the paper, with weights w that taper to 0 at the edge of
                      the neighbourhood (`og_reid.ops.soft_neighbors`)
edge convolution      m + r max_j w_j (v_j - m), m the w-weighted mean of v_j, r the ratio of
                      `MaxMeanMix`
pooling centres       in place of sampled points the vertices of a lattice anchored at the cloud's
                      mean, each with a weight p in [0, 1] (`og_reid.ops.lattice`); a neighbour of
                      small p counts as farther away
set abstraction       max_j w_j relu(v_j); radii of later stages grow with the lattice
global pooling        p-weighted mean m, and max_i m + p_i (h_i - m)
====================  =============================================================================

A small displacement of the points changes the embedding in proportion, and their order changes
rounding only. In training, batch moments weight each edge by w and by the p of its centre.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.edge_conv import EdgeNorm
from ..ops.lattice import Vertices
from ..ops.soft_gated_pool import soft_gated_max
from ..ops.soft_neighbors import SoftNeighbors, masked_ball_graph, soft_ball_graph
from ..ops.soft_pool import soft_mean, soft_moments, soft_pool
from .edge_conv import MaxMeanMix
from .norm import affine, running, update_running
from .set_abstraction import RADII, AbstractionScale, PointGate, SetAbstraction

__all__ = [
    "lattice_spacing",
    "record_stage",
    "soft_ball_mean",
    "soft_ball_neighbors",
    "soft_edge_conv",
    "soft_global_pool",
    "soft_set_abstraction",
]

#: Numerator of the first spacing, metres: SPACING / sqrt(num_points) gives an adult body about
#: `num_points` vertices.
SPACING = 2.0
#: Ratio of consecutive spacings: about half as many vertices per stage.
GROWTH = 1.5
#: Radii of later stages, in spacings of the lattice they pool.
LATER_RADII = (1.0, 1.5, 2.0)


def lattice_spacing(step: int, num_points: int) -> float:
    """Edge of the lattice's cubes after down-sampling ``step``, metres."""
    return SPACING / math.sqrt(num_points) * GROWTH**step


def soft_ball_neighbors(
    centers: Tensor, here: Vertices, counts: tuple[int, ...], spacing: float | None
) -> tuple[SoftNeighbors, ...]:
    """Soft ball neighbourhoods of the pooling centres.

    Args:
        centers: (B, M, 3) metres.
        here: (B, n) points of the cloud, or vertices of the previous lattice.
        counts: slots per scale.
        spacing: spacing of that lattice, metres; None for points of the cloud, all of weight 1.

    Returns:
        One set of (B, M, count) neighbours per scale, indices into the n points.
    """
    if spacing is None:
        return soft_ball_graph(here.points, centers, RADII, counts)
    radii = tuple(radius * spacing for radius in LATER_RADII)
    return masked_ball_graph(*here, centers, radii, counts)


def soft_edge_conv(
    features: Tensor,
    graph: SoftNeighbors,
    point_weight: Tensor,
    conv: nn.Conv2d,
    norm: nn.BatchNorm2d,
    mix: MaxMeanMix,
) -> Tensor:
    """Edge convolution over a soft neighbour graph.

    Args:
        features: (B, n, C_in) one row per point.
        graph: (B, n, k) neighbours of each point, the point itself among them with weight 1.
        point_weight: (B, n) in [0, 1], weights of the points' edges in batch moments.
        conv: 1x1 convolution 2 * C_in -> C_out on [h_j - h_i, h_i].
        norm: its normalisation.
        mix: ratio of maximum and mean.

    Returns:
        (B, n, C_out), before the activation.
    """
    index, weight = graph
    # A negative scale turns the maximum into a minimum: fold its sign into the rows first.
    sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(features.dtype)
    rows = conv.weight.flatten(1) * sign[:, None]
    difference, own = rows.split(features.shape[-1], dim=1)
    bias = None if conv.bias is None else conv.bias * sign
    near = F.linear(features, difference)
    center = F.linear(features, own - difference, bias)
    mean, highest = soft_pool(near, index, weight)
    if norm.training:
        counted = weight * point_weight[..., None]
        folded, variance = soft_moments(near, center, index, counted, mean)
        moments = (folded * sign, variance)
        update_running(norm, (moments[0].detach(), variance.detach()), (counted > 0).sum())
    else:
        moments = running(norm)
    scale, shift = affine(norm, moments)
    return torch.addcmul(shift, mean + mix.ratio * highest + center, scale * sign)


def soft_set_abstraction(
    layer: SetAbstraction,
    points: Tensor,
    features: Tensor,
    there: Vertices,
    balls: tuple[SoftNeighbors, ...],
) -> Tensor:
    """`SetAbstraction` over soft ball neighbourhoods.

    Args:
        layer: weights of the three scales.
        points: (B, n, 3) metres.
        features: (B, n, C) one row per point.
        there: (B, M) pooling centres.
        balls: one set of (B, M, count) neighbours per scale, indices into the n points.

    Returns:
        (B, M, C), at least 0.
    """
    # One product for all scales; positions apart, so that rows of the large one are aligned.
    scales = cast("list[AbstractionScale]", list(layer.mlps))
    weight = torch.cat([scale.weight for scale in scales])
    place, content = weight[:, :3], weight[:, 3:]
    near = F.linear(features, content) + F.linear(points, place)
    center = F.linear(there.points, -place)
    width = len(weight) // len(scales)
    small, middle, large = (
        _pool_scale(*parts, there.weight)
        for parts in zip(scales, near.split(width, -1), center.split(width, -1), balls, strict=True)
    )
    return small + middle + large


def _pool_scale(
    scale: AbstractionScale,
    near: Tensor,
    center: Tensor,
    ball: SoftNeighbors,
    center_weight: Tensor,
) -> Tensor:
    """One scale: (B, n, C/2) and (B, M, C/2) terms of the first convolution to (B, M, C)."""
    _, first, gate, conv, second = scale
    assert isinstance(first, nn.BatchNorm2d)
    assert isinstance(gate, PointGate)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(second, nn.BatchNorm2d)
    index, edge_weight = ball
    counted = edge_weight * center_weight[..., None]
    if first.training:
        moments = soft_moments(near, center, index, counted)
        update_running(first, (moments[0].detach(), moments[1].detach()), (counted > 0).sum())
    else:
        moments = running(first)
    scaling, shift = affine(first, moments)
    terms = gate.terms(near * scaling, torch.addcmul(shift, center, scaling))
    mean, variance = (None, None) if second.training else running(second)
    norm = EdgeNorm(second.weight, second.bias, mean, variance, second.eps)
    pooled, *found = soft_gated_max(
        terms, index, edge_weight, counted, conv.weight.flatten(1), norm
    )
    if second.training:
        update_running(second, (found[0], found[1]), (counted > 0).sum())
    return pooled


def soft_ball_mean(features: Tensor, ball: SoftNeighbors) -> Tensor:
    """(B, M, C) weighted mean of (B, n, C) features; tapers to 0 below a weight sum of 1."""
    total = ball.weights.sum(2)[..., None]
    return soft_mean(features, *ball) * (total / total.clamp_min(1))


def soft_global_pool(features: Tensor, point_weight: Tensor) -> Tensor:
    """(B, 2 C) weighted maximum and mean of (B, n, C) features; weights (B, n) in [0, 1]."""
    weight = point_weight[..., None]
    mean = (weight * features).sum(1) / weight.sum(1)
    highest = mean + (weight * (features - mean[:, None])).amax(1)
    return torch.cat([highest, mean], dim=-1)


def record_stage(
    record: dict[str, Tensor] | None,
    step: int,
    balls: tuple[SoftNeighbors, ...],
    centers: Vertices,
    features: Tensor,
) -> None:
    """Adds a down-sampling's results to the record of `OGNet.stages`, if there is one."""
    if record is None:
        return
    for scale, ball in enumerate(balls):
        record[f"ball.{step}.{scale}"], record[f"ball_weight.{step}.{scale}"] = ball
    record[f"points.{step}"], record[f"weight.{step}"] = centers
    record[f"features.{step}"] = features
