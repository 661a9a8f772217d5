"""Query expansion, database augmentation and what metadata does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from og_reid import Embedding, evaluate
from og_reid.rerank import (
    add_track_means,
    augment_database,
    body_yaw,
    cluster,
    cluster_means,
    expand_queries,
    k_reciprocal_distances,
    penalise_same_camera,
    penalise_same_direction,
)
from og_reid.retrieval.features import FeatureSource, NormalizedFeatures


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_expansion_equals_a_loop(alpha: float, rng: torch.Generator) -> None:
    query, gallery = torch.randn(7, 5, generator=rng), torch.randn(40, 5, generator=rng)
    result = expand_queries(query, gallery, k=4, alpha=alpha)
    unit, items = normalize(query, dim=1), normalize(gallery, dim=1)
    for row in range(7):
        cosine = items @ unit[row]
        near = cosine.argsort(descending=True)[:4]
        total = unit[row] + sum(max(float(cosine[i]), 0) ** alpha * items[i] for i in near)
        torch.testing.assert_close(result[row], normalize(total, dim=0), atol=1e-6, rtol=0)


def test_expansion_reads_what_it_adds_and_no_more(
    rng: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, copy = [], FeatureSource.normalized

    def watched(side: FeatureSource) -> NormalizedFeatures:
        whole.append(side.name)
        return copy(side)

    monkeypatch.setattr(FeatureSource, "normalized", watched)
    expand_queries(torch.randn(3, 5, generator=rng), torch.randn(40, 5, generator=rng), k=4)
    assert set(whole) == {"query"}
    one = torch.randn(1, 5, generator=rng)
    torch.testing.assert_close(augment_database(one, k=3), normalize(one, dim=1))


def test_augmentation_leaves_the_image_itself_out(rng: torch.Generator) -> None:
    gallery = torch.randn(30, 5, generator=rng)
    gallery[7] = gallery[3]  # a copy: with k = 1 each is the other's neighbour
    result = augment_database(gallery, k=1)
    unit = normalize(gallery, dim=1)
    torch.testing.assert_close(result[7], unit[3], atol=1e-6, rtol=0)
    cosine = unit @ unit.T
    cosine.fill_diagonal_(-2)
    expected = normalize(unit + unit[cosine.argmax(dim=1)], dim=1)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)
    same = augment_database(torch.ones(9, 4), k=3)
    torch.testing.assert_close(same, normalize(torch.ones(9, 4), dim=1))


def test_expansion_refuses_bad_input() -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        expand_queries(torch.ones(2, 2), torch.ones(2, 2), k=0)
    with pytest.raises(ValueError, match="gallery must not be empty"):
        augment_database(torch.ones(0, 2))


def test_equal_labels_are_moved_apart() -> None:
    moved = penalise_same_camera(torch.zeros(2, 3), [1, -1], [1, 2, -1])
    torch.testing.assert_close(moved, torch.tensor([[0.3, 0, 0], [0, 0, 0]]))
    with pytest.raises(ValueError, match=r"\(2, 3\) queries and gallery images; got .2,. and .2,."):
        penalise_same_camera(torch.zeros(2, 3), [1, 2], [1, 2])


def test_like_directions_are_moved_apart() -> None:
    yaw = torch.tensor([0.1, math.pi - 0.1, 2 * math.pi, torch.nan])
    moved = penalise_same_direction(torch.zeros(1, 4), torch.zeros(1), yaw)
    torch.testing.assert_close(moved, torch.tensor([[0.1, 0, 0.1, 0]]))


def test_yaw_of_a_body() -> None:
    angle = torch.tensor([0.0, 0.5, -2.0])
    turn = torch.eye(3).repeat(3, 2, 1, 1)
    turn[:, 0, 0, 0] = turn[:, 0, 2, 2] = angle.cos()
    turn[:, 0, 0, 2], turn[:, 0, 2, 0] = angle.sin(), -angle.sin()
    torch.testing.assert_close(body_yaw(turn), angle)


def test_track_means_by_hand() -> None:
    rows = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    result = add_track_means(rows, [4, 4, 7])
    expected = normalize(torch.tensor([[1.25, 0.25], [0.25, 1.25], [1.0, 0.0]]), dim=1)
    torch.testing.assert_close(result, expected)
    with pytest.raises(ValueError, match=r"labels must be \(3,\) whole numbers"):
        add_track_means(rows, [4, 4])


def test_cluster_means_by_hand() -> None:
    rows = torch.tensor([[2.0, 0.0], [0.0, 3.0], [3.0, 4.0]])
    result = cluster_means(rows, [0, 0, -1])
    half = math.sqrt(0.5)
    torch.testing.assert_close(result, torch.tensor([[half, half], [half, half], [0.6, 0.8]]))
    torch.testing.assert_close(cluster_means(rows, [-1, -1, -1]), normalize(rows, dim=1))


def test_penalties_lead_into_k_reciprocal(rng: torch.Generator) -> None:
    """People look more like others in their camera than like themselves in another one."""
    pids, cameras = torch.arange(120) % 12, torch.arange(120) // 12 % 2
    centers, places = torch.randn(12, 8, generator=rng), 1.2 * torch.randn(2, 8, generator=rng)
    rows = centers[pids] + places[cameras] + 0.4 * torch.randn(120, 8, generator=rng)
    unit = normalize(add_track_means(rows, pids + 12 * cameras), dim=1)
    distance = (2 - 2 * unit @ unit.T).clamp_min(0).sqrt()
    moved = penalise_same_camera(distance[:24, 24:], cameras[:24], cameras[24:])
    labels = {"query_pids": pids[:24], "gallery_pids": pids[24:],
              "query_camids": cameras[:24], "gallery_camids": cameras[24:]}  # fmt: skip
    parameters = {"k1": 10, "k2": 4, "lambda_value": 0.2}
    results = []
    for first in (distance[:24, 24:], moved):
        found = k_reciprocal_distances(first, distance[:24, :24], distance[24:, 24:], **parameters)
        results.append(evaluate(distance=found, **labels).mAP)
    assert results[1] > results[0]


def slow_clusters(rows: Tensor, eps: float, least: int) -> list[int]:
    """DBSCAN as its authors wrote it, with a queue."""
    unit = normalize(rows, dim=1)
    near = (2 - 2 * unit @ unit.T <= eps * eps + 1e-7).tolist()
    count = len(rows)
    neighbors = [[j for j in range(count) if near[i][j]] for i in range(count)]
    labels, found = [-1] * count, 0
    for seed in range(count):
        if labels[seed] != -1 or len(neighbors[seed]) < least:
            continue
        labels[seed], waiting = found, [seed]
        while waiting:
            image = waiting.pop()
            if len(neighbors[image]) < least:
                continue
            for other in neighbors[image]:
                if labels[other] == -1:
                    labels[other] = found
                    waiting.append(other)
        found += 1
    return labels


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), eps=st.sampled_from([0.2, 0.5, 0.8]), least=st.integers(1, 6))
def test_clusters_equal_the_slow_search(seed: int, eps: float, least: int) -> None:
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(seed))
    assert cluster(rows, eps=eps, min_samples=least).tolist() == slow_clusters(rows, eps, least)


def test_clusters_refuse_bad_input() -> None:
    with pytest.raises(ValueError, match="eps must be above 0"):
        cluster(torch.ones(2, 2), eps=0)


def test_metadata_of_arrays_and_lists() -> None:
    distance = np.zeros((2, 3))[::-1]
    moved = penalise_same_camera(distance, np.array([1, 2]), [1, 2, 3], amount=0.5)
    torch.testing.assert_close(moved, torch.tensor([[0.5, 0, 0], [0, 0.5, 0]]).double())
    moved = penalise_same_direction(distance, [0.0, 3.0], np.array([0.1, 1.5, 3.1]))
    assert moved.tolist() == [[0.1, 0, 0], [0, 0, 0.1]]
    assert body_yaw(np.eye(3)[None]) == 0
    rows = np.array([[2.0, 0.0], [0.0, 3.0]])
    assert torch.equal(add_track_means(rows, np.arange(2)), cluster_means(rows, [-1, -1]))
    for bad, message in (
        (
            lambda: penalise_same_camera(distance, [0.5, 1], [1, 2, 3]),
            "labels must be whole numbers",
        ),
        (lambda: penalise_same_camera(distance, ["a", "b"], [1, 2, 3]), "labels must be a tensor"),
        (lambda: body_yaw(np.eye(3)), r"rotations must be \(\.\.\., J, 3, 3\); got \(3, 3\)"),
        (lambda: add_track_means(rows * np.nan, [0, 1]), "NaN or infinite values in rows 0, 1"),
        (lambda: cluster_means(rows * 0, [0, 1]), "rows of zeros, which have no direction: 0, 1"),
    ):
        with pytest.raises(ValueError, match=message):
            bad()
    parts = Embedding(parts=torch.ones(2, 2, 3), visibility=torch.ones(2, 2))
    with pytest.raises(ValueError, match="the mean of parts is not defined"):
        add_track_means(parts, [0, 1])
