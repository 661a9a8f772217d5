"""Stores of lifted images: same bytes for any workers, nothing lost, nothing doubled."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from full_disk import full_disk
from og_reid.data import CloudSet, LiftedStore, lift_store
from og_reid.data.clouds import lift_shard as shards
from og_reid.data.clouds.lift_dataset import LiftSettings, lift_dataset
from og_reid.data.clouds.lift_shard import ShardImage, ShardTask, lift_shard, read_shard
from og_reid.data.clouds.lift_store import LabelledImage, StoredLifts
from og_reid.data.clouds.lifted_store import MANIFEST, is_lifted_store, read_manifest
from og_reid.data.sample import Sample
from pose import Pose
from standing_person import BROKEN, StandingPerson, plain_image

SHARED = str(Path(__file__).parents[3] / "shared")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    StandingPerson.calls.clear()
    yield
    StandingPerson.version = "1"


def images(folder: Path, shades: range | list[int]) -> list[LabelledImage]:
    """Images of one shade each."""
    paths = [plain_image(folder / f"{shade}.png", shade) for shade in shades]
    return [LabelledImage(path, path.name) for path in paths]


def lifted(some: list[LabelledImage], out: Path, **changes: Any) -> StoredLifts:
    return lift_store(some, out, **{"estimator": StandingPerson, "images_per_shard": 4, **changes})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_clouds_are_those_of_a_lifted_data_set(tmp_path: Path) -> None:
    some = images(tmp_path / "in", range(100, 110))
    labelled = [
        LabelledImage(each.path, each.name, pid, pid % 3 + 1) for pid, each in enumerate(some)
    ]
    done = lifted(labelled, tmp_path / "out")
    assert (done.clouds, done.kept, done.failures) == (10, 0, ())
    store = LiftedStore(tmp_path / "out")
    found = store.load()
    samples = [Sample(each.path, each.pid, each.camid) for each in labelled]
    # The batches of the fit differ, and with them the last digits of half floats.
    expected = lift_dataset(samples, estimator=StandingPerson)
    assert store.names == found.names == tuple(each.name for each in labelled)
    for field in ("ptr", "pids", "camids", "part"):
        assert torch.equal(getattr(found, field), getattr(expected, field))
    assert (found.points.float() - expected.points.float()).abs().max() < 2e-3
    assert (found.colors.int() - expected.colors.int()).abs().float().mean() < 0.05
    whole = CloudSet.concat(list(store.sets()))
    assert torch.equal(whole.points, found.points)
    assert sum(path.stat().st_size for path in (tmp_path / "out").glob("clouds-*")) == done.bytes


def test_bytes_do_not_depend_on_workers_place_or_threads(tmp_path: Path) -> None:
    some = images(tmp_path / "in", [*range(100, 109), BROKEN, 0])
    other = images(tmp_path / "elsewhere", [*range(100, 109), BROKEN, 0])
    lifted(some, tmp_path / "1")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        lifted(other, tmp_path / "2")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    lifted(other, tmp_path / "3", workers=3)
    assert content(tmp_path / "1") == content(tmp_path / "2") == content(tmp_path / "3")
    assert not any(b"elsewhere" in data for data in content(tmp_path / "2").values())


def test_failures_are_listed_and_not_tried_again(tmp_path: Path) -> None:
    some = images(tmp_path / "in", [100, BROKEN, 0, 101])
    text = tmp_path / "in" / "text.jpg"
    text.write_text("no image")
    some.append(LabelledImage(text, "text.jpg"))
    some.append(LabelledImage(tmp_path / "in" / "missing.png", "missing.png"))
    first, again = (lifted(some, tmp_path / "out") for _ in range(2))
    assert first.clouds == again.clouds == 2
    assert again.kept == 5
    assert StandingPerson.calls == [100, BROKEN, 0, 101]
    for done in (first, again):
        assert [each.path.name for each in done.failures] == [
            f"{BROKEN}.png", "0.png", "text.jpg", "missing.png",
        ]  # fmt: skip
        reasons = [each.reason for each in done.failures]
        assert "no such node" in reasons[0]
        assert "no person was found" in reasons[1]
        assert str(text) in reasons[2]
        assert "No such file" in reasons[3]
    store = LiftedStore(tmp_path / "out")
    assert [each.name for each in store.failures] == [f"{BROKEN}.png", "0.png", "text.jpg"]
    # A file that was mended is lifted.
    plain_image(tmp_path / "in" / "x.png", 102).rename(text)
    assert lifted(some, tmp_path / "out").clouds == 3


def test_a_store_without_any_cloud(tmp_path: Path) -> None:
    done = lifted(images(tmp_path / "in", [0, BROKEN]), tmp_path / "out")
    assert (done.clouds, len(done.failures)) == (0, 2)
    store = LiftedStore(tmp_path / "out")
    assert len(store) == 0
    assert list(store.sets()) == []
    with pytest.raises(ValueError, match="holds no cloud: all 2 images failed"):
        store.load()
    assert lifted([], tmp_path / "none").clouds == 0
    assert len(LiftedStore(tmp_path / "none")) == 0


def test_new_images_keep_the_clouds_of_others(tmp_path: Path) -> None:
    """An image in front moves all others to other shards."""
    some = images(tmp_path / "in", range(100, 109))
    lifted(some, tmp_path / "out")
    before = LiftedStore(tmp_path / "out").load()
    StandingPerson.calls.clear()
    more = [*images(tmp_path / "in", [99]), *some[:-1]]  # and one is left out
    done = lifted(more, tmp_path / "out")
    assert StandingPerson.calls == [99]
    assert (done.clouds, done.kept) == (9, 8)
    after = LiftedStore(tmp_path / "out").load()
    assert after.names == tuple(each.name for each in more)
    rows = [before.names.index(name) for name in after.names[1:]]
    assert torch.equal(after.select(range(1, 9)).points, before.select(rows).points)
    listed = {each.file for each in read_manifest(tmp_path / "out").shards or ()}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {MANIFEST, *listed}
    # Other labels of the same images need no lift.
    labelled = [LabelledImage(each.path, each.name, 7, 2) for each in more]
    assert lifted(labelled, tmp_path / "out").kept == 9
    assert StandingPerson.calls == [99]
    assert LiftedStore(tmp_path / "out").load().pids.tolist() == [7] * 9


def test_a_touched_file_is_kept_and_a_changed_one_lifted(tmp_path: Path) -> None:
    some = images(tmp_path / "in", range(100, 104))
    lifted(some, tmp_path / "out")
    os.utime(some[0].path, (1, 1))
    assert lifted(some, tmp_path / "out").kept == 4
    plain_image(some[1].path, 150)
    StandingPerson.calls.clear()
    assert lifted(some, tmp_path / "out").kept == 3
    assert StandingPerson.calls == [150]


def test_an_image_that_changes_meanwhile_is_a_failure_of_this_run(tmp_path: Path) -> None:
    some = images(tmp_path / "in", range(100, 104))

    class Changing(StandingPerson):
        def __call__(self, pixels: np.ndarray) -> Pose:
            if pixels[0, 0, 0] == 101:
                plain_image(some[1].path, 150)
            return super().__call__(pixels)

    Changing.__qualname__ = StandingPerson.__qualname__  # the same settings
    Changing.__module__ = StandingPerson.__module__
    done = lifted(some, tmp_path / "out", estimator=Changing)
    assert [each.path.name for each in done.failures] == ["101.png"]
    assert "changed during the run" in done.failures[0].reason
    StandingPerson.calls.clear()
    assert lifted(some, tmp_path / "out").clouds == 4
    assert StandingPerson.calls == [150]


def test_failures_of_the_disk_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = images(tmp_path / "in", range(100, 104))

    def broken(path: Path) -> np.ndarray:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("og_reid.data.clouds.attempts.read_image", broken)
        done = lifted(some, tmp_path / "out")
    assert [each.reason for each in done.failures] == ["Input/output error"] * 4
    done = lifted(some, tmp_path / "out")
    assert (done.clouds, done.kept) == (4, 0)
    assert lifted(some, tmp_path / "out").kept == 4


def test_a_store_of_other_settings_is_refused(tmp_path: Path) -> None:
    some = images(tmp_path / "in", range(100, 102))
    lifted(some, tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(ValueError, match=r"other settings .max_points 2048 there, 100 now"):
        lifted(some, tmp_path / "out", settings=LiftSettings(max_points=100))
    with pytest.raises(ValueError, match="canonical False there, True now"):
        lifted(some, tmp_path / "out", canonical=True)
    StandingPerson.version = "2"
    with pytest.raises(ValueError, match=r"\(estimator.version 1 there, 2 now\)"):
        lifted(some, tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_other_folders_are_refused(tmp_path: Path) -> None:
    some = images(tmp_path / "in", range(100, 102))
    with pytest.raises(ValueError, match=r"holds other files: .'100\.png'"):
        lifted(some, tmp_path / "in")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="out must be a folder"):
        lifted(some, tmp_path / "file")
    twice = [LabelledImage(each.path, "same.png") for each in some]
    with pytest.raises(ValueError, match="a name of its own"):
        lifted(twice, tmp_path / "out")
    with pytest.raises(ValueError, match="given twice"):
        lifted([some[0], some[0]], tmp_path / "out")
    with pytest.raises(ValueError, match="at least 1; got 0, 1"):
        lifted(some, tmp_path / "out", images_per_shard=0)
    with pytest.raises(ValueError, match="engine must be process or ray"):
        lifted(some, tmp_path / "out", engine="dask")
    assert not is_lifted_store(tmp_path / "in")


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "text"])
def test_damaged_shards_are_refused_and_made_again(tmp_path: Path, damage: str) -> None:
    some = images(tmp_path / "in", range(100, 108))
    lifted(some, tmp_path / "out")
    before = content(tmp_path / "out")
    path = next((tmp_path / "out").glob("clouds-*"))
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "text":
        path.write_text("no shard")
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[-5000] ^= 1
        path.write_bytes(data)
    with pytest.raises(ValueError, match="clouds-"):
        LiftedStore(tmp_path / "out").load()
    done = lifted(some, tmp_path / "out")
    assert done.kept == 4
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shards": None}, "unfinished store"),
        ({"format": "x"}, "must describe a og_reid.lifted_store"),
        ({"shards": [{"file": "../x", "clouds": 1, "failed": 0, "bytes": 1}]}, "own folder"),
        ({"shards": [{"file": "x"}]}, "must describe"),
        ({"shards": 7}, "must describe"),
    ],
)
def test_bad_manifests_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    lifted(images(tmp_path / "in", [100]), tmp_path / "out")
    path = tmp_path / "out" / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        LiftedStore(tmp_path / "out")
    with pytest.raises(ValueError, match="is no store"):
        LiftedStore(tmp_path)


def test_a_full_disk_is_named_and_resumed(tmp_path: Path) -> None:
    some = images(tmp_path / "in", range(100, 108))
    with full_disk(50_000), pytest.raises(OSError, match=r"clouds-") as caught:
        lifted(some, tmp_path / "out")
    assert caught.value.errno == errno.EFBIG
    assert [path.name for path in (tmp_path / "out").iterdir()] == [MANIFEST]
    assert lifted(some, tmp_path / "out").clouds == 8


def test_a_shard_is_a_function_of_its_task(tmp_path: Path) -> None:
    path = plain_image(tmp_path / "a.png", 100)
    image = ShardImage(path, "a.png", shards.hash_file(path))
    task = ShardTask(tmp_path / "1", (image,), "{}", LiftSettings(), StandingPerson)
    result = lift_shard(task)
    assert (result.file, result.clouds, result.kept) == (task.file, 1, 0)
    assert lift_shard(task).kept == 1
    other = ShardTask(tmp_path / "2", (image,), "{}", LiftSettings(), StandingPerson)
    assert lift_shard(other).file == task.file
    assert content(tmp_path / "1") == content(tmp_path / "2")
    found = read_shard(tmp_path / "1" / task.file)
    assert found.keys == (image.key,)
    renamed = ShardTask(
        tmp_path / "2", (ShardImage(path, "b.png", image.key),), "{}", LiftSettings(),
        StandingPerson,
    )  # fmt: skip
    assert renamed.file != task.file


RUN = """
import sys
from pathlib import Path
import torch
from og_reid.data.clouds.lift_store import LabelledImage, lift_store
from standing_person import StandingPerson

if __name__ == "__main__":
    torch.set_num_threads(1)
    paths = sorted(Path(sys.argv[1]).iterdir())
    images = [LabelledImage(path, path.name) for path in paths]
    def show(done, total):
        print(done, flush=True)
    lift_store(images, sys.argv[2], estimator=StandingPerson, images_per_shard=2, progress=show)
"""


def _say(pipe: int, done: int, _: int) -> None:
    os.write(pipe, bytes([done]))


def test_ten_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """Killed after a random number of shards, at a random moment of the next one.

    The interpreter is started once, and each run is a fork of it: ten starts take a minute.
    """
    some = images(tmp_path / "in", range(100, 124))
    lifted(some, tmp_path / "whole", images_per_shard=1)
    rng = random.Random(0)
    kills = seen = 0
    for _ in range(20):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                lifted(some, tmp_path / "out", images_per_shard=1, progress=partial(_say, writer))
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            wanted = 1 + seen + rng.randint(1, 2)  # progress also reports the start
            count = 0
            while count < wanted and stream.read(1):
                count += 1
            time.sleep(rng.uniform(0, 0.05))
            if count == wanted and kills < 10:
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            kills += 1
            whole = content(tmp_path / "whole")
            there = content(tmp_path / "out")
            made = [name for name in there if name.startswith("clouds-")]
            assert all(there[name] == whole[name] for name in made)  # whole, or not there
            assert len(made) >= max(seen, wanted - 1)  # none is lost
            seen = len(made)
        else:
            break
    assert kills == 10
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_killed_run_with_workers_resumes(tmp_path: Path) -> None:
    some = images(tmp_path / "in", range(100, 116))
    script, out = tmp_path / "run.py", tmp_path / "out"
    script.write_text(RUN.replace("progress=show", "progress=show, workers=2"))
    run = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "in"), str(out)],
        env={**os.environ, "PYTHONPATH": SHARED, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    while int(run.stdout.readline()) < 8:
        pass
    run.send_signal(signal.SIGKILL)
    assert run.wait(timeout=60) == -9
    run.stdout.close()
    done = lifted(some, out, images_per_shard=2)
    assert done.kept >= 8
    lifted(some, tmp_path / "whole", images_per_shard=2)
    assert content(out) == content(tmp_path / "whole")
