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
from ..ops.faded import faded_max, faded_moments
from ..ops.fading import FadingNeighbors, fading_balls, present_balls
from ..ops.gather import gather_neighbors
from ..ops.lattice import Vertices
from .edge_conv import NeighborMix
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
) -> tuple[FadingNeighbors, ...]:
    """Neighbours of (B, M, 3) centres among places, one (B, M, count) list per scale.

    Args:
        centers: (B, M, 3) metres.
        here: (B, n) points of clouds, or vertices.
        counts: most neighbours of each scale.
        spacing: of their lattice, metres; None for points of clouds, which are all present.
    """
    if spacing is None:
        return fading_balls(here.points, centers, RADII, counts)
    radii = tuple(radius * spacing for radius in LATER_RADII)
    return present_balls(*here, centers, radii, counts)


def convolve(
    features: Tensor,
    graph: FadingNeighbors,
    presence: Tensor,
    conv: nn.Conv2d,
    norm: nn.BatchNorm2d,
    mix: NeighborMix,
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
    near = gather_neighbors(F.linear(features, difference), index)
    center = F.linear(features, own - difference, bias)
    mean = (weight[..., None] * near).sum(2) / weight.sum(2)[..., None]
    highest = (weight[..., None] * (near - mean[:, :, None])).amax(2)
    if norm.training:
        edges = near + center[:, :, None]
        folded, variance = faded_moments(edges, weight * presence[..., None])
        moments = (folded * sign, variance)
        update_running(norm, (moments[0].detach(), variance.detach()), index.numel())
    else:
        moments = running(norm)
    scale, shift = affine(norm, moments)
    return torch.addcmul(shift, mean + mix.share * highest + center, scale * sign)


def abstract(
    layer: SetAbstraction,
    points: Tensor,
    features: Tensor,
    there: Vertices,
    balls: tuple[FadingNeighbors, ...],
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
    total = features.new_zeros(())
    for scale, ball in zip(cast("list[AbstractionScale]", list(layer.mlps)), balls, strict=True):
        place, content = scale.weight[:, :3], scale.weight[:, 3:]
        near = F.linear(features, content) + F.linear(points, place)
        center = F.linear(there.points, -place)
        total = total + _pool_scale(scale, near, center, ball, there.presence)
    return total


def _pool_scale(
    scale: AbstractionScale,
    near: Tensor,
    center: Tensor,
    ball: FadingNeighbors,
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
    rows = gather_neighbors(near, index) + center[:, :, None]
    moments = faded_moments(rows, share) if first.training else running(first)
    if first.training:
        update_running(first, (moments[0].detach(), moments[1].detach()), index.numel())
    scaling, shift = affine(first, moments)
    rows = torch.addcmul(shift, rows, scaling)
    hidden = F.silu(F.linear(rows, gate.se_reduce.weight.flatten(1), gate.se_reduce.bias))
    opened = F.linear(hidden, gate.se_expand.weight.flatten(1), gate.se_expand.bias).sigmoid()
    mean, variance = (None, None) if second.training else running(second)
    norm = EdgeNorm(second.weight, second.bias, mean, variance, second.eps)
    pooled, *found = faded_max(rows * opened, conv.weight.flatten(1), fade, share, norm)
    if second.training:
        update_running(second, (found[0], found[1]), index.numel())
    return pooled


def carry(features: Tensor, ball: FadingNeighbors) -> Tensor:
    """(B, M, C) mean of (B, n, C) features over a ball; fades to 0 as the last of them leaves."""
    weight = ball.weights[..., None]
    return (weight * gather_neighbors(features, ball.indices)).sum(2) / weight.sum(2).clamp_min(1)


def pool(features: Tensor, presence: Tensor) -> Tensor:
    """(B, 2 C) maximum and mean of (B, n, C) features over places that are present by a share."""
    weight = presence[..., None]
    mean = (weight * features).sum(1) / weight.sum(1)
    highest = mean + (weight * (features - mean[:, None])).amax(1)
    return torch.cat([highest, mean], dim=-1)


def note(
    record: dict[str, Tensor] | None,
    step: int,
    balls: tuple[FadingNeighbors, ...],
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
