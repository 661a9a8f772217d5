"""Galleries copied to Qdrant and PostgreSQL: candidates of theirs, ranking of ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lancedb")

import og_reid
from local_people import views
from og_reid.gallery import ItemEngine, PostgresItems, QdrantItems
from postgres_server import postgres_programs, postgres_server

ITEMS = 120
MADE = views([n % 30 for n in range(ITEMS)], 1, hidden=0.25)
ASKED = views([n % 30 for n in range(8)], 2)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> og_reid.Gallery:
    """A gallery whose number of candidates is measured."""
    gallery = og_reid.Gallery(tmp_path_factory.mktemp("outside") / "gallery")
    gallery.add(
        MADE, list(range(ITEMS)), times=list(range(ITEMS)),
        identities=[None if n % 7 == 0 else f"p{n % 30}" for n in range(ITEMS)],
        cameras=["it's" if n % 3 else 'a "b" -- ' for n in range(ITEMS)],
        metadata=[{"n": n % 5, "x": n / 4, "day": n % 2 == 0, "zone": "äb"[n % 2]}
            if n % 4 else {} for n in range(ITEMS)],
    )  # fmt: skip
    gallery.build()
    return gallery


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """Connection to a PostgreSQL of this module."""
    psycopg = pytest.importorskip("psycopg")
    pytest.importorskip("pgvector")
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL with pgvector: pip install pgserver, or packages of the system")
    with postgres_server(programs) as text, psycopg.connect(text, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module", params=["qdrant", "maxsim", "postgres"])
def engine(request: pytest.FixtureRequest, gallery: og_reid.Gallery) -> ItemEngine:
    """An engine with copies of the gallery."""
    found: ItemEngine
    if request.param == "postgres":
        found = PostgresItems(request.getfixturevalue("server"), 'its "items"')
    else:
        client = pytest.importorskip("qdrant_client").QdrantClient(":memory:")
        select = "maxsim" if request.param == "maxsim" else "global"
        found = QdrantItems(client, "items", select)  # type: ignore[arg-type]
    assert len(found) == 0  # type: ignore[arg-type]
    assert gallery.copy_to(found) == gallery.copy_to(found) == ITEMS
    assert len(found) == ITEMS  # type: ignore[arg-type]
    return found


def by_maxsim(engine: ItemEngine) -> bool:
    return isinstance(engine, QdrantItems) and engine._select == "maxsim"


def test_the_ranking_is_that_of_the_gallery(engine: ItemEngine, gallery: og_reid.Gallery) -> None:
    found = gallery.search(ASKED, k=5, engine=engine)
    two_stages = gallery.search(ASKED, k=5)
    assert found.candidates == two_stages.candidates
    assert found.candidates is not None
    assert found.candidates < ITEMS
    if not by_maxsim(engine):  # the same candidates, of an exact comparison
        assert torch.equal(found.distances, two_stages.distances)
        for row in range(len(ASKED)):
            assert found.ranked(row) == two_stages.ranked(row)
    truth = gallery.search(ASKED, k=5, exhaustive=True)
    hits = [each in found.ranked(row) for row in range(len(ASKED)) for each in truth.ranked(row)]
    assert sum(hits) / len(hits) >= 0.95  # recall of the exhaustive search
    assert found.probability is not None


@pytest.mark.parametrize(
    "given",
    [
        {"cameras": "it's"},
        {"where": {"camera": ["it's' OR '1' = '1", 'a "b" -- ']}},
        {"where": {"identity": None}},
        {"where": {"identity": ["p1", None]}},
        {"where": {"identity": []}},
        {"identities": ["p1", "p2"], "after": 20},
        {"after": 30, "before": 60},
        {"where": {"time": [3, 4]}},
        {"where": {"metadata.n": [1, 2], "camera": "it's"}},
        {"where": {"metadata.day": True}},
        {"where": {"metadata.x": 0.25}},
        {"where": {"metadata.x": {"min": 3.5, "max": 9}}},
        {"where": {"metadata.zone": "ä"}},
        {"where": {"metadata.none' OR true": 1}},
        {"where": {"metadata.x[0].y": 1}},
        {"exclude_same_camera": True, "query_cameras": ["it's", None] * 4},
    ],
)
def test_filters_are_those_of_the_gallery(
    engine: ItemEngine, gallery: og_reid.Gallery, given: dict[str, Any]
) -> None:
    found = gallery.search(ASKED, k=ITEMS, engine=engine, **given)
    expected = gallery.search(ASKED, k=ITEMS, exhaustive=True, **given)
    for row in range(len(ASKED)):
        assert found.ranked(row) == expected.ranked(row)


def test_items_are_removed_and_models_are_kept_apart(
    engine: ItemEngine, gallery: og_reid.Gallery, tmp_path: Path
) -> None:
    engine.remove(["3", "33"])
    assert len(engine) == ITEMS - 2  # type: ignore[arg-type]
    names = {each.id for each in gallery.search(ASKED, k=ITEMS, engine=engine).items}
    assert names == set(map(str, range(ITEMS))) - {"3", "33"}
    assert gallery.copy_to(engine) == ITEMS
    other = og_reid.Gallery(tmp_path / "other", "imagenet-cells")
    other.add(MADE[:2], ["a", "b"])
    with pytest.raises(ValueError, match="items of one model"):
        other.copy_to(engine)
    assert other.search(ASKED, engine=engine).ranked() == []
    with pytest.raises(ValueError, match="exhaustive must be False"):
        gallery.search(ASKED, engine=engine, exhaustive=True)


def test_missing_packages_and_wrong_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as change:
        change.setitem(sys.modules, "qdrant_client", None)
        with pytest.raises(ImportError, match=r"og-reid\[qdrant\]"):
            QdrantItems(None, "items")
    with monkeypatch.context() as change:
        change.setitem(sys.modules, "psycopg", None)
        with pytest.raises(ImportError, match=r"og-reid\[postgres\]"):
            PostgresItems(None, "items")
    client = pytest.importorskip("qdrant_client").QdrantClient(":memory:")
    with pytest.raises(ValueError, match="select must be global or maxsim; got 'all'"):
        QdrantItems(client, "items", "all")  # type: ignore[arg-type]


def test_text_ranges_are_refused_by_qdrant(gallery: og_reid.Gallery) -> None:
    client = pytest.importorskip("qdrant_client").QdrantClient(":memory:")
    engine = QdrantItems(client, "items")
    gallery.copy_to(engine)
    with pytest.raises(ValueError, match="ranges of numbers"):
        gallery.search(ASKED, engine=engine, where={"id": {"min": "3"}})
    with pytest.raises(ValueError, match="keys without quotes"):
        gallery.search(ASKED, engine=engine, where={'metadata.a".b': 1})
