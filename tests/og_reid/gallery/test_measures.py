"""Measured candidates, thresholds, calibration and drift."""

from __future__ import annotations

import math

import pytest
import torch

import og_reid
from local_people import views
from memory_gallery import MemorySnapshot, MemoryStore
from og_reid.gallery import measures
from og_reid.gallery.decisions import measure_drift, threshold_at
from og_reid.gallery.measures import measure, measure_baseline, measure_plan
from og_reid.gallery.packing import PackedLayout, pack
from og_reid.gallery.scorer import Scorer
from og_reid.gallery.search import search_items
from og_reid.gallery.settings import GallerySettings, Impostors, SearchPlan
from og_reid.gallery.store import LABELS

ITEMS = 240
MADE = views([n % 60 for n in range(ITEMS)], 1, noise=0.6, hidden=0.25)
LAYOUT = PackedLayout.of(MADE)
SETTINGS = GallerySettings("default", "0" * 32, LAYOUT)


def snapshot(labelled: bool = True) -> MemorySnapshot:
    store = MemoryStore()
    labels: dict[str, list[object]] = {name: [None] * ITEMS for name in LABELS}
    labels["id"] = [f"i{n}" for n in range(ITEMS)]
    labels["camera"] = [str(n // 60) for n in range(ITEMS)]
    if labelled:
        labels["identity"] = [str(n % 60) for n in range(ITEMS)]
    store.upsert({**labels, **pack(MADE, LAYOUT)})
    return store.snapshot()


SCORER = Scorer(og_reid.load_model(), LAYOUT)


def test_the_recall_of_the_chosen_candidates_is_that_of_a_count() -> None:
    queries = views([n % 60 for n in range(40)], 9, noise=0.6)
    there = snapshot()
    for wanted in (0.5, 0.9, 0.995):
        plan = measure_plan(there, queries, SCORER, recall=wanted, k=10)
        best, found = (
            search_items(there, queries, SCORER, k=10, candidates=each).addresses.tolist()
            for each in (None, plan.candidates)
        )
        hits = sum(len(set(a) & set(b)) for a, b in zip(best, found, strict=True))
        assert plan.recall == pytest.approx(hits / 400, abs=1e-9)
        assert plan.recall >= wanted
        assert plan.candidates < ITEMS or wanted > 0.9
    assert plan.candidates <= ITEMS


def test_candidates_grow_with_the_gallery() -> None:
    plan = SearchPlan(50, 1.0, 10, 20, 1000)
    assert [plan.candidates_for(n) for n in (10, 1000, 1001, 3000)] == [50, 50, 51, 150]


def test_a_gallery_is_measured_on_its_items() -> None:
    found = measure(snapshot(), SCORER, SETTINGS)
    settings = found.settings
    assert settings.plan is not None
    assert settings.plan.recall >= 0.995
    assert settings.impostors is not None
    assert len(settings.impostors.search) == ITEMS
    assert settings.impostors.pair_count == (240 * 239 - 60 * 12) // 2
    assert settings.calibration is not None
    assert found.notes == ()
    # The highest score of the search of an item without its identity, counted plainly.
    score, shared = SCORER(SCORER.prepared(MADE), SCORER.prepared(MADE))
    assert shared is not None
    number = torch.arange(ITEMS) % 60
    others = score.masked_fill((number[:, None] == number) | (shared < 0.03), -torch.inf)
    plain = others.amax(1).sort(descending=True).values
    assert torch.tensor(settings.impostors.search)[:20] == pytest.approx(plain[:20], abs=2e-3)


def test_what_cannot_be_measured_is_said() -> None:
    found = measure(snapshot(labelled=False), SCORER, SETTINGS)
    assert found.settings.impostors is None
    assert "2 identities" in found.notes[0]
    assert "recall" not in str(found.notes)


def test_the_threshold_keeps_the_rate() -> None:
    """Fresh impostors reach it no more often, on the average of many draws."""
    draw = torch.Generator().manual_seed(0)
    accepted = 0
    for _ in range(400):
        scores = torch.randn(100, generator=draw, dtype=torch.float64)
        kept = tuple(scores[:99].sort(descending=True).values.tolist())
        accepted += float(scores[99]) >= threshold_at(Impostors(kept, (), 0), 0.05, "search")
    assert accepted <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)
    assert accepted >= 5


def test_a_rate_needs_enough_scores() -> None:
    few = Impostors((0.9, 0.5, 0.1), (0.7, 0.6), 1999)
    assert threshold_at(few, 0.25, "search") == math.nextafter(0.9, 1)
    assert threshold_at(few, 0.5, "search") == math.nextafter(0.5, 1)
    assert threshold_at(few, 0.001, "comparison") == math.nextafter(0.6, 1)
    assert threshold_at(few, 0.0005, "comparison") == math.nextafter(0.7, 1)
    with pytest.raises(ValueError, match=r"at least 0.25, as 3 searches"):
        threshold_at(few, 0.1, "search")
    with pytest.raises(ValueError, match="in \\(0, 1\\)"):
        threshold_at(few, 1.0, "search")
    with pytest.raises(ValueError, match="per must be"):
        threshold_at(few, 0.5, "query")  # type: ignore[arg-type]


def test_drift_is_of_other_queries_alone() -> None:
    there = measure_baseline(snapshot())
    assert MADE.features is not None
    unit = torch.nn.functional.normalize(MADE.features, dim=1)
    mean = unit.mean(0)
    assert torch.tensor(there.mean) == pytest.approx(mean, abs=1e-5)
    assert there.center == pytest.approx(float((unit @ mean).mean()), abs=1e-5)
    assert there.spread == pytest.approx(float((unit @ mean).std(correction=0)), abs=1e-4)
    alike = views([n % 60 for n in range(60)], 77, noise=0.6, hidden=0.25).features
    assert alike is not None
    assert not measure_drift(alike, there).drifted
    aside = 0.5 * mean / mean.norm()
    assert measure_drift(alike + aside, there).drifted
    assert measure_drift(alike - aside, there).shift < 0
    with pytest.raises(ValueError, match="at least 8"):
        measure_drift(alike[:7], there)


def test_labels_of_many_items_are_those_of_some_identities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, addresses = measures._labels(snapshot())
    assert len(addresses) == ITEMS
    monkeypatch.setattr(measures, "_LABELS", 100)
    labels, some = measures._labels(snapshot())
    assert 16 <= len(some) <= 100
    assert all(labels["identity"].count(each) == 4 for each in set(labels["identity"]))
    assert [labels[name][3] for name in labels] == [whole[name][some[3]] for name in whole]
    assert measure(snapshot(), SCORER, SETTINGS).settings.impostors is not None
    # All of one identity: rows are left out, not all of them.
    one = snapshot()
    for row in one.rows:
        row["identity"] = "p"
    labels, some = measures._labels(one)
    assert 16 <= len(some) <= 100
    assert len(measures._labels(snapshot(labelled=False))[1]) <= 100
