"""Lift of images to files of clouds, with a table of the results; resumable."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath

from meshes import write_pointcloud
from pose import MediapipePose, PoseEstimator
from pose.files.atomic_write import atomic_write
from pose.literals import Masks
from pose.runtime.defaults import plain_torch

from ..data.clouds.attempts import NO_PERSON, MaskSource, attempt_lifts, estimator_settings
from ..data.clouds.cache import LIFT_VERSION, hash_file
from ..data.clouds.lift_dataset import CHUNK, run_chunks
from ..data.files.inputs import Failure, Input, summarize_warnings
from ..inference.own_surface import mask_source

__all__ = ["LIFT_TABLE", "LiftedFile", "LiftedFiles", "lift_files", "lift_targets"]

#: File name of the table in a folder of lifted images.
LIFT_TABLE = "lift.csv"
_BACKGROUND = 1500  # points, as in `og_reid.lift`
_NAMED = 5


@dataclass(frozen=True)
class LiftedFile:
    """Row of the table.

    Attributes:
        image: Path of the image, as given.
        cloud: Path of the cloud below the output folder, with ``/``.
        points: Number of points; 0 without a cloud.
        seen: Number of visible body points.
        size: Size of the file in bytes.
        key: Digest of the image's bytes and the settings of the lift.
        reason: Reason of a failure; empty for a cloud.
    """

    image: str
    cloud: str
    points: int
    seen: int
    size: int
    key: str
    reason: str


@dataclass(frozen=True)
class LiftedFiles:
    """Results of a bulk lift.

    Attributes:
        rows: Rows of all images, in order.
        kept: Number of clouds kept from an earlier run.
        failures: Images without a cloud, in order.
        warnings: Warnings on images, one per kind.
    """

    rows: tuple[LiftedFile, ...]
    kept: int
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]


def lift_targets(inputs: Sequence[Input], ending: str = ".ply") -> dict[str, Path]:
    """Files of clouds below an output folder, mirroring the tree of the images.

    Returns:
        Image by file name, in order, without duplicates.

    Raises:
        ValueError: Two images would have one file; the message names both.
    """
    owners: dict[str, Path] = {}
    pairs = []
    for each in inputs:
        target = PurePosixPath(each.name).with_suffix(ending).as_posix()
        other = owners.setdefault(target, each.path)
        if other != each.path:
            pairs.append(f"{other} and {each.path} ({target})")
    if pairs:
        more = f" and {len(pairs) - _NAMED:,} more" if len(pairs) > _NAMED else ""
        raise ValueError(
            f"every image must have a file of its own; one name for {'; '.join(pairs[:_NAMED])}"
            f"{more}: rename images, or lift them into several folders"
        )
    return owners


@plain_torch()
def lift_files(
    inputs: Sequence[Input],
    out: str | Path,
    *,
    ending: str = ".ply",
    workers: int = 1,
    estimator: Callable[[], PoseEstimator] | None = None,
    masks: Masks = "own-surface",
    progress: Callable[[int, int], None] | None = None,
) -> LiftedFiles:
    """Lifts images to files of clouds; each cloud is that of `og_reid.lift`.

    The table ``lift.csv`` in ``out`` is extended during the work, and the same call resumes a
    killed run: clouds in the table of the same image (by its bytes), estimator and versions, and of
    the stored size, are kept. Rows of other images stay in the table.

    Args:
        inputs: Image files and their names below ``out``.
        out: Folder; created if missing.
        ending: ``.ply``, ``.npz`` or ``.obj``.
        workers: Number of processes. With more than one, a script needs the ``if __name__ ==
            "__main__":`` guard, because workers import it again.
        estimator: Makes the pose estimator; picklable when ``workers`` > 1; None for mediapipe's.
        masks: See ``mask`` of `og_reid.lift`.
        progress: Called with (images done, images in all).

    Raises:
        ValueError: Two images would have one file, or an argument is wrong.
        OSError: A file cannot be written.
        RuntimeError: A worker was killed.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}")
    targets = lift_targets(inputs, ending)
    folder, make = Path(out), estimator or MediapipePose
    about = {"lift": LIFT_VERSION, "background": _BACKGROUND, "estimator": estimator_settings(make)}
    source = mask_source(masks)
    if source is not None:
        about["masks"] = source.settings
    settings = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    table = folder / LIFT_TABLE
    known = _read_table(table)
    rows: dict[str, LiftedFile] = {}
    jobs = []
    for target, image in targets.items():
        before = known.get(target)
        if before is not None and before.key == _key(image, settings):
            path = folder / target
            if not before.reason and path.is_file() and path.stat().st_size == before.size:
                rows[target] = replace(before, image=str(image))
                continue
        jobs.append(_Job(image, target))
    kept = len(rows)
    chunks = [tuple(jobs[i : i + CHUNK]) for i in range(0, len(jobs), CHUNK)]
    task = partial(_lift_chunk, folder=folder, settings=settings, estimator=make, masks=source)
    raised: list[tuple[Path, str]] = []
    if jobs:
        _write_table(table, known.values())  # complete lines, before others are appended
    with closing(run_chunks(task, chunks, workers)) as results:
        for chunk in results:
            rows.update((row.cloud, row) for row, _ in chunk)
            raised += [(Path(row.image), text) for row, texts in chunk for text in texts]
            _append(table, [row for row, _ in chunk])
            if progress is not None:
                progress(len(rows), len(targets))
    ordered = tuple(rows[target] for target in targets)
    # Rows of other images, also from a concurrent run.
    known.update(_read_table(table))
    others = [row for target, row in known.items() if target not in rows]
    _write_table(table, [*ordered, *others])
    failures = tuple(Failure(Path(row.image), row.reason) for row in ordered if row.reason)
    return LiftedFiles(ordered, kept, failures, summarize_warnings(raised))


@dataclass(frozen=True)
class _Job:
    path: Path
    target: str


def _key(path: Path, settings: str) -> str:
    try:
        return f"{hash_file(path)}-{settings}"
    except (OSError, ValueError):
        return ""


def _lift_chunk(
    jobs: tuple[_Job, ...],
    *,
    folder: Path,
    settings: str,
    estimator: Callable[[], PoseEstimator],
    masks: MaskSource | None,
) -> list[tuple[LiftedFile, tuple[str, ...]]]:
    done = []
    # Digest before the lift: an image that changes meanwhile is lifted again.
    keys = [_key(job.path, settings) for job in jobs]
    attempts = attempt_lifts([job.path for job in jobs], estimator, _BACKGROUND, masks)
    for job, key, attempt in zip(jobs, keys, attempts, strict=True):
        points = seen = size = 0
        reason = attempt.reason or ("" if attempt.found else NO_PERSON)
        if attempt.lift is not None and not reason:
            cloud = attempt.lift.cloud
            write_pointcloud(folder / job.target, cloud)
            points, seen = len(cloud), int(cloud.seen_mask.sum())
            size = (folder / job.target).stat().st_size
        row = LiftedFile(str(job.path), job.target, points, seen, size, key, reason)
        done.append((row, attempt.warnings))
    return done


def _lines(rows: Iterable[LiftedFile]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(astuple(row) for row in rows)
    return text.getvalue()


def _append(path: Path, rows: Iterable[LiftedFile]) -> None:
    try:
        with path.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(_lines(rows))
    except OSError as error:
        if error.filename is None:  # from the write: a full disk
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise


def _write_table(path: Path, rows: Iterable[LiftedFile]) -> None:
    with (
        atomic_write(path) as partial,
        partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        csv.writer(file).writerow([field.name for field in fields(LiftedFile)])
        file.write(_lines(rows))


def _read_table(path: Path) -> dict[str, LiftedFile]:
    """Rows by cloud, without a last incomplete one.

    Raises:
        ValueError: The file is no table of a lift.
    """
    if not path.exists():
        return {}
    names = [field.name for field in fields(LiftedFile)]
    text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    rows = {}
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        if next(lines, None) != names:
            raise ValueError("its columns are others")
        for line in lines:
            # Truncated by a kill, or changed since: the image is lifted again.
            if len(line) == len(names) and all(map(str.isdecimal, line[2:5])):
                image, cloud = map(_native, line[:2])
                points, seen, size, key, reason = line[2:]
                numbers = int(points), int(seen), int(size)
                rows[cloud] = LiftedFile(image, cloud, *numbers, key, reason)
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{path} is no table of og-reid lift, or damaged ({error}): give another folder, or "
            "remove the table, and all images are lifted again"
        ) from error
    return rows


def _native(name: str) -> str:
    """Name in the table, in the file-name encoding of this process."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))
