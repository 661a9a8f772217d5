"""Engines of bulk jobs: all results, also when workers are killed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulk_tasks import always_killed, double, killed_once
from og_reid.data.clouds.engines import Engine, run_tasks
from og_reid.data.clouds.lift_store import LabelledImage, lift_store
from ray_cluster import two_ray_workers
from standing_person import StandingPerson, plain_image


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with two_ray_workers():
        yield


@pytest.fixture(params=["process", "ray"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "ray":
        request.getfixturevalue("cluster")
        return "ray"
    return "process"


def test_results_have_their_task(engine: Engine) -> None:
    tasks = list(range(7))
    assert sorted(run_tasks(double, tasks, workers=2, engine=engine)) == [
        (number, 2 * number) for number in tasks
    ]
    assert list(run_tasks(double, [], workers=2, engine=engine)) == []


def test_errors_are_those_of_the_task(engine: Engine) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        list(run_tasks(double, [1, -1], workers=2, engine=engine))
    assert caught.value.filename == "/some/file"


def test_tasks_of_a_killed_worker_start_again(engine: Engine, tmp_path: Path) -> None:
    fatal = tmp_path / "fatal"
    fatal.touch()
    tasks = [str(fatal), *(str(tmp_path / str(number)) for number in range(3))]
    found = dict(run_tasks(killed_once, tasks, workers=2, engine=engine))
    assert sorted(found) == [0, 1, 2, 3]
    assert os.getpid() not in found.values()
    assert not fatal.exists()


def test_a_task_that_always_kills_its_worker_is_an_error(engine: Engine) -> None:
    done: list[int] = []
    stream = run_tasks(always_killed, range(4), workers=2, engine=engine)
    with pytest.raises(RuntimeError, match="killed again and again"):
        done.extend(index for index, _ in stream)
    if engine == "process":  # the others are done first
        assert sorted(done) == [0, 2, 3]


def test_one_worker_is_the_calling_process() -> None:
    stream = run_tasks(killed_once, ["/none", "/neither"], workers=1)
    assert [pid for _, pid in stream] == [os.getpid()] * 2


def test_wrong_engines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="engine must be process or ray; got 'dask'"):
        list(run_tasks(double, [1], workers=1, engine="dask"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1; got 0"):
        list(run_tasks(double, [1], workers=0))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"og-reid\[ray\]"):
        list(run_tasks(double, [1], workers=1, engine="ray"))


def test_ray_makes_the_same_store(cluster: None, tmp_path: Path) -> None:
    paths = [plain_image(tmp_path / "in" / f"{shade}.png", shade) for shade in range(100, 106)]
    images = [LabelledImage(path, path.name) for path in paths]
    for engine in ("process", "ray"):
        lift_store(
            images, tmp_path / engine, estimator=StandingPerson, images_per_shard=2,
            engine=engine, workers=1 + (engine == "ray"),
        )  # fmt: skip
    stores = [
        {path.name: path.read_bytes() for path in (tmp_path / engine).iterdir()}
        for engine in ("process", "ray")
    ]
    assert stores[0] == stores[1]
