"""Steps of `og_reid.pipelines.generate`: lifts, images, tables and contact sheets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from meshes import lift_image
from pose import MediapipePose, PoseEstimator, read_image
from pose.runtime.process_pool import map_in_processes
from pose.runtime.threads import one_thread

from ..data.clouds.attempts import NO_PERSON, MaskSource, estimator_settings
from ..data.clouds.cache import LIFT_VERSION, hash_file
from ..data.files.inputs import Failure, cause
from ..data.generation.folder import (
    Row,
    claim_folder,
    copy_original,
    image_path,
    is_made,
    read_provenance,
    write_generated,
    write_tables,
)
from ..data.generation.making import make_image
from ..data.generation.people import LiftedPerson, lifted_person, read_person, write_person
from ..data.generation.recipes import Person, Recipe, plan_recipes
from ..data.generation.styles import ImageStyles, measure_styles
from ..data.sample import Sample
from ..inference.own_surface import mask_source
from .generation_spec import GeneratedFolder, GenerateSpec
from .input_files import refuse_files

__all__ = ["generate_images"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Shows = Callable[[str], Callable[[float, float], None]]

_VERSION = 1
_CHUNK = 8
_FAILURES = (ValueError, OSError, RuntimeError, MemoryError)
_PEOPLE = "people"
_SHEET = 64  # images of a contact sheet
_TALL, _WIDE = 256, 128


@dataclass(frozen=True)
class _Job:
    """An image to lift, and the file of its person below the folder of people."""

    sample: Sample
    split: str
    file: str
    frame: int


@dataclass(frozen=True)
class _Found:
    """File of a lifted person, or the reason why there is none."""

    job: _Job
    person: Person | None
    usable: bool
    reason: str = ""


def generate_images(
    spec: GenerateSpec, estimator: Callable[[], PoseEstimator] | None, shows: Shows
) -> GeneratedFolder:
    """`og_reid.pipelines.generate` with a given estimator; ``shows`` makes a progress of a stage.

    Raises:
        ValueError: See there.
        FileExistsError: See there.
        OSError: See there.
    """
    people = _stored(spec)
    if people is None:
        listed = _list_jobs(spec)
        claim_folder(spec.out, _settings(spec, [job.file for job in listed]))
        folder = spec.out / _PEOPLE
        found = _lift_all(spec, listed, folder, estimator or MediapipePose, shows("lifting images"))
    else:
        folder, found = people
        claim_folder(spec.out, _settings(spec, [each.job.file for each in found]))
    failures = tuple(
        Failure(each.job.sample.path, each.reason) for each in found if each.person is None
    )
    if failures and len(failures) == len(found):
        refuse_files(failures, len(found))
    shown = [each.person for each in found if each.person is not None and each.usable]
    recipes = plan_recipes(shown, spec.operations, each=spec.each, steps=spec.steps, seed=spec.seed)  # type: ignore[arg-type]
    styles = _styles(spec, folder, shown)
    base = max((each.camid for each in shown), default=0)
    rows, kept = _make_all(spec, folder, recipes, styles, base, shows("generating"))
    if spec.originals:
        rows += _originals(spec, folder, found)
    sheets = _sheets(spec, rows, shows("sheets")) if spec.sheet else ()
    return GeneratedFolder(
        out=spec.out,
        made=len(recipes),
        total=len(recipes) + len(failures),
        failures=failures,
        warnings=(),
        report=spec.out / "failures.csv",
        kept=kept,
        people=len(shown),
        left_out=sum(each.person is not None and not each.usable for each in found),
        tables=write_tables(spec.out, rows, spec.labels),
        sheets=sheets,
    )


def _settings(spec: GenerateSpec, files: Sequence[str]) -> dict[str, object]:
    """Values that determine the images; names depend on all of the data set's."""
    digest = hashlib.sha256("/".join(files).encode()).hexdigest()[:16]
    names = ("operations", "each", "steps", "splits", "labels", "originals", "cameras",
             "least_seen", "doubtful", "seed", "masks")  # fmt: skip
    values = {name: getattr(spec, name) for name in names}
    listed = {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
    return {"version": _VERSION, **listed, "styles": spec.styles is not None,
            "data": digest}  # fmt: skip


def _stored(spec: GenerateSpec) -> tuple[Path, list[_Found]] | None:
    """Folder of people of an earlier run, and what it holds; None for another data set."""
    folder = spec.data.place
    files = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    if not files:
        return None
    if spec.originals:
        raise ValueError(f"originals need a data set of images; {folder} holds lifted people")
    found: list[_Found] = []
    for path in files:
        person = read_person(path)
        if person.split in spec.splits:
            sample = Sample(path, person.pid, person.camid)
            job = _Job(sample, person.split, path.name, len(found))
            found.append(_found(spec, job, person))
    if not found:
        raise ValueError(f"{folder} holds no person of {', '.join(spec.splits)}")
    return folder, found


def _found(spec: GenerateSpec, job: _Job, person: LiftedPerson) -> _Found:
    labels = Person(job.file, job.split, person.pid, person.camid, job.frame)
    sound = spec.doubtful or not person.doubts
    return _Found(job, labels, sound and person.seen >= spec.least_seen)


def _list_jobs(spec: GenerateSpec) -> list[_Job]:
    images = spec.data.list_images()
    jobs: list[_Job] = []
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
            jobs.append(_Job(sample, split, file, len(jobs)))
    if not jobs:
        raise ValueError(
            f"{spec.data.place} holds no image of a person in {', '.join(spec.splits)}: give other "
            "splits"
        )
    return jobs


def _run(task: Callable[[Item], Outcome], items: Sequence[Item], workers: int) -> Iterator[Outcome]:
    if workers > 1 and len(items) > 1:
        yield from map_in_processes(task, items, workers)
        return
    with one_thread():  # the number of threads changes last bits, and so a file's bytes
        yield from map(task, items)


def _lift_all(
    spec: GenerateSpec,
    jobs: Sequence[_Job],
    folder: Path,
    estimator: Callable[[], PoseEstimator],
    show: Callable[[float, float], None],
) -> list[_Found]:
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
    found: list[_Found] = []
    for chunk in _run(task, chunks, spec.workers):
        found += chunk
        show(len(found), len(jobs))
    return found


@lru_cache(maxsize=1)
def _made(estimator: Callable[[], PoseEstimator]) -> PoseEstimator:
    return estimator()


def _lift_chunk(
    jobs: Sequence[_Job],
    *,
    spec: GenerateSpec,
    folder: Path,
    settings: str,
    estimator: Callable[[], PoseEstimator],
    masks: MaskSource | None,
) -> list[_Found]:
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
            found.append(_Found(job, None, False, cause(error)))
            continue
        found.append(_found(spec, job, person))
    return found


def _kept(path: Path, key: str) -> LiftedPerson | None:
    try:
        person = read_person(path)
    except (OSError, ValueError):
        return None
    return person if person.key == key else None


def _lifted(job: _Job, key: str, find: PoseEstimator, masks: MaskSource | None) -> LiftedPerson:
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


def _styles(
    spec: GenerateSpec, folder: Path, people: Sequence[Person]
) -> tuple[ImageStyles | None, ImageStyles | None]:
    """Statistics of the cameras, and of those to imitate."""
    if "style" not in spec.operations or not people:
        return None, None
    styles = measure_styles(read_person(folder / each.file) for each in people)
    if spec.styles is None:
        if len(styles.cameras) < 2:
            raise ValueError(
                "operation style needs images of at least two cameras; all are of camera "
                f"{styles.cameras[0]}: leave it out, or give --styles"
            )
        return styles, None
    others = sorted(spec.styles.glob("*.npz")) if spec.styles.is_dir() else []
    if not others:
        raise ValueError(
            f"--styles must be the folder people of another og-reid generate; {spec.styles} holds "
            "none"
        )
    return styles, measure_styles(map(read_person, others))


def _make_all(
    spec: GenerateSpec,
    folder: Path,
    recipes: Sequence[Recipe],
    styles: tuple[ImageStyles | None, ImageStyles | None],
    base: int,
    show: Callable[[float, float], None],
) -> tuple[list[Row], int]:
    """Rows of all generated images, and the number of those kept."""
    by_person: dict[str, list[Recipe]] = {}
    for recipe in recipes:
        by_person.setdefault(recipe.person.file, []).append(recipe)
    task = partial(_make_person, spec=replace(spec, estimator=None), folder=folder, styles=styles,
                   base=base)  # fmt: skip
    rows: list[Row] = []
    kept = 0
    for made, before in _run(task, list(by_person.values()), spec.workers):
        rows += made
        kept += before
        show(len(rows), len(recipes))
    return rows, kept


def _make_person(
    recipes: Sequence[Recipe],
    *,
    spec: GenerateSpec,
    folder: Path,
    styles: tuple[ImageStyles | None, ImageStyles | None],
    base: int,
) -> tuple[list[Row], int]:
    person = read_person(folder / recipes[0].person.file)
    rows, kept = [], 0
    for recipe in recipes:
        donor = None if recipe.donor is None else read_person(folder / recipe.donor.file)
        about = {**asdict(recipe), "source": person.name, "key": person.key, "base": base,
                 "cameras": spec.cameras, "seed_of_set": spec.seed,
                 "donor_key": None if donor is None else donor.key}  # fmt: skip
        path = _known_path(spec, recipe, about)
        if path is not None:
            kept += 1
        else:
            made = make_image(recipe, person, donor, cameras=spec.cameras, seed=spec.seed,
                              styles=styles[0], targets=styles[1])  # fmt: skip
            path = image_path(recipe, _camid(recipe, made.camera, base, spec), spec.labels)
            write_generated(spec.out, path, made, about)
        rows.append(_row(spec, recipe, person, path))
    return rows, kept


def _camid(recipe: Recipe, camera: int, base: int, spec: GenerateSpec) -> int:
    """Camera of the label: new cameras, and those of another set, follow those of the set."""
    if camera == 0:
        return recipe.person.camid
    if recipe.operation == "style" and spec.styles is None:
        return camera
    return base + camera


def _known_path(spec: GenerateSpec, recipe: Recipe, about: dict[str, object]) -> str | None:
    """Path of the image of an earlier run; its camera is known only from there."""
    pattern = image_path(recipe, 0, spec.labels).replace("_c0s", "_c*s")
    for found in sorted(spec.out.glob(pattern)):
        path = found.relative_to(spec.out).as_posix()
        if is_made(spec.out, path, json.loads(json.dumps(about))):
            return path
    return None


def _row(spec: GenerateSpec, recipe: Recipe, person: LiftedPerson, path: str) -> Row:
    name = Path(path).name
    known = read_provenance(spec.out / "provenance" / f"{Path(path).stem}.json")
    return Row(
        path=path,
        pid=-1 if spec.labels == "none" else int(name[:4]),
        camid=int(name.split("_c")[1].split("s")[0]),
        split=recipe.person.split,
        operation=recipe.operation,
        source=person.name,
        wearer=recipe.person.pid,
        donor="" if recipe.donor is None else str(recipe.donor.pid),
        yaw=known["yaw"],
        occluder=known["occluder"],
        visible_fraction=known["visible_fraction"],
        seen_fraction=known["seen_fraction"],
    )


def _originals(spec: GenerateSpec, folder: Path, found: Sequence[_Found]) -> list[Row]:
    """Copies of the data set's images; those of lifted people have their fitted heading."""
    yaws = {}
    for each in found:
        if each.person is not None:
            person = read_person(folder / each.person.file)
            yaws[each.job.sample.path] = person.yaw
    rows = []
    images = spec.data.list_images()
    for split in ("train", "query", "gallery"):
        for frame, sample in enumerate(getattr(images, split)):
            path = copy_original(spec.out, sample.path, split, sample.pid, sample.camid, frame)
            if sample.path in yaws:
                rows.append(
                    Row(path, sample.pid, sample.camid, split, "original", sample.name, sample.pid,
                        "", round(yaws[sample.path], 6), "none", 1.0, 1.0)
                )  # fmt: skip
    return rows


def _sheets(
    spec: GenerateSpec, rows: Sequence[Row], show: Callable[[float, float], None]
) -> tuple[Path, ...]:
    """One contact sheet of at most 64 images of each operation, spread over the set."""
    from ..viz.world_sheet import write_sheet

    written = []
    for number, operation in enumerate(spec.operations, 1):
        mine = [row for row in rows if row.operation == operation]
        chosen = mine[:: max(1, -(-len(mine) // _SHEET))][:_SHEET]
        tiles = [_tile(read_image(spec.out / row.path)) for row in chosen]
        if tiles:
            path = spec.out / "sheets" / f"{operation}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append(write_sheet(tiles, 16, path))
        show(number, len(spec.operations))
    return tuple(written)


def _tile(image: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((_WIDE, _TALL)))
