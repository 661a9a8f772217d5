"""Synthetic data sets with full truth, as shards, and contact sheets of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .fields import as_path, as_tuple, check_workers
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    import numpy as np

    from meshes.world.items import ItemKey, ItemPlan, WorldItem

__all__ = ["WorldReport", "WorldSpec", "make_world"]

_ALL = "all"


@dataclass(frozen=True)
class WorldSpec:
    """Set of rendered images or tracks.

    Attributes:
        out: Folder of the shards.
        settings: Name of the world's settings: default, city or held-out.
        identities: Number of identities.
        views: Images, or tracks, of each.
        seed: Seed of everything but the identities.
        first_identity: Number of the first identity; disjoint ranges give disjoint identities.
        occluded: Fraction of occluded images or tracks, in [0, 1].
        without: Groups of the settings that are off.
        frames: Frames of each track; 0 for single images.
        truth: Maps to store, out of `meshes.world.TRUTH`, or all.
        image_format: png, webp (both lossless) or jpeg.
        sheet: Also write contact sheets.
        workers: Number of processes.

    Raises:
        ValueError: A value is out of its range.
    """

    out: Path
    settings: str = "default"
    identities: int = 100
    views: int = 10
    seed: int = 0
    first_identity: int = 0
    occluded: float = 0.5
    without: tuple[str, ...] = ()
    frames: int = 0
    truth: tuple[str, ...] = ("instance", "part")
    image_format: str = "png"
    sheet: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        as_path(self, "out")
        as_tuple(self, "without")
        as_tuple(self, "truth")
        check_workers(self.workers)
        _ = self.plan

    @property
    def plan(self) -> ItemPlan:
        """Plan of the items."""
        from meshes.world import TRUTH, dataset

        return dataset(
            self.settings,
            identities=self.identities,
            views=self.views,
            seed=self.seed,
            first_identity=self.first_identity,
            occluded_fraction=self.occluded,
            without=self.without,
            frames=self.frames,
            truth=TRUTH if self.truth == (_ALL,) else self.truth,
        ).plan


@dataclass(frozen=True)
class WorldReport:
    """Written set.

    Attributes:
        folder: Folder of the shards.
        items: Number of images.
        shards: Number of shards.
        bytes: Size of the shards.
        sheets: Contact sheets.
    """

    folder: Path
    items: int
    shards: int
    bytes: int
    sheets: tuple[Path, ...] = ()

    def __str__(self) -> str:
        size = f"{self.bytes / 1e6:.1f} MB, {self.bytes / self.items / 1e3:.0f} kB an image"
        lines = [f"{self.folder}: {self.items:,} images in {self.shards:,} shards; {size}"]
        return "\n".join([*lines, *(f"sheet: {path}" for path in self.sheets)])


def make_world(spec: WorldSpec, progress: StageProgress | None = None) -> WorldReport:
    """Renders a set into shards, or finishes an interrupted one, and its contact sheets.

    Args:
        spec: The set.
        progress: Called with ("rendering", images done, images in all), and the same of "sheets".

    Raises:
        ValueError: A value is out of its range.
        FileExistsError: The folder holds another set.
    """
    from meshes.world.shards import write_world_shards

    write_world_shards(
        spec.out,
        spec.plan,
        image_format=spec.image_format,
        workers=spec.workers if spec.workers > 1 else 0,
        progress=stage_progress(progress, "rendering"),
    )
    shards = sorted(spec.out.glob("*.parquet"))
    sheets = _sheets(spec, stage_progress(progress, "sheets")) if spec.sheet else ()
    size = sum(path.stat().st_size for path in shards)
    return WorldReport(spec.out, spec.plan.items, len(shards), size, sheets)


def _sheets(spec: WorldSpec, progress: Callable[[float, float], None]) -> tuple[Path, ...]:
    """Contact sheets: people, conditions, occlusions, maps, tracks."""
    from meshes.world.items import ItemKey

    from ..viz.world_sheet import map_images, write_sheet

    def shown(item: WorldItem) -> list[np.ndarray]:
        return [item.rendered.image.numpy()]

    clear, hidden = replace(spec, occluded=0.0, frames=0), replace(spec, occluded=1.0, frames=0)
    walks = replace(spec, frames=12)
    jobs: dict[str, tuple[ItemPlan, list[ItemKey], int, Callable[[WorldItem], list[np.ndarray]]]]
    jobs = {
        "people": (_first(clear, 64, 1), [ItemKey(n, 0) for n in range(64)], 16, shown),
        "conditions": (_first(spec, 1, 24), [ItemKey(0, n) for n in range(24)], 12, shown),
        "occlusions": (_first(hidden, 24, 8), [ItemKey(n, n % 8) for n in range(24)], 12, shown),
        "maps": (_first(hidden, 6, 8), [ItemKey(n, 3 + n % 4) for n in range(6)], 10, map_images),
        "tracks": (_first(walks, 4, 1), [ItemKey(n, 0, t) for n in range(4) for t in range(12)],
                   12, shown),
    }  # fmt: skip
    total, done, written = sum(len(keys) for _, keys, _, _ in jobs.values()), 0, []
    for name, (plan, keys, columns, drawn) in jobs.items():
        images: list[np.ndarray] = []
        for item in _items(plan, keys, spec.workers):
            images += drawn(item)
            done += 1
            progress(done, total)
        written.append(write_sheet(images, columns, spec.out / "sheets" / f"{name}.png"))
    return tuple(written)


def _first(spec: WorldSpec, identities: int, views: int) -> ItemPlan:
    """Plan of some identities and views with all truth, whatever the numbers of the set."""
    return replace(spec, identities=identities, views=views, truth=(_ALL,)).plan


def _items(plan: ItemPlan, keys: list[ItemKey], workers: int) -> Iterator[WorldItem]:
    from meshes.world.items import make_item
    from pose.runtime.process_pool import map_in_processes

    task = partial(make_item, plan)
    if workers > 1:
        yield from map_in_processes(task, keys, workers)
    else:
        yield from map(task, keys)
