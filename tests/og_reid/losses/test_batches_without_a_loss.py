"""Batches that hold nothing to learn from: every loss is 0, and so is its gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from og_reid.losses import (
    CenterLoss,
    MarginSoftmax,
    OnlineInstanceMatching,
    VerificationLoss,
    batch_hard_triplet,
    circle_classes,
    circle_loss,
    identity_loss,
    part_identity_loss,
    part_triplet,
    quadruplet_loss,
    reference_circle_loss,
    supervised_contrastive,
)

Loss = Callable[[Tensor, Tensor], Tensor]
DIM = 4


class _Parts(torch.nn.Module):
    """A loss of parts, of features that are the same in both."""

    def __init__(self, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return self.loss(torch.stack([features, features], dim=1), labels)


#: Losses that compare the identities of a batch with each other.
PAIRS: dict[str, Callable[[], Loss]] = {
    "contrastive": lambda: supervised_contrastive,
    "circle": lambda: circle_loss,
    "mean circle": lambda: partial(circle_loss, reduction="mean"),
    "reference circle": lambda: reference_circle_loss,
    "triplet": lambda: batch_hard_triplet,
    "margin triplet": lambda: partial(batch_hard_triplet, margin=0.3),
    "quadruplet": lambda: quadruplet_loss,
    "part triplet": lambda: _Parts(part_triplet),
    "verification": lambda: VerificationLoss(DIM),
}
#: Losses of classes that leave unlabelled images out.
OPEN: dict[str, Callable[[], Loss]] = {
    "identity": lambda: identity_loss,
    "matching": lambda: OnlineInstanceMatching(DIM, DIM, queue=3),
    "matching without a queue": lambda: OnlineInstanceMatching(DIM, DIM, queue=0),
    "center": lambda: CenterLoss(DIM, DIM),
}
#: Losses of classes that need a label for every image.
CLOSED: dict[str, Callable[[], Loss]] = {
    "circle of classes": lambda: circle_classes,
    "part identity": lambda: _Parts(part_identity_loss),
    **{
        kind: partial(MarginSoftmax, kind, DIM, DIM)  # type: ignore[arg-type]
        for kind in ("arcface", "cosface", "sphereface", "circle")
    },
}
UNIFORM: dict[str, Callable[[], Loss]] = {"uniform": lambda: partial(identity_loss, uniform=True)}


def made(build: Callable[[], Loss]) -> Loss:
    try:
        return build()
    except ImportError:
        pytest.skip("pytorch-metric-learning is not installed")


def check_zero(loss: Loss, labels: list[int], dtype: torch.dtype = torch.float32) -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(len(labels), DIM, generator=draw, dtype=dtype, requires_grad=True)
    value = loss(features, torch.tensor(labels, dtype=torch.int64))
    assert value.shape == ()
    assert value.item() == 0
    value.backward()
    assert torch.equal(features.grad, torch.zeros_like(features))
    for parameter in loss.parameters() if isinstance(loss, torch.nn.Module) else ():
        assert parameter.grad is not None, "every process must have a gradient"
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    "labels", [[3, 3, 3, 3], [2, 2], [5], [], [0, 1, 2], [-1] * 4, [-1], [-1, 0, -1, 1]], ids=str
)
def test_pairs_of_one_kind(name: str, labels: list[int]) -> None:
    check_zero(made(PAIRS[name]), labels)


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("labels", [[], [-1], [-1] * 4], ids=str)
def test_no_labelled_image(name: str, labels: list[int]) -> None:
    check_zero(made(OPEN[name]), labels)


@pytest.mark.parametrize("name", CLOSED | UNIFORM)
def test_no_image(name: str) -> None:
    check_zero(made((CLOSED | UNIFORM)[name]), [])


@pytest.mark.parametrize("name", CLOSED)
def test_unlabelled_images_are_refused_where_there_is_no_class_for_them(name: str) -> None:
    with pytest.raises(ValueError, match=r"labels must be in \[0, 4\); got -1 to 2"):
        made(CLOSED[name])(torch.ones(2, DIM), torch.tensor([-1, 2]))


@pytest.mark.parametrize("name", PAIRS)
def test_unlabelled_images_are_identities_of_their_own(name: str, rng: torch.Generator) -> None:
    """Two of them are no pair of one identity: they only serve as negatives."""
    features = torch.randn(6, DIM, generator=rng)
    torch.manual_seed(0)
    loss = made(PAIRS[name])
    found = loss(features, torch.tensor([0, -1, 0, 1, -1, 1]))
    expected = loss(features, torch.tensor([0, 7, 0, 1, 8, 1]))
    assert found.item() == expected.item() != 0


@pytest.mark.parametrize("name", PAIRS)
def test_labels_of_any_integer_type(name: str, rng: torch.Generator) -> None:
    features = torch.randn(6, DIM, generator=rng)
    labels = torch.tensor([0, 3, 0, 1, 3, 1])
    loss = made(PAIRS[name])
    expected = loss(features, labels)
    for dtype in (torch.int32, torch.int16, torch.int8, torch.uint8):
        assert loss(features, labels.to(dtype)) == expected


@pytest.mark.parametrize(
    "name", ["contrastive", "circle", "triplet", "quadruplet", "part triplet", "verification"]
)
def test_large_features_of_half_precision_do_not_overflow(name: str) -> None:
    loss = made(PAIRS[name])
    if isinstance(loss, torch.nn.Module):
        loss = loss.half()
    features = torch.full((1, DIM), 30000.0, dtype=torch.float16, requires_grad=True)
    value = loss(features, torch.tensor([0]))
    value.backward()
    assert value.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))
