from __future__ import annotations

import fcntl
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.data.clouds import convert_market3d as convert
from og_reid.data.clouds.convert_market3d import convert_market3d
from og_reid.data.clouds.market3d_obj import read_obj
from og_reid.data.clouds.store import CloudStore

pytest.importorskip("pyarrow")

PEOPLE = {"train": (2, 7), "gallery": (-1, 0, 5), "query": (5,)}
COUNT = 12
POINTS = 30


def write_tree(root: Path) -> Path:
    """12 clouds: two cameras for each identity of each split."""
    draw = np.random.default_rng(0)
    for split, pids in PEOPLE.items():
        for pid in pids:
            for camera in (1, 2):
                name = f"{pid:04}" if pid >= 0 else "-1"
                path = root / split / name / f"{name}_c{camera}s1_000001_01.jpg.obj"
                path.parent.mkdir(parents=True, exist_ok=True)
                rows = np.hstack([
                    draw.uniform(-1, 1, (POINTS, 3)), draw.integers(0, 256, (POINTS, 3)) / 255
                ])  # fmt: skip
                lines = ["v " + " ".join(f"{value:.6f}" for value in row) for row in rows]
                path.write_text("\n".join([*lines, "f 1 2 3", ""]))
    return root


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "3DMarket+bg")


def convert_small(tree: Path, out: Path, **options: object) -> convert.Conversion:
    return convert_market3d(tree, out, expected=POINTS, clouds_per_shard=5, **options)


def test_a_tree_becomes_a_store(tree: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    out = tmp_path / "deep" / "store"
    done = convert_small(tree, out, progress=lambda *call: calls.append(call))
    assert (done.clouds, done.shards, done.kept) == ({"train": 4, "gallery": 6, "query": 2}, 3, 0)
    assert done.bytes == sum(path.stat().st_size for path in out.glob("*.arrow"))
    assert calls == [(5, 12), (10, 12), (12, 12)]
    store = CloudStore(out)
    assert store.splits == ("train",) * 4 + ("gallery",) * 6 + ("query",) * 2
    assert store.pids.tolist() == [2, 2, 7, 7, -1, -1, 0, 0, 5, 5, 5, 5]
    assert store.camids.tolist() == [1, 2] * 6
    for split, name, pid, cloud in zip(store.splits, store.names, store.pids, store, strict=True):
        person = f"{int(pid):04}" if pid >= 0 else "-1"
        source = read_obj(tree / split / person / f"{name}.obj", expected=POINTS)
        torch.testing.assert_close(cloud.points, source.points, atol=5e-5, rtol=0)
        torch.testing.assert_close(cloud.colors, source.colors, atol=6e-7, rtol=0)


def test_splits_can_be_chosen(tree: Path, tmp_path: Path) -> None:
    assert convert_small(tree, tmp_path / "out", splits=["query"]).clouds == {"query": 2}
    assert set(CloudStore(tmp_path / "out").splits) == {"query"}


def convert_and_die(tree: Path, out: Path, where: str) -> None:
    """In a process of its own: ends while it reads, before a file is renamed, or between shards."""
    calls: list[object] = []

    def count(limit: int, *call: object) -> None:
        calls.append(call)
        if len(calls) == limit:
            os.kill(os.getpid(), signal.SIGKILL)

    if where == "reading":
        read = convert.read_obj
        convert.read_obj = lambda path, **options: (count(8), read(path, **options))[1]
    if where == "writing":
        sync = os.fsync
        os.fsync = lambda file: (count(2), sync(file))[1]
    between = (lambda *call: count(1)) if where == "between" else None
    convert_small(tree, out, progress=between)


@pytest.mark.parametrize("where", ["reading", "writing", "between"])
def test_a_killed_conversion_resumes(tree: Path, tmp_path: Path, where: str) -> None:
    out = tmp_path / "out"
    process = multiprocessing.get_context("fork").Process(
        target=convert_and_die, args=(tree, out, where)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    left = [path.name for path in out.iterdir() if path.name.endswith(".partial")]
    assert len(left) == (where == "writing")
    with pytest.raises(ValueError, match="no finished cloud store"):
        CloudStore(out)
    first = (out / "clouds-000000.arrow").stat()
    done = convert_small(tree, out)
    assert done.kept == 1
    assert (out / "clouds-000000.arrow").stat().st_ino == first.st_ino
    convert_small(tree, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


PARALLEL = """
import multiprocessing, os, signal, sys
from og_reid.data.clouds.convert_market3d import convert_market3d

def progress(done, total):
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    convert_market3d(
        sys.argv[1], sys.argv[2], expected=30, clouds_per_shard=1, workers=2, progress=progress
    )
"""


def test_workers_end_with_a_killed_parent_and_change_nothing(tree: Path, tmp_path: Path) -> None:
    out, script = tmp_path / "out", tmp_path / "parallel.py"
    script.write_text(PARALLEL)
    command = [sys.executable, str(script), str(tree), str(out)]
    root = str(Path(convert.__file__).parents[4])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert process.wait() == -9
    assert workers
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    done = convert_market3d(tree, out, expected=POINTS, clouds_per_shard=1)
    assert 1 <= done.kept < COUNT
    convert_market3d(tree, tmp_path / "whole", expected=POINTS, clouds_per_shard=1)
    assert contents(out) == contents(tmp_path / "whole")


def test_only_damaged_or_changed_shards_are_made_again(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert_small(tree, out)
    whole = contents(out)
    assert convert_small(tree, out).kept == 3

    middle = out / "clouds-000001.arrow"
    for damaged in (whole[middle.name][:-3], _flipped(whole[middle.name]), b""):
        middle.write_bytes(damaged)
        assert convert_small(tree, out).kept == 2
        assert contents(out) == whole

    last = sorted((tree / "query").rglob("*.obj"))[-1]
    last.write_text(re.sub(r"^v \S+", "v 0.500000", last.read_text()))
    assert convert_small(tree, out).kept == 2
    assert contents(out)[middle.name] == whole[middle.name]
    assert contents(out)["clouds-000002.arrow"] != whole["clouds-000002.arrow"]


def _flipped(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    return bytes(changed)


def test_surplus_shards_of_a_larger_source_are_removed(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert_small(tree, out)
    done = convert_small(tree, out, splits=["train"])
    assert (done.shards, done.clouds) == (1, {"train": 4})
    assert [path.name for path in out.glob("*.arrow")] == ["clouds-000000.arrow"]
    assert len(CloudStore(out)) == 4


def test_a_bad_cloud_stops_the_conversion_and_is_named(tree: Path, tmp_path: Path) -> None:
    bad = sorted((tree / "gallery").rglob("*.obj"))[-1]
    text = bad.read_text()
    convert_small(tree, tmp_path / "out")
    for broken, message in (
        (text[:200], "must end in a face line"),
        (re.sub(r"^v \S+", "v 9.5", text), "16 bits hold about 6.5 m"),
    ):
        bad.write_text(broken)
        with pytest.raises(ValueError, match=re.escape(str(bad))) as error:
            convert_small(tree, tmp_path / "out")
        assert message in str(error.value)
        with pytest.raises(ValueError, match="no finished cloud store"):
            CloudStore(tmp_path / "out")
    bad.write_text(text)
    assert convert_small(tree, tmp_path / "out").kept == 2
    assert len(CloudStore(tmp_path / "out")) == COUNT


def test_foreign_folders_and_concurrent_writers_are_refused(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds other files: \['gallery', 'query', 'train'\]"):
        convert_small(tree, tree)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="out must be a folder"):
        convert_small(tree, tmp_path / "file")
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another run converts to"):
            convert_small(tree, out)
    assert convert_small(tree, out).shards == 3


@pytest.mark.parametrize("option", ["workers", "clouds_per_shard"])
def test_bad_counts_are_refused(tree: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(ValueError, match="clouds_per_shard and workers must be at least 1"):
        convert_market3d(tree, tmp_path / "out", **{option: 0})
