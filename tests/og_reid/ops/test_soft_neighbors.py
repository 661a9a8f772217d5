"""Soft neighbourhoods against the formula of their weights, ties and padding included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

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


def test_graph_and_balls_of_weighted_points_follow_the_formula() -> None:
    points, centers = seeded(2, 20, 3), seeded(2, 6, 3, seed=1)
    weight = seeded(2, 20, seed=2)
    weight[:, 15:] = 0
    divisor = weight[:, None]
    # A point is nearest to itself whatever its weight, even 0.
    far = ((distances(points, points) + MIN_DISTANCE**2) / divisor).masked_fill(
        torch.eye(20, dtype=torch.bool), 0
    )
    mean = (distances(points, points) * divisor).sum(-1, keepdim=True) / weight.sum(1)[
        :, None, None
    ]
    limit = MAX_REACH * (mean + MIN_DISTANCE**2)
    for count in (5, 14, 25):
        expected = formula(far, count, limit)
        torch.testing.assert_close(spread(masked_knn_graph(points, weight, count), 20), expected)
    (ball,) = masked_ball_graph(points, weight, centers, (0.5,), (4,))
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


def test_weights_reach_zero_before_a_point_of_vanishing_weight_is_removed() -> None:
    points, weight = seeded(1, 5, 3), torch.ones(1, 5, dtype=torch.float64)
    weights = []
    for share in (1.0, 1e-3, 1e-16, 0.0):
        weight[:, 4] = share
        weights.append(spread(masked_knn_graph(points, weight, 8), 5))
    assert torch.equal(weights[0], torch.ones(1, 5, 5, dtype=torch.float64))
    for faint in weights[1:]:
        assert not faint[:, :4, 4].any()
        assert torch.equal(faint[:, :4, :4], torch.ones(1, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_point_is_its_own_neighbor_among_many_at_its_position(dtype: torch.dtype) -> None:
    points = torch.zeros(1, 9, 3, dtype=dtype)
    graph = spread(soft_knn_graph(points, 4), 9)
    assert torch.equal(graph, torch.eye(9, dtype=dtype)[None])


def test_neighbors_as_far_as_the_first_left_out_have_no_weight() -> None:
    # The corners of a square are equally far from its centre: none of them can be preferred.
    corners = torch.tensor([[1.0, 0, 1], [1, 0, -1], [-1, 0, 1], [-1, 0, -1]])
    (ball,) = soft_ball_graph(corners[None], torch.zeros(1, 1, 3), (9.0,), (3,))
    assert not ball.weights.any()
