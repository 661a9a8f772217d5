"""Neighbours that fade out before they leave.

The k nearest points of a place change from one moment to the next, and whatever is pooled over them
jumps. Here a neighbour's weight has come down to 0 when another takes its slot:

    w_j = min(1, GAIN (1 - q_j / c)) or 0,    c = min(radius^2, q of the nearest one left out),
    q_j = (d_j^2 + FLOOR^2) / presence_j.

So a neighbour that is present by a share stands farther off, and one that comes or goes does so at
infinity. In place of a radius graphs of such places have WIDEST mean squared distances; points of a
cloud neither come nor go, and with no one left out all have weight 1. Ties do not matter: of two
neighbours as far at the end, whichever is taken has weight 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .knn import knn

__all__ = [
    "FLOOR",
    "GAIN",
    "SoftNeighbors",
    "masked_ball_graph",
    "masked_knn_graph",
    "soft_ball_graph",
    "soft_knn_graph",
]

#: What distances are rounded up by, metres: it keeps weights from running through all their values
#: within a hair where many neighbours stand in one place.
FLOOR = 0.01
#: Where a graph of places ends when no one is left out, in mean squared distances to all places by
#: presence: one that vanishes has faded out before. As far as places are present nothing ends here.
WIDEST = 16.0
#: How steeply weights fall; nearer than sqrt(1 - 1 / GAIN) of the way out they are 1.
GAIN = 1.5


class SoftNeighbors(NamedTuple):
    """Neighbours of M places among N; slots of weight 0 hold any."""

    indices: Tensor  # (B, M, n) int64, 0..N-1
    weights: Tensor  # (B, M, n) in [0, 1]


def soft_knn_graph(points: Tensor, k: int) -> SoftNeighbors:
    """The k nearest neighbours of each point, the point itself with weight 1 among them.

    Args:
        points: (B, N, 3) metres.
        k: neighbours.
    """
    index, squared = _nearest(points, points, k + 1)
    return _with_self(_fading(index, squared + FLOOR**2, k, math.inf))


def soft_ball_graph(
    points: Tensor, centers: Tensor, radii: tuple[float, ...], counts: tuple[int, ...]
) -> tuple[SoftNeighbors, ...]:
    """The nearest points within each radius.

    Args:
        points: (B, N, 3) metres.
        centers: (B, M, 3) metres.
        radii: of the balls, metres.
        counts: most points per ball.

    Returns:
        (B, M, count) neighbours for each ball.
    """
    index, squared = _nearest(points, centers, max(counts) + 1)
    far = squared + FLOOR**2
    return tuple(
        _fading(index, far, count, radius**2) for radius, count in zip(radii, counts, strict=True)
    )


def masked_knn_graph(rows: Tensor, presence: Tensor, k: int) -> SoftNeighbors:
    """`soft_knn_graph` of places that are present by a share; each has itself with weight 1.

    Args:
        rows: (B, N, D) positions, and features if the graph is to heed them.
        presence: (B, N) in [0, 1].
        k: neighbours.
    """
    own = torch.eye(rows.shape[1], dtype=torch.bool, device=rows.device)
    squared = _squared(rows, rows)
    share = presence / presence.sum(1, keepdim=True)
    limit = WIDEST * ((squared @ share[..., None]) + FLOOR**2)
    far, index = (
        _far(squared, presence).masked_fill(own, 0).topk(min(k + 1, rows.shape[1]), largest=False)
    )
    return _with_self(_fading(index, far, k, limit))


def masked_ball_graph(
    points: Tensor,
    presence: Tensor,
    centers: Tensor,
    radii: tuple[float, ...],
    counts: tuple[int, ...],
) -> tuple[SoftNeighbors, ...]:
    """`soft_ball_graph` among places that are present by a share.

    Args:
        points: (B, N, 3) metres.
        presence: (B, N) in [0, 1].
        centers: (B, M, 3) metres.
        radii: of the balls, metres.
        counts: most places per ball.
    """
    far = _far(_squared(points, centers), presence)
    far, index = far.topk(min(max(counts) + 1, points.shape[1]), largest=False)
    return tuple(
        _fading(index, far, count, radius**2) for radius, count in zip(radii, counts, strict=True)
    )


def _fading(index: Tensor, far: Tensor, count: int, limit: float | Tensor) -> SoftNeighbors:
    """Weights of the first `count` of (B, M, n) neighbours, given with ascending q.

    `limit` is one, or (B, M, 1).
    """
    missing = max(0, count + 1 - index.shape[-1])
    index = F.pad(index[..., :count], (0, max(0, count - index.shape[-1])))
    far = F.pad(far[..., : count + 1], (0, missing), value=math.inf)
    cut = far[..., -1:].clamp_max(limit)
    there = far[..., :-1].isfinite()
    # Those that are not there are taken out first: inf / inf has no gradient.
    weight = GAIN * (1 - far[..., :-1].masked_fill(~there, 0) / cut)
    return SoftNeighbors(index, weight.clamp(0, 1).masked_fill(~there, 0))


def _with_self(graph: SoftNeighbors) -> SoftNeighbors:
    """Neighbours of N places among themselves, each place one of its own, with weight 1.

    A place that is not in its list has n others in its own place, all of weight 0: it takes the
    first slot.
    """
    index, weight = graph
    own = torch.arange(index.shape[1], device=index.device)[:, None]
    absent = ~(index == own).any(-1, keepdim=True)
    first = torch.arange(index.shape[2], device=index.device) == 0
    index = torch.where(absent & first, own, index)
    mine = index == own
    # Empty slots may hold it again.
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
    # Not by |a|^2 - 2 ab + |b|^2: what cancels there is larger than near neighbours are apart.
    if points.shape[-1] <= 3:
        return (centers[:, :, None] - points[:, None]).square().sum(-1)
    return torch.cdist(centers, points, compute_mode="donot_use_mm_for_euclid_dist").square()


def _far(squared: Tensor, presence: Tensor) -> Tensor:
    """(B, M, N) q of squared distances to places of (B, N) presence; infinite where that is 0."""
    there = presence[:, None] > 0
    divisor = torch.where(there, presence[:, None], 1.0)
    return torch.where(there, (squared + FLOOR**2) / divisor, math.inf)
