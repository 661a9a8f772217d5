"""Calibration of pairs: coefficients come back, probabilities match frequencies."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from og_reid.evaluation.reliability import reliability
from og_reid.retrieval.calibration import Calibration, fit_calibration

TRUE = Calibration(-3.0, 4.0, shared_slope=-4.0, interaction=20.0, min_shared=0.05)


def drawn(count: int = 40_000, seed: int = 0, prior: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, shared evidence and labels that follow `TRUE`."""
    generator = torch.Generator().manual_seed(seed)
    score = torch.rand(count, generator=generator, dtype=torch.float64)
    shared = 0.05 + 0.6 * torch.rand(count, generator=generator, dtype=torch.float64)
    p = TRUE.probability(score, shared, prior)
    return score, shared, torch.rand(count, generator=generator, dtype=torch.float64) < p


def balanced_truth(same: Tensor) -> float:
    """Shift of the intercept by the balance of both kinds."""
    rate = float(same.double().mean())
    return -math.log(rate / (1 - rate))


def test_coefficients_of_drawn_pairs_come_back() -> None:
    score, shared, same = drawn()
    found = fit_calibration(score, shared, same, min_shared=0.05, ridge=1e-9)
    assert found.slope == pytest.approx(TRUE.slope, rel=0.06)
    assert found.interaction == pytest.approx(TRUE.interaction, rel=0.25)
    assert found.intercept == pytest.approx(TRUE.intercept + balanced_truth(same), abs=0.35)


def test_newton_agrees_with_a_general_optimiser() -> None:
    from scipy.optimize import minimize

    score, shared, same = drawn(800, seed=3)
    design = torch.stack([torch.ones_like(score), score, shared, score * shared], 1).numpy()
    label = same.double().numpy()
    weight = (label / label.mean() + (1 - label) / (1 - label.mean())) / 2 / len(label)

    def loss(values):
        import numpy as np

        logit = design @ values
        return float((weight * (np.logaddexp(0, logit) - label * logit)).sum())

    best = minimize(loss, [0.0] * 4, method="BFGS", tol=1e-12).x
    found = fit_calibration(score, shared, same, min_shared=0.05, ridge=1e-12)
    ours = [found.intercept, found.slope, found.shared_slope, found.interaction]
    assert ours == pytest.approx(best.tolist(), rel=1e-3, abs=1e-3)


def test_probabilities_of_other_pairs_are_reliable() -> None:
    found = fit_calibration(*drawn(), min_shared=0.05)
    score, shared, same = drawn(seed=1)
    measured = reliability(found.probability(score, shared), same, prior=0.5)
    assert measured.expected_error < 0.02
    assert measured.undecided == 0
    blind = reliability(torch.full_like(score, 0.5), same, prior=0.5)
    assert measured.brier < 0.6 * blind.brier == pytest.approx(0.15)


def test_a_prior_moves_all_probabilities() -> None:
    score, shared, _ = drawn(100)
    even, rare = TRUE.probability(score, shared), TRUE.probability(score, shared, prior=0.01)
    odds = rare / (1 - rare)
    assert torch.allclose(odds, even / (1 - even) / 99)


def test_imbalance_of_the_pairs_does_not_change_the_fit() -> None:
    score, shared, same = drawn(4000)
    many = torch.cat([(~same).nonzero()[:, 0]] * 7 + [same.nonzero()[:, 0]])
    once = fit_calibration(score, shared, same, min_shared=0.05)
    again = fit_calibration(score[many], shared[many], same[many], min_shared=0.05)
    probe = torch.linspace(0, 1, 20)
    a, b = (each.probability(probe, torch.full((20,), 0.3)) for each in (once, again))
    assert (a - b).abs().max() < 0.01


def test_separable_pairs_have_finite_coefficients() -> None:
    score = torch.tensor([0.1, 0.2, 0.8, 0.9])
    found = fit_calibration(score, torch.full((4,), 0.3), score > 0.5)
    p = found.probability(score, torch.full((4,), 0.3))
    assert (p[:2] < 0.1).all()
    assert (p[2:] > 0.9).all()


def test_too_little_evidence_has_no_probability() -> None:
    p = TRUE.probability([0.99, 0.99, 0.99], [0.0, 0.0499, 0.05])
    assert p.isnan().tolist() == [True, True, False]


def test_higher_scores_are_higher_probabilities_at_every_evidence() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        score = torch.rand(60, generator=generator)
        shared = 0.02 + 0.9 * torch.rand(60, generator=generator)
        same = score + 0.5 * torch.randn(60, generator=generator) > 0.5
        found = fit_calibration(score, shared, same)
        for evidence in (0.05, 0.2, 1.0):
            p = found.probability(torch.linspace(-2, 1, 50), torch.full((50,), evidence))
            assert (p.diff() >= 0).all()


@pytest.mark.parametrize(("change", "message"), [
    ({"same": torch.tensor([True, True, True])}, "both|of two identities"),
    ({"same": torch.tensor([1, 0, 1])}, "type bool"),
    ({"scores": torch.tensor([0.1, float("nan"), 0.2])}, "scores must be finite"),
    ({"shared": torch.tensor([0.1, 1.5, 0.2])}, r"shared must be in \[0, 1\]"),
    ({"shared": torch.tensor([0.1, 0.2])}, "one shape"),
    ({"shared": torch.tensor([0.0, 0.0, 0.01])}, "enough shared evidence"),
    ({"ridge": 0.0}, "ridge must be positive"),
    ({"min_shared": 0.0}, "min_shared must be in"),
    ({"scores": torch.tensor([0.1, 0.9, 0.1])}, "scores must be higher"),
])  # fmt: skip
def test_unusable_pairs_are_refused(change: dict[str, object], message: str) -> None:
    given = {
        "scores": torch.tensor([0.9, 0.1, 0.8]), "shared": torch.tensor([0.3, 0.3, 0.4]),
        "same": torch.tensor([True, False, True]),
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        fit_calibration(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [
    {"slope": 0.0}, {"slope": -1.0}, {"slope": 1.0, "interaction": -1.0},
    {"slope": float("nan")}, {"slope": 1.0, "min_shared": 0.0},
])  # fmt: skip
def test_impossible_coefficients_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"slope|min_shared"):
        Calibration(0.0, **values)


def test_reliability_of_hand_worked_bins() -> None:
    p = torch.tensor([0.1, 0.1, 0.9, 0.9, float("nan")], dtype=torch.float64)
    same = torch.tensor([False, True, True, True, False])
    found = reliability(p, same, bins=2)
    assert found.predicted.tolist() == pytest.approx([0.1, 0.9])
    assert found.observed.tolist() == pytest.approx([0.5, 1.0])
    assert found.expected_error == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)
    assert found.brier == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4)
    assert found.undecided == pytest.approx(0.2)
    assert "20.0 % undecided" in str(found)


def test_empty_bins_and_certain_pairs() -> None:
    found = reliability([0.0, 1.0], torch.tensor([False, True]), bins=5)
    assert found.expected_error == 0
    assert found.predicted.isnan().sum() == 3


@pytest.mark.parametrize(("p", "same", "message"), [
    ([float("nan")], torch.tensor([True]), "decided pairs"),
    ([1.5], torch.tensor([True]), r"in \[0, 1\]"),
    ([0.5], torch.tensor([1]), "type bool"),
    ([0.5, 0.2], torch.tensor([True]), "must be"),
])  # fmt: skip
def test_unusable_probabilities_are_refused(p: list[float], same: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reliability(p, same)
