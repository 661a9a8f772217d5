"""Losses of dense local features, against plain loops and analytic values."""

from __future__ import annotations

import math

import pytest
import torch

from og_reid.losses.dense import height_loss, part_map_loss, similarity_contrastive


def _similarity(number: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(number, number, generator=generator, dtype=torch.float64)


def test_contrast_equals_a_loop() -> None:
    similarity, labels = _similarity(), torch.tensor([0, 0, 1, 1, 1, 2])
    valid = torch.tensor([True, True, True, False, True, True])
    terms = []
    for i in range(6):
        for j in range(6):
            if i != j and labels[i] == labels[j] and valid[i] and valid[j]:
                others = [float(similarity[i, k]) / 0.1 for k in range(6) if k != i]
                total = math.log(sum(math.exp(each) for each in others))
                terms.append(total - float(similarity[i, j]) / 0.1)
    found = similarity_contrastive(similarity, labels, valid, 0.1)
    assert float(found) == pytest.approx(sum(terms) / len(terms))


def test_contrast_without_positives_is_zero_with_a_gradient() -> None:
    similarity = _similarity(3).requires_grad_()
    loss = similarity_contrastive(similarity, torch.arange(3), torch.ones(3, dtype=torch.bool))
    loss.backward()
    assert float(loss) == 0
    assert similarity.grad is not None
    assert torch.equal(similarity.grad, torch.zeros(3, 3, dtype=torch.float64))


def test_contrast_gradient() -> None:
    labels, valid = torch.tensor([0, 0, 1, 1]), torch.ones(4, dtype=torch.bool)
    similarity = _similarity(4).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda each: similarity_contrastive(each, labels, valid, 0.5), (similarity,)
    )


def test_contrast_refuses_wrong_arguments() -> None:
    valid = torch.ones(3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"similarity must be \(B, B\)"):
        similarity_contrastive(torch.zeros(2, 3), torch.zeros(3), valid)
    with pytest.raises(ValueError, match="temperature"):
        similarity_contrastive(torch.zeros(3, 3), torch.zeros(3), valid, 0.0)


def test_part_map_loss_is_the_cross_entropy_of_each_cell() -> None:
    parts = torch.zeros(1, 3, 1, 2)
    parts[0, 0, 0, 0] = 1.0
    parts[0, 1:, 0, 1] = 0.5
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]])).T.reshape(1, 3, 1, 2)
    wanted = -(math.log(0.7) + math.log(0.25)) / 2
    assert float(part_map_loss(logits, parts)) == pytest.approx(wanted)
    with pytest.raises(ValueError, match="one shape"):
        part_map_loss(logits, parts[:, :2])


def test_height_loss_ignores_cells_off_the_person() -> None:
    height, target = torch.tensor([[0.2, 0.9, 0.4]]), torch.tensor([[0.3, 0.1, 0.1]])
    weight = torch.tensor([[1.0, 0.0, 0.5]])
    assert float(height_loss(height, target, weight)) == pytest.approx((0.1 + 0.5 * 0.3) / 1.5)
    assert float(height_loss(height, target, torch.zeros(1, 3))) == 0
