"""Places for features that follow a cloud without jumps: occupied vertices of a fixed lattice.

Sampling points of the cloud jumps: where two points are as good, a hair decides which is taken, and
farthest-point sampling carries each such change on to all later choices. The vertices of a lattice
stand still; what a moving cloud changes is how present each of them is, and where its points lie.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from .soft_neighbors import GAIN

__all__ = ["REACH", "Vertices", "lattice_vertices"]

#: How far from a vertex a point makes it present, in edges of the lattice's cubes. Each place has
#: a vertex within sqrt(5) / 4 = 0.559 of them, so that no point is left without one.
REACH = 0.62
#: Weight of the vertex itself in the mean that is its place: without it vertices with one point in
#: reach would stand in that point, however faint they are.
HOLD = 0.5
#: Bits of a coordinate in the number of a vertex; two steps of a coordinate are an edge.
BITS = 16


class Vertices(NamedTuple):
    """Vertices that are present, per cloud; clouds with fewer of them are filled up."""

    points: Tensor  # (B, M, 3) between the vertex and the points in its reach; 0 of a filler
    presence: Tensor  # (B, M) in (0, 1]; 0 of a filler


def lattice_vertices(points: Tensor, spacing: float) -> Vertices:
    """The vertices of a body-centred cubic lattice that lie near the points of a cloud.

    With w = min(1, GAIN (1 - d^2 / (REACH * spacing)^2)) for a point at a distance d below that
    reach, the presence of a vertex is the largest w, and its place the mean of its points weighted
    by w, and of the vertex weighted by HOLD. Both are continuous in the points and independent of
    their order: a vertex comes and goes with presence 0, and in its own place.

    Args:
        points: (B, N, 3) metres, N >= 1, relative to the vertex that the lattice is anchored at.
        spacing: edge of its cubes, metres.

    Returns:
        At least one present vertex per cloud, in the order of their place in the lattice.

    Raises:
        ValueError: when a cloud has no point, or one that is not finite or too far out.
    """
    if torch.compiler.is_compiling():  # how many there are depends on the points
        return _vertices_uncompiled(points, spacing)
    return _vertices(points, spacing)


def _vertices_uncompiled(points: Tensor, spacing: float) -> Vertices:
    # Not a decorator: that would load the compiler, which takes a second, with this module.
    return torch.compiler.disable(_vertices)(points, spacing)


def _vertices(points: Tensor, spacing: float) -> Vertices:
    if points.shape[1] < 1:
        raise ValueError("points must hold at least one point per cloud; got none")
    limit = 1 << BITS - 1
    # Before anything becomes an integer, and written so that NaN fails, too.
    if points.numel() and not float(points.detach().abs().max()) < (limit // 2 - 1) * spacing:
        raise ValueError(
            f"points must be finite and lie within {limit // 2 * spacing:.0f} m of their mean; got "
            "one farther out, NaN or infinity: give metres"
        )
    cells, offsets = _candidates(points / spacing)
    weight = (GAIN * (1 - offsets.square().sum(-1) / REACH**2)).clamp_max(1)
    near = weight > 0
    cloud = torch.arange(len(points), device=points.device)[:, None, None].expand_as(near)[near]
    cells, offsets, weight = cells[near], offsets[near], weight[near]
    number = cloud
    for axis in cells.unbind(-1):
        number = number << BITS | axis + limit
    number, owner = number.unique(return_inverse=True)
    count = len(number)
    presence = weight.new_zeros(count).scatter_reduce(0, owner, weight, "amax")
    total = weight.new_zeros(count).index_add(0, owner, weight)
    shift = weight.new_zeros(count, 3).index_add(0, owner, weight[:, None] * offsets)
    shifts = [BITS * axis for axis in (2, 1, 0)]
    place = torch.stack([(number >> s & 2 * limit - 1) - limit for s in shifts], dim=1) / 2
    place = (place + shift / (total + HOLD)[:, None]).to(points.dtype) * spacing
    cloud = number >> 3 * BITS
    counts = cloud.bincount(minlength=len(points))
    slot = torch.arange(count, device=points.device) - (counts.cumsum(0) - counts)[cloud]
    most = int(counts.max()) if len(points) else 0
    return Vertices(
        points.new_zeros(len(points), most, 3).index_put((cloud, slot), place),
        points.new_zeros(len(points), most).index_put((cloud, slot), presence),
    )


def _candidates(points: Tensor) -> tuple[Tensor, Tensor]:
    """Vertices that may be in reach of (B, N, 3) points, given in edges.

    Returns:
        (B, N, 16, 3) int64 coordinates in half edges, all even or all odd, and the offsets from
        them to the point, in edges.
    """
    # Within less than an edge along each axis there are the corners of the point's cube alone.
    corners = torch.tensor(list(itertools.product((0, 1), repeat=3)), device=points.device)
    cells, offsets = [], []
    for odd in (0, 1):
        low = torch.floor(points.detach() - odd / 2)
        cell = (low[:, :, None] + corners) * 2 + odd
        cells.append(cell)
        offsets.append(points[:, :, None] - cell / 2)
    return torch.cat(cells, dim=2).long(), torch.cat(offsets, dim=2)
