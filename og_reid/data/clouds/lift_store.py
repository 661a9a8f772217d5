"""Bulk lift of images to a store: shards in parallel, resumable, with a report of failures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pose import MediapipePose, PoseEstimator
from pose.files.atomic_write import PARTIAL
from pose.runtime.defaults import plain_torch

from ..files.folder_lock import LOCK_FILE, locked_folder
from ..files.inputs import Failure, cause, summarize_warnings
from .attempts import MaskSource
from .cache import hash_file
from .engines import Engine, run_tasks
from .lift_dataset import CHUNK, LiftSettings, describe_lift
from .lift_shard import (
    KnownCloud,
    ShardImage,
    ShardResult,
    ShardTask,
    lift_shard,
    read_shard_table,
)
from .lifted_store import MANIFEST, Manifest, StoredShard, read_manifest, write_manifest

__all__ = ["FAILURES", "IMAGES_PER_SHARD", "LabelledImage", "StoredLifts", "lift_store"]

#: Images of a shard: a kill loses the work on at most that many in each worker.
IMAGES_PER_SHARD = CHUNK
#: File name of the report of failures, which a store may hold.
FAILURES = "failures.csv"
_SHARD = re.compile(r"clouds-[0-9a-f]{24}\.safetensors")


@dataclass(frozen=True)
class LabelledImage:
    """Image of a bulk lift.

    Attributes:
        path: Path of the image.
        name: Name in the store; unique.
        pid: Identity; -1 = unknown.
        camid: Camera.
    """

    path: Path
    name: str
    pid: int = -1
    camid: int = 0


@dataclass(frozen=True)
class StoredLifts:
    """Result of a bulk lift.

    Attributes:
        clouds: Number of clouds in the store.
        kept: Number of images with a result of an earlier run.
        bytes: Size of all shards.
        failures: Images without a cloud, in order.
        warnings: Warnings on images, one per kind.
    """

    clouds: int
    kept: int
    bytes: int
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]


@plain_torch()
def lift_store(
    images: Sequence[LabelledImage],
    out: str | Path,
    *,
    settings: LiftSettings | None = None,
    estimator: Callable[[], PoseEstimator] | None = None,
    canonical: bool = False,
    masks: MaskSource | None = None,
    workers: int = 1,
    engine: Engine = "process",
    images_per_shard: int = IMAGES_PER_SHARD,
    progress: Callable[[int, int], None] | None = None,
) -> StoredLifts:
    """Lifts images to a store that `LiftedStore` opens; each cloud is that of `lift_dataset`.

    The same call resumes a killed run: finished shards are kept, and with other images in the
    folder also the clouds of those that were lifted before (by the hash of their bytes). The
    bytes of a store do not depend on ``workers``, ``engine``, kills, or the place of the images.
    An update of a finished store leaves it readable until its new list of shards is written.

    Args:
        images: Images and their names in the store.
        out: Folder; new, empty, or a store of the same settings.
        settings: Settings of the lift; None for the defaults.
        estimator: Constructor of the pose estimator, a class or module-level function; None for
            mediapipe's.
        canonical: Clouds in the resting pose, see `meshes.lift.Lift.canonical`.
        masks: Source of masks of people's own visible surface, such as
            `og_reid.inference.own_surface.OwnSurface`; None for the estimator's masks of people.
        workers: Number of processes. With more than one, a script needs the ``if __name__ ==
            "__main__":`` guard, because workers import it again.
        engine: See `og_reid.data.clouds.engines.run_tasks`.
        images_per_shard: At least 1.
        progress: Called with (images done, images in all).

    Raises:
        ValueError: An argument is wrong, two images have one name, ``out`` holds other files, a
            store of other settings, or is being written.
        OSError: A shard cannot be written: the disk is full, or the like. The same call resumes.
        RuntimeError: Workers were killed repeatedly.
    """
    if images_per_shard < 1 or workers < 1:
        raise ValueError(
            f"images_per_shard and workers must be at least 1; got {images_per_shard}, {workers}"
        )
    _check_names(images)
    make = estimator or MediapipePose
    settings = settings or LiftSettings()
    about = describe_lift(make, settings, canonical, masks)
    folder = Path(out).absolute()  # workers of Ray have another working directory
    with _only_writer(folder, about):
        files, unreadable = _hashed(images, workers)
        text = json.dumps(about, sort_keys=True)
        known = _known_places(folder, text)
        tasks = []
        for start in range(0, len(files), images_per_shard):
            some = tuple(files[start : start + images_per_shard])
            places = tuple(known.get(_identity(each)) for each in some)
            tasks.append(ShardTask(folder, some, text, settings, make, canonical, places, masks))
        results = _run(tasks, workers, engine, len(images), len(unreadable), progress)
        entries = [StoredShard(r.file, r.clouds, len(r.failures), r.bytes) for r in results]
        write_manifest(folder, Manifest(about, tuple(entries)))
        _remove_others(folder, {each.file for each in entries})
    return _summary(images, results, unreadable)


def _run(
    tasks: Sequence[ShardTask],
    workers: int,
    engine: Engine,
    total: int,
    done: int,
    progress: Callable[[int, int], None] | None,
) -> list[ShardResult]:
    found: dict[int, ShardResult] = {}
    if progress is not None:
        progress(done, total)
    with closing(run_tasks(lift_shard, tasks, workers=workers, engine=engine)) as stream:
        for index, result in stream:
            found[index] = result
            done += len(tasks[index].images)
            if progress is not None:
                progress(done, total)
    return [found[index] for index in range(len(tasks))]


def _check_names(images: Sequence[LabelledImage]) -> None:
    owners: dict[str, Path] = {}
    for each in images:
        other = owners.setdefault(each.name, each.path)
        if other != each.path:
            raise ValueError(
                f"every image must have a name of its own; {other} and {each.path} are both "
                f"{each.name}: give the folder above both, or lift them into two stores"
            )
    if len(owners) != len(images):
        raise ValueError("every image must be given once; some are given twice")


@contextmanager
def _only_writer(folder: Path, about: dict[str, Any]) -> Iterator[None]:
    """Locks the folder, refuses other content, and begins the store."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out must be a folder; {folder} is a file")
    names = [path.name for path in sorted(folder.iterdir())] if folder.exists() else []
    strange = [
        name
        for name in names
        if name not in (MANIFEST, FAILURES, LOCK_FILE)
        and not _SHARD.fullmatch(name)
        and not PARTIAL.fullmatch(name)
    ]
    if strange:
        raise ValueError(
            f"out must be a new folder or a store of lifted images; {folder} holds other files: "
            f"{strange[:3]}"
        )
    with locked_folder(folder, "must not be in use: another run lifts to it"):
        for name in names:
            if PARTIAL.fullmatch(name):
                (folder / name).unlink(missing_ok=True)
        if MANIFEST in names:
            _check_settings(folder, about)
        else:
            write_manifest(folder, Manifest(about, None))
        yield


def _check_settings(folder: Path, about: dict[str, Any]) -> None:
    there = _leaves(read_manifest(folder).settings)
    wanted = _leaves(json.loads(json.dumps(about)))
    if there != wanted:
        names = [each for each in {**there, **wanted} if there.get(each) != wanted.get(each)]
        found = "; ".join(
            f"{each} {there.get(each)} there, {wanted.get(each)} now" for each in names
        )
        raise ValueError(
            f"{folder} is a store of other settings ({found}): give another folder, or remove it, "
            "and all images are lifted again"
        )


def _leaves(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Values of nested settings by dotted name."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= _leaves(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def _hashed(
    images: Sequence[LabelledImage], threads: int
) -> tuple[list[ShardImage], dict[str, str]]:
    """Readable images with the hashes of their bytes, and reasons of the others by name."""

    def look(each: LabelledImage) -> str | tuple[str]:
        try:
            return hash_file(each.path)
        except (OSError, ValueError) as error:
            return (cause(error),)

    with ThreadPoolExecutor(threads) as pool:
        keys = list(pool.map(look, images))
    files, failed = [], {}
    for each, key in zip(images, keys, strict=True):
        if isinstance(key, str):
            files.append(ShardImage(each.path.absolute(), each.name, key, each.pid, each.camid))
        else:
            failed[each.name] = key[0]
    return files, failed


_Identity = tuple[str, str]


def _identity(image: ShardImage) -> _Identity:
    return image.name, image.key


def _known_places(folder: Path, about: str) -> dict[_Identity, KnownCloud]:
    """Places of clouds in the shards of earlier runs, by name and key."""
    found: dict[_Identity, KnownCloud] = {}
    for path in sorted(folder.iterdir()):
        if not _SHARD.fullmatch(path.name):
            continue
        try:
            table = read_shard_table(path)
        except ValueError:
            continue  # damaged: lifted again
        if table.about == about:
            for row, each in enumerate(zip(table.names, table.keys, strict=True)):
                found[each] = KnownCloud(path.name, row)
    return found


def _remove_others(folder: Path, files: set[str]) -> None:
    """Removes shards of earlier listings, after the new list is written."""
    for path in folder.iterdir():
        if _SHARD.fullmatch(path.name) and path.name not in files:
            path.unlink()


def _summary(
    images: Sequence[LabelledImage], results: Sequence[ShardResult], unreadable: dict[str, str]
) -> StoredLifts:
    paths = {each.name: each.path for each in images}
    reasons = dict(unreadable)
    reasons.update((each.name, each.reason) for result in results for each in result.failures)
    raised = [(paths[name], text) for result in results for name, text in result.warnings]
    return StoredLifts(
        clouds=sum(each.clouds for each in results),
        kept=sum(each.kept for each in results),
        bytes=sum(each.bytes for each in results),
        failures=tuple(
            Failure(each.path, reasons[each.name]) for each in images if each.name in reasons
        ),
        warnings=summarize_warnings(raised),
    )
