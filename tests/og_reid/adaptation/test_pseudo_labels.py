"""Pseudo labels against the authors' results; degenerate sets of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from og_reid.adaptation import (
    Centers,
    add_source_distance,
    center_cameras,
    common_groups,
    dbscan,
    eps_of_fraction,
    kmeans,
    label_quality,
    near_centers,
    nearest_to_center,
    rand_index,
    self_paced,
    singletons,
    source_distance,
    spherical_kmeans,
)
from og_reid.rerank import jaccard_neighbors

GOLDEN = Path(__file__).parents[2] / "golden" / "adaptation"


def golden(name: str) -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.asarray(v)) for key, v in np.load(GOLDEN / name).items()}


def dense(distances: Any, far: float = 1.0) -> Tensor:
    """(N, N) of a sparse matrix; pairs that are not stored are at ``far``."""
    result = np.full(distances.shape, far, np.float32)
    row = np.repeat(np.arange(len(result)), np.diff(distances.indptr))
    result[row, distances.indices] = distances.data
    return torch.from_numpy(result)


def same_groups(one: Tensor, other: Tensor) -> bool:
    """Whether two clusterings differ by names alone."""
    pairs = torch.stack([one, other]).unique(dim=1)
    return len(pairs[0].unique()) == len(pairs[1].unique()) == pairs.shape[1]


@pytest.fixture(scope="module")
def paced() -> dict[str, Tensor]:
    return golden("spcl_self_paced.npz")


def neighbours(given: dict[str, Tensor]) -> Any:
    return jaccard_neighbors(given["features"], k1=int(given["k1"]), k2=int(given["k2"]))


def test_jaccard_distances_of_spcl(paced: dict[str, Tensor]) -> None:
    found = neighbours(paced)
    torch.testing.assert_close(dense(found), paced["jaccard"], atol=1e-6, rtol=0)
    limited = jaccard_neighbors(
        paced["features"], k1=int(paced["k1"]), k2=int(paced["k2"]), within=0.3
    )
    expected = dense(found).where(dense(found) < 0.3, torch.ones(()))
    assert torch.equal(dense(limited), expected)
    assert limited.nnz < found.nnz


@pytest.mark.parametrize(("name", "shift"), [("normal", 0), ("tight", -1), ("loose", 1)])
def test_dbscan_has_the_labels_of_scikit_learn(
    paced: dict[str, Tensor], name: str, shift: int
) -> None:
    eps = float(paced["eps"]) + shift * float(paced["gap"])
    found = dbscan(neighbours(paced), eps=eps, min_samples=int(paced["min_samples"]))
    assert torch.equal(found, paced[f"labels_{name}"])


def test_self_paced_labels(paced: dict[str, Tensor]) -> None:
    labels = [paced[f"labels_{name}"] for name in ("normal", "tight", "loose")]
    found = self_paced(*labels)
    torch.testing.assert_close(found.compactness, paced["R_comp"], atol=1e-6, rtol=0)
    torch.testing.assert_close(found.independence, paced["R_indep"], atol=1e-6, rtol=0)
    assert found.threshold == pytest.approx(float(paced["indep_thres"]), abs=1e-6)
    final = singletons(found.labels)
    assert same_groups(final, paced["final_labels"])
    strict = singletons(self_paced(*labels, threshold=0.0).labels)
    assert same_groups(strict, paced["final_labels_threshold_zero"])


def test_parts_of_ssg() -> None:
    given = golden("ssg_groups.npz")
    labels = []
    for number, part in enumerate(("whole", "part")):
        features, source = given[f"target_{part}"], given[f"source_{part}"]
        jaccard = jaccard_neighbors(
            features, k1=int(given["k1"]), k2=int(given["k2"]), variant="original"
        )
        if part == "whole":
            torch.testing.assert_close(
                dense(jaccard), given["jaccard_whole"].float(), atol=1e-2, rtol=0
            )
        apart = source_distance(features, source)
        weight = float(given["lambda_value"])
        mixed = add_source_distance(jaccard, apart, weight)
        far = (1 - weight) + weight * (apart[:, None] + apart)
        stored = dense(mixed, far=2)
        whole = torch.where(stored < 2, stored, far)
        expected = given[f"distance_{part}"].float()
        other = ~torch.eye(len(whole), dtype=torch.bool)
        torch.testing.assert_close(whole[other], expected[other], atol=1e-2, rtol=0)
        share = eps_of_fraction(mixed, float(given["rho"]))
        assert share == pytest.approx(float(given["eps"][number]), abs=1e-2)
        found = dbscan(mixed, eps=float(given["eps"][number]), min_samples=4)
        labels.append(found)
        assert torch.equal(found, given[f"labels_{part}"])
    kept = common_groups(labels)
    assert (kept[0] >= 0).nonzero()[:, 0].tolist() == given["kept"].tolist()


def test_hidden_parts_take_no_part() -> None:
    whole, legs = torch.tensor([0, 0, 1, -1]), torch.tensor([0, -1, -1, 1])
    shown = torch.tensor([True, False, True, True])
    found = common_groups([whole, legs], [torch.ones(4, dtype=torch.bool), shown])
    assert found[0].tolist() == [0, 0, -1, -1]
    assert found[1].tolist() == [0, -1, -1, -1]


def test_reliable_images_of_pul() -> None:
    given = golden("pul_reliable.npz")
    features, labels = given["features"], given["labels"].long()
    found = Centers(labels, given["centroids"], torch.cdist(features, given["centroids"]))
    assert torch.equal(found.distances.argmin(dim=0), given["center_index"])
    for any_center, name in ((True, "kept_by_code"), (False, "kept_by_paper")):
        kept = nearest_to_center(
            features, found, threshold=float(given["threshold"]), any_center=any_center
        )
        assert (kept >= 0).nonzero()[:, 0].tolist() == given[name].tolist()


def test_clusters_of_can() -> None:
    given = golden("can_clustering.npz")
    found = spherical_kmeans(
        given["features"], given["init_centers"], tolerance=float(given["eps"])
    )
    assert torch.equal(found.labels, given["labels"])
    torch.testing.assert_close(found.distances, given["dist2center"], atol=1e-6, rtol=0)
    limit = float(given["threshold"])
    near = near_centers(found, threshold=limit, min_per_class=1)
    assert torch.equal((near >= 0).nonzero()[:, 0], given["kept"])
    assert torch.equal(near[near >= 0], given["kept_labels"])
    kept = near_centers(found, threshold=limit, min_per_class=int(given["min_per_class"]))
    assert torch.equal(kept[kept >= 0].unique(), given["kept_classes"])


def test_kmeans_finds_separate_groups_and_repeats() -> None:
    generator = torch.Generator().manual_seed(3)
    centers = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    rows = centers.repeat_interleave(7, dim=0) + 0.1 * torch.randn(21, 2, generator=generator)
    found = kmeans(rows, 3, seed=1)
    assert same_groups(found.labels, torch.arange(3).repeat_interleave(7))
    assert torch.equal(kmeans(rows, 3, seed=1).labels, found.labels)
    copies = kmeans(torch.ones(4, 2), 3)
    assert torch.isfinite(copies.centers).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_fewer_images_than_neighbours(count: int) -> None:
    features = torch.eye(8)[:count]
    found = jaccard_neighbors(features, k1=30, k2=6)
    assert found.shape == (count, count)
    assert dense(found).diagonal().tolist() == [0.0] * count
    # All are neighbours of all, which makes one cluster of four or more.
    expected = [-1] * count if count < 4 else [0] * count
    assert dbscan(found, eps=0.5, min_samples=4).tolist() == expected


def test_copies_of_one_image_are_one_cluster() -> None:
    found = jaccard_neighbors(torch.ones(6, 4), k1=3, k2=1)
    # More copies than neighbours: which of them are neighbours is a matter of order.
    assert torch.equal(dense(found), dense(found).T)
    assert dense(found).max() <= 1
    few = jaccard_neighbors(torch.ones(6, 4), k1=8, k2=2)
    assert dbscan(few, eps=0.5, min_samples=4).tolist() == [0] * 6


def test_labels_follow_a_permutation_of_the_images(paced: dict[str, Tensor]) -> None:
    order = torch.randperm(72, generator=torch.Generator().manual_seed(0))
    plain = dbscan(neighbours(paced), eps=0.2)
    turned = {**paced, "features": paced["features"][order]}
    moved = torch.empty_like(plain)
    moved[order] = dbscan(neighbours(turned), eps=0.2)
    # A border image of two clusters may change sides, as its cluster is the first of them.
    assert rand_index(plain, moved) > 0.95
    assert torch.equal(plain < 0, moved < 0)


def test_centred_cameras() -> None:
    generator = torch.Generator().manual_seed(5)
    people = torch.nn.functional.normalize(torch.randn(4, 8, generator=generator), dim=1)
    offset = torch.randn(2, 8, generator=generator)
    cameras = torch.arange(2).repeat_interleave(4)
    rows = torch.cat([people + 2 * offset[0], people + 2 * offset[1]])
    plain, found = center_cameras(rows, None), center_cameras(rows, cameras)

    def right(unit: Tensor) -> int:
        similarity = (unit[:4] @ unit[4:].T).argmax(dim=1)
        return int((similarity == torch.arange(4)).sum())

    assert right(found) == 4
    torch.testing.assert_close(found.norm(dim=1), torch.ones(8))
    # A single camera moves all alike; a camera of one image keeps it.
    assert torch.equal(center_cameras(rows, torch.zeros(8).long()), plain)
    one = center_cameras(rows, torch.tensor([0] * 7 + [1]))
    torch.testing.assert_close(one[7], rows[7] / rows[7].norm())
    assert center_cameras(torch.ones(3, 4), None).isfinite().all()


def test_quality_by_hand() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, -1])
    truth = torch.tensor([5, 5, 6, 6, 6, 7])
    cameras = torch.tensor([0, 0, 1, 0, 1, 1])
    found = label_quality(labels, cameras, before=labels, truth=truth)
    assert (found.images, found.clusters) == (6, 2)
    assert found.outliers == pytest.approx(1 / 6)
    assert (found.mean_size, found.largest) == (2.5, 0.5)
    assert found.same_camera == 1 / 4
    assert found.same_camera_by_chance == 6 / 15
    assert found.agreement == 1
    assert found.precision == 2 / 4
    assert found.recall == 2 / 4
    assert "2 clusters of 2.5 images" in str(found)


def test_quality_without_clusters_or_truth() -> None:
    found = label_quality(torch.full((3,), -1), torch.zeros(3).long())
    assert (found.clusters, found.outliers, found.mean_size) == (0, 1.0, 0.0)
    assert found.same_camera is None
    assert found.precision is None
    known = label_quality(torch.full((3,), -1), truth=torch.zeros(3).long())
    assert (known.precision, known.recall) == (0.0, 0.0)
    assert label_quality(torch.zeros(0).long()).images == 0


def test_rand_index_of_independent_clusterings_is_about_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randint(5, (2000,), generator=generator) for _ in range(2))
    assert abs(rand_index(one, other)) < 0.01
    assert rand_index(one, (one + 1) % 5) == 1


def test_near_misses_of_self_paced() -> None:
    nothing = torch.full((4,), -1)
    found = self_paced(nothing, nothing, nothing)
    assert found.labels.tolist() == [-1] * 4
    assert found.threshold == float("inf")
    empty = torch.zeros(0, dtype=torch.int64)
    assert not len(self_paced(empty, empty, empty).labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jaccard_neighbors(torch.zeros(0, 4)), "at least one image; got none"),
        (lambda: jaccard_neighbors(torch.full((3, 4), torch.nan)), "NaN"),
        (lambda: jaccard_neighbors(torch.eye(3), within=0), r"within must be in \(0, 1\]"),
        (lambda: jaccard_neighbors(torch.eye(3), variant="layumi"), "variant must be"),
        (lambda: jaccard_neighbors(torch.eye(3), k1=2, k2=9), "k2 in"),
        (lambda: dbscan(jaccard_neighbors(torch.eye(3)), eps=1), r"eps must be in \[0, 1\)"),
        (lambda: eps_of_fraction(jaccard_neighbors(torch.eye(3)), 1e-9), "give images_per_person"),
        (lambda: kmeans(torch.eye(3), 4), "at most the number of images, 3; got 4"),
        (lambda: kmeans(torch.full((3, 2), torch.inf), 2), "NaN or infinity in 3 of 3 rows"),
        (lambda: spherical_kmeans(torch.eye(3), torch.eye(2)), r"centers must be \(K, 3\)"),
        (lambda: source_distance(torch.eye(3), torch.zeros(0, 3)), "must not be empty"),
        (lambda: center_cameras(torch.full((2, 2), torch.nan), None), "in 2 of 2 rows"),
        (lambda: center_cameras(torch.eye(2), torch.zeros(3)), r"cameras \(N,\)"),
        (lambda: common_groups([]), "one tensor per part"),
        (lambda: label_quality(torch.arange(2), torch.arange(3)), "cameras must be as long"),
    ],
)
def test_bad_input_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
