"""Instance loss within a batch: the authors' values, pairs of images and texts, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.losses.instance import instance_in_batch

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "more" / "instance_loss.npz"


@pytest.mark.parametrize("gamma", [1, 32])
@pytest.mark.parametrize("kind", ["instances", "labels"])
@pytest.mark.filterwarnings("ignore:gamma must be larger")
def test_loss_and_gradient_equal_the_authors(gamma: int, kind: str) -> None:
    golden = np.load(GOLDEN)
    features = torch.tensor(golden["feature"], requires_grad=True)
    labels = torch.tensor(golden["labels"]) if kind == "labels" else None
    loss = instance_in_batch(features, labels, gamma)
    (gradient,) = torch.autograd.grad(loss, features)
    assert float(loss.detach()) == pytest.approx(
        float(golden[f"loss_gamma{gamma}_{kind}"]), abs=1e-6
    )
    np.testing.assert_allclose(gradient, golden[f"grad_gamma{gamma}_{kind}"], atol=1e-6)


def test_a_small_scale_warns() -> None:
    with pytest.warns(UserWarning, match="gamma must be larger"):
        instance_in_batch(torch.eye(3), gamma=1)


def test_pairs_are_contrasted_in_both_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 5, 7, generator=generator)
    cosines = torch.nn.functional.cosine_similarity(one[:, None], other, dim=2)
    rows = -(16 * cosines).log_softmax(1).diagonal().mean()
    columns = -(16 * cosines).log_softmax(0).diagonal().mean()
    found = instance_in_batch(one, None, 16, other)
    torch.testing.assert_close(found, (rows + columns) / 2)


def test_pairs_that_fit_are_no_negatives() -> None:
    images, texts = torch.eye(4), torch.eye(4).clone()
    texts[1] = texts[0]
    equal = torch.tensor([0, 0, 1, 2])
    ignored = equal[:, None] == equal
    plain = instance_in_batch(images, None, 32, texts)
    by_label = instance_in_batch(images, equal, 32, texts)
    by_mask = instance_in_batch(images, None, 32, texts, ignored=ignored)
    assert float(by_label) == float(by_mask) < float(plain)


def test_one_class_has_no_loss() -> None:
    features = torch.randn(3, 4, requires_grad=True)
    loss = instance_in_batch(features, torch.zeros(3, dtype=torch.int64))
    (gradient,) = torch.autograd.grad(loss, features)
    assert float(loss.detach()) == 0
    assert not gradient.any()
    one = features.detach()[:1]
    assert float(instance_in_batch(one, None, 32, one)) == 0
    assert float(instance_in_batch(one[:0])) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3),), "features must be"),
        ((torch.zeros(3, 2, dtype=torch.int64),), "features must be"),
        ((torch.zeros(3, 2), torch.zeros(2)), "labels must be"),
        ((torch.zeros(3, 2), None, 0.0), "gamma must be"),
        ((torch.zeros(3, 2), None, float("nan")), "gamma must be"),
        ((torch.zeros(3, 2), None, 32, torch.zeros(2, 2)), "other must be"),
    ],
)
def test_bad_input_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        instance_in_batch(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ignored must be"):
        instance_in_batch(torch.zeros(3, 2), ignored=torch.zeros(3, 3, dtype=torch.bool))
