"""Files of saved metrics: sound ones of every writer and version, damaged and crafted ones."""

from __future__ import annotations

import json
import os
import random
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz_metrics import TARGETS, record, search
from og_reid.evaluation import Metrics, load_metrics
from og_reid.evaluation.results import ResultRow, load_results, save_results

SEEDS = [(name, seed) for name, target in TARGETS.items() for seed in target[2]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("figures")


def written(folder: Path, data: bytes) -> Path:
    path = folder / "run.json"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", ["market", "single-gallery-shot"])
@pytest.mark.parametrize(
    "turn",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: json.dumps(json.loads(text), indent=1).replace("\n", "\r\n").encode(),
        lambda text: json.dumps(dict(reversed(json.loads(text).items()))).encode(),
        lambda text: json.dumps({**json.loads(text), "later": [1]}).encode(),
        lambda text: text.replace("[null", "[NaN").replace("null]", "NaN]").encode(),
        lambda text: text.replace("1.0", "1").encode(),
    ],
    ids=["plain", "BOM", "UTF-16", "indented", "turned", "later field", "NaN", "whole numbers"],
)
def test_sound_files_read_to_the_right_values(protocol: str, turn, tmp_path: Path) -> None:
    metrics = search(protocol)
    again = load_metrics(written(tmp_path, turn(record(metrics).decode())))
    assert str(again) == str(metrics)
    for name in ("query_pids", "first_match", "ties", "same_camera"):
        assert torch.equal(getattr(again, name), getattr(metrics, name))
    for name in ("step", "trapezoid", "inverse_penalty"):
        found, expected = (getattr(each, name).nan_to_num(-1) for each in (again, metrics))
        assert torch.equal(found, expected)
    assert (again.shot_ranks is None) == (metrics.shot_ranks is None)


def test_rows_of_no_query_come_back(tmp_path: Path) -> None:
    for protocol in ("market", "single-gallery-shot"):
        none = search(protocol).select(torch.zeros(12, dtype=torch.bool))
        save_results([ResultRow("net", "none", none)], tmp_path / "a.json")
        (row,) = load_results(tmp_path / "a.json")
        assert row.metrics.num_queries == 0
        assert str(row.metrics).splitlines()[-2:] == str(none).splitlines()[-2:]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"first_match": [2**31] + [1] * 11}, r"first_match\[0\] must be a whole number in \[0, 14\]"),
    ({"first_match": [2**80] + [1] * 11}, r"first_match\[0\] must be .*; got a huge number"),
    ({"first_match": [-1] * 12}, r"first_match\[0\] must be .*; got -1"),
    ({"first_match": [True] * 12}, r"first_match\[0\] must be .*; got bool"),
    ({"first_match": [1.0] * 12}, r"first_match\[0\] must be .*; got 1.0"),
    ({"first_match": [None] * 12}, r"first_match\[0\] must be .*; got NoneType"),
    ({"first_match": [[1]] * 12}, r"first_match\[0\] must be .*; got list"),
    ({"first_match": {}}, "first_match must be a list; got dict"),
    ({"first_match": [1]}, "first_match must be of 12 queries; got 1"),
    ({"query_pids": None}, "query_pids must be a list; got NoneType"),
    ({"query_pids": ["anna"] * 12}, r"query_pids\[0\] must be .*; got str"),
    ({"step": [2.0] * 12}, r"step\[0\] must be a number in \[0, 1\] or null; got 2.0"),
    ({"step": [float("inf")] * 12}, r"step\[0\] must be .*; got inf"),
    ({"step": [None] * 12}, "step must be null where first_match is 0, and nowhere else"),
    ({"step": [[0.5]] * 12}, r"step\[0\] must be .*; got list"),
    ({"step": "0.5"}, "step must be a list; got str"),
    ({"num_items": 2**40}, r"num_items must be a whole number in \[0, 100000000\]"),
    ({"num_items": 1e9}, "num_items must be a whole number"),
    ({"num_items": "14"}, "num_items must be .*; got str"),
    ({"num_items": 3}, r"first_match\[\d+\] must be a whole number in \[0, 3\]"),
    ({"num_junk": 15}, r"num_junk must be a whole number in \[0, 14\]; got 15"),
    ({"ap": 3}, "ap must be a string; got int"),
    ({"ap": "area"}, "ap must be 'step' or 'trapezoid'; got 'area'"),
    ({"protocol": None}, "protocol must be a string; got NoneType"),
    ({"reranking": ["gnn"]}, "reranking must be a string; got list"),
    ({"shot_ranks": 5}, "shot_ranks must be a list of 12 rows"),
    ({"shot_ranks": [[1]] * 11}, "shot_ranks must be a list of 12 rows"),
    ({"shot_ranks": [[]] * 12}, "shot_ranks must have rows of one length, at least 1"),
    ({"shot_ranks": [[1, 2]] + [[1]] * 11}, "shot_ranks must have rows of one length"),
    ({"shot_ranks": [[2**31]] * 12}, r"shot_ranks\[0\]\[0\] must be a whole number in \[0, 14\]"),
    ({"shot_ranks": [[0]] * 12}, "shot_ranks must be 0 where first_match is 0"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[str(each[0])[:40] for each in BAD])
def test_damaged_fields_are_named(changes: dict, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, record(search(), **changes))
    with pytest.raises(ValueError, match=rf"run\.json is damaged: .*{message}"):
        load_metrics(path)


@pytest.mark.parametrize("name", [field for field in search().record() if field != "figures"])
def test_missing_fields(name: str, tmp_path: Path) -> None:
    content = json.loads(record(search()))
    del content[name]
    path = written(tmp_path, json.dumps(content).encode())
    if name in ("num_junk", "gallery", "shot_ranks", "test_view", "reranking"):
        assert isinstance(load_metrics(path), Metrics)
        return
    with pytest.raises(ValueError, match=rf"run\.json is damaged: .*\['{name}'\] are missing"):
        load_metrics(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "rows must be a list; got NoneType"),
        ({}, "rows must be a list; got dict"),
        ([3], "rows must be objects; got int"),
        ([{}], "method must be a string; got NoneType"),
        ([{"method": "a", "queries": 4}], "queries must be a string; got int"),
        ([{"method": "a", "queries": "all"}], "record must hold all fields of Metrics"),
        ([{"method": "a", "queries": "all", "metrics": []}], "metrics must be an object; got list"),
    ],
)
def test_damaged_rows_are_named(rows: object, message: str, tmp_path: Path) -> None:
    data = {"format": "og_reid comparison 1", "rows": rows}
    path = written(tmp_path, json.dumps(data).encode())
    with pytest.raises(ValueError, match=rf"run\.json is damaged: .*{message}"):
        load_results(path)


@pytest.mark.parametrize("reader", [load_metrics, load_results])
@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x00", b"\xff\xfe\x00", b"{", b"[]", b"null", b"3", b'"og_reid metrics 1"',
        b'{"format": ["og_reid metrics 1"]}', b'{"format": {"a": 1}}', b"[" * 100_000,
        b'{"a":' * 100_000, b'{"format": "og_reid metrics 1", "ap": ' + b"9" * 10_000 + b"}",
        b"PK\x03\x04", b"\x89PNG\r\n\x1a\n",
    ],
    ids=lambda data: repr(data[:12]),
)  # fmt: skip
def test_other_files_are_refused_by_name(reader, data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"run\.json.* is not a file of"):
        reader(written(tmp_path, data))


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    for reader in (load_metrics, load_results):
        with pytest.raises(OSError, match=r"none\.json"):
            reader(tmp_path / "none.json")
        with pytest.raises(ValueError, match="is a folder: give a file of"):
            reader(tmp_path)
        with pytest.raises((ValueError, OSError)):
            reader("a\0b.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(record(search())))
    writer.start()
    assert str(load_metrics(pipe)) == str(search())
    writer.join()


def test_a_small_file_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks and numbers of rows are bounded before anything of their size is made."""

    def whole_curve(_: Metrics) -> None:
        raise AssertionError("a number for each row of the gallery")

    monkeypatch.setattr(Metrics, "_shot_cmc", whole_curve)
    wide = written(tmp_path, record(search("single-gallery-shot"), num_items=10**8))
    tracemalloc.start()
    assert "gallery of 100000000 images" in str(load_metrics(wide))
    wide = written(tmp_path, record(search(), first_match=[2**31] * 12, num_items=2**31))
    with pytest.raises(ValueError, match="num_items"):
        load_metrics(wide)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def check(name: str, data: bytes, folder: Path) -> None:
    """Reading and printing end well, or with the exceptions that a caller expects."""
    ending, reader, _ = TARGETS[name]
    path = folder / f"{name}{ending}"
    path.write_bytes(data)
    said = None
    try:
        reader(path)
    except (ValueError, OSError) as error:
        said = str(error)
    assert said is None or path.name in said


@pytest.mark.parametrize(("name", "seed"), SEEDS)
def test_seeds_are_sound(name: str, seed: bytes, folder: Path) -> None:
    ending, reader, _ = TARGETS[name]
    path = folder / f"seed{ending}"
    path.write_bytes(seed)
    assert reader(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_end_in_words(folder: Path, data: st.DataObject) -> None:
    name, seed = data.draw(st.sampled_from(SEEDS))
    changed = bytearray(seed)
    draw = random.Random(data.draw(st.integers(0, 2**32)))
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(changed) + 1)
        kind = draw.randrange(4)
        if kind == 0 and place < len(changed):
            changed[place] = draw.randrange(256)
        elif kind == 1:
            changed[place:place] = draw.choice([b"[", b"-", b"9" * 30, b"null", b"1e999", b'"'])
        elif kind == 2:
            del changed[place : place + draw.randrange(40)]
        else:
            del changed[place:]
        if not changed:
            break
    check(name, bytes(changed), folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    field=st.sampled_from(sorted(search().record())),
    value=JSON,
    row=st.none() | st.integers(0, 11),
    name=st.sampled_from(sorted(TARGETS)),
)
def test_fields_of_any_value_end_in_words(
    folder: Path, field: str, value: Any, row: int | None, name: str
) -> None:
    content = search().record()
    if row is not None and isinstance(content[field], list):
        content[field][row] = value
    else:
        content[field] = value
    if name == "comparison":
        rows = [{"method": "net", "queries": "all", "metrics": content}]
        data: dict[str, Any] = {"format": "og_reid comparison 1", "rows": rows}
    else:
        data = {"format": "og_reid metrics 1", **content}
    check(name, json.dumps(data).encode(), folder)
