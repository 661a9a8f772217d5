"""Store on disk against its plain twin, and what it leaves on the disk."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lancedb")

from memory_gallery import MemoryStore
from og_reid.gallery.filters import Condition, conditions
from og_reid.gallery.lance_snapshot import SnapshotReplacedError
from og_reid.gallery.lancedb_store import SNAPSHOT, LanceStore
from og_reid.gallery.packing import PackedLayout
from og_reid.gallery.store import ADDRESS, LABELS, Columns

LAYOUT = PackedLayout(4, 0, 0, 2, 16, 2)
NAMES = (*LABELS, "features", "packed")


def rows(numbers: list[int], seed: int = 0) -> Columns:
    """Items with values that differ by number and seed."""
    draw = np.random.default_rng([seed, *numbers])
    count = len(numbers)
    return {
        "id": [f"i{n}" for n in numbers],
        "identity": [f"p{n % 5}" if n % 4 else None for n in numbers],
        "tracklet": [None] * count,
        "camera": ["it's" if n % 3 else 'a "b" -- ' for n in numbers],
        "time": [n * 1000 if n % 2 else None for n in numbers],
        "path": [f"/x/{n}" for n in numbers],
        "metadata": [f'{{"n": {n % 3}}}' if n % 2 else None for n in numbers],
        "digest": [f"{seed}"] * count,
        "features": draw.standard_normal((count, 4)).astype(np.float32),
        "packed": draw.integers(0, 256, (count, LAYOUT.packed_bytes), dtype=np.uint8),
    }


def small(folder: Path) -> LanceStore:
    store = LanceStore(folder, LAYOUT)
    store._capacity = 16
    return store


def everything(store: LanceStore | MemoryStore) -> dict[str, tuple[object, ...]]:
    """All columns by id; ids must be unique."""
    found: dict[str, tuple[object, ...]] = {}
    for block in store.snapshot().scan(NAMES, rows=7):
        for n, each in enumerate(block["id"]):
            assert each not in found
            found[each] = tuple(
                block[name][n].tobytes() if name in ("features", "packed") else block[name][n]
                for name in NAMES
            )
    return found


def test_random_changes_equal_those_of_the_twin(tmp_path: Path) -> None:
    draw = random.Random(3)
    store, twin = small(tmp_path), MemoryStore()
    for step in range(14):
        kind = draw.choice(["upsert", "upsert", "update", "delete", "reopen", "compact"])
        wanted = (Condition("identity", (f"p{draw.randrange(5)}",)),)
        if kind == "upsert":
            given = rows(sorted(draw.sample(range(60), 20)), step)
            assert store.upsert(given) == twin.upsert(given)
        elif kind == "update":
            assert store.update(wanted, {"identity": "z"}) == twin.update(wanted, {"identity": "z"})
        elif kind == "delete":
            assert store.delete(wanted) == twin.delete(wanted)
        elif kind == "reopen":
            store = small(tmp_path)
        else:
            store.compact()
        assert everything(store) == everything(twin), (step, kind)
        assert len(store.snapshot()) == len(twin.rows)


@pytest.mark.parametrize(
    "given",
    [
        {"where": {"camera": "it's"}},
        {"where": {"camera": "it's' OR '1' = '1"}},
        {"where": {"camera": ['a "b" -- ', None]}},
        {"where": {"identity": None}},
        {"where": {"identity": []}},
        {"where": {"metadata.n": 1, "camera": "it's"}},
        {"where": {"time": {"min": 0.003, "max": 0.009}}},
        {"after": 0.003, "before": 0.009},
        {"identities": ["p1", "p2"], "after": 0.01},
    ],
)
def test_filters_equal_those_of_the_twin(
    given: dict[str, object], filled: tuple[LanceStore, MemoryStore]
) -> None:
    chosen = conditions(**given)  # type: ignore[arg-type]
    found = [
        [each for block in store.snapshot().scan(["id"], chosen) for each in block["id"]]
        for store in filled
    ]
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanceStore, MemoryStore]:
    store, twin = small(tmp_path_factory.mktemp("filled")), MemoryStore()
    for each in (store, twin):
        each.upsert(rows(list(range(40))))
    return store, twin


def test_items_are_taken_in_the_order_asked_for(filled: tuple[LanceStore, MemoryStore]) -> None:
    snapshot = filled[0].snapshot()
    addresses = np.concatenate([block[ADDRESS] for block in snapshot.scan(["id"])])
    assert (np.diff(addresses) > 0).all()
    picks = [39, 3, 3, 17, 0]
    found = snapshot.take(addresses[picks], ["id", "packed"])
    assert found["id"] == [f"i{n}" for n in picks]
    assert found["packed"].tobytes() == rows(list(range(40)))["packed"][picks].tobytes()
    assert snapshot.take(addresses[:0], ["id"]) == {"id": []}


def test_bytes_of_deleted_and_of_replaced_items_are_gone(tmp_path: Path) -> None:
    store = small(tmp_path)
    old, new = rows(list(range(20))), rows(list(range(20)), 1)
    store.upsert(old)
    store.upsert(new)  # the old form of item 6 is still in a file

    def files_with(content: bytes) -> list[Path]:
        return [
            each for each in tmp_path.rglob("*") if each.is_file() and content in each.read_bytes()
        ]

    secrets = [each["packed"][6].tobytes() for each in (old, new)]
    secrets += [each["features"][6].tobytes() for each in (old, new)]
    assert all(files_with(each) for each in secrets)
    assert store.delete(conditions({"id": "i6"})) == 1
    assert not any(files_with(each) for each in secrets)
    assert files_with(new["packed"][7].tobytes())
    store.compact()
    assert not files_with(old["packed"][7].tobytes())


def test_a_snapshot_stays_or_says_that_it_is_replaced(tmp_path: Path) -> None:
    store = small(tmp_path)
    store.upsert(rows(list(range(10))))
    before = store.snapshot()
    store.upsert(rows([50]))
    assert len(before) == 10
    assert sum(len(block["id"]) for block in before.scan(["id"])) == 10
    store.delete(conditions({"id": "i3"}))
    with pytest.raises(SnapshotReplacedError, match="has changed"):
        list(before.scan(["packed"]))
    assert len(store.snapshot()) == 10


def test_what_a_killed_writer_left_is_dropped(tmp_path: Path) -> None:
    store = small(tmp_path)
    store.upsert(rows(list(range(10))))
    kept = (tmp_path / SNAPSHOT).read_bytes()
    state = everything(store)
    store.upsert(rows([5, 70, 71, 72, 73, 74, 75, 76, 77], 2))  # two segments
    (tmp_path / SNAPSHOT).write_bytes(kept)  # as if it had been killed before the end
    again = small(tmp_path)
    assert everything(again) == state
    assert again.upsert(rows([70], 3)) == (1, 0)
    assert set(everything(again)) == {*state, "i70"}
    assert everything(again)["i5"] == state["i5"]
    secret = rows([5, 70, 71, 72, 73, 74, 75, 76, 77], 2)["packed"][8].tobytes()
    again.compact()
    there = [each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()]
    assert not any(secret in each for each in there)


def test_many_small_changes_are_joined(tmp_path: Path) -> None:
    store = LanceStore(tmp_path, LAYOUT)
    for n in range(45):
        store.upsert(rows([n]))
    assert list(everything(store)) == [f"i{n}" for n in range(45)]
    assert len(list(tmp_path.rglob("*.lance/data/*"))) < 20


def test_a_damaged_list_of_segments_is_an_error(tmp_path: Path) -> None:
    store = small(tmp_path)
    store.upsert(rows([1]))
    (tmp_path / SNAPSHOT).write_text("{}")
    with pytest.raises(OSError, match="is damaged"):
        store.snapshot()


def test_caches_of_a_store_that_changes_stay_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lancedb

    sessions = []
    make = lancedb.Session

    def session(**limits: int) -> object:
        sessions.append(make(**limits))
        return sessions[-1]

    monkeypatch.setattr("og_reid.gallery.lance_snapshot._CACHE_BYTES", 50_000)
    monkeypatch.setattr("lancedb.Session", session)
    store = small(tmp_path)
    store.upsert(rows(list(range(10))))
    sizes = []
    for number in range(100, 140):
        store.upsert(rows([number]))
        assert len(everything(store)) == 11
        assert store.delete(conditions({"id": f"i{number}"})) == 1
        sizes.append(sessions[0].size_bytes)
    assert 10_000 < max(sizes) < 200_000
