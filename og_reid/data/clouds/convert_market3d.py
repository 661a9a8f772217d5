"""Conversion of trees of the authors' ``.obj`` clouds to a store, parallel and resumable."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pose.runtime.process_pool import map_in_processes

from ..files.folder_lock import LOCK_FILE, locked_folder
from ..sample import Sample
from .market3d import PIXELS
from .market3d_obj import read_obj
from .market3d_tree import load_market3d
from .shard import VERSION, CloudLabel, QuantizedCloud, Shard, import_pyarrow, write_shard
from .store import MANIFEST, ShardInfo, write_manifest

__all__ = ["Conversion", "convert_market3d"]

_SHARD = re.compile(r"clouds-(\d{6})\.arrow")
_PARTIAL = re.compile(r"\..*\.[0-9a-f]+\.partial")  # of `pose.files.atomic_write.replacing`


@dataclass(frozen=True)
class Conversion:
    """Result of a conversion.

    Attributes:
        clouds: number of clouds of each split.
        shards: number of shard files.
        kept: number of shards that an earlier run had finished.
        bytes: size of all shards.
    """

    clouds: dict[str, int]
    shards: int
    kept: int
    bytes: int

    def __str__(self) -> str:
        count = sum(self.clouds.values())
        splits = ", ".join(f"{split} {number}" for split, number in self.clouds.items())
        return (
            f"{count} clouds ({splits})\n"
            f"{self.shards} shards, {self.kept} of them found finished; "
            f"{self.bytes / 1e6:.1f} MB, {self.bytes / count / 1e3:.1f} kB a cloud"
        )


@dataclass(frozen=True)
class _Task:
    path: Path
    samples: tuple[tuple[str, Sample], ...]  # with their splits
    expected: int | None


def convert_market3d(
    source: str | Path,
    out: str | Path,
    *,
    splits: Sequence[str] | None = None,
    expected: int | None = PIXELS,
    clouds_per_shard: int = 256,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Converts a tree of ``.obj`` clouds into a store that `CloudStore` opens.

    The same call resumes a killed run: finished shards are verified and kept, the others made.
    Shards are made again when they are damaged, or when the names, sizes or times of their files or
    the arguments changed. The result does not depend on interruptions or on
    ``workers``.

    Args:
        source: root of the tree, see `load_market3d`.
        out: folder of the store; new, empty, or of an earlier conversion.
        splits: see `load_market3d`.
        expected: number of points of every cloud; None allows any.
        clouds_per_shard: at least 1; a kill loses at most that much work in each worker.
        workers: processes. With more than one, a script needs the ``if __name__ == "__main__":``
            guard, because workers import it again.
        progress: called with (clouds done, clouds in all).

    Raises:
        ValueError: an argument is wrong, a cloud cannot be read or stored exactly enough (the
            message names its file), or ``out`` holds other files or is being written.
        ImportError: pyarrow is not installed.
    """
    if clouds_per_shard < 1 or workers < 1:
        raise ValueError(
            f"clouds_per_shard and workers must be at least 1; got {clouds_per_shard} and {workers}"
        )
    import_pyarrow()
    listed = load_market3d(source, splits)
    samples = tuple((split, sample) for split, each in listed.items() for sample in each)
    out = Path(out)
    tasks = [
        _Task(
            out / f"clouds-{number:06}.arrow", samples[first : first + clouds_per_shard], expected
        )
        for number, first in enumerate(range(0, len(samples), clouds_per_shard))
    ]
    with _only_writer(out):
        (out / MANIFEST).unlink(missing_ok=True)  # unfinished from here on
        infos, kept, done = [], 0, 0
        for task, (info, was_there) in zip(tasks, _run(tasks, workers), strict=True):
            infos.append(info)
            kept += was_there
            done += len(task.samples)
            if progress is not None:
                progress(done, len(samples))
        for path in out.iterdir():
            match = _SHARD.fullmatch(path.name)
            if match and int(match[1]) >= len(tasks):
                path.unlink()  # of an earlier, larger source
        write_manifest(out, infos)
    return Conversion(
        clouds=dict(Counter(split for split, _ in samples)),
        shards=len(infos),
        kept=kept,
        bytes=sum(info.bytes for info in infos),
    )


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Makes the folder, locks it until the process ends, and removes leftovers of a killed one."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out must be a folder; {folder} is a file")
    strange = [
        path.name
        for path in (sorted(folder.iterdir()) if folder.exists() else ())
        if path.name not in (MANIFEST, LOCK_FILE)
        and not _SHARD.fullmatch(path.name)
        and not _PARTIAL.fullmatch(path.name)
    ]
    if strange:
        raise ValueError(
            f"out must be a new folder or a cloud store; {folder} holds other files: {strange[:3]}"
        )
    with locked_folder(folder, "must not be in use: another run converts to it"):
        for path in folder.iterdir():
            if _PARTIAL.fullmatch(path.name):
                path.unlink()
        yield


def _run(tasks: list[_Task], workers: int) -> Iterator[tuple[ShardInfo, bool]]:
    if workers == 1 or len(tasks) == 1:
        yield from map(_make_shard, tasks)
        return
    yield from map_in_processes(_make_shard, tasks, workers)


def _make_shard(task: _Task) -> tuple[ShardInfo, bool]:
    """One shard, and True when it was finished before."""
    fingerprint = _fingerprint(task)
    info = partial(ShardInfo, task.path.name, len(task.samples), fingerprint=fingerprint)
    if task.path.is_file():
        try:
            found = Shard(task.path)
            if found.fingerprint == fingerprint:
                found.verify()
                return info(bytes=task.path.stat().st_size), True
        except ValueError:
            pass  # damaged: make it again
    clouds = []
    for split, sample in task.samples:
        label = CloudLabel(sample.name.removesuffix(".obj"), split, sample.pid, sample.camid)
        cloud = read_obj(sample.path, expected=task.expected)
        try:
            clouds.append((label, QuantizedCloud.pack(cloud)))
        except ValueError as error:
            raise ValueError(f"{sample.path}: {error}") from error
    write_shard(task.path, clouds, fingerprint=fingerprint)
    return info(bytes=task.path.stat().st_size), False


def _fingerprint(task: _Task) -> str:
    """Hash of everything that determines the content of a shard."""
    digest = hashlib.sha256(f"{VERSION} {task.expected}".encode())
    for split, sample in task.samples:
        state = sample.path.stat()
        content = (split, sample.name, sample.pid, sample.camid, state.st_size, state.st_mtime_ns)
        digest.update(repr(content).encode())
    return digest.hexdigest()[:24]
