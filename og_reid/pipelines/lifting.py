"""Lift of images to files of point clouds: one image, or a folder that mirrors theirs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from .fields import as_path, as_tuple, check_choice, check_workers
from .input_files import Bulk, check_output, list_files
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from meshes import PointCloud

__all__ = ["CloudFormat", "LiftSpec", "LiftedFolder", "lift_file", "lift_folder"]

#: Formats of files of point clouds.
CloudFormat = Literal["ply", "npz", "obj"]


@dataclass(frozen=True)
class LiftSpec:
    """Images to lift, and the output of their point clouds.

    Attributes:
        images: Images of one person each, and folders of them.
        out: Folder; for `lift_file` a file, None for the image's name with another ending.
        format: Ending of the files; None for ``ply``.
        skip: Leave out images that are missing.
        workers: Number of processes.

    Raises:
        ValueError: A value is out of its range, or not one of its choices.
    """

    images: tuple[Path, ...]
    out: Path | None = None
    format: CloudFormat | None = None
    skip: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        as_tuple(self, "images", Path)
        as_path(self, "out")
        check_choice("format", self.format, get_args(CloudFormat))
        if not self.images:
            raise ValueError("images must be given: at least one")
        check_workers(self.workers)

    @property
    def single(self) -> bool:
        """True for a single image."""
        return len(self.images) == 1 and not self.images[0].is_dir()


@dataclass(frozen=True)
class LiftedFolder(Bulk):
    """Result of `lift_folder`.

    Attributes:
        kept: Number of point clouds of an earlier run.
        table: CSV file with a row for each image.
    """

    kept: int
    table: Path

    def __str__(self) -> str:
        before = f", {self.kept:,} of them by an earlier run" if self.kept else ""
        return f"{self.out}: {self.made:,} clouds{before}; listed in {self.table}"


def lift_file(spec: LiftSpec) -> tuple[Path, PointCloud]:
    """Lifts one image, and writes its point cloud.

    Returns:
        The file, and its point cloud.

    Raises:
        ValueError: There are several images, the image is missing, or the ending of ``out`` is not
            that of a point cloud.
        NoPersonError: No person was found in the image.
    """
    from ..data.files.inputs import CLOUD_ENDINGS

    if len(spec.images) > 1:
        raise ValueError(f"images must be one for lift_file; got {len(spec.images)}: lift_folder")
    (image,) = spec.images
    out = spec.out or image.with_suffix(f".{spec.format or 'ply'}")
    if spec.format and out.suffix.lower() != f".{spec.format}":
        raise ValueError(f"--format is for folders; for one image the ending of {out} decides")
    if out.suffix.lower() not in CLOUD_ENDINGS:
        raise ValueError(f"--out must end in .ply, .npz or .obj for one image; got {out}")
    check_output(out)
    list_files([image], (), skip=False)

    from meshes import write_pointcloud

    from ..api import lift

    cloud = lift(image)
    write_pointcloud(out, cloud)
    return out, cloud


def lift_folder(spec: LiftSpec, progress: StageProgress | None = None) -> LiftedFolder:
    """Lifts images to files of point clouds in a folder that mirrors theirs; resumable.

    Args:
        spec: Images and folder.
        progress: Called with ("lifting images", images done, images in all).

    Raises:
        ValueError: Images are missing, or two would have one file.
    """
    from ..data.files.image_files import image_endings

    if spec.out is None:
        raise ValueError("--out must be given for many images: the folder of their clouds")
    check_output(spec.out, folder=True)
    inputs, missing = list_files(spec.images, image_endings, skip=spec.skip)

    from .lift_files import LIFT_TABLE, lift_files, lift_targets

    ending = f".{spec.format or 'ply'}"
    lift_targets(inputs, ending)  # refuses before the work
    done = lift_files(
        inputs,
        spec.out,
        ending=ending,
        workers=spec.workers,
        progress=stage_progress(progress, "lifting images"),
    )
    return LiftedFolder(
        out=spec.out,
        made=len(done.rows) - len(done.failures),
        total=len(done.rows) + len(missing),
        failures=(*missing, *done.failures),
        warnings=done.warnings,
        report=spec.out / "failures.csv",
        kept=done.kept,
        table=spec.out / LIFT_TABLE,
    )
