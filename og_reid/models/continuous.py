"""OG-Net as a continuous function of the points: its layers over neighbours that fade.

Same weights and shapes as the layers they stand for, other rules of who is a neighbour:

====================  =============================================================================
neighbours            as in the paper k in space, in the last layer in space and features, and the
                      nearest within three radii, but with weights w that fall to 0 towards the
                      radius and towards the next one (`ops.fading`)
edge convolution      m + share * max_j w_j (v_j - m) with the mean m of v_j, weighted by w
places after a step   not points of the cloud: vertices of a fixed lattice, anchored at its mean,
                      wherever points are near; they come and go with presence 0 (`ops.lattice`).
                      A neighbour of little presence stands farther off
ball around a place   max_j w_j relu(v_j). Radii of later steps grow with the lattice
final pooling         mean m by presence p, and max_i m + p_i (h_i - m)
====================  =============================================================================

So a small move of all points moves the descriptor in proportion, and their order changes nothing
but rounding. Moments that a normalisation takes in training count edges by weight and presence.
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

__all__ = ["abstract", "balls_around", "carry", "convolve", "note", "pool", "spacing_of"]

#: Edge of the first lattice's cubes for one vertex, metres: with `num_points` of them this over
#: the root of their number, so that a grown person has about as many.
SPACING = 2.0
#: Factor from one lattice to the next: about half as many vertices.
GROWTH = 1.5
#: Radii of the balls of later steps, in edges of the lattice they pool.
LATER_RADII = (1.0, 1.5, 2.0)


def spacing_of(step: int, num_points: int) -> float:
    """Edge of the cubes of the lattice after a step, metres."""
    return SPACING / math.sqrt(num_points) * GROWTH**step


def balls_around(
    centers: Tensor, here: Vertices, counts: tuple[int, ...], spacing: float | None
) -> tuple[SoftNeighbors, ...]:
    """Neighbours of (B, M, 3) centres among places, one (B, M, count) list per scale.

    Args:
        centers: (B, M, 3) metres.
        here: (B, n) points of clouds, or vertices.
        counts: most neighbours of each scale.
        spacing: of their lattice, metres; None for points of clouds, which are all present.
    """
    if spacing is None:
        return soft_ball_graph(here.points, centers, RADII, counts)
    radii = tuple(radius * spacing for radius in LATER_RADII)
    return masked_ball_graph(*here, centers, radii, counts)


def convolve(
    features: Tensor,
    graph: SoftNeighbors,
    presence: Tensor,
    conv: nn.Conv2d,
    norm: nn.BatchNorm2d,
    mix: MaxMeanMix,
) -> Tensor:
    """`edge_conv` over neighbours that fade.

    Args:
        features: (B, n, C_in) one row per place.
        graph: (B, n, k) neighbours of each place, itself with weight 1 among them.
        presence: (B, n) of the places, by which their edges count for moments.
        conv: 1x1 convolution 2 * C_in -> C_out on [h_j - h_i, h_i].
        norm: its normalisation.
        mix: of maximum and mean.

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
        counted = weight * presence[..., None]
        folded, variance = soft_moments(near, center, index, counted, mean)
        moments = (folded * sign, variance)
        update_running(norm, (moments[0].detach(), variance.detach()), (counted > 0).sum())
    else:
        moments = running(norm)
    scale, shift = affine(norm, moments)
    return torch.addcmul(shift, mean + mix.share * highest + center, scale * sign)


def abstract(
    layer: SetAbstraction,
    points: Tensor,
    features: Tensor,
    there: Vertices,
    balls: tuple[SoftNeighbors, ...],
) -> Tensor:
    """`SetAbstraction` over balls that fade.

    Args:
        layer: its weights.
        points: (B, n, 3) metres, places of the features.
        features: (B, n, C) one row per place.
        there: (B, M) places to pool to.
        balls: their neighbours among the n places, one list per scale.

    Returns:
        (B, M, C), not below 0.
    """
    # One product for all scales; positions apart, so that rows of the large one are aligned.
    scales = cast("list[AbstractionScale]", list(layer.mlps))
    weight = torch.cat([scale.weight for scale in scales])
    place, content = weight[:, :3], weight[:, 3:]
    near = F.linear(features, content) + F.linear(points, place)
    center = F.linear(there.points, -place)
    width = len(weight) // len(scales)
    small, middle, large = (
        _pool_scale(*parts, there.presence)
        for parts in zip(scales, near.split(width, -1), center.split(width, -1), balls, strict=True)
    )
    return small + middle + large


def _pool_scale(
    scale: AbstractionScale,
    near: Tensor,
    center: Tensor,
    ball: SoftNeighbors,
    presence: Tensor,
) -> Tensor:
    """One scale: (B, n, C/2) and (B, M, C/2) terms of the first convolution to (B, M, C)."""
    _, first, gate, conv, second = scale
    assert isinstance(first, nn.BatchNorm2d)
    assert isinstance(gate, PointGate)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(second, nn.BatchNorm2d)
    index, fade = ball
    share = fade * presence[..., None]
    if first.training:
        moments = soft_moments(near, center, index, share)
        update_running(first, (moments[0].detach(), moments[1].detach()), (share > 0).sum())
    else:
        moments = running(first)
    scaling, shift = affine(first, moments)
    terms = gate.terms(near * scaling, torch.addcmul(shift, center, scaling))
    mean, variance = (None, None) if second.training else running(second)
    norm = EdgeNorm(second.weight, second.bias, mean, variance, second.eps)
    pooled, *found = soft_gated_max(terms, index, fade, share, conv.weight.flatten(1), norm)
    if second.training:
        update_running(second, (found[0], found[1]), (share > 0).sum())
    return pooled


def carry(features: Tensor, ball: SoftNeighbors) -> Tensor:
    """(B, M, C) mean of (B, n, C) features over a ball; fades to 0 as the last of them leaves."""
    total = ball.weights.sum(2)[..., None]
    return soft_mean(features, *ball) * (total / total.clamp_min(1))


def pool(features: Tensor, presence: Tensor) -> Tensor:
    """(B, 2 C) maximum and mean of (B, n, C) features over places that are present by a share."""
    weight = presence[..., None]
    mean = (weight * features).sum(1) / weight.sum(1)
    highest = mean + (weight * (features - mean[:, None])).amax(1)
    return torch.cat([highest, mean], dim=-1)


def note(
    record: dict[str, Tensor] | None,
    step: int,
    balls: tuple[SoftNeighbors, ...],
    places: Vertices,
    features: Tensor,
) -> None:
    """Write the results of a step into the record of `OGNet.stages`, if there is one."""
    if record is None:
        return
    for scale, ball in enumerate(balls):
        record[f"ball.{step}.{scale}"], record[f"ball_weight.{step}.{scale}"] = ball
    record[f"points.{step}"], record[f"presence.{step}"] = places
    record[f"features.{step}"] = features
