"""Search in two stages: equal to exhaustive ranking, with labels, ties and hidden people."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from local_people import views
from og_reid.models.embedding import Embedding
from og_reid.retrieval import Calibration
from og_reid.retrieval.labels import check_labels
from og_reid.retrieval.late_interaction import Interaction, local_similarity
from og_reid.retrieval.two_stage import rank_candidates, rank_local, select_candidates

RULES = Interaction(0.3, 0.5)
PEOPLE = list(range(8))
QUERY, GALLERY = views(PEOPLE, 1), views([*PEOPLE, *PEOPLE], 2)


def naive(query: Embedding, gallery: Embedding, k: int) -> list[list[int]]:
    """Gallery items by similarity, a pair at a time; equal ones by index."""
    assert query.local is not None
    assert gallery.local is not None
    found = []
    for q in range(len(query)):
        scores = [
            float(local_similarity(query.local[q : q + 1], gallery.local[g : g + 1], RULES)[0])
            for g in range(len(gallery))
        ]
        found.append(sorted(range(len(scores)), key=lambda g: (-scores[g], g))[:k])
    return found


def test_all_candidates_are_an_exhaustive_ranking() -> None:
    found = rank_local(QUERY, GALLERY, RULES, k=5, min_shared=0.0)
    assert found.indices.tolist() == naive(QUERY, GALLERY, 5)
    assert found.shared is not None
    assert (found.shared > 0.3).all()
    assert set(found.indices[3, :2].tolist()) == {3, 11}


@pytest.mark.parametrize("count", [3, 5, 15])
def test_few_candidates_are_ranked_like_all_of_them(count: int) -> None:
    chosen = select_candidates(QUERY, GALLERY, count)
    assert chosen.shape == (8, count)
    assert QUERY.local is not None
    assert GALLERY.local is not None
    found = rank_candidates(QUERY.local, GALLERY.local, chosen, RULES, k=count)
    whole = rank_local(QUERY, GALLERY, RULES, k=16)
    for row in range(8):
        inside = [g for g in whole.indices[row].tolist() if g in chosen[row].tolist()]
        assert found.indices[row].tolist() == inside
        assert sorted(found.indices[row].tolist()) == chosen[row].tolist()


def test_candidates_are_the_nearest_by_the_global_embedding() -> None:
    assert QUERY.features is not None
    assert GALLERY.features is not None
    cosine = QUERY.features @ GALLERY.features.T
    expected = cosine.topk(4, dim=1).indices.sort(dim=1).values
    assert torch.equal(select_candidates(QUERY, GALLERY, 4), expected)


def test_at_least_k_candidates_are_compared() -> None:
    found = rank_local(QUERY, GALLERY, RULES, k=6, candidates=2)
    assert found.indices.shape == (8, 6)
    assert (found.indices >= 0).all()


@pytest.mark.parametrize("candidates", [4, 200])
def test_junk_and_the_own_camera_are_never_ranked(candidates: int) -> None:
    identities = torch.tensor([*PEOPLE, *PEOPLE])
    identities[9] = -1
    cameras = torch.zeros(8, dtype=torch.int64), torch.arange(16) // 8
    labels = check_labels(torch.tensor(PEOPLE), identities, *cameras)
    found = rank_local(QUERY, GALLERY, RULES, k=3, candidates=candidates, labels=labels)
    assert not (found.indices == 9).any()
    for row in range(8):
        assert row not in found.indices[row].tolist()  # of its own camera
    assert found.indices[2, 0] == 10


def test_an_item_that_shows_nothing_in_common_is_the_last() -> None:
    gallery = Embedding.cat([views([0, 1], 3), views([0], 4, hidden=1.0)])
    found = rank_local(views([0], 5), gallery, RULES, k=3)
    assert found.indices[0].tolist() == [0, 1, 2]
    assert found.shared is not None
    assert float(found.shared[0, 2]) == 0
    assert "not enough seen" in str(found)


def test_an_item_with_too_little_evidence_ranks_after_all_others() -> None:
    gallery = Embedding.cat([views([1, 2], 3), views([0], 4, noise=0.0, hidden=11 / 12)])
    assert gallery.local is not None
    seen = replace(gallery.local, visibility=torch.ones_like(gallery.local.visibility))
    gallery, query = replace(gallery, local=seen), views([0], 5, noise=0.05)
    trusting = rank_local(query, gallery, RULES, k=3, min_shared=0.0)
    assert int(trusting.indices[0, 0]) == 2  # the right one, by a single cell
    careful = rank_local(query, gallery, RULES, k=3, min_shared=0.2)
    assert int(careful.indices[0, 2]) == 2
    assert (careful.distances.diff() >= 0).all()


def test_equal_items_are_in_the_order_of_the_gallery() -> None:
    gallery = Embedding.cat([views([0], 3)] * 4)
    for candidates in (3, 10):
        found = rank_local(views([0], 4), gallery, RULES, k=3, candidates=candidates)
        assert found.indices[0].tolist() == [0, 1, 2]


def test_probabilities_follow_the_similarity() -> None:
    calibration = Calibration(-5.0, 10.0, min_shared=0.1)
    found = rank_local(QUERY, GALLERY, RULES, k=4, calibration=calibration)
    assert found.probability is not None
    assert found.shared is not None
    expected = calibration.probability(found.scores, found.shared).float()
    assert torch.allclose(found.probability, expected)
    hidden = rank_local(views([0], 1, hidden=1.0), GALLERY, RULES, calibration=calibration)
    assert hidden.probability is not None
    assert hidden.probability.isnan().all()


def test_progress_counts_queries() -> None:
    calls: list[tuple[int, int]] = []
    rank_local(QUERY, GALLERY, RULES, candidates=4, k=2, progress=lambda *at: calls.append(at))
    assert calls[-1] == (8, 8)
    assert len(calls) == 8


def test_one_query_and_one_item() -> None:
    found = rank_local(QUERY[:1], GALLERY[:1], RULES)
    assert found.indices.tolist() == [[0]]
    assert math.isfinite(float(found.distances))


@pytest.mark.parametrize(("change", "message"), [
    ({"k": 0}, "k must be at least 1"), ({"candidates": 0}, "candidates must be at least 1"),
    ({"min_shared": 1.5}, r"min_shared must be in \[0, 1\]"),
])  # fmt: skip
def test_arguments_out_of_range_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank_local(QUERY, GALLERY, RULES, **change)  # type: ignore[arg-type]


def test_missing_and_broken_features_are_refused() -> None:
    with pytest.raises(ValueError, match="must have local features"):
        rank_local(QUERY, GALLERY.without_parts(), RULES)
    with pytest.raises(ValueError, match="query must have global embeddings"):
        rank_local(Embedding(local=QUERY.local), GALLERY, RULES, candidates=4, k=2)
    assert QUERY.local is not None
    features = QUERY.local.features.clone()
    features[3, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"in query images \[3\]"):
        rank_local(Embedding(local=replace(QUERY.local, features=features)), GALLERY, RULES)
