"""Losses over parts: by hand, with everything seen, with parts hidden."""

from __future__ import annotations

import math

import pytest
import torch

from og_reid.losses import batch_hard_triplet, part_identity_loss, part_triplet


def test_part_identity_by_hand() -> None:
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0]], [[math.log(7), 0.0], [5.0, 5.0]]])
    labels = torch.tensor([1, 0])
    # Cross-entropies log 4/3 and log 2; log 8/7 and log 2.
    visibility = torch.tensor([[1.0, 0.5], [0.25, 0.0]])
    expected = (math.log(4 / 3) + 0.5 * math.log(2) + 0.25 * math.log(8 / 7)) / 1.75
    loss = part_identity_loss(logits, labels, visibility)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    everything = (math.log(4 / 3) + 2 * math.log(2) + math.log(8 / 7)) / 4
    assert part_identity_loss(logits, labels).item() == pytest.approx(everything, rel=1e-6)
    assert part_identity_loss(logits[:1], labels[:1], label_smoothing=0.2).item() == pytest.approx(
        (0.9 * math.log(4 / 3) + 0.1 * math.log(4) + math.log(2)) / 2, rel=1e-6
    )


def test_part_triplet_by_hand() -> None:
    # Three images of two parts, one number each.
    parts = torch.tensor([[[0.0], [0.0]], [[2.0], [4.0]], [[1.0], [9.0]]])
    labels = torch.tensor([0, 0, 1])
    visibility = torch.tensor([[1.0, 0.5], [1.0, 1.0], [0.0, 1.0]])
    # 0-1: (1 * 2 + .5 * 4) / 1.5 = 8/3; 0-2: only the second part, 9; 1-2: 5.
    gaps = [8 / 3 - 9, 8 / 3 - 5]
    soft = sum(math.log1p(math.exp(gap)) for gap in gaps) / 2
    assert part_triplet(parts, labels, visibility).item() == pytest.approx(soft, rel=1e-6)
    hard = (max(gaps[0] + 3, 0) + max(gaps[1] + 3, 0)) / 2
    assert part_triplet(parts, labels, visibility, 3.0).item() == pytest.approx(hard, rel=1e-6)


def test_pairs_without_a_common_part_are_neither() -> None:
    parts = torch.tensor([[[0.0], [0.0]], [[50.0], [1.0]], [[7.0], [3.0]], [[0.1], [0.0]]])
    labels = torch.tensor([0, 0, 1, 1])
    visibility = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    # Anchor 0: positive 1, negatives 2 (3) and not 3. Anchor 1: positive 1; negatives 2 (2) and
    # 3 (49.9). Anchors 2 and 3 share nothing, so they have no positive.
    gaps = [1 - 3, 1 - 2]
    expected = sum(math.log1p(math.exp(gap)) for gap in gaps) / 2
    assert part_triplet(parts, labels, visibility).item() == pytest.approx(expected, rel=1e-5)


def test_one_visible_part_is_the_ordinary_triplet(rng: torch.Generator) -> None:
    features = torch.randn(8, 5, generator=rng)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    ordinary = batch_hard_triplet(features, labels, 0.5)
    torch.testing.assert_close(part_triplet(features[:, None], labels, margin=0.5), ordinary)
    hidden = torch.randn(8, 1, 5, generator=rng)
    both = torch.cat([features[:, None], hidden], 1)
    visibility = torch.tensor([[0.3, 0.0]]).expand(8, 2)
    torch.testing.assert_close(part_triplet(both, labels, visibility, 0.5), ordinary)


@pytest.mark.parametrize("garbage", [1e6, math.nan])
def test_occluded_parts_change_nothing(garbage: float, rng: torch.Generator) -> None:
    values = torch.randn(6, 3, 4, generator=rng)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    visibility = (torch.rand(6, 3, generator=rng) < 0.6).float()
    other = torch.where((visibility == 0)[..., None], garbage, values)
    for loss in (part_identity_loss, part_triplet):
        inputs = [each.clone().requires_grad_(True) for each in (values, other)]
        results = [loss(each, labels, visibility) for each in inputs]
        torch.testing.assert_close(results[0], results[1])
        slopes = [
            torch.autograd.grad(result, each)[0]
            for result, each in zip(results, inputs, strict=True)
        ]
        seen = visibility > 0
        torch.testing.assert_close(slopes[0][seen], slopes[1][seen])


def test_slopes(rng: torch.Generator) -> None:
    values = torch.randn(5, 2, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 2])
    visibility = torch.tensor([[1, 0.2], [0.5, 1], [1, 0], [0.7, 1], [0, 1]], dtype=torch.float64)
    for loss in (part_identity_loss, part_triplet):
        assert torch.autograd.gradcheck(lambda x, f=loss: f(x, labels, visibility), values)


def test_no_visible_part_and_equal_parts() -> None:
    labels = torch.tensor([0, 0, 1])
    for loss in (part_identity_loss, part_triplet):
        parts = torch.ones(3, 2, 4, requires_grad=True)
        value = loss(parts, labels, torch.zeros(3, 2))
        value.backward()
        assert value.item() == 0
        assert parts.grad.abs().max() == 0
        loss(parts, labels).backward()
        assert torch.isfinite(parts.grad).all()
        broken = torch.ones(3, 2, 4)
        broken[0, 0] = math.nan
        assert loss(broken, labels).isnan(), "a visible NaN stays one"


def test_shapes_and_ranges_are_checked() -> None:
    parts, labels = torch.ones(3, 2, 4), torch.tensor([0, 0, 1])
    for loss in (part_identity_loss, part_triplet):
        with pytest.raises(ValueError, match=r"parts must be \(B, P, D\)"):
            loss(parts[0], labels)
        with pytest.raises(ValueError, match=r"visibility must be \(B, P\) = \(3, 2\)"):
            loss(parts, labels, torch.ones(3, 3))
        for wrong in (1.5, -0.1, math.nan):
            with pytest.raises(ValueError, match=r"visibility must be in \[0, 1\]"):
                loss(parts, labels, torch.full((3, 2), wrong))
