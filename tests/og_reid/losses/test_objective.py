from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from og_reid.config.schema import LossConfig
from og_reid.losses import (
    batch_hard_triplet,
    circle_loss,
    reference_circle_loss,
    supervised_contrastive,
)
from og_reid.losses.objective import CombinedLoss, batch_knn_accuracy
from og_reid.models import OGNet

OFF = {"contrastive": 0.0, "label_smoothing": 0.0}


def objective(model: nn.Module, features: Tensor, labels: Tensor, config: LossConfig) -> Tensor:
    return CombinedLoss(config, 64, 5)(model, features, labels)


class Spy(nn.Linear):
    """A classifier that keeps what it saw."""

    def forward(self, input: Tensor) -> Tensor:
        self.seen = input
        return super().forward(input)


@pytest.fixture
def model(rng: torch.Generator) -> OGNet:
    small = OGNet((4, 8), k=3, num_points=8, embedding_dim=64, num_classes=5, generator=rng)
    small.proj_output = Spy(64, 5)
    return small


@pytest.fixture
def features(rng: torch.Generator) -> Tensor:
    return torch.randn(8, 64, generator=rng)


LABELS = torch.tensor([0, 0, 1, 1, 2, 3, 4, 0])


def test_the_losses_are_weighted_and_added(model: OGNet, features: Tensor) -> None:
    model.eval()
    config = LossConfig(
        contrastive=2.0, temperature=0.1, circle=3.0, circle_gamma=16.0, triplet=5.0, identity=7.0
    )
    logits = model.classify(features)
    expected = (
        2 * supervised_contrastive(features, LABELS, 0.1)
        + 3 * circle_loss(features, LABELS, gamma=16.0)
        + 5 * batch_hard_triplet(features, LABELS)
        + 7 * functional.cross_entropy(logits, LABELS, label_smoothing=0.1)
    )
    torch.testing.assert_close(objective(model, features, LABELS, config), expected)
    mean = LossConfig(**OFF, circle=1.0, circle_form="mean")
    expected = circle_loss(features, LABELS, reduction="mean")
    assert torch.equal(objective(model, features, LABELS, mean), expected)


def test_the_reference_circle_sees_what_the_classifier_sees(model: OGNet, features: Tensor) -> None:
    model.train()
    before = features.clone()
    config = LossConfig(**OFF, identity=1.0, circle=1.0, circle_form="reference", circle_gamma=64.0)
    with torch.random.fork_rng(devices=[]):
        loss = objective(model, features, LABELS, config)
    dropped = model.proj_output.seen
    zero = dropped == 0
    assert 0.6 < zero.float().mean() < 0.8
    torch.testing.assert_close(dropped[~zero], features[~zero] / 0.3)
    assert torch.equal(features, before), "dropout must not change the descriptor"
    expected = functional.cross_entropy(model.proj_output(dropped), LABELS)
    expected = expected + reference_circle_loss(dropped, LABELS, gamma=64.0)
    torch.testing.assert_close(loss, expected)
    undropped = reference_circle_loss(features, LABELS, gamma=64.0)
    assert not torch.allclose(reference_circle_loss(dropped, LABELS, gamma=64.0), undropped)


def test_the_other_forms_see_the_descriptor_before_dropout(model: OGNet, features: Tensor) -> None:
    model.train()
    with torch.random.fork_rng(devices=[]):
        loss = objective(model, features, LABELS, LossConfig(**OFF, circle=1.0))
    assert torch.equal(loss, circle_loss(features, LABELS))


def test_without_a_pair_only_the_classifier_learns(model: OGNet, rng: torch.Generator) -> None:
    model.eval()
    features = torch.randn(5, 64, generator=rng, requires_grad=True)
    labels = torch.arange(5)
    config = LossConfig(**OFF, identity=1.0, circle=1.0, circle_form="reference")
    loss = objective(model, features, labels, config)
    torch.testing.assert_close(loss, functional.cross_entropy(model.classify(features), labels))
    (slope,) = torch.autograd.grad(loss, features)
    assert torch.isfinite(slope).all()


def test_accuracy_by_hand() -> None:
    features = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 9.0]])
    assert batch_knn_accuracy(features, torch.tensor([0, 0, 1, 1])) == 1.0
    assert batch_knn_accuracy(features, torch.tensor([0, 0, 1, 2])) == 0.5
