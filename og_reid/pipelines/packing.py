"""Compact store of a tree of published ``.obj`` point clouds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .fields import as_path, as_tuple, check_workers
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from ..data.clouds.convert_market3d import Conversion

__all__ = ["PackSpec", "pack_clouds"]


@dataclass(frozen=True)
class PackSpec:
    """Tree of point clouds, and the folder of their store.

    Attributes:
        source: Folder with the folders train, train_all, val, gallery, query, or some of them.
        out: Folder of the store.
        splits: Folders to pack; None for all.
        points: Points that every cloud must have; 0 takes any number.
        workers: Number of processes.

    Raises:
        ValueError: A value is out of its range.
    """

    source: Path
    out: Path
    splits: tuple[str, ...] | None = None
    points: int = 8192
    workers: int = 1

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        as_path(self, "source")
        as_path(self, "out")
        if self.splits is not None:
            as_tuple(self, "splits")
        if self.points < 0:
            raise ValueError(f"--points must be at least 0; got {self.points}")
        check_workers(self.workers)


def pack_clouds(spec: PackSpec, progress: StageProgress | None = None) -> Conversion:
    """Packs a tree ``<split>/<identity>/<image name>.obj`` into a store; resumable.

    Args:
        spec: Tree and store.
        progress: Called with ("packing", clouds done, clouds in all).

    Raises:
        ValueError: The tree is missing, or a cloud cannot be stored.
    """
    if not spec.source.is_dir():
        advice = "give the one that holds train, train_all, val, gallery, query"
        raise ValueError(f"{spec.source} is not a folder: {advice}")

    from ..data.clouds.convert_market3d import convert_market3d

    return convert_market3d(
        spec.source,
        spec.out,
        splits=spec.splits,
        expected=spec.points or None,
        workers=spec.workers,
        progress=stage_progress(progress, "packing"),
    )
