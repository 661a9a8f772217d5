from __future__ import annotations

import math

import pytest
import torch

from og_reid.evaluation import camera_pairs, evaluate, yaw_difference


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
