"""Bulk lift of images: pose, fit, colour and pack, parallel and resumable."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from pose import MediapipePose, PoseEstimator
from pose.files.reading import InputWarning, level_outside
from pose.runtime.defaults import plain_torch
from pose.runtime.process_pool import map_in_processes

from ..files.inputs import (
    Failure,
    cause,
    name_failures,
    named,
    summarize_warnings,
    unreadable_images,
)
from ..sample import Sample
from .attempts import Attempt, MaskSource, attempt_lifts, estimator_settings
from .cache import LIFT_VERSION, CachedCloud, CloudCache, hash_file
from .cloud_set import CloudSet

__all__ = [
    "CHUNK",
    "LiftSettings",
    "LiftedImage",
    "describe_lift",
    "lift_dataset",
    "lift_many",
    "run_chunks",
]

#: Images per task: large enough to fit bodies together, small enough to resume closely.
CHUNK = 32
_IN_MEMORY = 8192  # kept clouds that are read once, not twice: 22 kB each
_IMAGE = "<image>"  # placeholder of the path in cached texts; the path may change
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class LiftSettings:
    """Settings that determine a lift, besides the images.

    Attributes:
        max_points: points kept per cloud, in farthest-point order.
        background: background points per cloud; kept only with few visible body points.
        min_points: visible body points below which a cloud keeps its background.
    """

    max_points: int = 2048
    background: int = 500
    min_points: int = 32


@dataclass(frozen=True, eq=False)
class LiftedImage:
    """Result of one image of a bulk lift.

    Attributes:
        path: path of the image.
        cloud: set of this cloud alone, without a name, of identity -1 and camera 0; None for a
            failed image.
        found: True when a person was found. Otherwise the cloud is a hidden body in the resting
            pose, and the background.
        reason: reason of the failure; empty without one.
        warnings: texts of each `InputWarning`, and reasons for doubt about the lift.
    """

    path: Path
    cloud: CloudSet | None
    found: bool
    reason: str = ""
    warnings: tuple[str, ...] = ()


@plain_torch()
def lift_dataset(
    samples: Sequence[Sample],
    *,
    estimator: Callable[[], PoseEstimator] = MediapipePose,
    settings: LiftSettings | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    cache: str | Path | None = None,
    canonical: bool = False,
    masks: MaskSource | None = None,
) -> CloudSet:
    """Lift images to packed clouds, equal to single lifts.

    Args:
        samples: images with identity and camera. An image without a person gives a hidden body in
            the resting pose, and the background.
        estimator: see `lift_many`.
        settings: see ``LiftSettings``; None for its defaults.
        workers: see `lift_many`.
        progress: called with (images done, images in all).
        cache: see `lift_many`.
        canonical: clouds in the resting pose, see `meshes.lift.Lift.canonical`.
        masks: see `lift_many`.

    Returns:
        The clouds in the order of ``samples``.

    Raises:
        ValueError: ``samples`` is empty, or images cannot be read; found before the work, and the
            message names all of them.
        OSError: a result cannot be kept in ``cache``.

    Warns:
        InputWarning: doubtful images; one warning per kind, with counts and first names.
    """
    if not samples:
        raise ValueError("samples must hold at least one image; got none")
    lifted = list(
        lift_many(
            [sample.path for sample in samples],
            estimator=estimator,
            settings=settings,
            workers=workers,
            progress=progress,
            cache=cache,
            canonical=canonical,
            strict=True,
            masks=masks,
        )
    )
    raised = [(each.path, text) for each in lifted for text in each.warnings]
    for summary in (*summarize_warnings(raised), *_without_person(lifted)):
        warnings.warn(summary, InputWarning, stacklevel=level_outside())
    return replace(
        CloudSet.concat([each.cloud for each in lifted if each.cloud is not None]),
        pids=_integers([sample.pid for sample in samples]),
        camids=_integers([sample.camid for sample in samples]),
        names=tuple(sample.name for sample in samples),
    )


def _without_person(lifted: Sequence[LiftedImage]) -> tuple[str, ...]:
    """Warning text about images without a person."""
    paths = [each.path for each in lifted if each.cloud is not None and not each.found]
    if not paths:
        return ()
    return (
        f"no person was found in {len(paths):,} of {len(lifted):,} images, whose clouds are a body "
        f"in the resting pose and the background: {named(paths)}; crop them to one person, "
        "standing and at least 60 pixels tall, or leave them out",
    )


def _integers(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device="cpu")


def lift_many(
    paths: Sequence[str | Path],
    *,
    estimator: Callable[[], PoseEstimator] = MediapipePose,
    settings: LiftSettings | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    cache: str | Path | None = None,
    canonical: bool = False,
    strict: bool = False,
    masks: MaskSource | None = None,
) -> Generator[LiftedImage, None, None]:
    """Lift images to packed clouds one after the other; failed images do not stop the others.

    Args:
        paths: image files. With a ``cache``, files of equal bytes are lifted once.
        estimator: constructor of the pose estimator, called once per worker; picklable when
            ``workers`` > 1 (a class or a module-level function).
        settings: see ``LiftSettings``; None for its defaults.
        workers: processes. The result does not depend on it. With more than one, a script needs
            the ``if __name__ == "__main__":`` guard, because workers import it again.
        progress: called with (images done, images in all).
        cache: folder for lifted clouds, see `og_reid.data.clouds.cache`: an entry per image, keyed
            by its bytes, the settings, the estimator and its version. An interrupted run resumes
            from it. A read-only cache keeps no new clouds.
        canonical: clouds in the resting pose, see `meshes.lift.Lift.canonical`.
        strict: raise on a failed image; on missing and unreadable ones before the work.
        masks: source of masks of people's own visible surface, such as
            `og_reid.inference.own_surface.OwnSurface`; None for the estimator's masks of people.

    Yields:
        One result per image, in the order of ``paths``.

    Raises:
        ValueError: an argument is wrong, or ``strict``.
        OSError: a result cannot be kept in ``cache``: the disk is full, or the like.
        RuntimeError: a worker was killed.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}")
    settings = settings or LiftSettings()
    files = [Path(path) for path in paths]
    if not files:  # the packages of estimators are not needed
        return
    store = None
    if cache is not None:
        about = describe_lift(estimator, settings, canonical, masks)
        store = CloudCache(cache, about)
        if not store.writable:
            warnings.warn(
                f"the cache {store.folder} can be read only: what is lifted now is not kept",
                stacklevel=level_outside(),
            )
    jobs = [_job(path, store) for path in files]
    new, kept = _look_up(jobs, store)
    if strict:
        _refuse_unreadable(jobs, new, workers)
    task = partial(
        _lift_chunk,
        settings=settings,
        estimator=estimator,
        cache=store,
        canonical=canonical,
        masks=masks,
    )
    fresh = {id(job) for job in new}
    chunks = [tuple(new[i : i + CHUNK]) for i in range(0, len(new), CHUNK)]
    with closing(_each(task, chunks, workers)) as stream:
        for done, job in enumerate(jobs, start=1):
            if id(job) in fresh:
                lifted = next(stream)
            elif job.reason:
                lifted = LiftedImage(job.path, None, False, job.reason)
            else:
                entry = kept.get(job.key) or (None if store is None else store.read(job.key))
                if entry is None:  # it could not be kept, or is gone since
                    lifted = next(_unpack((job,), task((job,))))
                else:
                    doubts = tuple(text.replace(_IMAGE, str(job.path)) for text in entry.warnings)
                    lifted = LiftedImage(job.path, entry.cloud, entry.found, warnings=doubts)
            if strict and lifted.cloud is None:
                raise ValueError(name_failures([Failure(job.path, lifted.reason)], len(files)))
            yield lifted
            if progress is not None and (done % CHUNK == 0 or done == len(files)):
                progress(done, len(files))


@dataclass(frozen=True, eq=False)
class _Job:
    path: Path
    key: str = ""  # of the image's bytes; where there is a cache
    reason: str = ""  # it cannot be read


def _job(path: Path, store: CloudCache | None) -> _Job:
    try:
        if not path.exists():
            raise FileNotFoundError(f"image must be an existing file; there is no {path}")
        # Not every file can be read to its end: a pipe waits for ever.
        if not path.is_file():
            raise ValueError(f"image must be a file; {path} is a folder, a pipe or a device")
        return _Job(path, "" if store is None else hash_file(path))
    except (OSError, ValueError) as error:
        return _Job(path, reason=cause(error))


def _look_up(
    jobs: Sequence[_Job], store: CloudCache | None
) -> tuple[list[_Job], dict[str, CachedCloud]]:
    """Images to lift, one per content, and the first of the cached clouds.

    All cached clouds are read here, so that images of damaged entries are lifted with the others.
    """
    readable = [job for job in jobs if not job.reason]
    if store is None:
        return readable, {}
    new: dict[str, _Job] = {}
    kept: dict[str, CachedCloud] = {}
    looked: set[str] = set()
    for job in readable:
        if job.key in looked:
            continue
        looked.add(job.key)
        entry = store.read(job.key)
        if entry is None:
            new[job.key] = job
        elif len(kept) < _IN_MEMORY:
            kept[job.key] = entry
    return list(new.values()), kept


def _refuse_unreadable(jobs: Sequence[_Job], new: Sequence[_Job], workers: int) -> None:
    bad = [Failure(job.path, job.reason) for job in jobs if job.reason]
    keys = {job.key for job in new}  # of equal images all are named
    looked = (job.path for job in jobs if not job.reason and job.key in keys)
    bad += unreadable_images(looked, workers)
    if bad:
        kind = ValueError if any(each.path.exists() for each in bad) else FileNotFoundError
        raise kind(name_failures(bad, len(jobs)))


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Results of a worker: the clouds in one set, and all attempts."""

    clouds: CloudSet | None
    attempts: tuple[Attempt, ...]  # without lifts; those without a reason have a cloud


def _each(
    task: Callable[[tuple[_Job, ...]], _Chunk], chunks: list[tuple[_Job, ...]], workers: int
) -> Generator[LiftedImage, None, None]:
    with closing(run_chunks(task, chunks, workers)) as results:
        for chunk, result in zip(chunks, results, strict=True):
            yield from _unpack(chunk, result)


def _unpack(chunk: tuple[_Job, ...], result: _Chunk) -> Iterator[LiftedImage]:
    row = 0
    for job, attempt in zip(chunk, result.attempts, strict=True):
        cloud = None
        if not attempt.reason and result.clouds is not None:
            cloud, row = result.clouds.select([row]), row + 1
        yield LiftedImage(job.path, cloud, attempt.found, attempt.reason, attempt.warnings)


def run_chunks(
    task: Callable[[_Task], _Result], chunks: list[_Task], workers: int
) -> Generator[_Result, None, None]:
    """Results of tasks in their order, made in several processes.

    Raises:
        RuntimeError: a worker was killed.
    """
    try:
        yield from _run(task, chunks, workers)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a worker process was killed, perhaps for lack of memory: what is done is kept; run "
            "the same again, with fewer workers"
        ) from error


def _run(task: Callable[[_Task], _Result], chunks: list[_Task], workers: int) -> Iterator[_Result]:
    if workers == 1 or len(chunks) == 1:
        yield from map(task, chunks)
        return
    yield from map_in_processes(task, chunks, workers)


def describe_lift(
    estimator: Callable[[], PoseEstimator],
    settings: LiftSettings,
    canonical: bool,
    masks: MaskSource | None = None,
) -> dict[str, Any]:
    """Plain values that determine a lift besides the image, versions among them."""
    found = estimator_settings(estimator)
    about = {"lift": LIFT_VERSION, **asdict(settings), "canonical": canonical, "estimator": found}
    # Without masks as before there were any: earlier clouds are found.
    return about if masks is None else about | {"masks": masks.settings}


@plain_torch()
def _lift_chunk(
    jobs: tuple[_Job, ...],
    *,
    settings: LiftSettings,
    estimator: Callable[[], PoseEstimator],
    cache: CloudCache | None,
    canonical: bool,
    masks: MaskSource | None,
) -> _Chunk:
    attempts = attempt_lifts([job.path for job in jobs], estimator, settings.background, masks)
    clouds, outcomes = [], []
    for job, attempt in zip(jobs, attempts, strict=True):
        cloud, reason = None, attempt.reason
        if attempt.lift is not None:
            try:
                points = attempt.lift.canonical() if canonical else attempt.lift.cloud
                cloud = CloudSet.from_clouds(
                    [(points, -1, 0, "")],
                    max_points=settings.max_points,
                    min_points=settings.min_points,
                )
            except ValueError as error:
                reason = cause(error)
        if cloud is not None:
            clouds.append(cloud)
            # A file that changed meanwhile is another image.
            if cache is not None and hash_file(job.path) == job.key:
                doubts = tuple(t.replace(str(job.path), _IMAGE) for t in attempt.warnings)
                cache.write(job.key, CachedCloud(cloud, attempt.found, doubts))
        outcomes.append(replace(attempt, lift=None, reason=reason))
    return _Chunk(CloudSet.concat(clouds) if clouds else None, tuple(outcomes))
