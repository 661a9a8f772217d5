"""Contributions to a similarity: by hand, and against the similarities that they sum to."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from local_features import images
from og_reid import Embedding
from og_reid.models import LocalFeatures
from og_reid.retrieval import visible_part_similarity
from og_reid.retrieval.contributions import (
    cell_matches,
    cell_parts,
    part_contributions,
    weighted_parts,
)
from og_reid.retrieval.explanation import Explanation, PartContribution, PointContributions
from og_reid.retrieval.late_interaction import Interaction, local_similarity
from og_reid.retrieval.result import VerificationResult


def two_cells() -> tuple[LocalFeatures, LocalFeatures]:
    """Two cells each, of the parts 0 and 1; a shows both parts, b the first one alone."""
    a = LocalFeatures(
        torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]),
        torch.tensor([[[1.0, 0.0], [0.0, 0.5]]]),
        torch.tensor([[1.0, 1.0]]),
        torch.tensor([[0.25, 0.75]]),
    )
    b = LocalFeatures(
        torch.tensor([[[0.6, 0.8], [1.0, 0.0]]]),
        torch.tensor([[[0.8, 0.0], [0.4, 0.0]]]),
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[0.25, 0.75]]),
    )
    return a, b


def test_two_cells_by_hand():
    a, b = two_cells()
    rules = Interaction(penalty=0.4, background=0.5)
    forward, backward = cell_matches(a, b, rules, ((2, 1), (1, 2)))
    # Cell 0 of a with the cells of b: 0.6 - 0 - 0.1 = 0.5, and 1 - 0.2 - 0.3 = 0.5: the first.
    # Cell 1 of a: 0.8 - 0.2 - 0.1 = 0.5, and 0 - 0 - 0.3.
    assert forward.best.tolist() == [0, 0]
    assert forward.cosine.tolist() == pytest.approx([0.6, 0.8])
    assert forward.position_cost.tolist() == pytest.approx([0.0, 0.2])
    assert forward.background_cost.tolist() == pytest.approx([0.1, 0.1])
    assert forward.weight.tolist() == [[1.0, 0.0], [0.0, 0.0]]  # b shows nothing of part 1
    assert forward.own.tolist() == [1.0, 0.5]
    assert forward.contribution.tolist() == [[pytest.approx(0.25), 0], [0, 0]]
    # Cell 0 of b: 0.6 - 0 - 0, and 0.8 - 0.2 - 0.25; cell 1: 1 - 0.2 - 0, and 0 - 0 - 0.25.
    assert backward.best.tolist() == [0, 0]
    assert backward.contribution.flatten().tolist() == pytest.approx(
        [0.5 * 0.8 * 0.6 / 1.2, 0, 0.5 * 0.4 * 0.8 / 1.2, 0], abs=1e-6
    )
    assert (forward.grid, forward.other_grid) == (backward.other_grid, backward.grid)
    first, second = cell_parts((forward, backward), ("upper", "lower"))
    assert first.weight == pytest.approx(1, abs=1e-5)
    assert first.contribution == pytest.approx(0.25 + 0.2 + 0.4 / 3, abs=1e-5)
    assert first.contribution == pytest.approx(first.weight * first.similarity)
    assert (second.name, second.contribution, second.weight) == ("lower", 0, 0)
    assert math.isnan(second.similarity)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("penalty", "background"), [(0.0, 0.0), (1.0, 0.5), (0.3, 2.0)])
def test_contributions_of_cells_sum_to_the_similarity(symmetric, penalty, background):
    rules = Interaction(penalty, background, symmetric)
    for seed in range(5):
        a = LocalFeatures(*images(1, 12, 8, seed=seed))
        b = LocalFeatures(*images(1, 20, 8, seed=100 + seed))
        matches = cell_matches(a, b, rules, ((4, 3), (5, 4)))
        assert len(matches) == 1 + symmetric
        similarity = float(local_similarity(a, b, rules)[0])
        assert sum(float(each.contribution.sum()) for each in matches) == pytest.approx(
            similarity, abs=1e-5
        )
        parts = cell_parts(matches)
        assert math.fsum(each.contribution for each in parts) == pytest.approx(similarity, abs=1e-5)
        assert math.fsum(each.weight for each in parts) == pytest.approx(1, abs=1e-4)
        for each in matches:
            torch.testing.assert_close(
                each.score, each.cosine - each.position_cost - each.background_cost
            )


def test_images_without_a_part_in_common_have_no_contributions():
    a, b = two_cells()
    hidden = LocalFeatures(b.features, b.weights * 0, b.visibility, b.positions)
    matches = cell_matches(a, hidden, Interaction(), ((2, 1), (2, 1)))
    # Cells of a have weight, as b claims that its part 0 is visible; those of b have none.
    assert float(matches[0].weight.sum()) == 1
    assert all(float(each.contribution.abs().sum()) == 0 for each in matches)
    lowest = float(local_similarity(a, hidden, Interaction())[0])
    assert Explanation(lowest, cell_parts(matches, "ab"), remainder=lowest, cells=matches)


@pytest.mark.parametrize("kind", ["parts", "both", "global"])
def test_contributions_of_parts_sum_to_the_similarity(kind):
    rng = torch.Generator().manual_seed(3)

    def made(visibility: list[float]) -> Embedding:
        parts = torch.randn(1, 3, 5, generator=rng)
        whole = torch.randn(1, 4, generator=rng)
        if kind == "global":
            return Embedding(whole)
        seen = torch.tensor([visibility], dtype=torch.float32)
        return Embedding(whole if kind == "both" else None, parts, seen)

    for first, second in (([1, 1, 0.5], [1, 0.25, 1]), ([1, 0, 0], [0, 1, 1])):
        a, b = made(first), made(second)
        parts = part_contributions(a, b)
        names = [] if kind == "global" else ["part 1", "part 2", "part 3"]
        assert [each.name for each in parts] == names + ["global"] * (kind != "parts")
        similarity = float(visible_part_similarity(a, b))
        assert math.fsum(each.contribution for each in parts) == pytest.approx(similarity, abs=1e-6)
        if kind == "parts":
            shared = torch.tensor(first).float() * torch.tensor(second)
            expected = (shared / shared.sum().clamp(min=1e-9)).tolist()
            assert [each.weight for each in parts] == pytest.approx(expected)


def test_refusals():
    a, b = two_cells()
    rules, grids = Interaction(), ((2, 1), (2, 1))
    two = LocalFeatures.cat([a, a])
    with pytest.raises(ValueError, match="b must be local features of one image; got 2"):
        cell_matches(a, two, rules, grids)
    bad = LocalFeatures(a.features * math.nan, a.weights, a.visibility, a.positions)
    with pytest.raises(ValueError, match="a must have finite local features"):
        cell_matches(bad, b, rules, grids)
    with pytest.raises(ValueError, match=r"best must be cells of the other grid, \(1, 1\)"):
        cell_matches(LocalFeatures(*images(1, 9, 4)), LocalFeatures(*images(1, 9, 4, seed=1)),
                     rules, ((9, 1), (1, 1)))  # fmt: skip
    with pytest.raises(ValueError, match=r"\(3,\) for a grid of \(3, 1\)"):
        cell_matches(a, b, rules, ((3, 1), (2, 1)))
    with pytest.raises(ValueError, match="at least one direction"):
        cell_parts(())
    with pytest.raises(ValueError, match="as many parts; got 1, 2 and 2"):
        weighted_parts(["a"], torch.ones(2), torch.ones(2))
    whole = Embedding(torch.ones(1, 4))
    with pytest.raises(ValueError, match="a must be the embedding of one image; got 2"):
        part_contributions(Embedding(torch.ones(2, 4)), whole)
    with pytest.raises(ValueError, match="one layout"):
        part_contributions(whole, Embedding(torch.ones(1, 3)))
    with pytest.raises(ValueError, match="no local features"):
        part_contributions(whole, Embedding(local=a))


def test_an_explanation_must_add_up():
    parts = (PartContribution("head", 0.3, 0.5, 0.6), PartContribution("feet", 0.0, 0.0))
    with pytest.raises(ValueError, match=r"sum to the similarity, 0\.310000"):
        Explanation(0.31, parts)
    found = Explanation(0.4, parts, remainder=0.1, verification=VerificationResult(0.4, 0.2, 0.7))
    record: dict[str, Any] = json.loads(json.dumps(found.record(), allow_nan=False))
    assert (record["similarity"], record["probability"], record["shared"]) == (0.4, 0.7, 0.2)
    assert record["parts"][1] == {
        "name": "feet", "contribution": 0, "weight": 0, "similarity": None
    }  # fmt: skip
    lines = str(found).splitlines()
    assert lines[0].startswith("similarity 0.400: one identity with probability 0.70")
    assert lines[1].split() == "head contribution 0.300 = weight 0.500 x similarity 0.600".split()
    assert lines[3].split() == "nothing in common contribution 0.100".split()


def test_a_record_of_cells_and_points_is_plain():
    a, b = two_cells()
    matches = cell_matches(a, b, Interaction(), ((2, 1), (2, 1)))
    similarity = float(local_similarity(a, b, Interaction())[0])
    points = PointContributions(
        torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([0, -1]), torch.tensor([0.1, 0.2]),
        torch.tensor([0.3, -0.1]),
    )  # fmt: skip
    assert points.contribution.tolist() == pytest.approx([0.4, 0.1])
    found = Explanation(
        similarity, cell_parts(matches, "ab"), cells=matches, points=(points, points)
    )
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["cells"][0]["best"] == matches[0].best.tolist()
    assert record["cells"][0]["grid"] == [2, 1]
    assert record["cells"][1]["contribution"][0] == pytest.approx(
        matches[1].contribution[0].tolist(), abs=1e-6
    )
    assert record["points"][0]["of_color"] == pytest.approx([0.3, -0.1])
    with pytest.raises(ValueError, match="of_color must be"):
        PointContributions(*[torch.zeros(2, 3)] * 2, torch.zeros(2), torch.zeros(2), torch.zeros(3))
