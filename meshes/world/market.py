"""Rendered worlds as folders in the layout of Market-1501 (Zheng et al., ICCV 2015)."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from pose.files.atomic_write import atomic_write
from pose.runtime.defaults import plain_torch
from pose.runtime.process_pool import map_in_processes
from pose.runtime.threads import one_thread

from .folder import claim, image_attributes, is_whole
from .imaging.camera import draw_camera, dusk_camera
from .people.identity import draw_identity
from .rendering import render
from .rng import Rng
from .scene import sample_scene

__all__ = ["SPLITS", "Style", "WorldPlan", "WorldShot", "plan_world", "write_world"]

#: Folders of a world, named as in Market-1501.
SPLITS = ("bounding_box_train", "query", "bounding_box_test")
#: Light, cameras and fashion of a world.
Style = Literal["day", "dusk"]
_ATTRIBUTES = "attributes.csv"
_VERSION = 1
_TRAIN_OCCLUDED = 0.35
_GALLERY_OCCLUDED = 0.15


@dataclass(frozen=True)
class WorldPlan:
    """Parameters that determine every byte of a world.

    Attributes:
        train_identities: number of training identities.
        test_identities: number of test identities.
        views: images per identity, over the cameras in turn.
        cameras: number of cameras.
        seed: seed of cameras, places, poses and occlusions.
        occluded_share: fraction of occluded queries.
        first_identity: number of the first identity (see ``draw_identity``).
        style: ``day``, or ``dusk``: other cameras (see ``dusk_camera``) and more vivid clothes.
    """

    train_identities: int
    test_identities: int
    views: int
    cameras: int
    seed: int
    occluded_share: float = 1 / 3
    first_identity: int = 0
    style: Style = "day"

    def __post_init__(self) -> None:
        """Check that every query can have a match in another camera."""
        for name in (
            "train_identities", "test_identities", "views", "cameras", "seed", "first_identity"
        ):  # fmt: skip
            if not isinstance(getattr(self, name), int):
                raise ValueError(f"{name} must be a whole number; got {getattr(self, name)!r}")
        limits = {"train_identities": 1, "test_identities": 1, "views": 2, "cameras": 2}
        for name, low in limits.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}; got {getattr(self, name)}")
        if self.identities > 9999:
            raise ValueError(f"a world holds at most 9999 people (names); got {self.identities}")
        if self.views > 999_999:
            raise ValueError(f"views must be at most 999999 (digits in names); got {self.views}")
        if self.cameras > 9:
            raise ValueError(f"cameras must be at most 9 (one digit in names); got {self.cameras}")
        if self.first_identity < 0 or self.seed < 0:
            raise ValueError(
                "first_identity and seed must not be negative; "
                f"got {self.first_identity}, {self.seed}"
            )
        if self.style not in get_args(Style):
            raise ValueError(f"style must be day or dusk; got {self.style!r}")
        if not 0 <= self.occluded_share <= 1:
            raise ValueError(f"occluded_share must be in [0, 1]; got {self.occluded_share}")

    @property
    def manifest(self) -> dict[str, Any]:
        """Parameters as in the folder; those of a day have no style, as before there were two."""
        found = {"version": _VERSION, **asdict(self)}
        if self.style == "day":
            del found["style"]
        return found

    @property
    def identities(self) -> int:
        """Number of all identities."""
        return self.train_identities + self.test_identities


@dataclass(frozen=True)
class WorldShot:
    """One image to render: identity ``pid`` (from 1) in camera ``camera`` (from 1)."""

    split: str
    pid: int
    camera: int
    view: int
    occluded: bool

    @property
    def name(self) -> str:
        """File name, such as ``0001_c1s1_000001_00.jpg``."""
        return f"{self.pid:04d}_c{self.camera}s1_{self.view + 1:06d}_00.jpg"


def plan_world(plan: WorldPlan) -> list[WorldShot]:
    """Images of a world, by identity, then view."""
    train = plan.train_identities
    queries = math.ceil(plan.views / 4)
    shots = []
    counts = dict.fromkeys(SPLITS, 0)
    fractions = dict(
        zip(SPLITS, (_TRAIN_OCCLUDED, plan.occluded_share, _GALLERY_OCCLUDED), strict=True)
    )
    for person in range(plan.identities):
        for view in range(plan.views):
            split = SPLITS[0] if person < train else SPLITS[1] if view < queries else SPLITS[2]
            number, fraction = counts[split], fractions[split]
            counts[split] += 1
            # Exact fractions at every length: image n is occluded when n * fraction steps up.
            occluded = math.floor((number + 1) * fraction + 1e-9) > math.floor(
                number * fraction + 1e-9
            )
            camera = (view + person) % plan.cameras + 1
            shots.append(WorldShot(split, person + 1, camera, view, occluded))
    return shots


def write_world(
    root: str | Path,
    *,
    train_identities: int,
    test_identities: int,
    views: int,
    cameras: int,
    seed: int,
    occluded_share: float = 1 / 3,
    first_identity: int = 0,
    style: Style = "day",
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render a world, or finish an interrupted one.

    The same parameters give the same bytes, with any number of workers. Complete images are kept;
    truncated or damaged ones are rendered again.

    Args:
        root: folder to fill; new, empty, or holding the same world.
        train_identities: number of training identities.
        test_identities: number of test identities.
        views: images per identity.
        cameras: number of cameras.
        seed: seed of everything but the identities.
        occluded_share: fraction of occluded queries.
        first_identity: number of the first identity; disjoint ranges give disjoint identities.
        style: ``day`` or ``dusk``, see `WorldPlan`.
        workers: processes to use; 0 works in this one. Started by "spawn": a script with
            workers must guard its start with ``if __name__ == "__main__"``.
        progress: called with (images done, images in all).

    Returns:
        The folder.

    Raises:
        ValueError: parameters out of range, or a ``world.json`` that is no manifest of a world.
        FileExistsError: the folder holds something else.
        OSError: an image cannot be written; with its path.
    """
    plan = WorldPlan(
        train_identities, test_identities, views, cameras, seed, occluded_share, first_identity,
        style,
    )  # fmt: skip
    folder = Path(root)
    claim(folder, plan.manifest, SPLITS)
    shots = plan_world(plan)
    missing = [shot for shot in shots if not is_whole(folder / shot.split / shot.name)]
    done = len(shots) - len(missing)
    if progress is not None:
        progress(done, len(shots))
    for made in _make_all(folder, plan, missing, workers):
        done += made
        if progress is not None:
            progress(done, len(shots))
    _write_attributes(folder, shots)
    return folder


def _replace(path: Path, content: bytes) -> None:
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def _make_all(folder: Path, plan: WorldPlan, shots: list[WorldShot], workers: int) -> Iterator[int]:
    """Renders images identity by identity; yields their number."""
    people: dict[int, list[WorldShot]] = {}
    for shot in shots:
        people.setdefault(shot.pid, []).append(shot)
    if workers <= 0:
        with one_thread():  # the number of threads changes last bits, and so a file's bytes
            for group in people.values():
                yield _make_person(str(folder), plan, group)
        return
    make = partial(_make_person, str(folder), plan)
    yield from map_in_processes(make, list(people.values()), workers, ordered=False)


@plain_torch()
def _make_person(folder: str, plan: WorldPlan, shots: list[WorldShot]) -> int:
    for shot in shots:
        _replace(Path(folder) / shot.split / shot.name, _jpeg(plan, shot))
    return len(shots)


def _jpeg(plan: WorldPlan, shot: WorldShot) -> bytes:
    """One image with its attributes in the comment field."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "pillow is needed to write images; install it with: pip install pillow"
        ) from error
    rng = Rng.seeded("image", plan.seed, plan.first_identity + shot.pid, shot.view)
    camera, person = draw_camera(plan.seed, shot.camera), plan.first_identity + shot.pid - 1
    dusk = plan.style == "dusk"
    scene = sample_scene(
        draw_identity(person, vivid=dusk),
        dusk_camera(camera, plan.seed) if dusk else camera,
        rng.generator,
        "any" if shot.occluded else None,
    )
    result = render(scene)
    attributes = {
        "occluder": result.occluder,
        "visible_fraction": f"{result.visible_fraction:.3f}",
        "yaw": f"{result.yaw:.3f}",
    }
    buffer = io.BytesIO()
    Image.fromarray(result.image.numpy()).save(
        buffer,
        "JPEG",
        quality=rng.integer(72, 95),
        comment=json.dumps(attributes).encode(),
    )
    return buffer.getvalue()


def _write_attributes(folder: Path, shots: list[WorldShot]) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["split", "name", "occluder", "visible_fraction", "yaw"])
    for shot in sorted(shots, key=lambda shot: (shot.split, shot.name)):
        attributes = image_attributes(folder / shot.split / shot.name)
        writer.writerow(
            [
                shot.split,
                shot.name,
                *(attributes[key] for key in ("occluder", "visible_fraction", "yaw")),
            ]
        )
    _replace(folder / _ATTRIBUTES, table.getvalue().encode())
