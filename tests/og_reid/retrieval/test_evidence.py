"""Shared evidence: against a loop, and none for images that show no person."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from local_features import images
from local_people import views
from og_reid.models.local_features import LocalFeatures
from og_reid.retrieval.evidence import shared_evidence, sure_surface


def test_evidence_is_that_of_a_loop() -> None:
    query, gallery = (
        replace(side, weights=1.5 * side.weights)
        for side in (LocalFeatures(*images(3, 10, 4)), LocalFeatures(*images(4, 7, 4, seed=1)))
    )

    def mass(side: LocalFeatures, row: int, seen: torch.Tensor) -> float:
        total = 0.0
        for cell in range(side.weights.shape[1]):
            if float(side.weights[row, cell].sum()) >= 0.65:
                total += float((side.weights[row, cell] * seen).sum())
        return total / side.weights.shape[1]

    found = shared_evidence(query, gallery)
    assert found.shape == (3, 4)
    for q in range(3):
        for g in range(4):
            one = mass(query, q, gallery.visibility[g])
            other = mass(gallery, g, query.visibility[q])
            assert float(found[q, g]) == pytest.approx(min(one, other), abs=1e-6)
    assert (found > 0).any()


def test_thinly_spread_surface_is_no_evidence() -> None:
    person = views([0], 1).local
    assert person is not None
    thin = replace(
        person,
        weights=torch.full_like(person.weights, 0.16),  # 0.48 in each cell
        visibility=torch.ones_like(person.visibility),
    )
    assert float(sure_surface(thin).sum()) == 0
    assert float(shared_evidence(person, thin)) == 0
    assert float(shared_evidence(thin, person)) == 0
    assert float(shared_evidence(person, person)) == pytest.approx(0.8)


def test_half_precision_is_read_as_it_is() -> None:
    person = views([0, 1], 1).local
    assert person is not None
    half = replace(person, weights=person.weights.half(), visibility=person.visibility.half())
    found = shared_evidence(half, half)
    assert found.dtype == torch.float32
    assert torch.allclose(found, shared_evidence(person, person), atol=1e-3)
