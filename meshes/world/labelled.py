"""Labelled images of the world: own-surface masks, body vertices and keypoints, in shards.

A shard holds all images of some identities. Any number of workers writes the same bytes, and an
interrupted set is completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose.files.atomic_write import atomic_write
from pose.files.npz import read_npz_arrays
from pose.files.reading import reading
from pose.keypoints import COCO_17_FEET
from pose.runtime.defaults import plain_torch
from pose.runtime.process_pool import map_in_processes

from .folder import claim
from .presets import world_settings
from .rendering import VERTEX_STRIDE, render
from .rng import Rng
from .scene import HIDDEN_RANGE, IMAGE_SIZE, Scene, sample_scene
from .settings import DEFAULT, WorldSettings

__all__ = [
    "LabelledImages",
    "LabelledPlan",
    "drawn_view",
    "labelled_scene",
    "labelled_shards",
    "read_labelled_shard",
    "write_labelled_world",
]

_VERSION = 1
_KIND = "labelled"
_IDENTITIES = 20  # of a shard
_GRID = (IMAGE_SIZE[0] // VERTEX_STRIDE, IMAGE_SIZE[1] // VERTEX_STRIDE)
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class LabelledPlan:
    """Parameters that determine every byte of a labelled world.

    Attributes:
        identities: number of identities.
        views: images per identity, each in a camera drawn for it.
        seed: seed of cameras, places, poses and occlusions.
        cameras: number of cameras.
        first_identity: number of the first identity (see ``draw_identity``).
        occluded_fraction: fraction of occluded images, in [0, 1].
        settings: name of the world's settings, one of ``SETTINGS``. Those with rules for the images
            of an identity ("held-out") draw cameras and occlusions by them.
        without: groups of the settings that are off (see `world_settings`).
    """

    identities: int
    views: int
    seed: int
    cameras: int = 40
    first_identity: int = 0
    occluded_fraction: float = 0.5
    settings: str = "default"
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the ranges."""
        limits = {"identities": 1, "views": 1, "seed": 0, "cameras": 1, "first_identity": 0}
        for name, low in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise ValueError(f"{name} must be an integer of at least {low}; got {value!r}")
        if not 0 <= self.occluded_fraction <= 1:
            raise ValueError(f"occluded_fraction must be in [0, 1]; got {self.occluded_fraction}")
        world_settings(self.settings, without=self.without)

    @property
    def manifest(self) -> dict[str, Any]:
        """Content of ``world.json``; the default settings go without saying.

        Of settings with groups it names those that are on, so that a folder is not finished with
        others, nor by a version of the package that has others.
        """
        values = {"kind": _KIND, "version": _VERSION, **asdict(self)}
        del values["without"]
        groups = world_settings(self.settings, without=self.without).groups
        if self.settings == DEFAULT.name:
            del values["settings"]
        elif world_settings(self.settings).groups:
            values["groups"] = " ".join(groups)
        return values


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of a shard with their labels; arrays have one row an image.

    Attributes:
        image: (N, 256, 128, 3) uint8 sRGB.
        mask: (N, 256, 128) bool, visible pixels of the person, clothes and carried things included.
        amodal: (N, 256, 128) bool, the same without occluders.
        vertex: (N, 64, 32) int16, body vertex nearest to the person's surface at the middle of each
            4 x 4 block, occluded or not; -1 off the person.
        keypoints: (N, 21, 2) float32, pixels, of ``COCO_17_FEET``.
        keypoint_visibility: (N, 21) float32: 1 seen, 0.5 hidden by the own body, 0 hidden by
            something else or outside.
        identity: (N,) int64, index of the identity in the set.
        camera: (N,) int64, from 1.
        yaw: (N,) float32, radians, 0 towards the camera.
        visible_fraction: (N,) float32 in [0, 1].
        occluder: (N,) text, "none" or the kind.
    """

    image: np.ndarray
    mask: np.ndarray
    amodal: np.ndarray
    vertex: np.ndarray
    keypoints: np.ndarray
    keypoint_visibility: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    yaw: np.ndarray
    visible_fraction: np.ndarray
    occluder: np.ndarray

    def __post_init__(self) -> None:
        """Check the shapes."""
        shapes = {field.name: getattr(self, field.name).shape for field in fields(self)}
        _check_shapes(shapes)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.identity)


def _check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    number = shapes["identity"][0] if shapes["identity"] else 0
    height, width = IMAGE_SIZE
    points = len(COCO_17_FEET)
    rows = {
        "image": (height, width, 3), "mask": (height, width), "amodal": (height, width),
        "vertex": _GRID, "keypoints": (points, 2), "keypoint_visibility": (points,),
        "identity": (), "camera": (), "yaw": (), "visible_fraction": (), "occluder": (),
    }  # fmt: skip
    for name, row in rows.items():
        if shapes[name] != (number, *row):
            raise ValueError(f"{name} must be {(number, *row)}; got {shapes[name]}")


def write_labelled_world(
    root: str | Path,
    *,
    identities: int,
    views: int,
    seed: int,
    cameras: int = 40,
    first_identity: int = 0,
    occluded_fraction: float = 0.5,
    settings: str = "default",
    without: Sequence[str] = (),
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render labelled images, or finish an interrupted set.

    The same parameters give the same images, with any number of workers. Complete shards are kept.

    Args:
        root: folder to fill; new, empty, or holding the same set.
        identities: number of identities.
        views: images per identity.
        seed: seed of everything but the identities.
        cameras: number of cameras.
        first_identity: number of the first identity; disjoint ranges give disjoint identities.
        occluded_fraction: fraction of occluded images.
        settings: name of the world's settings, one of ``SETTINGS``.
        without: groups of the settings that are off (see `world_settings`).
        workers: processes to use; 0 works in this one. Started by "spawn": a script with workers
            must guard its start with ``if __name__ == "__main__"``.
        progress: called with (images done, images in all).

    Returns:
        The folder.

    Raises:
        ValueError: parameters out of range, or a ``world.json`` that is no manifest of a world.
        FileExistsError: the folder holds something else.
        OSError: a shard cannot be written; with its path.
    """
    plan = LabelledPlan(
        identities,
        views,
        seed,
        cameras,
        first_identity,
        occluded_fraction,
        settings,
        tuple(without),
    )
    folder = Path(root)
    claim(folder, plan.manifest, ())
    starts = list(range(0, plan.identities, _IDENTITIES))
    missing = [start for start in starts if not _shard(folder, start).is_file()]
    total = plan.identities * plan.views
    done = total - sum(_size(plan, start) for start in missing)
    if progress is not None:
        progress(done, total)
    for written in _write_all(folder, plan, missing, workers):
        done += written
        if progress is not None:
            progress(done, total)
    return folder


def labelled_shards(root: str | Path) -> list[Path]:
    """Shards of a folder, in the order of their identities."""
    return sorted(Path(root).glob("identities_*.npz"))


def read_labelled_shard(path: str | Path) -> LabelledImages:
    """Images and labels of one shard.

    Raises:
        ValueError: the file is damaged or no shard of a labelled world.
        OSError: the file cannot be read.
    """
    names = [field.name for field in fields(LabelledImages)]
    with reading(path, "must be a shard of labelled images as og_reid writes it"):
        arrays = read_npz_arrays(
            path, names, content="numbers or text", most_bytes=_MOST_BYTES, check=_check_packed
        )
        for name in ("mask", "amodal"):
            bits = np.unpackbits(arrays[name], axis=1)
            arrays[name] = bits.reshape(-1, *IMAGE_SIZE).astype(bool)
        return LabelledImages(**arrays)


def _check_packed(shapes: Mapping[str, tuple[int, ...]]) -> None:
    number = shapes["identity"][0] if shapes["identity"] else 0
    packed = (number, IMAGE_SIZE[0] * IMAGE_SIZE[1] // 8)
    for name in ("mask", "amodal"):
        if shapes[name] != packed:
            raise ValueError(f"must hold {name} as packed bits {packed}; got {shapes[name]}")
    _check_shapes({**shapes, "mask": (number, *IMAGE_SIZE), "amodal": (number, *IMAGE_SIZE)})


def _shard(folder: Path, start: int) -> Path:
    return folder / f"identities_{start:06d}.npz"


def _size(plan: LabelledPlan, start: int) -> int:
    return min(_IDENTITIES, plan.identities - start) * plan.views


def _write_all(folder: Path, plan: LabelledPlan, starts: list[int], workers: int) -> Iterator[int]:
    task = partial(_write_shard, str(folder), plan)
    if workers > 0:
        yield from map_in_processes(task, starts, workers, ordered=False)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the number of threads can change the last bit of a sum
    try:
        yield from map(task, starts)
    finally:
        torch.set_num_threads(before)


@plain_torch()
def _write_shard(folder: str, plan: LabelledPlan, start: int) -> int:
    rows = []
    for index in range(start, min(start + _IDENTITIES, plan.identities)):
        for view in range(plan.views):
            rows.append(_row(plan, index, view))
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    with atomic_write(_shard(Path(folder), start)) as partial_path:
        with open(partial_path, "wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
    return len(rows)


def labelled_scene(plan: LabelledPlan, index: int, view: int) -> tuple[int, Scene]:
    """Number of the camera, from 1, and scene of an image of a plan.

    Args:
        plan: the plan.
        index: identity, from 0.
        view: image of the identity, from 0.
    """
    rng = Rng.seeded("labelled", plan.seed, plan.first_identity + index, view)
    settings = world_settings(plan.settings, without=plan.without)
    camera, occluded, hidden, passers_by = drawn_view(plan, settings, rng, view)
    return camera, sample_scene(
        plan.first_identity + index,
        settings.camera(plan.seed, camera),
        rng.generator,
        "any" if occluded else None,
        hidden_range=hidden,
        passers_by=passers_by,
        settings=settings,
    )


def drawn_view(
    plan: LabelledPlan, settings: WorldSettings, rng: Rng, view: int
) -> tuple[int, bool, tuple[float, float], int | None]:
    """Camera, occlusion, its range and the number of passers-by of an image of an identity."""
    rule = settings.views[view % len(settings.views)] if settings.views else None
    if rule is None:
        camera = rng.integer(1, plan.cameras + 1)
        return camera, rng.flag(plan.occluded_fraction), HIDDEN_RANGE, None
    camera = rng.integer(rule.cameras[0], rule.cameras[1] + 1)
    passers_by = None if rule.passers_by is None else rng.integer(*rule.passers_by)
    return camera, rule.hidden is not None, rule.hidden or HIDDEN_RANGE, passers_by


def _row(plan: LabelledPlan, index: int, view: int) -> dict[str, Any]:
    camera, scene = labelled_scene(plan, index, view)
    made = render(scene)
    return {
        "image": made.image.numpy(),
        "mask": np.packbits(made.mask.numpy()),
        "amodal": np.packbits(made.amodal.numpy()),
        "vertex": made.vertex.numpy(),
        "keypoints": made.keypoints.xy.numpy(),
        "keypoint_visibility": made.keypoints.visibility.numpy(),
        "identity": np.int64(index),
        "camera": np.int64(camera),
        "yaw": np.float32(made.yaw),
        "visible_fraction": np.float32(made.visible_fraction),
        "occluder": np.str_(made.occluder),
    }
