"""Lattice vertices: by hand, against an exhaustive lattice, and refused points."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from og_reid.ops.lattice import HOLD, REACH, lattice_vertices
from og_reid.ops.soft_neighbors import (
    TAPER,
)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5])
def test_vertex_of_one_point(place: float) -> None:
    point = torch.full((1, 1, 3), place, dtype=torch.float64)
    vertices = lattice_vertices(point, 1.0)
    corners = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=3)), dtype=torch.float64)
    every = torch.cat([corners, corners + 0.5])
    weight = (TAPER * (1 - (every - place).square().sum(1) / REACH**2)).clamp(0, 1)
    near = weight > 0
    assert vertices.weight.shape == (1, int(near.sum()))
    torch.testing.assert_close(vertices.weight[0].sort().values, weight[near].sort().values)
    assert vertices.weight.max() > 0.2
    between = (every * HOLD + weight[:, None] * place) / (HOLD + weight[:, None])
    torch.testing.assert_close(vertices.points[0].sum(0), between[near].sum(0))


def test_vertices_against_all_of_the_lattice() -> None:
    points, spacing = seeded(2, 40, 3) - 0.5, 0.3
    vertices = lattice_vertices(points, spacing)
    steps = torch.arange(-4, 5, dtype=torch.float64)
    cubic = torch.cartesian_prod(steps, steps, steps)
    every = torch.cat([cubic, cubic + 0.5]) * spacing
    for cloud in range(2):
        offsets = points[cloud] - every[:, None]
        weight = (TAPER * (1 - offsets.square().sum(-1) / (REACH * spacing) ** 2)).clamp(0, 1)
        largest = weight.amax(1)
        place = every + (weight[..., None] * offsets).sum(1) / (HOLD + weight.sum(1))[:, None]
        there = vertices.weight[cloud] > 0
        assert int(there.sum()) == int((largest > 0).sum())
        found = torch.cat([vertices.points[cloud], vertices.weight[cloud, :, None]], 1)[there]
        expected = torch.cat([place, largest[:, None]], 1)[largest > 0]
        nearest = torch.cdist(found, expected).min(1)
        assert nearest.values.max() < 1e-6
        assert len(nearest.indices.unique()) == len(expected)


def test_vertices_of_no_points_and_of_points_out_of_range() -> None:
    with pytest.raises(ValueError, match="at least one point per cloud"):
        lattice_vertices(torch.zeros(2, 0, 3), 0.2)
    with pytest.raises(ValueError, match=r"within .* m of their mean"):
        lattice_vertices(torch.full((1, 1, 3), 1e5), 0.2)
    assert lattice_vertices(torch.zeros(0, 4, 3), 0.2).weight.shape == (0, 0)


@pytest.mark.parametrize("far", [1e9, 1e20, torch.inf, torch.nan])
def test_points_out_of_range_or_not_finite_are_refused(far: float) -> None:
    points = seeded(2, 5, 3)
    points[1, 2, 0] = far
    with pytest.raises(ValueError, match="points must be finite and lie within"):
        lattice_vertices(points, 0.1)
