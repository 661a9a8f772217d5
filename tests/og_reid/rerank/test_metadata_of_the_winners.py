"""The winners' steps with metadata, against their results; and what there is of no tracklet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from og_reid.rerank import (
    add_track_means,
    cluster,
    cluster_means,
    k_reciprocal_distances,
    penalise_same_camera,
    penalise_same_direction,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "rerank" / "aicity_post.npz"
AREA = 15000


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(each) for name, each in np.load(GOLDEN).items()}


def yaw(direction: Tensor) -> Tensor:
    """Radians, of directions of length 1 in the plane."""
    return torch.atan2(direction[:, 1], direction[:, 0])


def test_query_clusters(golden: dict[str, Tensor]) -> None:
    found = cluster(golden["query"], eps=0.5**0.5, min_samples=2)
    assert torch.equal(found, golden["query_clusters"].long())


def test_camera_clusters(golden: dict[str, Tensor]) -> None:
    features = torch.cat([golden["query_camera_features"], golden["gallery_camera_features"]])
    found = cluster(features, min_samples=10)  # the default distance is the winners'
    expected = [golden[f"camera_clusters_{side}_before"] for side in ("query", "gallery")]
    assert torch.equal(found, torch.cat(expected).long())


def test_track_means(golden: dict[str, Tensor]) -> None:
    large = golden["gallery_area"] >= AREA
    found = add_track_means(golden["gallery"], golden["tracks"], counted=large)
    torch.testing.assert_close(found, golden["gallery_fused"], atol=1e-5, rtol=0)


def test_cluster_means(golden: dict[str, Tensor]) -> None:
    large = golden["query_area"] >= AREA
    found = cluster_means(golden["query"], golden["query_clusters"], counted=large)
    torch.testing.assert_close(found, golden["query_fused"], atol=1e-5, rtol=0)


def test_penalties(golden: dict[str, Tensor]) -> None:
    distance = 1 - golden["query_fused"] @ golden["gallery_fused"].T
    known = golden["query_camera"] >= 0
    moved = penalise_same_camera(distance, golden["query_camera"], golden["gallery_camera"])
    moved = penalise_same_direction(
        moved, yaw(golden["direction_query"]), yaw(golden["direction_gallery"]), where=~known
    )
    groups = golden["camera_clusters_query"], golden["camera_clusters_gallery"]
    moved = penalise_same_camera(moved, *groups, amount=0.2)
    torch.testing.assert_close(1 - moved, golden["scores_penalised"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("k1", "k2", "most"), [(20, 4, 1e-6), (70, 10, 2e-3)])
def test_reranking_of_directed_blocks(
    k1: int, k2: int, most: float, golden: dict[str, Tensor]
) -> None:
    """Images of one track are all at distance 0: of such ties theirs takes any, at the wide end."""
    query, gallery, track = golden["query_fused"], golden["gallery_fused"], golden["tracks"]
    among_queries = query @ query.T + golden["added_q_q"]
    among_items = gallery @ gallery.T + golden["added_g_g_other_tracks"]
    among_items[(track[:, None] == track) & (track >= 0)] = 1
    # A bonus made some scores larger than 1; they are squared, so that the sign is lost.
    blocks = ((1 - each).abs() for each in (golden["scores_top99"], among_queries.T, among_items.T))
    found = k_reciprocal_distances(*blocks, k1=k1, k2=k2, lambda_value=0.2, directed=True).dense()
    off = (found - golden[f"rerank_k{k1}_{k2}"]).abs()
    assert off.max() < most
    assert (off < 1e-6).double().mean() > 0.94


def test_penalties_once_more_behind_the_reranking(golden: dict[str, Tensor]) -> None:
    moved = penalise_same_camera(
        golden["rerank_k20_4"], golden["query_camera"], golden["gallery_camera"]
    )
    directions = yaw(golden["direction_query"]), yaw(golden["direction_gallery"])
    moved = penalise_same_direction(moved, *directions, where=golden["query_camera"] < 0)
    groups = golden["camera_clusters_query"], golden["camera_clusters_gallery"]
    moved = penalise_same_camera(moved, *groups, amount=0.2)
    torch.testing.assert_close(moved, golden["final_k20_4"], atol=1e-6, rtol=0)


def test_images_without_a_track_stay() -> None:
    rows = torch.tensor([[2.0, 0.0], [0.0, 3.0], [3.0, 4.0], [0.0, 1.0], [5.0, 0.0]])
    tracks = [-1, 7, -1, 7, 2]
    found = add_track_means(rows, tracks)
    torch.testing.assert_close(found, normalize(rows, dim=1))
    assert torch.equal(add_track_means(rows, [-1] * 5), normalize(rows, dim=1))
    mixed = add_track_means(rows, [-1, 7, 7, -1, -1])
    torch.testing.assert_close(mixed[[0, 3, 4]], normalize(rows, dim=1)[[0, 3, 4]])
    mean = torch.tensor([0.3, 0.9])
    expected = normalize(torch.tensor([[0.0, 1.0], [0.6, 0.8]]) + 0.5 * mean, dim=1)
    torch.testing.assert_close(mixed[1:3], expected)


@pytest.mark.parametrize("means", [add_track_means, cluster_means])
def test_what_is_not_counted_enters_no_mean(means) -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]])
    groups = [0, 0, 1, 1]
    counted = [True, False, False, False]
    found = means(rows, groups, counted=counted)
    means_of = torch.tensor([[1.0, 0.0], [0.7, 0.7]])  # of a group without any, all count
    if means is add_track_means:
        expected = normalize(rows + 0.5 * means_of[[0, 0, 1, 1]], dim=1)
    else:
        expected = normalize(means_of[[0, 0, 1, 1]], dim=1)
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match=r"counted must be \(4,\) bool; got \(3,\)"):
        means(rows, groups, counted=[True] * 3)
    with pytest.raises(ValueError, match=r"counted must be \(4,\) bool; got .* torch.int64"):
        means(rows, groups, counted=[0, 1, 2, 3])


def test_directions_of_some_pairs_only() -> None:
    yaws = torch.zeros(2), torch.tensor([0.0, 0.1, 3.0])
    rows = penalise_same_direction(torch.zeros(2, 3), *yaws, where=[False, True])
    assert torch.equal(rows, torch.tensor([[0.0, 0, 0], [0.1, 0.1, 0]]))
    pairs = torch.tensor([[True, False, True], [False, True, True]])
    some = penalise_same_direction(torch.zeros(2, 3), *yaws, where=pairs)
    assert torch.equal(some, torch.tensor([[0.1, 0, 0], [0, 0.1, 0]]))
    with pytest.raises(ValueError, match=r"where must be \(2,\) or \(2, 3\) bool; got \(3,\)"):
        penalise_same_direction(torch.zeros(2, 3), *yaws, where=[True] * 3)
