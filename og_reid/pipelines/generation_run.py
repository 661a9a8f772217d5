"""Steps of `og_reid.pipelines.generate`: lifts, images, tables and contact sheets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from pose import MediapipePose, PoseEstimator, read_image

from ..data.files.inputs import Failure
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
from ..data.generation.people import LiftedPerson, read_person
from ..data.generation.recipes import Person, Recipe, plan_recipes
from ..data.generation.styles import ImageStyles, measure_styles
from .generation_lifts import LiftOutcome, lift_all, list_jobs, run_tasks, stored_people
from .generation_spec import GeneratedFolder, GenerateSpec
from .input_files import refuse_files

__all__ = ["generate_images"]

Shows = Callable[[str], Callable[[float, float], None]]

_VERSION = 1
_PEOPLE = "people"
_SHEET = 64  # images of a contact sheet
_TALL, _WIDE = 256, 128


def generate_images(
    spec: GenerateSpec, estimator: Callable[[], PoseEstimator] | None, shows: Shows
) -> GeneratedFolder:
    """`og_reid.pipelines.generate` with a given estimator; ``shows`` makes a progress of a stage.

    Raises:
        ValueError: See there.
        FileExistsError: See there.
        OSError: See there.
    """
    people = stored_people(spec)
    if people is None:
        listed = list_jobs(spec)
        claim_folder(spec.out, _settings(spec, [job.file for job in listed]))
        folder = spec.out / _PEOPLE
        found = lift_all(spec, listed, folder, estimator or MediapipePose, shows("lifting images"))
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
    return {"version": _VERSION, **listed, "styles": _digest(spec.styles), "data": digest}


def _digest(styles: Path | None) -> str | None:
    """Digest of the people whose cameras are imitated."""
    if styles is None:
        return None
    found = hashlib.sha256()
    for file in sorted(styles.glob("*.npz")):
        found.update(file.name.encode("utf-8", "surrogateescape") + hashlib.sha256(
            file.read_bytes()).digest())  # fmt: skip
    return found.hexdigest()[:16]


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
    for made, before in run_tasks(task, list(by_person.values()), spec.workers):
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


def _originals(spec: GenerateSpec, folder: Path, found: Sequence[LiftOutcome]) -> list[Row]:
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
