"""Lifted clouds are kept by the bytes of their images, and nothing that is kept is mistaken."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.data import CloudSet, Sample
from og_reid.data.clouds import cache as cloud_cache_module
from og_reid.data.clouds.lift_dataset import LiftSettings, lift_dataset, lift_many
from pose import Pose
from pose.files.reading import InputWarning
from standing_person import BROKEN, DEADLY, StandingPerson, plain_image

SMALL = LiftSettings(max_points=100)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    StandingPerson.calls.clear()
    yield
    StandingPerson.calls.clear()


def people(folder: Path, *shades: int) -> list[Sample]:
    return [
        Sample(plain_image(folder / f"{i:04}_c1s1_000001_00.png", shade), i, 1)
        for i, shade in enumerate(shades)
    ]


def lifted(samples: list[Sample], cache: Path | None) -> CloudSet:
    return lift_dataset(samples, estimator=StandingPerson, settings=SMALL, cache=cache)


def entries(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.safetensors"))


def shades(clouds: CloudSet) -> list[int]:
    return [
        int(clouds.select([i]).colors[clouds.select([i]).visible][0, 0]) for i in range(len(clouds))
    ]


def test_images_of_equal_names_sizes_and_times_have_clouds_of_their_own(tmp_path: Path) -> None:
    first, second = people(tmp_path / "a", 100), people(tmp_path / "b", 200)
    for samples in (first, second):
        content = samples[0].path.read_bytes()
        samples[0].path.write_bytes(content + b"\0" * (1000 - len(content)))
        os.utime(samples[0].path, ns=(1, 1))
    assert shades(lifted(first, tmp_path / "cache")) == [100]
    assert shades(lifted(second, tmp_path / "cache")) == [200]


@pytest.mark.parametrize("change", ["touch", "copy", "rename", "more in front", "one fewer"])
def test_unchanged_images_are_not_lifted_again(tmp_path: Path, change: str) -> None:
    samples = people(tmp_path / "a", 100, 150, 200)
    lifted(samples, tmp_path / "cache")
    StandingPerson.calls.clear()
    added = []
    if change == "touch":
        for sample in samples:
            os.utime(sample.path, ns=(1, 1))
    elif change == "copy":
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        samples = [Sample(tmp_path / "b" / each.name, each.pid, 1) for each in samples]
    elif change == "rename":
        samples = [
            Sample(each.path.rename(each.path.with_suffix(".jpeg")), 9, 2) for each in samples
        ]
    elif change == "more in front":
        samples = [*people(tmp_path / "new", 50), *samples]
        added = [50]
    else:
        samples = samples[1:]
    clouds = lifted(samples, tmp_path / "cache")
    assert StandingPerson.calls == added
    assert shades(clouds) == [*added, 100, 150, 200][-len(samples) :]
    assert clouds.names == tuple(each.name for each in samples)
    assert clouds.pids.tolist() == [each.pid for each in samples]
    assert clouds.camids.tolist() == [each.camid for each in samples]


def test_another_version_of_the_estimator_lifts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = people(tmp_path, 100)
    lifted(samples, tmp_path / "cache")
    monkeypatch.setattr(StandingPerson, "version", "2")
    lifted(samples, tmp_path / "cache")
    assert StandingPerson.calls == [100, 100]


def test_images_of_equal_bytes_are_lifted_once(tmp_path: Path) -> None:
    clouds = lifted(people(tmp_path, 100, 100, 150, 100), tmp_path / "cache")
    assert StandingPerson.calls == [100, 150]
    assert shades(clouds) == [100, 100, 150, 100]
    assert len(entries(tmp_path / "cache")) == 2


def test_results_do_not_depend_on_the_cache(tmp_path: Path) -> None:
    samples = people(tmp_path, 100, 0, 150)
    plain = lifted(samples, None)
    for _ in range(2):
        cached = lifted(samples, tmp_path / "cache")
        for name in ("points", "colors", "part", "visible", "ptr", "pids", "camids"):
            assert torch.equal(getattr(cached, name), getattr(plain, name)), name


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "swap"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: str) -> None:
    samples = people(tmp_path, 100, 150)
    first = lifted(samples, tmp_path / "cache")
    one, other = entries(tmp_path / "cache")
    content = bytearray(one.read_bytes())
    if damage == "flip":
        content[-50] ^= 4
    elif damage == "swap":  # sound, but of the other image
        content = bytearray(other.read_bytes())
    one.write_bytes({"cut": content[:100], "empty": b""}.get(damage, content))
    StandingPerson.calls.clear()
    again = lifted(samples, tmp_path / "cache")
    assert torch.equal(again.colors, first.colors)
    assert len(StandingPerson.calls) == 1
    assert lifted(samples, tmp_path / "cache").names == first.names
    assert len(StandingPerson.calls) == 1


def test_files_of_earlier_versions_are_not_touched(tmp_path: Path) -> None:
    old = tmp_path / "cache" / f"{'a' * 24}.safetensors"
    samples = people(tmp_path, 100)
    lifted(samples, None).save(old)
    before = old.read_bytes()
    StandingPerson.calls.clear()
    lifted(samples, tmp_path / "cache")
    assert StandingPerson.calls == [100]
    assert old.read_bytes() == before


def test_a_read_only_cache_serves_its_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = people(tmp_path, 100, 150)
    lifted(samples[:1], tmp_path / "cache")

    def refuse(path: Path, *_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(cloud_cache_module, "write_cloud_file", refuse)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.warns(UserWarning, match="can be read only: what is lifted now is not kept"):
        clouds = lifted(samples, tmp_path / "cache")
    assert shades(clouds) == [100, 150]
    assert StandingPerson.calls == [100, 150]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cloud_cache_module, "write_cloud_file", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*\.safetensors'"):
        lifted(people(tmp_path, 100), tmp_path / "cache")


def test_a_file_in_place_of_the_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(NotADirectoryError, match="the cache must be a folder"):
        lifted(people(tmp_path, 100), tmp_path / "cache")
    assert StandingPerson.calls == []


class Plain:
    """Without settings."""

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold

    __call__ = StandingPerson.__call__
    calls = StandingPerson.calls


@pytest.mark.parametrize("maker", [lambda: Plain(), partial(Plain, 0.9)])
def test_results_of_estimators_without_identity_are_not_kept(tmp_path: Path, maker: object) -> None:
    samples = people(tmp_path, 100)
    with pytest.raises(ValueError, match="estimator must have `settings`"):
        lift_dataset(samples, estimator=maker, cache=tmp_path / "cache")
    assert len(lift_dataset(samples, estimator=maker)) == 1
    assert len(lift_dataset(samples, estimator=Plain, cache=tmp_path / "cache")) == 1


def test_all_missing_and_unreadable_images_are_named_before_the_work(tmp_path: Path) -> None:
    samples = people(tmp_path, *range(100, 108))
    samples[1].path.unlink()
    samples[3].path.write_bytes(b"no image")
    samples[5].path.write_bytes(samples[6].path.read_bytes()[:150])
    os.mkfifo(tmp_path / "pipe.png")
    samples.append(Sample(tmp_path / "pipe.png", 9, 1))
    with pytest.raises(ValueError, match="4 of 9 files failed") as caught:
        lifted(samples, tmp_path / "cache")
    for row, other in ((1, 0), (3, 2), (5, 4), (8, 6)):
        assert str(samples[row].path) in str(caught.value)
        assert str(samples[other].path) not in str(caught.value)
    assert StandingPerson.calls == []


def test_one_failure_among_many_leaves_the_others(tmp_path: Path) -> None:
    samples = people(tmp_path, 100, BROKEN, 0, 150)
    samples.insert(2, Sample(tmp_path / "gone.png", 5, 1))
    paths = [each.path for each in samples]
    for cache in (None, tmp_path / "cache"):
        done = list(lift_many(paths, estimator=StandingPerson, settings=SMALL, cache=cache))
        assert [each.path for each in done] == paths
        assert [each.found for each in done] == [True, False, False, False, True]
        assert [each.cloud is None for each in done] == [False, True, True, False, False]
        assert done[1].reason == "the graph has no such node"
        assert "gone.png" in done[2].reason
    with pytest.raises(ValueError, match="the graph has no such node"):
        lifted([samples[0], samples[1]], None)


class Doubtful(StandingPerson):
    def __call__(self, image: np.ndarray) -> Pose:
        warnings.warn(f"{int(image[0, 0, 0])} people were found", InputWarning, stacklevel=2)
        return super().__call__(image)


def test_doubts_about_an_image_are_cached(tmp_path: Path) -> None:
    samples = people(tmp_path, 100, 150)
    for _ in range(2):
        with pytest.warns(InputWarning, match=r"2 files: 100 people were found \(.*0000.*0001"):
            lift_dataset(samples, estimator=Doubtful, settings=SMALL, cache=tmp_path / "cache")
    assert StandingPerson.calls == [100, 150]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lifted(samples, tmp_path / "cache")


RUN = """
import sys
from pathlib import Path
from og_reid.data.clouds import lift_dataset as lifting
from og_reid.data import Sample
from og_reid.data.clouds.lift_dataset import LiftSettings, lift_dataset
from standing_person import StandingPerson
lifting.CHUNK = 4
if __name__ == "__main__":
    samples = [Sample(path, 1, 1) for path in sorted(Path(sys.argv[1]).glob("*.png"))]
    lift_dataset(samples, estimator=StandingPerson, settings=LiftSettings(max_points=100),
               cache=sys.argv[2], workers=int(sys.argv[3]))
"""


def start(tmp_path: Path, workers: int = 1) -> subprocess.Popen[str]:
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, str(script), str(tmp_path / "in"), str(tmp_path / "cache")]
    shared = str(Path(__file__).parents[3] / "shared")
    return subprocess.Popen(
        [*command, str(workers)],
        env={**os.environ, "PYTHONPATH": shared, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_resumes(tmp_path: Path, workers: int) -> None:
    """The process that meets the deadly image, in the third chunk, is killed on the spot."""
    samples = people(tmp_path / "in", *range(100, 110), DEADLY)
    run = start(tmp_path, workers)
    error = run.communicate(timeout=120)[1]
    assert run.returncode == (-9 if workers == 1 else 1)
    if workers == 2:
        assert "a worker process was killed" in error
    kept = len(entries(tmp_path / "cache"))
    assert kept >= 4  # with several workers one chunk may still have been under way
    assert kept == 8 or workers == 2
    plain_image(samples[-1].path, 200)
    StandingPerson.calls.clear()
    clouds = lifted(samples, tmp_path / "cache")
    assert shades(clouds) == [*range(100, 110), 200]
    assert len(StandingPerson.calls) == 11 - kept


def test_two_runs_share_a_cache(tmp_path: Path) -> None:
    samples = people(tmp_path / "in", *range(100, 112))
    runs = [start(tmp_path) for _ in range(2)]
    assert [run.communicate(timeout=120)[1] for run in runs] == ["", ""]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(entries(tmp_path / "cache")) == 12
    assert not list((tmp_path / "cache").rglob("*.partial"))
    assert shades(lifted(samples, tmp_path / "cache")) == list(range(100, 112))
    assert StandingPerson.calls == []


def test_a_finished_cache_needs_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = people(tmp_path, *range(100, 105))
    lifted(samples, tmp_path / "cache")
    monkeypatch.setattr("og_reid.data.clouds.lift_dataset._run", lambda *_: iter(()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clouds = lift_dataset(
            samples, estimator=StandingPerson, settings=SMALL, workers=2, cache=tmp_path / "cache"
        )
    assert shades(clouds) == list(range(100, 105))
