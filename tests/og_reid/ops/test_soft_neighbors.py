"""Neighbours that fade, and the lattice: against formulas, in every odd case."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from og_reid.ops.lattice import HOLD, REACH, lattice_vertices
from og_reid.ops.soft_neighbors import (
    MAX_REACH,
    MIN_DISTANCE,
    TAPER,
    SoftNeighbors,
    masked_ball_graph,
    masked_knn_graph,
    soft_ball_graph,
    soft_knn_graph,
)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spread(neighbors: SoftNeighbors, count: int) -> Tensor:
    """(B, M, N) weight of every point."""
    index, weight = neighbors
    total = weight.new_zeros(*index.shape[:2], count)
    return total.scatter_add(2, index, weight)


def formula(far: Tensor, count: int, limit: float | Tensor) -> Tensor:
    """(B, M, N) weights by the definition, from all q."""
    far_sorted = far.sort(dim=-1).values
    left_out = far_sorted[..., count : count + 1]
    if not left_out.shape[-1]:
        left_out = torch.full_like(far_sorted[..., :1], torch.inf)
    cut = left_out.clamp_max(limit)
    weight = (TAPER * (1 - far / cut)).clamp(0, 1)
    return torch.where(far.isfinite(), weight, 0.0)


def distances(points: Tensor, centers: Tensor) -> Tensor:
    return (centers[:, :, None] - points[:, None]).square().sum(-1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_graph_and_balls_of_points_follow_the_formula(dtype: torch.dtype) -> None:
    points, centers = seeded(2, 30, 3).to(dtype), seeded(2, 7, 3, seed=1).to(dtype)
    graph = spread(soft_knn_graph(points, 5), 30)
    expected = formula(distances(points, points) + MIN_DISTANCE**2, 5, torch.inf)
    expected[:, range(30), range(30)] = 1
    torch.testing.assert_close(graph, expected, atol=1e-4, rtol=0)
    radii, counts = (0.2, 0.3, 0.6), (4, 4, 9)
    for ball, radius, count in zip(
        soft_ball_graph(points, centers, radii, counts), radii, counts, strict=True
    ):
        assert ball.indices.shape == ball.weights.shape == (2, 7, count)
        expected = formula(distances(points, centers) + MIN_DISTANCE**2, count, radius**2)
        torch.testing.assert_close(spread(ball, 30), expected, atol=1e-4, rtol=0)


def test_graph_and_balls_of_places_follow_the_formula() -> None:
    points, centers = seeded(2, 20, 3), seeded(2, 6, 3, seed=1)
    presence = seeded(2, 20, seed=2)
    presence[:, 15:] = 0
    divisor = presence[:, None]
    # A place counts itself as the nearest whatever its presence, also one that is not there.
    far = ((distances(points, points) + MIN_DISTANCE**2) / divisor).masked_fill(
        torch.eye(20, dtype=torch.bool), 0
    )
    mean = (distances(points, points) * divisor).sum(-1, keepdim=True) / presence.sum(1)[
        :, None, None
    ]
    limit = MAX_REACH * (mean + MIN_DISTANCE**2)
    for count in (5, 14, 25):
        expected = formula(far, count, limit)
        torch.testing.assert_close(spread(masked_knn_graph(points, presence, count), 20), expected)
    (ball,) = masked_ball_graph(points, presence, centers, (0.5,), (4,))
    expected = formula((distances(points, centers) + MIN_DISTANCE**2) / divisor, 4, 0.25)
    torch.testing.assert_close(spread(ball, 20), expected)
    assert not expected[..., 15:].any()


def test_neighbors_fewer_than_asked_for_have_full_weight() -> None:
    points = seeded(1, 3, 3)
    graph = soft_knn_graph(points, 8)
    torch.testing.assert_close(spread(graph, 3), torch.ones(1, 3, 3, dtype=torch.float64))
    (ball,) = soft_ball_graph(points, points, (100.0,), (8,))
    torch.testing.assert_close(spread(ball, 3), torch.ones(1, 3, 3, dtype=torch.float64))
    alone = soft_knn_graph(points[:, :1], 4)
    torch.testing.assert_close(spread(alone, 1), torch.ones(1, 1, 1, dtype=torch.float64))


def test_a_place_that_vanishes_among_few_fades_out_before() -> None:
    points, presence = seeded(1, 5, 3), torch.ones(1, 5, dtype=torch.float64)
    weights = []
    for share in (1.0, 1e-3, 1e-16, 0.0):
        presence[:, 4] = share
        weights.append(spread(masked_knn_graph(points, presence, 8), 5))
    assert torch.equal(weights[0], torch.ones(1, 5, 5, dtype=torch.float64))
    for faint in weights[1:]:
        assert not faint[:, :4, 4].any()
        assert torch.equal(faint[:, :4, :4], torch.ones(1, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_point_is_its_own_neighbor_among_many_in_its_place(dtype: torch.dtype) -> None:
    points = torch.zeros(1, 9, 3, dtype=dtype)
    graph = spread(soft_knn_graph(points, 4), 9)
    assert torch.equal(graph, torch.eye(9, dtype=dtype)[None])


def test_neighbors_as_far_as_the_first_left_out_have_no_weight() -> None:
    # The corners of a square are equally far from its centre: none of them can be preferred.
    corners = torch.tensor([[1.0, 0, 1], [1, 0, -1], [-1, 0, 1], [-1, 0, -1]])
    (ball,) = soft_ball_graph(corners[None], torch.zeros(1, 1, 3), (9.0,), (3,))
    assert not ball.weights.any()


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
        presence = weight.amax(1)
        place = every + (weight[..., None] * offsets).sum(1) / (HOLD + weight.sum(1))[:, None]
        there = vertices.weight[cloud] > 0
        assert int(there.sum()) == int((presence > 0).sum())
        found = torch.cat([vertices.points[cloud], vertices.weight[cloud, :, None]], 1)[there]
        expected = torch.cat([place, presence[:, None]], 1)[presence > 0]
        nearest = torch.cdist(found, expected).min(1)
        assert nearest.values.max() < 1e-6
        assert len(nearest.indices.unique()) == len(expected)


def test_vertices_of_points_that_cannot_be_placed() -> None:
    with pytest.raises(ValueError, match="at least one point per cloud"):
        lattice_vertices(torch.zeros(2, 0, 3), 0.2)
    with pytest.raises(ValueError, match=r"within .* m of their mean"):
        lattice_vertices(torch.full((1, 1, 3), 1e5), 0.2)
    assert lattice_vertices(torch.zeros(0, 4, 3), 0.2).weight.shape == (0, 0)


@pytest.mark.parametrize("far", [1e9, 1e20, torch.inf, torch.nan])
def test_points_that_cannot_be_counted_are_refused(far: float) -> None:
    points = seeded(2, 5, 3)
    points[1, 2, 0] = far
    with pytest.raises(ValueError, match="points must be finite and lie within"):
        lattice_vertices(points, 0.1)
