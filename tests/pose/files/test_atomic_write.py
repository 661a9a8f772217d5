"""A file is whole or not there, whoever writes it at the same time."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pose.files.atomic_write import atomic_write


def test_concurrent_writers_of_one_file_do_not_interfere(tmp_path: Path) -> None:
    path, barrier = tmp_path / "folder" / "file", Barrier(4)

    def write(text: str) -> None:
        with atomic_write(path) as partial:
            barrier.wait()
            partial.write_text(text * 1000)
            barrier.wait()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert path.read_text() in {letter * 1000 for letter in "abcd"}
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_write(path) as partial:
        (partial.parent / "not there").rename(partial)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def write(path: Path, text: str = "new") -> None:
    with atomic_write(path) as partial:
        partial.write_text(text)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o755])
def test_a_replaced_file_passes_its_permissions_on(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    write(path)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o037)
    try:
        write(tmp_path / "file")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_the_temporary_file_has_the_permissions_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o600)
    with atomic_write(path) as partial:
        partial.write_text("secret")
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_replaced_file_passes_its_owner_on(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, 1234, 2345)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_and_its_file_is_replaced(tmp_path: Path, there: bool) -> None:
    real, first, second = tmp_path / "far" / "real", tmp_path / "first", tmp_path / "second"
    real.parent.mkdir()
    if there:
        real.write_text("old")
        real.chmod(0o600)
    first.symlink_to("far/real")
    second.symlink_to(first)
    write(second)
    assert second.is_symlink()
    assert first.is_symlink()
    assert real.read_text() == "new"
    assert not there or stat.S_IMODE(real.stat().st_mode) == 0o600


def test_a_circle_of_links_is_an_error_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="a'") as error:
        write(path)
    assert (error.value.errno, error.value.filename) == (errno.ELOOP, str(path))


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127 + "n", "語" * 85], ids=len)
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path, name: str) -> None:
    assert len(os.fsencode(name)) == 255
    write(tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_too_long_a_name_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"), atomic_write(tmp_path / ("n" * 256)):
        pytest.fail("the work began")


def test_a_folder_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=tmp_path.name), atomic_write(tmp_path):
        pytest.fail("the work began")


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="pipe, socket or device"), atomic_write(path):
        pytest.fail("the work began")
    assert path.is_fifo()


def fail(path: Path, error: Exception) -> None:
    with atomic_write(path) as partial:
        partial.write_text("half")
        raise error


class ForeignError(Exception):
    pass


def foreign(text: str) -> Exception:
    return ForeignError(text)


def caused(error: OSError) -> Exception:
    foreign = ForeignError("could not write")
    foreign.__cause__ = error
    return foreign


@pytest.mark.parametrize(
    ("raised", "number"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), errno.ENOSPC),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), errno.EDQUOT),
        (OSError(errno.EIO, "Input/output error"), errno.EIO),
        (foreign("Error: I/O error: No space left on device (os error 28)"), errno.ENOSPC),
        (foreign("Writing failed. Detail: [errno 27] File too large"), errno.EFBIG),
        (foreign("disk quota exceeded"), errno.EDQUOT),
        (caused(OSError(errno.ENOSPC, "No space left on device")), errno.ENOSPC),
        (OSError("1000 requested and 10 written"), errno.EIO),
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), errno.EIO),
    ],
)
def test_errors_of_a_disk_are_os_errors_with_the_path(
    tmp_path: Path, raised: Exception, number: int
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="file'") as error:
        fail(path, raised)
    assert (error.value.errno, error.value.filename) == (number, str(path))
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "raised",
    [ForeignError("a mistake"), OSError(errno.ENOSPC, "No space", "elsewhere"), KeyError("x")],
)
def test_other_errors_come_as_they_are(tmp_path: Path, raised: Exception) -> None:
    with pytest.raises(type(raised)) as error:
        fail(tmp_path / "file", raised)
    assert error.value is raised


def test_a_full_disk_found_by_the_flush_names_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*file'"):
        write(tmp_path / "file")
    assert not list(tmp_path.iterdir())


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from safetensors.torch import save_file
from pose.files.atomic_write import atomic_write
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
big = torch.zeros(100_000)
def opened(partial, write):
    with partial.open("wb") as file:
        write(file)
writers = {
    "safetensors": lambda partial: save_file({"a": big}, partial),
    "torch": lambda partial: torch.save(big, partial),
    "numpy": lambda partial: opened(partial, lambda file: np.save(file, big.numpy())),
    "npz": lambda partial: opened(partial, lambda file: np.savez(file, big.numpy())),
    "text": lambda partial: opened(partial, lambda file: np.savetxt(file, big.numpy())),
    "bytes": lambda partial: partial.write_bytes(bytes(400_000)),
}
for name, writer in writers.items():
    path = Path(sys.argv[1], name)
    try:
        with atomic_write(path) as partial:
            writer(partial)
    except OSError as error:
        assert error.filename == str(path), (name, error)
        assert error.errno, (name, error)
        continue
    raise AssertionError(name)
"""


def test_every_writer_that_meets_a_limit_of_the_system_names_the_path(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


def test_old_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    old = [tmp_path / f".{name}.{'0' * 16}.partial" for name in ("file", "other")]
    fresh = tmp_path / f".file.{'1' * 16}.partial"
    own = [tmp_path / name for name in ("notes.partial", ".notes.123.partial")]
    for path in (*old, fresh, *own):
        path.touch()
    long_ago = time.time() - 2 * 24 * 3600
    for path in (*old, *own):
        os.utime(path, (long_ago, long_ago))
    write(tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {
        "file", fresh.name, *(path.name for path in own)
    }  # fmt: skip
