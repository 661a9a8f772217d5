"""One gallery image of each identity: hand counts, draws, bad input."""

from __future__ import annotations

import pytest
import torch

from og_reid.evaluation import one_per_identity


def test_hand_count() -> None:
    # Identity 0 twice at one place; 1 and 2 have one image each, nearer than the own one or not.
    angle = torch.tensor([0.0, 0.4, 0.2, 3.0])
    features = torch.stack([angle.cos(), angle.sin()], 1)
    found = one_per_identity(features, torch.tensor([0, 0, 1, 2]), draws=10)
    # Either image of identity 0 is the query, and identity 1 lies between both.
    assert (found.rank_1, found.rank_5, found.mean_ap) == (0.0, 1.0, 0.5)
    assert found.rank_1_std == found.mean_ap_std == 0
    assert str(found) == "R1 0.0 +- 0.0  R5 100.0 +- 0.0  mAP 50.0 +- 0.0"


def test_mean_over_draws_is_that_of_all_galleries() -> None:
    # Of identity 0 the images a, b, c: a and b alike, c like identity 1.
    features = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.1, 1.0]])
    ids = torch.tensor([0, 0, 0, 1])
    found = one_per_identity(features, ids, draws=600)
    # Gallery a or b: the other is right, c is wrong; gallery c: a and b are wrong, as they are
    # nearer to identity 1, whose vector is not as upright.
    assert found.rank_1 == pytest.approx((2 / 3) * 0.5, abs=0.04)
    assert found.rank_1_std > 0.1
    assert found == one_per_identity(features, ids, draws=600)


def test_equal_features_count_against_the_query() -> None:
    found = one_per_identity(torch.ones(6, 3), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert found.rank_1 == 0
    assert found.mean_ap == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("features", "ids", "draws", "message"),
    [
        (torch.zeros(2), [0, 1], 1, "features must be"),
        (torch.zeros(2, 3), [0], 1, "features must be"),
        (torch.full((3, 3), torch.nan), [0, 0, 1], 1, "finite"),
        (torch.ones(3, 3), [0, 0, 1], 0, "draws must be"),
        (torch.ones(3, 3), [0, 0, 0], 1, "identities must be"),
        (torch.ones(3, 3), [0, 1, 2], 1, "identities must be"),
        (torch.ones(0, 3), [], 1, "identities must be"),
    ],
)
def test_bad_input_is_refused(
    features: torch.Tensor, ids: list[int], draws: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        one_per_identity(features, torch.tensor(ids, dtype=torch.int64), draws)
