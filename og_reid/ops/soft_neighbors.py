"""Soft neighbourhoods: weights taper to 0 at the neighbourhood's edge.

The k nearest neighbours change discontinuously with the points, and so does a pooling over them.
Here the weight of a neighbour is 0 where another one takes its slot:

    w_j = clamp(TAPER (1 - q_j / c), 0, 1),    q_j = (d_j^2 + MIN_DISTANCE^2) / p_j,

with d_j the distance to neighbour j, p_j its own weight (1 for points of a cloud) and c the cutoff:
the smallest q of the points that are left out, but at most

===================  ==============================================================================
ball graph           radius^2
k-NN graph, points   infinity: where no point is left out all weights are 1
k-NN graph, masked   MAX_REACH times the mean squared distance to all points, weighted by p
===================  ==============================================================================

A neighbour with p_j -> 0 has q_j -> infinity, so its weight reaches 0 before it is removed. Ties at
the cutoff do not matter: either neighbour has weight 0. Slots without a neighbour hold any index,
with weight 0; so do all slots beyond N points.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .knn import knn

__all__ = [
    "MIN_DISTANCE",
    "TAPER",
    "SoftNeighbors",
    "masked_ball_graph",
    "masked_knn_graph",
    "soft_ball_graph",
    "soft_knn_graph",
]

#: Softening of distances, metres: bounds the slope of the weights where many neighbours are at one
#: position.
MIN_DISTANCE = 0.01
#: Largest cutoff of a masked k-NN graph, in weighted mean squared distances: a point whose weight
#: goes to 0 loses its edges before it is removed.
MAX_REACH = 16.0
#: Slope of the weights; within sqrt(1 - 1 / TAPER) of the cutoff distance they are 1.
TAPER = 1.5


class SoftNeighbors(NamedTuple):
    """Weighted neighbours of M centres among N points; a slot of weight 0 holds any index."""

    indices: Tensor  # (B, M, n) int64, 0..N-1
    weights: Tensor  # (B, M, n) in [0, 1]


def soft_knn_graph(points: Tensor, k: int) -> SoftNeighbors:
    """Soft k-nearest-neighbour graph of the points of a cloud.

    Args:
        points: (B, N, 3) metres.
        k: slots per point, the point itself included.

    Returns:
        (B, N, k) neighbours: `indices[b, i, j] = n` is the point `points[b, n]`. Each point is
        among its own neighbours with weight 1; slots beyond N points have weight 0.
    """
    index, squared = _nearest(points, points, k + 1)
    return _with_self(_tapered(index, squared + MIN_DISTANCE**2, k, math.inf))


def soft_ball_graph(
    points: Tensor, centers: Tensor, radii: tuple[float, ...], counts: tuple[int, ...]
) -> tuple[SoftNeighbors, ...]:
    """Soft ball neighbourhoods of several radii: the nearest points within each.

    Args:
        points: (B, N, 3) metres.
        centers: (B, M, 3) metres.
        radii: one radius per scale, metres.
        counts: slots per scale.

    Returns:
        One set of (B, M, counts[s]) neighbours per scale: `indices[b, i, j] = n` is the point
        `points[b, n]`, of weight 0 at distances of at least `radii[s]`.
    """
    index, squared = _nearest(points, centers, max(counts) + 1)
    far = squared + MIN_DISTANCE**2
    return tuple(
        _tapered(index, far, count, radius**2) for radius, count in zip(radii, counts, strict=True)
    )


def masked_knn_graph(rows: Tensor, weight: Tensor, k: int) -> SoftNeighbors:
    """`soft_knn_graph` of weighted points; a point of weight 0 is a neighbour of itself only.

    Args:
        rows: (B, N, D) positions, or positions and features of the points.
        weight: (B, N) in [0, 1], weights p of the points.
        k: slots per point, the point itself included.

    Returns:
        (B, N, k) neighbours, each point among its own with weight 1.
    """
    own = torch.eye(rows.shape[1], dtype=torch.bool, device=rows.device)
    squared = _squared(rows, rows)
    normalized = weight / weight.sum(1, keepdim=True)
    limit = MAX_REACH * ((squared @ normalized[..., None]) + MIN_DISTANCE**2)
    far = _weighted_distances(squared, weight).masked_fill(own, 0)
    far, index = far.topk(min(k + 1, rows.shape[1]), largest=False)
    return _with_self(_tapered(index, far, k, limit))


def masked_ball_graph(
    points: Tensor,
    weight: Tensor,
    centers: Tensor,
    radii: tuple[float, ...],
    counts: tuple[int, ...],
) -> tuple[SoftNeighbors, ...]:
    """`soft_ball_graph` among weighted points; a point of weight 0 is in no neighbourhood.

    Args:
        points: (B, N, 3) metres.
        weight: (B, N) in [0, 1], weights p of the points.
        centers: (B, M, 3) metres.
        radii: one radius per scale, metres.
        counts: slots per scale.

    Returns:
        Those of `soft_ball_graph`.
    """
    far = _weighted_distances(_squared(points, centers), weight)
    far, index = far.topk(min(max(counts) + 1, points.shape[1]), largest=False)
    return tuple(
        _tapered(index, far, count, radius**2) for radius, count in zip(radii, counts, strict=True)
    )


def _tapered(index: Tensor, far: Tensor, count: int, limit: float | Tensor) -> SoftNeighbors:
    """The first `count` of (B, M, n) neighbours with their weights.

    Args:
        index: (B, M, n) int64, in order of `far`.
        far: (B, M, n) ascending q.
        count: slots; n may be smaller.
        limit: largest cutoff, one or (B, M, 1).
    """
    missing = max(0, count + 1 - index.shape[-1])
    index = F.pad(index[..., :count], (0, max(0, count - index.shape[-1])))
    far = F.pad(far[..., : count + 1], (0, missing), value=math.inf)
    cut = far[..., -1:].clamp_max(limit)
    there = far[..., :-1].isfinite()
    # Missing neighbours are masked first: inf / inf has no gradient.
    weight = TAPER * (1 - far[..., :-1].masked_fill(~there, 0) / cut)
    return SoftNeighbors(index, weight.clamp(0, 1).masked_fill(~there, 0))


def _with_self(graph: SoftNeighbors) -> SoftNeighbors:
    """Neighbours of N points among themselves, each point in its own list with weight 1.

    A point that is not in its list has n others at its own position, all of weight 0: it takes
    the first slot.
    """
    index, weight = graph
    own = torch.arange(index.shape[1], device=index.device)[:, None]
    absent = ~(index == own).any(-1, keepdim=True)
    first = torch.arange(index.shape[2], device=index.device) == 0
    index = torch.where(absent & first, own, index)
    mine = index == own
    # Empty slots may hold the same index again.
    return SoftNeighbors(index, torch.where(mine & (mine.cumsum(-1) == 1), 1.0, weight))


def _nearest(points: Tensor, query: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices and squared distances, ascending, of `count` points or of all if there are fewer."""
    count = min(count, points.shape[1])
    if points.dtype == torch.float32:
        return knn(points, count, query=query, return_distances=True)
    # Order and distances of `knn` are those of float32: too coarse to be continuous in float64.
    squared, index = _squared(points, query).topk(count, largest=False)
    return index, squared


def _squared(points: Tensor, centers: Tensor) -> Tensor:
    """(B, M, N) squared distances from (B, N, D) points to (B, M, D) centres."""
    # |a|^2 - 2 ab + |b|^2 would cancel: its rounding error exceeds the distance of near neighbours.
    if points.shape[-1] <= 3:
        return (centers[:, :, None] - points[:, None]).square().sum(-1)
    return torch.cdist(centers, points, compute_mode="donot_use_mm_for_euclid_dist").square()


def _weighted_distances(squared: Tensor, weight: Tensor) -> Tensor:
    """(B, M, N) q of squared distances to points of (B, N) weights; infinite where one is 0."""
    there = weight[:, None] > 0
    divisor = torch.where(there, weight[:, None], 1.0)
    return torch.where(there, (squared + MIN_DISTANCE**2) / divisor, math.inf)
