"""Losses of adaptation: batches without a signal, bad input, memories, gradients."""

from __future__ import annotations

import pytest
import torch

from og_reid.losses import (
    ClusterMemory,
    ExemplarMemory,
    HybridMemory,
    attention_alignment,
    contrastive_domain_discrepancy,
    domain_adversary,
    hardest_pairs,
    memory_regularisation,
    ordered_pair_triplet,
    rectified_identity,
    reverse_gradient,
    soft_identity,
    soft_triplet,
    tracklet_association,
)

NONE = torch.zeros(0, 4, requires_grad=True)
NO_LABELS = torch.zeros(0, dtype=torch.int64)
ONE = torch.ones(1, 4, requires_grad=True)


@pytest.mark.parametrize("features", [NONE, ONE])
def test_no_signal_is_zero_with_a_zero_gradient(features: torch.Tensor) -> None:
    labels = torch.zeros(len(features), dtype=torch.int64)
    unlabelled = labels - 1
    for loss in (
        soft_triplet(features, labels),
        ordered_pair_triplet(features, labels),
        tracklet_association(features, labels),
        ClusterMemory(torch.eye(4))(features, unlabelled),
        contrastive_domain_discrepancy(features, features, labels, labels - 2),
        rectified_identity(features, features, unlabelled),
    ):
        (slope,) = torch.autograd.grad(loss, features)
        assert loss.item() == 0
        assert not slope.any()


def test_empty_batches_are_zero() -> None:
    exemplar, hybrid = ExemplarMemory(3, 4), HybridMemory(torch.eye(4), torch.arange(4))
    for loss in (
        exemplar(NONE, NO_LABELS, 0),
        hybrid(NONE, NO_LABELS),
        memory_regularisation(NONE, NONE),
        soft_identity(NONE, NONE),
        domain_adversary(torch.zeros(0, 1), 0),
    ):
        assert loss.item() == 0


def test_nan_makes_the_loss_nan_and_spares_the_memory() -> None:
    features = torch.tensor([[torch.nan, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 1])
    memory = ClusterMemory(torch.eye(2))
    assert torch.isnan(memory(features, labels))
    assert torch.equal(memory.rows, torch.eye(2))
    hybrid = HybridMemory(torch.eye(2), labels)
    assert torch.isnan(hybrid(features, labels))
    assert torch.isfinite(hybrid.rows).all()


def test_a_memory_stays_in_evaluation_and_is_in_the_state() -> None:
    memory = ClusterMemory(torch.eye(2)).eval()
    memory(torch.tensor([[0.6, 0.8]]), torch.tensor([0]))
    assert torch.equal(memory.rows, torch.eye(2))
    memory.train()(torch.tensor([[0.6, 0.8]]), torch.tensor([0]))
    other = ClusterMemory(torch.eye(2))
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.rows, memory.rows)
    assert not torch.equal(other.rows, torch.eye(2))


def test_hard_memory_takes_the_least_similar_image_of_each_cluster() -> None:
    memory = ClusterMemory(torch.eye(2), momentum=0.0, hard=True)
    features = torch.tensor([[1.0, 0.1], [0.6, 0.8], [0.1, 1.0]])
    memory(features, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(memory.rows[0], features[1])


def test_outliers_of_a_hybrid_memory_are_classes_and_absent_classes_are_none() -> None:
    features = torch.tensor([[1.0, 0.0]])
    few = HybridMemory(torch.eye(2), torch.tensor([0, 1]))
    gap = HybridMemory(torch.eye(2), torch.tensor([0, 7]))
    torch.testing.assert_close(few(features, torch.tensor([0])), gap(features, torch.tensor([0])))
    with pytest.raises(ValueError, match="labels must be at least 0; got -1: give each outlier"):
        few.relabel(torch.tensor([0, -1]))


def test_k_nearest_neighbours_in_place_of_a_threshold() -> None:
    loss = ExemplarMemory(4, 2, nearest=2, warmup=0)
    loss.rows.copy_(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]]))
    found = loss.targets(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 0)
    assert found.tolist() == [[1.0, 0.5, 0.5, 0.0]]


def test_a_lone_exemplar_has_no_neighbours() -> None:
    loss = ExemplarMemory(2, 2, warmup=0)
    loss.rows.copy_(torch.eye(2))
    found = loss.targets(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 9)
    assert found.tolist() == [[1.0, 0.0]]


def test_tracklets_move_towards_their_neighbours() -> None:
    means = torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]], requires_grad=True)
    loss = tracklet_association(means, torch.tensor([0, 1, 1]), nearest=1)
    (slope,) = torch.autograd.grad(loss, means)
    # A step down the gradient: the first to the right, to the nearest of the other camera.
    assert slope[0, 0] < 0 < slope[1, 0]


def test_hardest_pairs_by_hand() -> None:
    features = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
    positive, negative = hardest_pairs(features, torch.tensor([0, 0, 0, 1]))
    assert positive.tolist() == [2, 2, 0, 3]
    assert negative.tolist() == [3, 3, 3, 2]


def test_reversed_gradient() -> None:
    features = torch.ones(2, requires_grad=True)
    (slope,) = torch.autograd.grad((reverse_gradient(features, 0.5) * 3).sum(), features)
    assert slope.tolist() == [-1.5, -1.5]


def test_attention_ignores_scale_and_sign_and_sees_places() -> None:
    maps = torch.rand(2, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    assert float(attention_alignment([maps], [-5 * maps])) == pytest.approx(0, abs=1e-6)
    assert float(attention_alignment([maps], [maps.flip(2)])) > 1e-3
    hot, other = torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 2, 1)
    hot[..., 0, 0] = other[..., 1, 0] = 1
    assert float(attention_alignment([hot], [other])) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ClusterMemory(torch.zeros(0, 4)), r"rows must be \(C, D\), at least one row"),
        (lambda: ClusterMemory(torch.full((2, 4), torch.nan)), "NaN or infinity in 2 of 2 rows"),
        (lambda: ClusterMemory(torch.eye(2), temperature=0), "temperature above 0"),
        (lambda: ExemplarMemory(0, 4), "num_images and dim must be at least 1; got 0 and 4"),
        (lambda: ExemplarMemory(3, 4, nearest=3), r"nearest must be in \[1, num_images\)"),
        (lambda: HybridMemory(torch.eye(3), torch.zeros(2).long()), r"labels must be \(3,\) int64"),
        (lambda: memory_regularisation(torch.eye(2), torch.eye(3)), "must both be"),
        (lambda: tracklet_association(torch.eye(2), torch.arange(2), sigma=0), "sigma must be"),
        (
            lambda: contrastive_domain_discrepancy(
                (torch.eye(2),), (), torch.arange(2), torch.arange(2)
            ),
            "same layers",
        ),
        (lambda: reverse_gradient(torch.eye(2), -1), "scale must be at least 0"),
        (lambda: attention_alignment([], []), "the same layers, at least one"),
        (lambda: domain_adversary(torch.eye(2), 2), r"domain must be in \[0, 1\]; got 2"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
