"""Sparse pooling centres on a body-centred cubic (BCC) lattice, continuous in the points.

Sampling points of a cloud is discontinuous: at near-ties a rounding error decides between two
points, and farthest-point sampling propagates the change to all later picks. Lattice vertices are
fixed; a displacement of the points changes the weight of each vertex and its centre continuously.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from pose.deprecation import deprecated_members

from ._torch.lattice_graph import vertices_by_sorting
from .graph_form import in_graph_form
from .soft_neighbors import TAPER

__all__ = ["REACH", "Vertices", "lattice_vertices"]

#: Largest distance from a point to a vertex that it occupies, in lattice spacings. Every position
#: has a vertex within sqrt(5) / 4 = 0.559 spacings, so every point occupies one.
REACH = 0.62
#: Weight of the vertex itself in the mean that is its centre; at 0 a vertex with one point in
#: reach would have its centre at that point, however small its weight.
HOLD = 0.5
#: Bits per coordinate in a vertex's number; a spacing is two steps of a coordinate.
BITS = 16


@deprecated_members
class Vertices(NamedTuple):
    """Occupied vertices per cloud, padded to the largest number in the batch."""

    points: Tensor  # (B, M, 3) centres, metres; 0 at padding
    weight: Tensor  # (B, M) in (0, 1]; 0 at padding


def lattice_vertices(points: Tensor, spacing: float) -> Vertices:
    """Occupied vertices of a body-centred cubic lattice, with weights and centres.

    A point at distance d < R = REACH * spacing from a vertex contributes
    w = min(1, TAPER (1 - d^2 / R^2)). The weight of the vertex is the largest w; its centre is the
    mean of those points, weighted by w, and of the vertex, weighted by HOLD. Both are continuous in
    the points and independent of their order: a vertex appears with weight 0 at its own position.

    Args:
        points: (B, N, 3) metres, N >= 1, relative to the origin of the lattice.
        spacing: edge of its cubes, metres.

    Returns:
        (B, M) vertices in lattice order (x, y, z ascending), at least one of weight > 0 per cloud.
        M depends on the points.

    Raises:
        ValueError: when a cloud has no point, or one that is not finite or out of range.
    """
    if in_graph_form():
        return _vertices_in_graph(points, spacing)
    if torch.compiler.is_compiling():  # the shape of the result depends on the points
        return _vertices_uncompiled(points, spacing)
    return _vertices(points, spacing)


def _vertices_uncompiled(points: Tensor, spacing: float) -> Vertices:
    # A decorator would load the compiler with this module, which takes a second.
    return torch.compiler.disable(_vertices)(points, spacing)


def _vertices_in_graph(points: Tensor, spacing: float) -> Vertices:
    """`_vertices` of valid points, with the vertices of each cloud found by sorting."""
    limit = 1 << BITS - 1
    cells, offsets = _candidates(points / spacing)
    weight = (TAPER * (1 - offsets.square().sum(-1) / REACH**2)).clamp_max(1)
    x, y, z = (cells + limit).clamp(0, 2 * limit - 1).unbind(-1)
    number = x * (1 << 2 * BITS) + y * (1 << BITS) + z
    pairs = (number.flatten(1), weight.flatten(1), cells.flatten(1, 2) / 2, offsets.flatten(1, 2))
    centers, largest = vertices_by_sorting(*pairs, HOLD)
    return Vertices(centers.to(points.dtype) * spacing, largest)


def _vertices(points: Tensor, spacing: float) -> Vertices:
    if points.shape[1] < 1:
        raise ValueError("points must hold at least one point per cloud; got none")
    limit = 1 << BITS - 1
    # Checked before any cast to integers, and written so that NaN fails as well.
    if points.numel() and not float(points.detach().abs().max()) < (limit // 2 - 1) * spacing:
        raise ValueError(
            f"points must be finite and lie within {limit // 2 * spacing:.0f} m of their mean; got "
            "one farther out, NaN or infinity: give metres"
        )
    cells, offsets = _candidates(points / spacing)
    weight = (TAPER * (1 - offsets.square().sum(-1) / REACH**2)).clamp_max(1)
    near = weight > 0
    cloud = torch.arange(len(points), device=points.device)[:, None, None].expand_as(near)[near]
    cells, offsets, weight = cells[near], offsets[near], weight[near]
    number = cloud
    for axis in cells.unbind(-1):
        number = number << BITS | axis + limit
    number, owner = number.unique(return_inverse=True)
    count = len(number)
    largest = weight.new_zeros(count).scatter_reduce(0, owner, weight, "amax")
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
        points.new_zeros(len(points), most).index_put((cloud, slot), largest),
    )


def _candidates(points: Tensor) -> tuple[Tensor, Tensor]:
    """Candidate vertices of (B, N, 3) points in lattice units (spacings).

    Returns:
        (B, N, 16, 3) int64 coordinates in half spacings, all even or all odd, and the offsets from
        them to the point, in spacings.
    """
    # Vertices less than a spacing away along each axis are the corners of the point's two cubes.
    corners = torch.tensor(list(itertools.product((0, 1), repeat=3)), device=points.device)
    cells, offsets = [], []
    for odd in (0, 1):
        low = torch.floor(points.detach() - odd / 2)
        cell = (low[:, :, None] + corners) * 2 + odd
        cells.append(cell)
        offsets.append(points[:, :, None] - cell / 2)
    return torch.cat(cells, dim=2).long(), torch.cat(offsets, dim=2)
