"""Lifts of a data set's people as files, of which images are generated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from meshes import lift_image
from pose import PoseEstimator, read_image
from pose.runtime.process_pool import map_in_processes
from pose.runtime.threads import one_thread

from ..data.clouds.attempts import NO_PERSON, MaskSource, estimator_settings
from ..data.clouds.cache import LIFT_VERSION, hash_file
from ..data.files.inputs import cause
from ..data.generation.people import LiftedPerson, lifted_person, read_person, write_person
from ..data.generation.recipes import Person
from ..data.sample import Sample
from ..inference.own_surface import mask_source
from .generation_spec import GenerateSpec

__all__ = ["LiftJob", "LiftOutcome", "lift_all", "list_jobs", "run_tasks", "stored_people"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_VERSION = 1
_CHUNK = 8
_FAILURES = (ValueError, OSError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class LiftJob:
    """An image to lift, and the file of its person below the folder of people."""

    sample: Sample
    split: str
    file: str
    frame: int


@dataclass(frozen=True)
class LiftOutcome:
    """File of a lifted person, or the reason why there is none."""

    job: LiftJob
    person: Person | None
    usable: bool
    reason: str = ""


def stored_people(spec: GenerateSpec) -> tuple[Path, list[LiftOutcome]] | None:
    """Folder of people of an earlier run, and what it holds; None for another data set.

    Raises:
        ValueError: A file is damaged, or none is of the splits.
    """
    folder = spec.data.place
    files = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    if not files:
        return None
    if spec.originals:
        raise ValueError(f"originals need a data set of images; {folder} holds lifted people")
    found: list[LiftOutcome] = []
    for path in files:
        person = read_person(path)
        if person.split in spec.splits:
            sample = Sample(path, person.pid, person.camid)
            job = LiftJob(sample, person.split, path.name, len(found))
            found.append(_found(spec, job, person))
    if not found:
        raise ValueError(f"{folder} holds no person of {', '.join(spec.splits)}")
    return folder, found


def _found(spec: GenerateSpec, job: LiftJob, person: LiftedPerson) -> LiftOutcome:
    labels = Person(job.file, job.split, person.pid, person.camid, job.frame)
    sound = spec.doubtful or not person.doubts
    return LiftOutcome(job, labels, sound and person.seen >= spec.least_seen)


def list_jobs(spec: GenerateSpec) -> list[LiftJob]:
    """Images of the splits to lift.

    Raises:
        ValueError: The data set is invalid, or has none.
    """
    images = spec.data.list_images()
    jobs: list[LiftJob] = []
    for split in spec.splits:
        for sample in getattr(images, split):
            if sample.pid < 1:
                continue  # junk and distractors
            if sample.pid > 9999:
                raise ValueError(
                    f"identities must be 1 to 9999 (digits in names); {sample.path} has "
                    f"{sample.pid}"
                )
            digest = hashlib.sha256(f"{split}/{sample.name}".encode("utf-8", "surrogateescape"))
            file = f"{split}_{sample.pid:04d}_{digest.hexdigest()[:16]}.npz"
            jobs.append(LiftJob(sample, split, file, len(jobs)))
    if not jobs:
        raise ValueError(
            f"{spec.data.place} holds no image of a person in {', '.join(spec.splits)}: give other "
            "splits"
        )
    return jobs


def run_tasks(
    task: Callable[[Item], Outcome], items: Sequence[Item], workers: int
) -> Iterator[Outcome]:
    """Results of a task in order, from processes or from this one."""
    if workers > 1 and len(items) > 1:
        yield from map_in_processes(task, items, workers)
        return
    with one_thread():  # the number of threads changes last bits, and so a file's bytes
        yield from map(task, items)


def lift_all(
    spec: GenerateSpec,
    jobs: Sequence[LiftJob],
    folder: Path,
    estimator: Callable[[], PoseEstimator],
    show: Callable[[float, float], None],
) -> list[LiftOutcome]:
    """Lifts images to files of people, or keeps those of the same image and settings."""
    source = mask_source(spec.masks)
    about = {
        "version": _VERSION, "lift": LIFT_VERSION, "estimator": estimator_settings(estimator),
        "masks": None if source is None else source.settings,
    }  # fmt: skip
    settings = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    chunks = [tuple(jobs[i : i + _CHUNK]) for i in range(0, len(jobs), _CHUNK)]
    task = partial(_lift_chunk, spec=replace(spec, estimator=None), folder=folder,
                   settings=settings, estimator=estimator, masks=source)  # fmt: skip
    found: list[LiftOutcome] = []
    for chunk in run_tasks(task, chunks, spec.workers):
        found += chunk
        show(len(found), len(jobs))
    return found


@lru_cache(maxsize=1)
def _made(estimator: Callable[[], PoseEstimator]) -> PoseEstimator:
    return estimator()


def _lift_chunk(
    jobs: Sequence[LiftJob],
    *,
    spec: GenerateSpec,
    folder: Path,
    settings: str,
    estimator: Callable[[], PoseEstimator],
    masks: MaskSource | None,
) -> list[LiftOutcome]:
    found = []
    for job in jobs:
        try:
            key = f"{hash_file(job.sample.path)}-{settings}"
            person = _kept(folder / job.file, key)
            if person is None:
                person = _lifted(job, key, _made(estimator), masks)
                write_person(folder / job.file, person)
                person = read_person(folder / job.file)
        except _FAILURES as error:
            found.append(LiftOutcome(job, None, False, cause(error)))
            continue
        found.append(_found(spec, job, person))
    return found


def _kept(path: Path, key: str) -> LiftedPerson | None:
    try:
        person = read_person(path)
    except (OSError, ValueError):
        return None
    return person if person.key == key else None


def _lifted(job: LiftJob, key: str, find: PoseEstimator, masks: MaskSource | None) -> LiftedPerson:
    image = read_image(job.sample.path)
    pose = find(image)
    if not pose.found:
        raise ValueError(NO_PERSON)
    own = None if masks is None else masks([image], [pose])[0]
    lift = lift_image(image, pose, background=0, mask=own)
    mask = own if own is not None else pose.mask
    if mask is not None and not bool((mask >= 0.5).any()):
        mask = None
    return lifted_person(
        lift, image, mask, name=job.sample.name, split=job.split, pid=job.sample.pid,
        camid=job.sample.camid, key=key,
    )  # fmt: skip
