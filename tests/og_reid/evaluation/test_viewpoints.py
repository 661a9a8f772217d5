from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from og_reid.evaluation import camera_pairs, evaluate, yaw_difference
from og_reid.rerank import body_yaw


def test_camera_pairs_are_searches_in_one_camera(rng: torch.Generator) -> None:
    query, gallery = torch.randn(40, 4, generator=rng), torch.randn(200, 4, generator=rng)
    labels = {
        "query_pids": torch.randint(9, (40,), generator=rng),
        "gallery_pids": torch.randint(-1, 9, (200,), generator=rng),
        "query_camids": torch.randint(3, (40,), generator=rng),
        "gallery_camids": torch.randint(3, (200,), generator=rng),
    }
    pairs = camera_pairs(query=query, gallery=gallery, **labels)
    assert list(pairs) == [(a, b) for a in range(3) for b in range(3) if a != b]
    for (first, second), metrics in pairs.items():
        chosen, items = labels["query_camids"] == first, labels["gallery_camids"] == second
        alone = evaluate(
            query[chosen],
            gallery[items],
            query_pids=labels["query_pids"][chosen],
            gallery_pids=labels["gallery_pids"][items],
        )
        assert torch.equal(alone.first_match, metrics.first_match)
        assert metrics.mAP == pytest.approx(alone.mAP)


def test_pairs_without_a_match_are_left_out() -> None:
    pairs = camera_pairs(
        distance=torch.tensor([[0.1, 0.2, 0.3]]),
        query_pids=[1],
        gallery_pids=[1, 2, 1],
        query_camids=[0],
        gallery_camids=[1, 2, 0],
    )
    assert list(pairs) == [(0, 1)]
    with pytest.raises(ValueError, match="must be given for pairs of cameras"):
        camera_pairs(query_pids=[1], gallery_pids=[1], query_camids=None, gallery_camids=None)
    with pytest.raises(ValueError, match=r"match of another camera, the gallery's are \[7\]"):
        camera_pairs(
            distance=[[0.1, 0.2]],
            query_pids=[1],
            gallery_pids=[1, 2],
            query_camids=[7],
            gallery_camids=[7, 7],
        )


def test_the_most_alike_view_counts() -> None:
    turned = yaw_difference(
        torch.tensor([3.0, 0.0, 0.0]),
        torch.tensor([-3.0, 0.0, 1.0, -0.25]),
        query_pids=[1, 2, 3],
        gallery_pids=[1, 1, 2, 2],
    )
    assert turned[0] == pytest.approx(2 * math.pi - 6, abs=1e-6)
    assert turned[1] == 0.25
    assert turned[2].isnan()


def test_unknown_views_are_passed_over() -> None:
    labels = {"query_pids": [1, 2, 3], "gallery_pids": [1, 1, 2, 3]}
    turned = yaw_difference([0.0, 0.0, math.nan], np.array([math.nan, 0.5, math.nan, 0]), **labels)
    assert turned[0] == 0.5
    assert turned[1:].isnan().all()
    with pytest.raises(ValueError, match=r"gallery_yaw must be a tensor.*; got list: it is of <U"):
        yaw_difference([0.0] * 3, ["front"] * 4, **labels)
    with pytest.raises(ValueError, match=r"query_pids must be \(2,\)"):
        yaw_difference([0.0] * 2, [0.0] * 4, **labels)


def test_slices_by_the_yaw_of_fitted_bodies() -> None:
    """From fitted bodies to metrics: a turned body is found at lower ranks."""
    front, back = torch.eye(3), torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    rotations = torch.stack([front, front, front, back])[:, None]
    yaw = body_yaw(rotations)
    labels = {"query_pids": [1, 2], "gallery_pids": [1, 2]}
    turned = yaw_difference(yaw[:2], yaw[2:], **labels)
    metrics = evaluate(distance=[[0.1, 0.9], [0.2, 0.3]], **labels)
    slices = metrics.slices(np.digitize(turned.rad2deg(), (30, 90)))
    assert {each: some.rank(1) for each, some in slices.items()} == {0: 1, 2: 0}
