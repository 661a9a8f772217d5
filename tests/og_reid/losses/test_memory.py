"""Losses that remember: values and memories worked by hand, slopes, states."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from og_reid.losses import CenterLoss, OnlineInstanceMatching


def softmax(*logits: float) -> float:
    """Cross-entropy of the first of some logits."""
    return math.log(sum(map(math.exp, logits))) - logits[0]


def test_oim_by_hand() -> None:
    loss = OnlineInstanceMatching(2, 2, queue=3, temperature=0.5)
    features = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 1, -1])
    # Nothing is remembered yet: every logit is 0, and the queue does not count.
    assert loss(features, labels).item() == pytest.approx(math.log(2), rel=1e-6)
    # Half of nothing and half of the feature, brought to length 1.
    assert torch.equal(loss.table, torch.eye(2))
    assert torch.equal(loss.unknown, torch.tensor([[-1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))
    assert loss.seen.item() == 1
    # Cosines .6 and .8 with the table, -.6 with the queue's only one; over .5.
    again = loss(torch.tensor([[0.6, 0.8]]), torch.tensor([0]))
    assert again.item() == pytest.approx(softmax(1.2, 1.6, -1.2), rel=1e-6)
    # (.5 + .3, .4), brought to length 1.
    length = math.hypot(0.8, 0.4)
    torch.testing.assert_close(loss.table[0], torch.tensor([0.8 / length, 0.4 / length]))
    assert torch.equal(loss.table[1], torch.tensor([0.0, 1.0]))


def test_images_of_one_identity_are_remembered_one_after_the_other() -> None:
    loss = OnlineInstanceMatching(2, 1, momentum=0.25)
    loss.table[0] = torch.tensor([1.0, 0.0])
    features = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    loss(features, torch.tensor([0, 0]))
    first = torch.tensor([0.25, 0.75])
    first = first / first.norm()
    second = 0.25 * first + 0.75 * torch.tensor([-1.0, 0.0])
    torch.testing.assert_close(loss.table[0], second / second.norm())


def test_the_queue_turns_around() -> None:
    loss = OnlineInstanceMatching(1, 1, queue=3)

    def put(*values: float) -> list[list[float]]:
        rows = torch.tensor(values, dtype=torch.float32)[:, None]
        loss(rows, torch.full((len(values),), -1))
        return loss.unknown.tolist()

    loss.unknown = torch.zeros(3, 1)
    assert put(1, -1) == [[1], [-1], [0]]
    assert put(1, 1) == [[1], [-1], [1]]
    assert loss.seen.item() == 4
    assert put(-1, -1, 1, -1, -1) == [[1], [-1], [-1]], "the last three of five: slots 6 to 8"
    assert loss.seen.item() == 9
    none = OnlineInstanceMatching(1, 1, queue=0)
    none(torch.ones(2, 1), torch.tensor([-1, 0]))
    assert none.seen.item() == 0


def test_the_slope_is_that_of_the_memory_before(rng: torch.Generator) -> None:
    loss = OnlineInstanceMatching(4, 3, queue=2).double()
    loss(torch.randn(6, 4, generator=rng).double(), torch.tensor([0, 1, 2, -1, -1, 0]))
    labels = torch.tensor([0, 0, 2, -1])
    features = torch.randn(4, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    state = {name: value.clone() for name, value in loss.state_dict().items()}

    def value(x: Tensor) -> Tensor:
        loss.load_state_dict(state)
        return loss(x, labels)

    assert torch.autograd.gradcheck(value, features)
    (slope,) = torch.autograd.grad(value(features), features)
    assert not torch.equal(loss.table, state["table"]), "it was remembered"
    loss.eval()
    (held,) = torch.autograd.grad(value(features), features)
    assert torch.equal(slope, held)
    assert torch.equal(loss.table, state["table"]), "nothing is remembered in evaluation mode"


def test_center_by_hand() -> None:
    loss = CenterLoss(2, 3, rate=0.5)
    loss.centers[1] = torch.tensor([1.0, 1.0])
    features = torch.tensor([[3.0, 1.0], [1.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    value = loss(features, torch.tensor([1, 1, 0, -1]))
    # Squared distances 4, 1 and 4: half of their mean.
    assert value.item() == pytest.approx(1.5)
    # Centre 1: 1 - .5 * ((1 - 3) + (1 - 1)) / 3 = 4/3 and 1 - .5 * (0 + 1) / 3 = 5/6;
    # centre 0: 0 - .5 * (0 - 2) / 2 = .5.
    expected = torch.tensor([[0.0, 0.5], [4 / 3, 5 / 6], [0.0, 0.0]])
    torch.testing.assert_close(loss.centers, expected)


def test_slopes_of_centers(rng: torch.Generator) -> None:
    loss, labels = CenterLoss(3, 2).double().eval(), torch.tensor([0, 1, 1, -1])
    features = torch.randn(4, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    loss.centers.copy_(torch.randn(2, 3, generator=rng))
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), features)
    loss.train()
    (slope,) = torch.autograd.grad(loss(features, labels), features)
    assert slope.abs().max() > 0


MAKERS = [lambda: OnlineInstanceMatching(3, 2, queue=2), lambda: CenterLoss(3, 2)]


@pytest.mark.parametrize("make", MAKERS)
def test_nan_makes_the_loss_nan_but_never_enters_the_memory(make) -> None:
    loss = make()
    features = torch.tensor([[1.0, 0, 0], [torch.nan, 0, 0], [0, 1.0, 0], [torch.inf, 0, 0]])
    value = loss(features, torch.tensor([0, 0, 1, -1]))
    assert not torch.isfinite(value)
    state = loss.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert any(tensor.any() for tensor in state.values()), "the sound rows are remembered"


@pytest.mark.parametrize("make", MAKERS)
def test_a_state_goes_on(make, rng: torch.Generator) -> None:
    features, labels = torch.randn(4, 3, generator=rng), torch.tensor([0, 1, -1, 1])
    loss, other = make(), make()
    loss(features, labels)
    assert not list(loss.parameters()), "memories are no weights"
    other.load_state_dict(loss.state_dict())
    assert torch.equal(loss(features + 1, labels), other(features + 1, labels))
    for name, tensor in loss.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("labels", [[-1, -1], [-1]])
def test_unlabelled_images_alone_have_no_loss(make, labels: list[int]) -> None:
    features = torch.ones(len(labels), 3, requires_grad=True)
    value = make()(features, torch.tensor(labels))
    value.backward()
    assert value.item() == 0
    assert features.grad.abs().max() == 0


@pytest.mark.parametrize("make", MAKERS)
def test_equal_features_have_finite_slopes(make) -> None:
    loss, features = make(), torch.zeros(4, 3, requires_grad=True)
    loss(features, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(features.grad).all()
    with pytest.raises(ValueError, match=r"labels must be in \[-1, 2\); got 0 to 2"):
        loss(torch.ones(2, 3), torch.tensor([0, 2]))


def test_numbers_are_checked() -> None:
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\).*got 1.0 and 0.1"):
        OnlineInstanceMatching(2, 2, momentum=1.0)
    with pytest.raises(ValueError, match="queue at least 0; got 2, 2 and -1"):
        OnlineInstanceMatching(2, 2, queue=-1)
    with pytest.raises(ValueError, match=r"rate in \[0, 1\]; got 2, 2 and 1.5"):
        CenterLoss(2, 2, rate=1.5)
