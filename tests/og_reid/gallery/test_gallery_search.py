"""Searches of a gallery against similarities of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import og_reid
from local_people import views
from memory_gallery import MemorySnapshot, MemoryStore
from og_reid.gallery.filters import conditions
from og_reid.gallery.packing import PackedLayout, pack, unpack
from og_reid.gallery.scorer import Scorer
from og_reid.gallery.search import Exclusion, Hits, search_items
from og_reid.gallery.store import LABELS
from og_reid.models import Embedding

ITEMS, QUERIES, K = 60, 7, 5
MADE = views([n % 20 for n in range(ITEMS)], 1, hidden=0.25)
ASKED = views([n % 20 for n in range(QUERIES)], 2)


def store_of(made: Embedding) -> MemoryStore:
    store = MemoryStore()
    labels: dict[str, list[object]] = {name: [None] * len(made) for name in LABELS}
    labels["id"] = [f"i{n}" for n in range(len(made))]
    labels["camera"] = [str(n % 3) for n in range(len(made))]
    labels["identity"] = [str(n % 20) for n in range(len(made))]
    store.upsert({**labels, **pack(made, PackedLayout.of(made))})
    return store


def scorer_of(made: Embedding, model: str = "default") -> Scorer:
    return Scorer(og_reid.load_model(model), PackedLayout.of(made))


def truth(query: Embedding, made: Embedding, scorer: Scorer) -> torch.Tensor:
    """(Q, G) distances of the stored form, in one piece."""
    layout = PackedLayout.of(made)
    return 1 - scorer(scorer.prepared(query), unpack(pack(made, layout), layout))[0]


def same(found: Hits, distances: torch.Tensor) -> bool:
    order = distances.sort(dim=1, stable=True)
    best = order.indices[:, :K].masked_fill(order.values[:, :K].isinf(), -1)
    return torch.equal(found.addresses, best) and torch.allclose(
        found.distances, order.values[:, :K], atol=1e-5
    )


@pytest.mark.parametrize("candidates", [None, ITEMS, 1000])
def test_all_items_are_ranked_by_late_interaction(
    candidates: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("og_reid.gallery.search._ITEM_ROWS", 7)
    scorer = scorer_of(MADE)
    found = search_items(store_of(MADE).snapshot(), ASKED, scorer, k=K, candidates=candidates)
    assert same(found, truth(ASKED, MADE, scorer))


@pytest.mark.parametrize("dense", [0, 10_000])
def test_candidates_are_those_of_the_global_embeddings(
    dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("og_reid.gallery.search._DENSE", dense)
    monkeypatch.setattr("og_reid.gallery.search._SCAN_ROWS", 11)
    monkeypatch.setattr("og_reid.gallery.search._ITEM_ROWS", 5)
    scorer, count = scorer_of(MADE), 8
    distances = truth(ASKED, MADE, scorer)
    assert ASKED.features is not None
    assert MADE.features is not None
    cosines = ASKED.features @ MADE.features.T
    chosen = torch.zeros_like(cosines, dtype=torch.bool)
    chosen.scatter_(1, cosines.topk(count).indices, True)
    found = search_items(store_of(MADE).snapshot(), ASKED, scorer, k=K, candidates=count)
    assert same(found, distances.masked_fill(~chosen, torch.inf))


@pytest.mark.parametrize("candidates", [None, 12])
def test_items_are_left_out_by_filter_and_by_query(candidates: int | None) -> None:
    scorer = scorer_of(MADE)
    cameras = ("0", None, "2", "9", "1", "1", "0")
    found = search_items(
        store_of(MADE).snapshot(), ASKED, scorer, k=K, candidates=candidates,
        conditions=conditions(identities=[1, 2, 3, 4]),
        exclusions=(Exclusion("camera", cameras),),
    )  # fmt: skip
    distances = truth(ASKED, MADE, scorer)
    for item in range(ITEMS):
        for query in range(QUERIES):
            if item % 20 not in (1, 2, 3, 4) or cameras[query] == str(item % 3):
                distances[query, item] = torch.inf
    assert same(found, distances)


def test_items_with_little_evidence_rank_last() -> None:
    bare = views([0, 1, 2], 3, hidden=1.0)
    made = Embedding.cat([bare, views([5, 6], 4)])
    scorer = scorer_of(made)
    found = search_items(
        store_of(made).snapshot(), ASKED, scorer, k=5, candidates=None, min_shared=0.02
    )
    assert found.shared is not None
    assert (found.shared[:, :2] > 0.02).all()
    assert (found.shared[:, 2:] < 0.02).all()


@pytest.mark.parametrize("model", ["default", "cloud"])
def test_global_embeddings_alone_are_ranked_by_cosines(model: str) -> None:
    made, asked = MADE.without_parts(), ASKED.without_parts()
    scorer = scorer_of(made, model)
    found = search_items(store_of(made).snapshot(), asked, scorer, k=K, candidates=9)
    assert found.shared is None
    assert same(found, 1 - scorer.model.compare(asked, made))


def test_no_items_and_fewer_items_than_asked_for() -> None:
    scorer = scorer_of(MADE)
    for candidates in (None, 4):
        none = search_items(MemorySnapshot([]), ASKED, scorer, k=K, candidates=candidates)
        assert none.addresses.numel() == 0 or (none.addresses == -1).all()
        some = search_items(
            store_of(MADE[:2]).snapshot(), ASKED, scorer, k=K, candidates=candidates
        )
        assert (some.addresses[:, :2] >= 0).all()


def test_equal_items_rank_in_the_order_of_enrolment() -> None:
    made = Embedding.cat([MADE[3:4]] * 6)
    for candidates in (None, 5):
        found = search_items(
            store_of(made).snapshot(), ASKED, scorer_of(made), k=3, candidates=candidates
        )
        assert (found.addresses == torch.arange(3)).all()


def test_masks_of_values_of_a_column() -> None:
    block = {"camera": ["a", None, "b"], "address": np.array([4, 5, 6])}
    mask = Exclusion("camera", ("a", None, "c")).masks(block)
    assert mask.tolist() == [[True, False, False], [False] * 3, [False] * 3]
    assert Exclusion("address", (5, 9)).masks(block).tolist() == [[False, True, False], [False] * 3]
