from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from og_reid.losses import (
    batch_hard_triplet,
    circle_loss,
    quadruplet_loss,
    reference_circle_loss,
    supervised_contrastive,
)


def margin_triplet(features: Tensor, labels: Tensor) -> Tensor:
    return batch_hard_triplet(features, labels, margin=0.2)


LOSSES = [
    supervised_contrastive, circle_loss, reference_circle_loss, batch_hard_triplet, margin_triplet,
    quadruplet_loss,
]  # fmt: skip
Loss = Callable[[Tensor, Tensor], Tensor]


def test_supervised_contrastive_by_hand() -> None:
    # Unit vectors at 0, 90 and 180 degrees; the first two are one person, temperature 1.
    features = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 0, 1])
    first = -math.log(math.exp(0) / (math.exp(0) + math.exp(-1)))
    second = -math.log(math.exp(0) / (math.exp(0) + math.exp(0)))
    loss = supervised_contrastive(features, labels, temperature=1.0)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_supervised_contrastive_averages_over_positives() -> None:
    # Three of a kind, all alike, the negative opposite (of weight e^-25): every share is 1/2.
    features = torch.cat([torch.ones(3, 4), -torch.ones(1, 4)])
    loss = supervised_contrastive(features, torch.tensor([0, 0, 0, 1]))
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)


def test_circle_by_hand() -> None:
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 5.0]])
    labels = torch.tensor([3, 3, 8])
    # One positive pair with cosine .6; negative pairs with cosines 0 and .8.
    pull = -64 * (1.25 - 0.6) * (0.6 - 0.75)
    push = [64 * 0.25 * (0.0 - 0.25), 64 * (0.8 + 0.25) * (0.8 - 0.25)]
    expected = math.log1p(math.exp(pull) * sum(map(math.exp, push)))
    assert circle_loss(features, labels).item() == pytest.approx(expected, rel=1e-5)


def test_circle_of_perfect_features_by_hand() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    # Two positive pairs with cosine 1 and weight m; the weight of four negative pairs is 0.
    expected = math.log1p(2 * math.exp(-64 * 0.25**2) * 4)
    loss = circle_loss(features, torch.tensor([0, 0, 1, 1]))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def circle_sums(features: Tensor, labels: Tensor, gamma: float) -> tuple[list[float], list[float]]:
    """Terms of the positive and of the negative pairs, one pair after the other."""
    pull, push = [], []
    for i in range(len(features)):
        for j in range(i):
            cosine = float(features[i] @ features[j]) / (
                (float(features[i].norm()) + 1e-6) * (float(features[j].norm()) + 1e-6)
            )
            if labels[i] == labels[j]:
                pull.append(math.exp(-gamma * max(1.25 - cosine, 0) * (cosine - 0.75)))
            else:
                push.append(math.exp(gamma * max(cosine + 0.25, 0) * (cosine - 0.25)))
    return pull, push


@pytest.mark.parametrize("gamma", [32.0, 64.0, 96.0])
def test_reference_circle_against_a_loop_over_pairs(gamma: float, rng: torch.Generator) -> None:
    features = torch.randn(9, 16, dtype=torch.float64, generator=rng)
    features = torch.nn.functional.dropout(features, 0.5) if gamma == 64 else features
    labels = torch.tensor([0, 1, 0, 2, 3, 1, 4, 0, 5])
    pull, push = circle_sums(features, labels, gamma)
    assert len(pull) == 4
    expected = math.log1p(sum(pull) * sum(push)) / 9
    loss = reference_circle_loss(features, labels, gamma=gamma)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_reference_circle_defaults(rng: torch.Generator) -> None:
    features, labels = torch.randn(6, 4, generator=rng), torch.tensor([0, 0, 1, 1, 2, 2])
    default = reference_circle_loss(features, labels)
    assert torch.equal(default, reference_circle_loss(features, labels, 0.25, 32.0))
    ours = circle_loss(features, labels, gamma=32.0) / 6
    torch.testing.assert_close(default, ours)


def test_reference_circle_raises_the_length() -> None:
    features = torch.tensor([[1e-6, 0.0], [1e-6, 0.0], [0.0, 2e-6]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    # Lengths of 1/2, 1/2 and 2/3 are left: the positive cosine is 1/4, the others are 0.
    expected = math.log1p(math.exp(32 * 1.0 * 0.5) * 2 * math.exp(-32 * 0.25 * 0.25)) / 3
    assert reference_circle_loss(features, labels).item() == pytest.approx(expected, rel=1e-9)
    zero = torch.zeros(3, 4, requires_grad=True)
    reference_circle_loss(zero, labels).backward()
    assert torch.isfinite(zero.grad).all()


def test_mean_circle_against_a_loop_over_pairs(rng: torch.Generator) -> None:
    features = torch.randn(8, 16, dtype=torch.float64, generator=rng)
    labels = torch.tensor([0, 1, 0, 2, 3, 1, 0, 3])
    pull, push = circle_sums(features, labels, 20.0)
    expected = math.log1p(sum(pull) / len(pull) * sum(push) / len(push))
    loss = circle_loss(features, labels, gamma=20.0, reduction="mean")
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_mean_circle_does_not_grow_with_the_batch() -> None:
    """Two people at a right angle: of more clouds of them only the sum grows."""
    corners = torch.eye(2)
    few, many = corners.repeat_interleave(2, 0), corners.repeat_interleave(8, 0)
    labels = torch.arange(2)
    losses = [
        [
            circle_loss(features, labels.repeat_interleave(len(features) // 2), reduction=kind)
            for features in (few, many)
        ]
        for kind in ("mean", "sum")
    ]
    torch.testing.assert_close(losses[0][0], losses[0][1])
    assert losses[1][1] > 2 * losses[1][0]
    with pytest.raises(ValueError, match="reduction must be 'sum' or 'mean'; got 'max'"):
        circle_loss(few, labels.repeat_interleave(2), reduction="max")


def test_triplet_by_hand() -> None:
    features = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    labels = torch.tensor([0, 0, 0, 1])
    gaps = [3 - 10, 2 - 9, 3 - 7]
    expected = sum(math.log1p(math.exp(gap)) for gap in gaps) / 3
    assert batch_hard_triplet(features, labels).item() == pytest.approx(expected, rel=1e-5)


def test_triplet_with_a_margin_by_hand() -> None:
    features = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    # Anchors 0, 1, 2: 3 - 10 + 5 = -2 -> 0, 2 - 9 + 5 = -2 -> 0, 3 - 7 + 5 = 1; the mean is 1/3.
    loss = batch_hard_triplet(features, torch.tensor([0, 0, 0, 1]), margin=5.0)
    assert loss.item() == pytest.approx(1 / 3, rel=1e-6)


def test_quadruplet_by_hand() -> None:
    features = torch.tensor([[0.0], [2.0], [3.0], [7.0], [8.0]])
    labels = torch.tensor([0, 0, 1, 1, 2])
    # Squared: anchor 0 (at 0): positive 4, nearest negative 9, other identities 7 and 8: 1.
    #          anchor 1 (at 2): 4, negative 1, other identities 1.
    #          anchor 2 (at 3): 16, negative 1, others 2 and 8: 36.
    #          anchor 3 (at 7): 16, negative 1, others 36.
    # First:  max(4 - 9 + 1, 0) + (4 - 1 + 1) + (16 - 1 + 1) + (16 - 1 + 1) = 36, over 4: 9.
    # Second: (4 - 1 + .5) * 2 + 0 + 0 = 7, over 4: 1.75.
    assert quadruplet_loss(features, labels).item() == pytest.approx(10.75)
    assert quadruplet_loss(features, labels, (0.0, 20.0)).item() == pytest.approx(
        (0 + 3 + 15 + 15) / 4 + (23 + 23 + 0 + 0) / 4
    )


def test_quadruplet_against_a_loop(rng: torch.Generator) -> None:
    features = torch.randn(12, 6, dtype=torch.float64, generator=rng)
    labels = torch.tensor([0, 1, 0, 2, 3, 1, 4, 0, 2, 4, 4, 5])
    squared = torch.cdist(features, features) ** 2
    people = labels.tolist()
    pairs = [(i, j) for i in range(12) for j in range(12) if people[i] != people[j]]
    terms = []
    for a in range(12):
        same = [float(squared[a, j]) for j in range(12) if people[j] == people[a] and j != a]
        if same:
            near = min(float(squared[i, j]) for i, j in pairs if i == a)
            out = [
                float(squared[i, j]) for i, j in pairs if people[a] not in (people[i], people[j])
            ]
            terms.append(max(max(same) - near + 1, 0) + max(max(same) - min(out) + 0.5, 0))
    assert len(terms) == 10
    expected = sum(terms) / len(terms)
    assert quadruplet_loss(features, labels).item() == pytest.approx(expected, rel=1e-9)


def test_two_identities_make_no_quadruplet() -> None:
    features = torch.tensor([[0.0], [2.0], [3.0]])
    # Anchors 0 and 1: 4 - 9 + 1 < 0 and 4 - 1 + 1 = 4; the mean is 2.
    assert quadruplet_loss(features, torch.tensor([0, 0, 1])).item() == pytest.approx(2)


@pytest.mark.parametrize("margin", [None, 0.3])
def test_triplet_against_pytorch_metric_learning(
    margin: float | None, rng: torch.Generator
) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    from pytorch_metric_learning import distances, miners, reducers

    features = torch.randn(12, 8, generator=rng)
    labels = torch.tensor([0, 1, 0, 2, 3, 1, 0, 3, 2, 2, 3, 1])
    distance = distances.LpDistance(normalize_embeddings=False)
    theirs = losses.TripletMarginLoss(
        margin=margin or 0.0,
        smooth_loss=margin is None,
        distance=distance,
        reducer=reducers.MeanReducer(),
    )
    hardest = miners.BatchHardMiner(distance=distance)(features, labels)
    expected = theirs(features, labels, hardest)
    torch.testing.assert_close(batch_hard_triplet(features, labels, margin), expected)


def test_contrastive_against_pytorch_metric_learning(rng: torch.Generator) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    features, labels = torch.randn(9, 8, generator=rng), torch.tensor([0, 1, 0, 2, 3, 1, 0, 3, 2])
    expected = losses.SupConLoss(temperature=0.2)(features, labels)
    torch.testing.assert_close(supervised_contrastive(features, labels, 0.2), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss: Loss, rng: torch.Generator) -> None:
    features = torch.randn(7, 5, dtype=torch.float64, generator=rng, requires_grad=True)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    if loss in (circle_loss, reference_circle_loss):
        # Its weights are constants by definition, so finite differences do not see its slope:
        # that it leads down is checked here, its value in the test below.
        value = loss(features, labels)
        (slope,) = torch.autograd.grad(value, features)
        assert torch.isfinite(slope).all()
        assert loss(features - 1e-4 * slope, labels) < value
        return
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), features)


def test_circle_slope_by_hand() -> None:
    # d loss / d cosine = -sigmoid(z) * gamma * weight for the only positive pair, weight held.
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]], dtype=torch.float64)
    features.requires_grad_(True)
    labels = torch.tensor([0, 0, 1])
    loss = circle_loss(features, labels, gamma=2.0)
    (slope,) = torch.autograd.grad(loss, features)
    pull = -2 * 0.65 * (0.6 - 0.75)
    push = [2 * 0.25 * (0 - 0.25), 0.0]
    total = sum(map(math.exp, push))
    z = pull + math.log(total)
    sigmoid = 1 / (1 + math.exp(-z))
    by_positive = -sigmoid * 2 * 0.65
    by_negative = sigmoid * math.exp(push[0]) / total * 2 * 0.25
    # Only the y coordinate of the first row moves its cosines: with row 1 by .8, row 2 by -1.
    assert slope[0, 1].item() == pytest.approx(by_positive * 0.8 - by_negative, rel=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [4]])
def test_a_batch_without_pairs_has_a_loss_of_0(loss: Loss, labels: list[int]) -> None:
    features = torch.ones(len(labels), 3, requires_grad=True)
    value = loss(features, torch.tensor(labels))
    value.backward()
    assert value.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_single_image_only_serves_as_a_negative(loss: Loss, rng: torch.Generator) -> None:
    features = torch.randn(5, 4, generator=rng)
    labels = torch.tensor([0, 0, 1, 1, 2])
    near = features.clone()
    near[4] = features[0] + 0.01
    assert loss(near, labels) > loss(features, labels)


@pytest.mark.parametrize("loss", LOSSES)
def test_order_and_names_of_the_labels_do_not_matter(loss: Loss, rng: torch.Generator) -> None:
    features = torch.randn(6, 4, generator=rng)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    order = torch.randperm(6, generator=rng)
    torch.testing.assert_close(loss(features[order], labels[order] * 7 - 3), loss(features, labels))


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_features_have_finite_gradients(loss: Loss) -> None:
    features = torch.ones(4, 3, requires_grad=True)
    loss(features, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_nan_is_not_hidden(loss: Loss, rng: torch.Generator) -> None:
    features = torch.randn(6, 4, generator=rng)
    features[2, 1] = torch.nan
    assert loss(features, torch.tensor([0, 0, 1, 1, 2, 2])).isnan()


@pytest.mark.parametrize("loss", LOSSES)
def test_shapes_are_checked(loss: Loss) -> None:
    with pytest.raises(ValueError, match=r"labels \(B,\)"):
        loss(torch.zeros(3, 4), torch.zeros(2, dtype=torch.long))


def test_temperature_is_checked() -> None:
    with pytest.raises(ValueError, match="temperature must be above 0"):
        supervised_contrastive(torch.zeros(3, 4), torch.zeros(3), temperature=0)
