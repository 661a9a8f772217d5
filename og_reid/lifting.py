"""Photographs in bulk: estimate, fit, colour and pack, in several processes, resumable."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from meshes import PointCloud, lift_images
from pose import MediapipePose, PoseEstimator, read_image

from .data.clouds import CloudSet
from .data.market import Sample

__all__ = ["LiftSettings", "lift_split"]

# Photographs per task: large enough to fit bodies together, small enough to resume closely.
_CHUNK = 32
_VERSION = "3"  # of the lift: cached clouds of another one are made again


@dataclass(frozen=True)
class LiftSettings:
    """What decides the result of a lift, besides the photographs.

    Attributes:
        max_points: points kept per cloud, in farthest-point order.
        background: background points per cloud; kept only where almost nothing of the body is seen.
    """

    max_points: int = 2048
    background: int = 500


def lift_split(
    samples: Sequence[Sample],
    *,
    estimator: Callable[[], PoseEstimator] = MediapipePose,
    settings: LiftSettings | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    cache: str | Path | None = None,
    canonical: bool = False,
) -> CloudSet:
    """Lift photographs to packed clouds, with the code that lifts a single one.

    Args:
        samples: photographs with identity and camera. One in which nobody is found is kept: a
            hidden body in the resting pose, and the background.
        estimator: makes the pose estimator; called once in every worker, so it must be picklable
            when ``workers`` > 1 (a class or a module-level function).
        settings: see ``LiftSettings``; None for its defaults.
        workers: processes. The result does not depend on it. With more than one, a script needs
            the ``if __name__ == "__main__":`` guard, because workers import it again.
        progress: called with (photographs done, photographs in all).
        cache: folder for finished parts. A run that was interrupted goes on from there; parts are
            made again when their photographs (names, sizes, times) or the settings changed.
        canonical: give each person in the resting pose, see `meshes.lift.Lift.canonical`.

    Returns:
        The clouds in the order of ``samples``.

    Raises:
        ValueError: ``samples`` is empty, or a photograph cannot be read; the message names it.
    """
    if not samples:
        raise ValueError("samples must hold at least one photograph; got none")
    if workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}")
    chunks = [tuple(samples[i : i + _CHUNK]) for i in range(0, len(samples), _CHUNK)]
    task = partial(
        _lift_chunk,
        settings=settings or LiftSettings(),
        estimator=estimator,
        cache=Path(cache) if cache else None,
        canonical=canonical,
    )
    sets = []
    done = 0
    for finished in _run(task, chunks, workers):
        sets.append(finished)
        done += len(finished)
        if progress is not None:
            progress(done, len(samples))
    return CloudSet.concat(sets)


def _run(
    task: Callable[[tuple[Sample, ...]], CloudSet], chunks: list[tuple[Sample, ...]], workers: int
) -> Iterator[CloudSet]:
    if workers == 1 or len(chunks) == 1:
        yield from map(task, chunks)
        return
    # Spawn: forking a process that already runs torch and mediapipe threads can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        try:
            yield from pool.map(task, chunks)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    torch.set_num_threads(1)


_estimators: dict[Callable[[], PoseEstimator], PoseEstimator] = {}  # one per process: slow to make


def _lift_chunk(
    samples: tuple[Sample, ...],
    *,
    settings: LiftSettings,
    estimator: Callable[[], PoseEstimator],
    cache: Path | None,
    canonical: bool,
) -> CloudSet:
    maker = f"{estimator.__module__}.{getattr(estimator, '__qualname__', type(estimator))}"
    maker += " in the resting pose" if canonical else ""
    key = _fingerprint(samples, settings, maker)
    part = None if cache is None else cache / f"{key}.safetensors"
    if part is not None and part.is_file():
        try:
            return CloudSet.load(part)
        except (ValueError, KeyError, TypeError):
            part.unlink()  # damaged: make it again
    if estimator not in _estimators:
        _estimators[estimator] = estimator()
    find = _estimators[estimator]
    images = [read_image(sample.path) for sample in samples]
    lifts = lift_images(images, [find(image) for image in images], background=settings.background)
    clouds: list[tuple[PointCloud, int, int, str]] = [
        (lift.canonical() if canonical else lift.cloud, sample.pid, sample.camid, sample.name)
        for lift, sample in zip(lifts, samples, strict=True)
    ]
    finished = CloudSet.from_clouds(clouds, max_points=settings.max_points)
    if part is not None:
        finished.save(part)
    return finished


def _fingerprint(samples: tuple[Sample, ...], settings: LiftSettings, maker: str) -> str:
    """Names a part by everything that its content depends on."""
    digest = hashlib.sha256(f"{_VERSION} {settings} {maker}".encode())
    for sample in samples:
        state = Path(sample.path).stat()
        content = (sample.name, sample.pid, sample.camid, state.st_size, state.st_mtime_ns)
        digest.update(repr(content).encode())
    return digest.hexdigest()[:24]
