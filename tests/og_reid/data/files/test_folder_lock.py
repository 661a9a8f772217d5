"""A folder that one run at a time writes to."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from og_reid.data.files.folder_lock import LOCK_FILE, locked_folder
from og_reid.train import StepLog, fit, init_distributed
from og_reid.train.distributed import DistInfo
from og_reid.train.run_folder import only_run
from regression import Regression, config

fork = multiprocessing.get_context("fork")


def hold(folder: Path, ready: Path) -> None:
    with locked_folder(folder, "is in use"):
        ready.touch()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path: Path) -> multiprocessing.Process:
    """Another process that holds ``tmp_path / "run"``."""
    child = fork.Process(target=hold, args=(tmp_path / "run", tmp_path / "ready"), daemon=True)
    child.start()
    end = time.monotonic() + 30
    while not (tmp_path / "ready").exists() and time.monotonic() < end:
        time.sleep(0.01)
    yield child
    child.kill()
    child.join()


def test_a_folder_in_use_is_refused_with_its_holder(
    tmp_path: Path, holder: multiprocessing.Process
) -> None:
    message = rf"run is in use \(process {holder.pid}\)"
    with pytest.raises(ValueError, match=message), locked_folder(tmp_path / "run", "is in use"):
        pytest.fail("locked twice")


def test_a_killed_holder_does_not_block(tmp_path: Path, holder: multiprocessing.Process) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert (tmp_path / "run" / LOCK_FILE).exists()
    with locked_folder(tmp_path / "run", "is in use"):
        pass
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_the_holder_may_lock_again_and_another_thread_may_not(tmp_path: Path) -> None:
    seen: list[str] = []

    def other() -> None:
        try:
            with locked_folder(tmp_path, "is in use"):
                seen.append("locked")
        except ValueError as error:
            seen.append(str(error))

    with locked_folder(tmp_path, "is in use"):
        with locked_folder(tmp_path / "." / "x" / "..", "is in use"):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert (tmp_path / LOCK_FILE).exists()
    assert len(seen) == 1
    assert "is in use" in seen[0]
    assert list(tmp_path.iterdir()) == []


def test_a_made_folder_left_empty_is_removed(tmp_path: Path) -> None:
    def fail() -> None:
        with locked_folder(tmp_path / "new", "is in use"):
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="must be a folder"), locked_folder(tmp_path / "file", ""):
        pass


def test_a_file_system_without_locks_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked_folder(tmp_path, "is in use"):
        pass


def test_only_one_process_holds_the_lock_at_a_time(tmp_path: Path) -> None:
    """Threads that lock and unlock: the file is removed and made again all the time."""
    inside, most, done = [0], [0], [0]
    guard = threading.Lock()

    def work() -> None:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            try:
                with locked_folder(tmp_path, "is in use"):
                    with guard:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    time.sleep(0)
                    with guard:
                        inside[0] -= 1
                        done[0] += 1
            except ValueError:
                pass

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most[0] == 1
    assert done[0] > 10


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    """The second one is refused and the first one's files stay as they are."""
    seen: list[str] = []

    def second(record: StepLog) -> None:
        if record.step != 3:
            return

        def start() -> None:
            for resume in (True, False):
                try:
                    fit(config(budget={"steps": 9}), Regression(), out_dir=tmp_path, resume=resume)
                except ValueError as error:
                    seen.append(str(error))

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()

    result = fit(
        config(budget={"steps": 6}, checkpoint_every=2),
        Regression(),
        out_dir=tmp_path,
        progress=second,
    )
    assert [each.step for each in result.history] == [1, 2, 3, 4, 5, 6]
    assert len(seen) == 2
    assert all("is in use: another training writes to it" in each for each in seen)
    assert not (tmp_path / LOCK_FILE).exists()


def joined(rank: int, port: int, folder: Path, queue: multiprocessing.SimpleQueue) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
        TORCHELASTIC_USE_AGENT_STORE="True",
    )  # fmt: skip
    with init_distributed("cpu", seconds=30):
        try:
            fit(config(budget={"steps": 2}), Regression(), out_dir=folder)
            queue.put("trained")
        except ValueError as error:
            queue.put(str(error))


@pytest.mark.parametrize("busy", [True, False])
def test_two_processes_of_one_run_have_one_lock(
    tmp_path: Path, request: pytest.FixtureRequest, busy: bool
) -> None:
    if busy:
        request.getfixturevalue("holder")
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    queue = fork.SimpleQueue()
    children = [
        fork.Process(target=joined, args=(rank, store.port, tmp_path / "run", queue), daemon=True)
        for rank in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    found = [queue.get() for _ in range(2)]
    for each in found:
        assert ("is in use" in each) if busy else (each == "trained")


def test_a_folder_that_cannot_be_locked_ends_all_processes_of_a_run(tmp_path, monkeypatch):
    said = []

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    def record(_, number, __):
        said.append(number)
        return number

    monkeypatch.setattr("og_reid.train.run_folder.locked_folder", refuse)
    monkeypatch.setattr("og_reid.train.run_folder.broadcast_from_main", record)
    with pytest.raises(PermissionError, match="Permission denied"):
        with only_run(tmp_path, DistInfo(), torch.device("cpu")):
            pass
    assert said == [True]
