"""Metrics of University-1652: the authors' values, the rank of R@1%, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.evaluation import university_metrics

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "more" / "university_ap.npz"
NAMES = ("query", "gallery", "query_ids", "gallery_ids")


def test_metrics_equal_the_authors() -> None:
    golden = np.load(GOLDEN)
    found = university_metrics(*(torch.tensor(golden[name]) for name in NAMES))
    values = (found.recall_at_1, found.recall_at_5, found.recall_at_10, found.recall_at_percent,
              found.average_precision)  # fmt: skip
    np.testing.assert_allclose(100 * np.array(values), golden["figures"], atol=1e-5)


@pytest.mark.parametrize(("images", "right"), [(951, 11), (100, 2), (20, 1)])
def test_one_percent_is_a_rank_further(images: int, right: int) -> None:
    """Of 951 images rank 11 counts, not rank 9 or 10 alone."""
    angle = torch.linspace(0, 1, images)
    gallery = torch.stack([angle.cos(), angle.sin()], 1)
    query = torch.tensor([[1.0, 0.0]])
    ids = torch.zeros(images, dtype=torch.int64)
    for rank, wanted in ((right, 1.0), (right + 1, 0.0)):
        ids.zero_()
        ids[rank - 1] = 7
        found = university_metrics(query, gallery, torch.tensor([7]), ids)
        assert found.recall_at_percent == wanted


def test_a_query_without_a_match_counts_as_wrong() -> None:
    eye = torch.eye(2)
    found = university_metrics(eye, eye, torch.tensor([0, 5]), torch.tensor([0, 1]))
    assert (found.recall_at_1, found.average_precision) == (0.5, 0.5)


def test_bad_input_is_refused() -> None:
    ids = torch.tensor([0, 1])
    for query, message in (
        (torch.zeros(0, 2), "query must be"),
        (torch.zeros(2, 2, 2), "query must be"),
        (torch.full((2, 2), torch.inf), "finite"),
        (torch.zeros(2, 3), "one D"),
    ):
        with pytest.raises(ValueError, match=message):
            university_metrics(query, torch.eye(2), ids[: len(query)], ids)
