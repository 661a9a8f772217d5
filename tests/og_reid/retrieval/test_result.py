"""Results of searches and comparisons: checked, and readable."""

from __future__ import annotations

import math

import pytest
import torch

from og_reid.retrieval import RetrievalResult, VerificationResult


def result(**more: object) -> RetrievalResult:
    """Two queries, three items at most."""
    indices = torch.tensor([[2, 0, 1], [1, -1, -1]])
    distances = torch.tensor([[0.1, 0.4, 3.4], [0.2, math.inf, math.inf]])
    return RetrievalResult(indices, distances, **more)  # type: ignore[arg-type]


def test_scores_descend_and_missing_items_have_none() -> None:
    scores = result().scores
    assert scores[0].tolist() == pytest.approx([0.9, 0.6, -2.4])
    assert scores[1, 1:].tolist() == [-math.inf, -math.inf]
    assert len(result()) == 2


def test_lines_name_items_with_evidence_and_methods() -> None:
    shared = torch.tensor([[0.4, 0.3, 0.01], [0.2, 0.0, 0.0]])
    text = str(
        result(
            shared=shared,
            probability=torch.tensor([[0.97, 0.2, math.nan], [0.6, math.nan, math.nan]]),
            query_names=("a.jpg", "b.jpg"),
            gallery_names=("x", "yy", "z"),
            methods=("gallery centring",),
        )
    )
    assert text.splitlines() == [
        "query a.jpg",
        "  1. z   score  0.900  probability 0.97  40 % shared",
        "  2. x   score  0.600  probability 0.20  30 % shared",
        "  3. yy  score -2.400  not enough seen (1.0 % shared)",
        "query b.jpg",
        "  1. yy  score  0.800  probability 0.60  20 % shared",
        "methods: gallery centring",
    ]


def test_little_evidence_is_named_without_a_calibration() -> None:
    text = str(result(shared=torch.tensor([[0.4, 0.3, 0.01], [0.0, 0.0, 0.0]])))
    assert text.count("not enough seen") == 2
    assert "probability" not in text


def test_long_and_empty_results_stay_short() -> None:
    many = RetrievalResult(torch.arange(8).repeat(30, 1), torch.zeros(30, 8))
    assert "... and 20 more queries" in str(many)
    assert "  ... and 3 more" in str(many)
    none = torch.empty(3, 0)
    assert str(RetrievalResult(none.long(), none)) == "no items are ranked"
    unranked = RetrievalResult(torch.tensor([[-1]]), torch.tensor([[math.inf]]))
    assert "no item may be ranked" in str(unranked)


@pytest.mark.parametrize(("more", "message"), [
    ({"shared": torch.zeros(2, 2)}, "indices and shared must have one shape"),
    ({"probability": torch.zeros(3, 2)}, "indices and probability"),
    ({"query_names": ("a",)}, "query_names must be 2"),
    ({"gallery_names": ("a", "b")}, "gallery_names must be more than 2"),
])  # fmt: skip
def test_fields_that_do_not_fit_are_refused(more: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        result(**more)


def test_a_verification_is_no_truth_value() -> None:
    decided, open_case = VerificationResult(0.7, 0.3, 0.9), VerificationResult(0.7, 0.01, None)
    assert decided.decided
    assert not open_case.decided
    assert "probability 0.90" in str(decided)
    assert str(open_case) == "not enough seen: 1.0 % of the image shared, 3.0 % needed"
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(decided)


@pytest.mark.parametrize(("values", "message"), [
    ((math.nan, 0.1, 0.5), "score must be a number"),
    ((0.5, 1.2, 0.5), r"shared must be in \[0, 1\]"),
    ((0.5, 0.2, 1.5), r"probability must be in \[0, 1\]"),
])  # fmt: skip
def test_impossible_verifications_are_refused(
    values: tuple[float, float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        VerificationResult(*values)
