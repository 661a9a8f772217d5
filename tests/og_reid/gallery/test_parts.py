"""Searches of parts of a gallery, here and on workers of Ray, equal those of the whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lancedb")

import og_reid
from killed_scorer import FATAL, KilledScorer
from local_people import views
from memory_gallery import MemoryStore
from og_reid.gallery import GalleryResult
from og_reid.gallery.filters import conditions
from og_reid.gallery.lance_snapshot import SnapshotReplacedError
from og_reid.gallery.packing import PackedLayout, pack
from og_reid.gallery.parts import search_parts
from og_reid.gallery.scorer import Scorer
from og_reid.gallery.search import Exclusion, search_items
from og_reid.gallery.settings import SETTINGS, SearchPlan, read_settings, write_settings
from og_reid.gallery.store import LABELS
from og_reid.models import Embedding
from ray_cluster import two_ray_workers

ITEMS = 90
# The last thirty equal the first: equal distances in several parts.
MADE = Embedding.cat([views([n % 20 for n in range(60)], 1, hidden=0.25)] * 2)[:ITEMS]
ASKED = views([n % 20 for n in range(5)], 2)


def labels() -> dict[str, list[object]]:
    found: dict[str, list[object]] = {name: [None] * ITEMS for name in LABELS}
    found["id"] = [f"i{n}" for n in range(ITEMS)]
    found["camera"] = [str(n % 3) for n in range(ITEMS)]
    return found


@pytest.mark.parametrize("model", ["local", "global"])
@pytest.mark.parametrize("candidates", [None, 1, 12, 1000])
@pytest.mark.parametrize("filtered", [False, True])
def test_parts_equal_the_whole(model: str, candidates: int | None, filtered: bool) -> None:
    made, asked = (
        (MADE, ASKED) if model == "local" else (MADE.without_parts(), ASKED.without_parts())
    )
    store, layout = MemoryStore(), PackedLayout.of(made)
    store.upsert({**labels(), **pack(made, layout)})
    scorer = Scorer(og_reid.load_model("default"), layout)
    given = {"k": 6, "candidates": candidates, "min_shared": 0.01}
    if filtered:
        given["conditions"] = conditions(cameras=["0", "1"])
        given["exclusions"] = (Exclusion("camera", ("0", None, "1", "2", "0")),)
    whole = search_items(store.snapshot(), asked, scorer, **given)  # type: ignore[arg-type]
    calls: list[tuple[int, int]] = []
    parts = search_parts(
        store.snapshot(), asked, scorer, engine="process", workers=1,
        progress=lambda done, total: calls.append((done, total)), **given,  # type: ignore[arg-type]
    )  # fmt: skip
    assert torch.equal(parts.addresses, whole.addresses)
    assert torch.equal(
        parts.scores.where(whole.addresses >= 0, 0), whole.scores.where(whole.addresses >= 0, 0)
    )
    if model == "local":
        assert torch.equal(parts.distances, whole.distances)
    assert calls[-1][0] == calls[-1][1]


def test_parts_of_nothing() -> None:
    scorer = Scorer(og_reid.load_model("default"), PackedLayout.of(MADE))
    found = search_parts(
        MemoryStore().snapshot(), ASKED, scorer, k=3, candidates=4, engine="process", workers=1
    )
    assert found.addresses.shape == (5, 0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with two_ray_workers():
        yield


@pytest.fixture
def gallery(tmp_path: Path) -> og_reid.Gallery:
    """A gallery of several segments, with a plan of few candidates."""
    gallery = og_reid.Gallery(tmp_path / "gallery")
    gallery.add(MADE[:1], ["i0"], cameras="0")
    gallery._folder.store()._capacity = 16
    gallery.add(MADE, [f"i{n}" for n in range(ITEMS)], cameras=[n % 3 for n in range(ITEMS)])
    assert len(list(gallery.path.glob("items/*.lance"))) >= 5
    settings = read_settings(gallery.path / SETTINGS)
    plan = SearchPlan(12, 1.0, 10, 5, ITEMS)
    write_settings(gallery.path / SETTINGS, type(settings)(**{**vars(settings), "plan": plan}))
    return gallery


def equal(first: GalleryResult, second: GalleryResult) -> bool:
    tensors = [(each.distances, each.shared, each.probability) for each in (first, second)]
    return (
        [first.ranked(row) for row in range(5)] == [second.ranked(row) for row in range(5)]
        and all(
            a is not None and b is not None and np.array_equal(a, b, equal_nan=True)
            for a, b in zip(*tensors, strict=True)
        )
        and first.candidates == second.candidates
    )


def test_ray_ranks_as_this_process_does(cluster: None, gallery: og_reid.Gallery) -> None:
    for given in (
        {"k": 4}, {"k": 4, "exhaustive": True}, {"k": 40, "cameras": [0, 2]},
        {"k": 4, "exclude_same_camera": True, "query_cameras": [0, 1, 2, None, 0]},
    ):  # fmt: skip
        assert equal(gallery.search(ASKED, engine="ray", **given), gallery.search(ASKED, **given))


def test_a_worker_is_killed_during_a_search(
    cluster: None, gallery: og_reid.Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatal = tmp_path / "fatal"
    monkeypatch.setenv(FATAL, str(fatal))
    for exhaustive in (False, True):
        expected = gallery.search(ASKED, k=4, exhaustive=exhaustive)
        fatal.touch()
        with monkeypatch.context() as change:
            change.setattr("og_reid.gallery.query.Scorer", KilledScorer)
            found = gallery.search(ASKED, k=4, exhaustive=exhaustive, engine="ray")
        assert not fatal.exists()
        assert equal(found, expected)


def test_ray_sees_each_change_as_a_whole(cluster: None, gallery: og_reid.Gallery) -> None:
    """A part that a writer has removed is searched again in a new snapshot."""
    snapshot = gallery._folder.store().snapshot()
    part = snapshot.parts(2)[0]
    assert gallery.forget(item="i3") == 1
    with pytest.raises(SnapshotReplacedError):
        part.open()
    found = gallery.search(ASKED, k=ITEMS, engine="ray", exhaustive=True)
    assert len(found.ranked()) == ITEMS - 1
    assert "i3" not in {each.id for each in found.items}


def test_global_embeddings_alone_are_ranked_on_ray(cluster: None, tmp_path: Path) -> None:
    """The network itself reaches the workers, as it compares."""
    gallery, made = og_reid.Gallery(tmp_path / "g"), MADE[:40].without_parts()
    gallery.add(made[:1], ["0"])
    gallery._folder.store()._capacity = 16
    gallery.add(made[1:], [str(n) for n in range(1, 40)])
    found = gallery.search(made[:5], k=40, engine="ray")
    assert found.ranked(2)[0].id == "2"
    assert torch.equal(found.distances, gallery.search(made[:5], k=40).distances)


def test_wrong_engines_are_refused(
    gallery: og_reid.Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"engine must be local, ray, .*; got 'dask'"):
        gallery.search(ASKED, engine="dask")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="workers"):
        gallery.search(ASKED, engine="ray", workers=0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"og-reid\[ray\]"):
        gallery.search(ASKED, engine="ray")
