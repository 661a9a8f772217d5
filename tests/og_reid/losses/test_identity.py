"""Losses with classes: values worked by hand, slopes, hard cases."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from og_reid.losses import (
    MarginSoftmax,
    VerificationLoss,
    circle_classes,
    identity_loss,
)

Loss = Callable[[Tensor, Tensor], Tensor]
KINDS = ["arcface", "cosface", "sphereface", "circle"]


def softmax(*logits: float) -> float:
    """Cross-entropy of the first of some logits."""
    return math.log(sum(map(math.exp, logits))) - logits[0]


def margin_softmax(kind: str, weight: list[list[float]], **options: float) -> MarginSoftmax:
    """With the given weights of the classes, one row each."""
    if kind != "circle":
        pytest.importorskip("pytorch_metric_learning")
    rows = torch.tensor(weight, dtype=torch.float64)
    loss = MarginSoftmax(kind, rows.shape[1], len(rows), **options)
    if loss.weight is None:
        loss.loss.W.data = rows.T.contiguous()
    else:
        loss.weight.data = rows
    return loss


def test_identity_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([1, 0])
    # Shares 1/4 and 3/4, then 1/2 and 1/2.
    assert identity_loss(logits, labels).item() == pytest.approx(
        (math.log(4 / 3) + math.log(2)) / 2
    )
    # Smoothing by .2 over two classes: .9 of the own, .1 of the other.
    first = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    assert identity_loss(logits, labels, 0.2).item() == pytest.approx((first + math.log(2)) / 2)


def test_uniform_targets_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]], dtype=torch.float64)
    labels = torch.tensor([1, -1])
    assert identity_loss(logits, labels).item() == pytest.approx(math.log(4 / 3)), "left out"
    # LSRO: the target of the second is 1/2 and 1/2.
    absent = (math.log(4) + math.log(4 / 3)) / 2
    loss = identity_loss(logits, labels, uniform=True)
    assert loss.item() == pytest.approx((math.log(4 / 3) + absent) / 2)
    # At equal logits there is nothing left to unlearn.
    even = torch.zeros(2, 5, requires_grad=True)
    loss = identity_loss(even, torch.tensor([-1, -1]), uniform=True)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(5))
    assert even.grad.abs().max() < 1e-7
    nothing = torch.ones(2, 5, requires_grad=True)
    loss = identity_loss(nothing, torch.tensor([-1, -1]))
    loss.backward()
    assert (loss.item(), nothing.grad.abs().max().item()) == (0, 0)


def test_circle_of_classes_by_hand() -> None:
    cosines = torch.tensor([[0.6, 0.5, -0.5], [0.0, 0.2, 0.1]], dtype=torch.float64)
    # Margin .25, scale 2. First, of class 0: own 2 * .65 * (.6 - .75), others 2 * .75 * (.5 - .25)
    # and 0, whose weight is max(-.5 + .25, 0). Second, of class 2: own 2 * 1.15 * (.1 - .75),
    # others 2 * .25 * (0 - .25) and 2 * .45 * (.2 - .25).
    first = softmax(2 * 0.65 * -0.15, 2 * 0.75 * 0.25, 0)
    second = softmax(2 * 1.15 * -0.65, 2 * 0.25 * -0.25, 2 * 0.45 * -0.05)
    loss = circle_classes(cosines, torch.tensor([0, 2]), gamma=2.0)
    assert loss.item() == pytest.approx((first + second) / 2)
    module = margin_softmax("circle", [[3.0, 0.0], [0.0, 1.0]], scale=2.0)
    unit = module(torch.tensor([[6.0, 8.0]], dtype=torch.float64), torch.tensor([0]))
    # Cosines .6 and .8, whatever the lengths.
    expected = softmax(2 * 0.65 * -0.15, 2 * 1.05 * 0.55)
    assert unit.item() == pytest.approx(expected)


def test_angular_margins_by_hand() -> None:
    # At 60 degrees from class 0 and 30 degrees from class 1, length 2.
    feature = torch.tensor([[1.0, math.sqrt(3)]], dtype=torch.float64)
    weight, label = [[5.0, 0.0], [0.0, 1.0]], torch.tensor([0])
    other = math.cos(math.pi / 6)
    arc = margin_softmax("arcface", weight, margin=math.pi / 6, scale=10.0)
    # cos(60 + 30) = 0.
    assert arc(feature, label).item() == pytest.approx(softmax(0.0, 10 * other), rel=1e-6)
    cos = margin_softmax("cosface", weight, margin=0.3, scale=10.0)
    assert cos(feature, label).item() == pytest.approx(softmax(10 * 0.2, 10 * other), rel=1e-6)
    sphere = margin_softmax("sphereface", weight, margin=2)
    # -1 ** k * cos(2 * 60) - 2 * k with k = floor(60 / 90) = 0, times the length of the feature.
    assert sphere(feature, label).item() == pytest.approx(softmax(2 * -0.5, 2 * other), rel=1e-6)
    sphere = margin_softmax("sphereface", weight)
    # Four times the angle: k = floor(60 / 45) = 1, so -cos(240) - 2 = -1.5.
    assert sphere(feature, label).item() == pytest.approx(softmax(2 * -1.5, 2 * other), rel=1e-6)


@pytest.mark.parametrize("kind", ["arcface", "cosface", "sphereface"])
def test_without_a_margin_it_is_a_softmax_of_cosines(kind: str, rng: torch.Generator) -> None:
    weight = torch.randn(4, 5, generator=rng, dtype=torch.float64)
    features = torch.randn(3, 5, generator=rng, dtype=torch.float64)
    labels = torch.tensor([3, 0, 3])
    margin = 1 if kind == "sphereface" else 0
    loss = margin_softmax(kind, weight.tolist(), margin=margin, scale=3.0)
    cosines = torch.nn.functional.cosine_similarity(features[:, None], weight, dim=2)
    length = features.norm(dim=1, keepdim=True) if kind == "sphereface" else 1
    expected = torch.nn.functional.cross_entropy(3 * length * cosines, labels)
    torch.testing.assert_close(loss(features, labels), expected)


@pytest.mark.parametrize("kind", ["arcface", "cosface", "sphereface"])
def test_slopes_of_margins(kind: str, rng: torch.Generator) -> None:
    weight = torch.randn(3, 4, generator=rng, dtype=torch.float64)
    loss = margin_softmax(kind, weight.tolist(), scale=1.5)
    features = torch.randn(5, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 1, 0])
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), features)
    (slope,) = torch.autograd.grad(loss(features, labels), loss.loss.W)
    assert slope.abs().max() > 0


def test_slope_of_circle_classes_by_hand() -> None:
    # d/dx of softplus(n - p) with p = 2 * .65 * (x - .75), its weight held.
    cosines = torch.tensor([[0.6, 0.5]], dtype=torch.float64, requires_grad=True)
    circle_classes(cosines, torch.tensor([0]), gamma=2.0).backward()
    gap = 2 * 0.75 * 0.25 - 2 * 0.65 * -0.15
    sigmoid = 1 / (1 + math.exp(-gap))
    expected = [[-sigmoid * 2 * 0.65, sigmoid * 2 * 0.75]]
    torch.testing.assert_close(cosines.grad, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_features_on_their_class_have_finite_slopes(kind: str) -> None:
    loss = margin_softmax(kind, [[1.0, 0.0], [0.0, 1.0]]).float()
    features = torch.tensor([[2.0, 0.0], [2.0, 0.0], [-3.0, 0.0]], requires_grad=True)
    loss(features, torch.tensor([0, 0, 0])).backward()
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_on_the_weights(kind: str) -> None:
    if kind != "circle":
        pytest.importorskip("pytorch_metric_learning")
    states = [
        MarginSoftmax(kind, 6, 4, generator=torch.Generator().manual_seed(seed)).state_dict()
        for seed in (1, 1, 2)
    ]
    (name,) = states[0]
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])
    again = MarginSoftmax(kind, 6, 4)
    again.load_state_dict(states[0])
    features, labels = torch.ones(2, 6), torch.tensor([1, 3])
    first = MarginSoftmax(kind, 6, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again(features, labels), first(features, labels))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    MarginSoftmax("circle", 2, 2)
    with pytest.raises(
        ImportError, match=r"for the arcface loss; .*pip install 'og-reid\[losses\]'"
    ):
        MarginSoftmax("arcface", 2, 2)
    with pytest.raises(ValueError, match=r"kind must be one of arcface, .*; got 'softmax'"):
        MarginSoftmax("softmax", 2, 2)
    with pytest.raises(ValueError, match="margin must be at least 0 and scale above 0"):
        MarginSoftmax("circle", 2, 2, scale=0.0)
    with pytest.raises(ValueError, match=r"margin of sphereface must be a whole number; got 1\.5"):
        MarginSoftmax("sphereface", 2, 2, margin=1.5)
    with pytest.raises(ValueError, match="dim and num_classes must be at least 1; got 0 and 2"):
        MarginSoftmax("circle", 0, 2)


@pytest.mark.parametrize("labels", [[0, 2], [-1, 0]])
def test_labels_that_are_no_class_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\); got"):
        MarginSoftmax("circle", 3, 2)(torch.ones(2, 3), torch.tensor(labels))
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\); got"):
        circle_classes(torch.ones(2, 2), torch.tensor(labels))
    with pytest.raises(ValueError, match=r"labels must be in \[-1, 2\); got"):
        identity_loss(torch.ones(2, 2), torch.tensor([-2, 0]))


def test_verification_by_hand() -> None:
    loss = VerificationLoss(2)
    loss.classifier.weight.data = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    features = torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 0.0]])
    # Squares: (1, 4) of one person; (4, 0) and (1, 4) of two. Logits of "different": 3; 4 and 3.
    same, different = softmax(0, 3), (softmax(4, 0) + softmax(3, 0)) / 2
    value = loss(features, torch.tensor([7, 7, 3]))
    assert value.item() == pytest.approx((same + different) / 2, rel=1e-6)


def test_verification_slopes(rng: torch.Generator) -> None:
    loss = VerificationLoss(4).double()
    features = torch.randn(5, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 2])

    def value(x: Tensor, weight: Tensor) -> Tensor:
        state = {"classifier.weight": weight}
        return torch.func.functional_call(loss, state, (x, labels))

    weight = torch.randn(loss.classifier.weight.shape, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(value, (features, weight.requires_grad_(True)))


@pytest.mark.parametrize("labels", [[0, 1, 2], [4, 4, 4], [1]])
def test_pairs_of_one_kind_have_no_verification_loss(labels: list[int]) -> None:
    loss = VerificationLoss(3)
    features = torch.ones(len(labels), 3, requires_grad=True)
    value = loss(features, torch.tensor(labels))
    value.backward()
    assert value.item() == 0
    assert features.grad.abs().max() == 0
    for parameter in loss.parameters():
        assert parameter.grad is not None, "every process must have a gradient"


@pytest.mark.parametrize(
    "make",
    [
        lambda generator: VerificationLoss(3, generator=generator),
        *(
            lambda generator, kind=kind: MarginSoftmax(kind, 3, 2, generator=generator)
            for kind in KINDS
        ),
    ],
)
def test_weights_draw_from_the_generator_alone(
    make: Callable[[torch.Generator], torch.nn.Module], rng: torch.Generator
) -> None:
    before = torch.get_rng_state()
    try:
        make(rng)
    except ImportError:
        pytest.skip("pytorch-metric-learning is not installed")
    assert torch.equal(torch.get_rng_state(), before)


def test_equal_features_and_nan() -> None:
    loss, labels = VerificationLoss(3), torch.tensor([0, 0, 1, 1])
    features = torch.ones(4, 3, requires_grad=True)
    value = loss(features, labels)
    value.backward()
    assert value.item() == pytest.approx(math.log(2))
    assert torch.isfinite(features.grad).all()
    broken = torch.ones(4, 3)
    broken[0] = torch.nan
    assert loss(broken, labels).isnan()
    assert MarginSoftmax("circle", 3, 2)(broken, labels).isnan()
    assert identity_loss(broken, labels, uniform=True).isnan()
