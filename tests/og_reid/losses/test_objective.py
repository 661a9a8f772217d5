from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from og_reid.losses import (
    CenterLoss,
    MarginSoftmax,
    OnlineInstanceMatching,
    VerificationLoss,
    batch_hard_triplet,
    circle_loss,
    identity_loss,
    part_identity_loss,
    part_triplet,
    quadruplet_loss,
    reference_circle_loss,
    supervised_contrastive,
)
from og_reid.losses.config import LossConfig
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


OTHERS = {
    "ids": torch.tensor([0, 0, 1, 1, 2, 9, 4, 0]),
    "labels": torch.tensor([0, 0, 1, 1, 2, -1, 4, 0]),
}


def naive_sum(
    config: LossConfig, model: nn.Module, features: Tensor, codes: Tensor | None
) -> Tensor:
    """The terms of clouds written out, one after the other; fresh states as `CombinedLoss` has."""
    generator, (ids, labels) = torch.Generator().manual_seed(7), OTHERS.values()
    margin = None
    if config.identity_form != "softmax":
        margin = MarginSoftmax(config.identity_form, 64, 5, generator=generator)
        labels = ids = LABELS
    total = torch.zeros(())
    if config.contrastive:
        total = total + config.contrastive * supervised_contrastive(
            features, ids, config.temperature
        )
    if config.circle and config.circle_form != "reference":
        total = total + config.circle * circle_loss(
            features, ids, gamma=config.circle_gamma, reduction=config.circle_form
        )
    if config.triplet:
        total = total + config.triplet * batch_hard_triplet(features, ids, config.triplet_margin)
    if config.quadruplet:
        total = total + config.quadruplet * quadruplet_loss(features, ids)
    if config.verification:
        verification = VerificationLoss(64, generator=generator)
        total = total + config.verification * verification(features, ids)
    if config.oim:
        total = total + config.oim * OnlineInstanceMatching(64, 5)(features, labels)
    if config.center:
        total = total + config.center * CenterLoss(64, 5)(features, labels)
    seen = features if codes is None else codes
    if config.circle and config.circle_form == "reference":
        seen = functional.dropout(features, model.dropout, model.training)
        circle = reference_circle_loss(seen, ids, gamma=config.circle_gamma)
        total = total + config.circle * circle
    if config.identity and margin is not None:
        total = total + config.identity * margin(seen, labels)
    elif config.identity:
        reference = config.circle and config.circle_form == "reference"
        logits = model.proj_output(seen) if reference else model.classify(seen)
        total = total + config.identity * identity_loss(
            logits, labels, config.label_smoothing, uniform=config.lsro
        )
    return total


@pytest.mark.parametrize(
    "settings",
    [
        {"triplet": 0.5, "identity": 0.7},
        {"contrastive": 0.3, "circle": 0.9, "quadruplet": 0.2, "verification": 1.1, "oim": 0.7},
        {"circle": 0.3, "circle_form": "mean", "center": 0.01, "triplet": 1, "triplet_margin": 0.3},
        {"circle": 0.7, "circle_form": "reference", "identity": 0.9, "lsro": True, "oim": 0.1},
        {"circle": 0.7, "circle_form": "reference", "contrastive": 0.0},
        {"identity": 1, "identity_form": "circle", "verification": 0.5, "oim": 0.3, "center": 0.1},
        {"identity": 0.3, "lsro": True, "label_smoothing": 0.2, "contrastive": 0.0},
    ],
    ids=lambda settings: "-".join(settings),
)
@pytest.mark.parametrize("neck", [False, True])
def test_the_sum_is_the_naive_one_to_the_bit(
    model: OGNet, features: Tensor, settings: dict[str, Any], neck: bool
) -> None:
    model.train()
    config = LossConfig(**settings)
    codes = features.flip(1) * 0.5 if neck else None
    ids, labels = OTHERS.values()
    if config.identity_form != "softmax":
        ids = labels = LABELS
    loss = CombinedLoss(config, 64, 5, generator=torch.Generator().manual_seed(7))
    found, slopes = [], []
    for value in (
        lambda x: loss(model, x, ids, labels, codes),
        lambda x: naive_sum(config, model, x, codes),
    ):
        x = features.clone().requires_grad_()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            found.append(value(x))
        slopes.append(torch.autograd.grad(found[-1], x, allow_unused=True)[0])
    assert torch.equal(*found)
    assert slopes == [None, None] or torch.equal(*slopes)


def naive_image_sum(config: LossConfig, batch: dict[str, Tensor]) -> Tensor:
    """The terms of images as PGFA's authors weight them, and the triplet loss of the stripes."""
    labels, visibility = batch["labels"], batch["visibility"]
    smoothing, uniform = config.part_smoothing, config.lsro
    whole = parts = None
    if "image_logits" in batch:
        whole = identity_loss(batch["image_logits"], labels, smoothing, uniform=uniform)
    if "part_logits" in batch:
        logits = batch["part_logits"]
        if config.part_masked:
            parts = logits.shape[1] * part_identity_loss(logits, labels, visibility, smoothing)
        else:
            parts = torch.stack(
                [
                    identity_loss(each, labels, smoothing, uniform=uniform)
                    for each in logits.unbind(1)
                ]
            ).sum()
    if parts is None:
        return whole
    total = parts
    if whole is not None:
        total = config.part_weight * parts + (1 - config.part_weight) * whole
    if config.part_triplet:
        total = total + config.part_triplet * part_triplet(
            batch["part_features"], batch["ids"], visibility, config.triplet_margin
        )
    return total


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"part_weight": 0.9, "part_smoothing": 0.1, "part_masked": True},
        {"part_weight": 0.0, "part_triplet": 0.3},
        {"lsro": True, "part_triplet": 1.5, "triplet_margin": 0.3},
    ],
    ids=lambda settings: "-".join(settings),
)
@pytest.mark.parametrize("branches", ["both", "parts", "whole"])
def test_the_sum_of_images_is_the_naive_one_to_the_bit(
    rng: torch.Generator, settings: dict[str, Any], branches: str
) -> None:
    config = LossConfig(**settings)
    seen = torch.rand(8, 3, generator=rng) * (torch.rand(8, 3, generator=rng) > 0.3)
    ids, labels = OTHERS.values() if config.lsro else (LABELS, LABELS)
    batch = {"ids": ids, "labels": labels, "visibility": seen}
    if branches != "whole":
        batch["part_logits"] = torch.randn(8, 3, 5, generator=rng)
        batch["part_features"] = torch.randn(8, 3, 6, generator=rng)
    if branches != "parts":
        batch["image_logits"] = torch.randn(8, 5, generator=rng)
    loss = CombinedLoss(
        config, 64, 5, task="image",
        parts=0 if branches == "whole" else 3, whole=branches != "parts",
    )  # fmt: skip
    assert not loss.state_dict()
    given = {name: each for name, each in batch.items() if name not in ("ids", "labels")}
    found = loss(nn.Identity(), None, ids, labels, **given)
    assert torch.equal(found, naive_image_sum(config, batch))


def test_a_branch_of_weight_0_has_gradients_of_0() -> None:
    """Ranks that share a batch wait for the gradients of every parameter."""
    loss = CombinedLoss(LossConfig(part_weight=0.0), 4, 2, task="image", parts=1, whole=True)
    logits = torch.zeros(2, 1, 2, requires_grad=True)
    given = {"part_logits": logits, "image_logits": torch.zeros(2, 2)}
    loss(nn.Identity(), None, torch.tensor([0, 1]), **given).backward()
    assert torch.equal(logits.grad, torch.zeros(2, 1, 2))


def test_states_are_named_and_ordered_as_checkpoints_have_them() -> None:
    """Optimiser states are stored by the order of the parameters."""
    config = LossConfig(
        identity=1, identity_form="circle", oim=1, verification=1, center=1, oim_queue=2
    )
    loss = CombinedLoss(config, 4, 3)
    assert [name for name, _ in loss.named_parameters()] == [
        "margin_softmax.weight", "verification.classifier.weight", "verification.classifier.bias",
    ]  # fmt: skip
    assert set(loss.state_dict()) == {
        "margin_softmax.weight", "verification.classifier.weight", "verification.classifier.bias",
        "oim.table", "oim.unknown", "oim.seen", "center.centers",
    }  # fmt: skip


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
