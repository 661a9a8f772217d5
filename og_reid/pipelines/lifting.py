"""Lift of images to point clouds: one file, a folder that mirrors theirs, or a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pose.literals import Masks

from ..data.clouds.engines import Engine
from .fields import as_path, as_tuple, check_choice, check_workers
from .input_files import Bulk, check_output, list_files
from .keypoints import pose_model
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    import numpy as np

    from meshes import PointCloud
    from pose import Pose, PoseEstimator

    from ..data.files.inputs import Failure, Input

__all__ = ["CloudFormat", "LiftSpec", "LiftedFolder", "StoredFolder", "lift_file", "lift_folder"]

#: Formats of files of point clouds, and a store of many packed ones.
CloudFormat = Literal["ply", "npz", "obj", "store"]


@dataclass(frozen=True)
class LiftSpec:
    """Images to lift, and the output of their point clouds.

    Attributes:
        images: Images of one person each, and folders of them.
        out: Folder; for `lift_file` a file, None for the image's name with another ending.
        format: Ending of the files; None for ``ply``. ``store``: packed clouds in shards, see
            `og_reid.data.LiftedStore`.
        skip: Leave out images that are missing.
        workers: Number of processes.
        pose_model: Model of mediapipe, as for `og_reid.pipelines.KeypointSpec`.
        engine: Of a store: ``process``, or ``ray`` for the tasks of a Ray cluster.
        masks: Pixels that show the person, see ``mask`` of `og_reid.lift`.
        html: Page to write for one image: its keypoints, fit and cloud, see
            `og_reid.viz.lift_page`.

    Raises:
        ValueError: A value is out of its range, or not one of its choices.
    """

    images: tuple[Path, ...]
    out: Path | None = None
    format: CloudFormat | None = None
    skip: bool = False
    workers: int = 1
    pose_model: str | Path | None = None
    engine: Engine = "process"
    masks: Masks = "own-surface"
    html: Path | None = None

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        as_tuple(self, "images", Path)
        as_path(self, "out")
        as_path(self, "html")
        check_choice("format", self.format, get_args(CloudFormat))
        check_choice("engine", self.engine, get_args(Engine))
        check_choice("masks", self.masks, get_args(Masks))
        if not self.images:
            raise ValueError("images must be given: at least one")
        if self.engine != "process" and self.format != "store":
            raise ValueError(f"--engine {self.engine} is for --format store: give both")
        if self.html is not None and not self.single:
            raise ValueError("html is a page of one lift: give one image, and no --format store")
        check_workers(self.workers)

    @property
    def single(self) -> bool:
        """True for a single image that is lifted to a file."""
        one = len(self.images) == 1 and not self.images[0].is_dir()
        return one and self.format != "store"


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


@dataclass(frozen=True)
class StoredFolder(Bulk):
    """Result of `lift_folder` for a store.

    Attributes:
        kept: Number of images with a result of an earlier run.
        bytes: Size of the store.
    """

    kept: int
    bytes: int

    def __str__(self) -> str:
        before = f", {self.kept:,} images lifted by an earlier run" if self.kept else ""
        return f"{self.out}: store of {self.made:,} clouds, {self.bytes / 1e6:.1f} MB{before}"


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
    if spec.html is not None:
        check_output(spec.html)
    list_files([image], (), skip=False)

    from meshes import write_pointcloud
    from pose import MediapipePose, read_image

    from ..api import lift

    model = pose_model(spec.pose_model)
    pose: Pose | None
    if spec.html is not None:
        pixels = read_image(image)
        pose = (MediapipePose() if model is None else MediapipePose(model=model))(pixels)
        _write_page(spec, spec.html, pixels, pose)
    else:
        pose = None if model is None else MediapipePose(model=model)(image)
    cloud = lift(image, keypoints=pose, mask=spec.masks)
    write_pointcloud(out, cloud)
    return out, cloud


def _write_page(spec: LiftSpec, page: Path, pixels: np.ndarray, pose: Pose) -> None:
    """Page of the lift of the one image, made as for its cloud."""
    from dataclasses import replace

    from meshes.body.load import load_body

    from ..files.printable import printable
    from ..inference.given_images import lift_people
    from ..inference.own_surface import mask_source
    from ..viz.lift_page import lift_page, write_lift_page

    masks = mask_source(spec.masks)
    lifts, qualities = lift_people(pixels, pose, load_body(), layout="surface", masks=masks)
    shown = replace(lifts[0], quality=qualities[0])
    title = f"Lift of {printable(spec.images[0].name)}"
    write_lift_page(page, lift_page(pixels, pose, shown, title=title))


def lift_folder(
    spec: LiftSpec, progress: StageProgress | None = None
) -> LiftedFolder | StoredFolder:
    """Lifts images to a folder of point clouds that mirrors theirs, or to a store; resumable.

    Args:
        spec: Images and folder.
        progress: Called with ("lifting images", images done, images in all).

    Raises:
        ValueError: Images are missing, two would have one file, or the folder holds other files or
            a store of other settings.
    """
    from ..data.files.image_files import image_endings

    if spec.out is None:
        raise ValueError("--out must be given for many images: the folder of their clouds")
    check_output(spec.out, folder=True)
    inputs, missing = list_files(spec.images, image_endings, skip=spec.skip)
    report = stage_progress(progress, "lifting images")
    estimator = _estimator(spec)
    if spec.format == "store":
        return _lift_store(spec, spec.out, inputs, missing, estimator, report)

    from .lift_files import LIFT_TABLE, lift_files, lift_targets

    ending = f".{spec.format or 'ply'}"
    lift_targets(inputs, ending)  # refuses before the work
    done = lift_files(
        inputs,
        spec.out,
        ending=ending,
        workers=spec.workers,
        estimator=estimator,
        masks=spec.masks,
        progress=report,
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


def _estimator(spec: LiftSpec) -> Callable[[], PoseEstimator] | None:
    """Constructor of the estimator; None for mediapipe's default."""
    model = pose_model(spec.pose_model)
    if model is None:
        return None
    from pose.estimators.mediapipe import MediapipeMaker
    from pose.estimators.mediapipe_models import find_model

    return MediapipeMaker(find_model(model))


def _lift_store(
    spec: LiftSpec,
    out: Path,
    inputs: Sequence[Input],
    missing: Sequence[Failure],
    estimator: Callable[[], PoseEstimator] | None,
    report: Callable[[float, float], None],
) -> StoredFolder:
    from ..data.clouds.lift_store import FAILURES, LabelledImage, lift_store
    from ..inference.own_surface import mask_source

    unique = {(each.name, each.path): LabelledImage(each.path, each.name) for each in inputs}
    done = lift_store(
        list(unique.values()),
        out,
        estimator=estimator,
        masks=mask_source(spec.masks),
        workers=spec.workers,
        engine=spec.engine,
        progress=report,
    )
    return StoredFolder(
        out=out,
        made=done.clouds,
        total=len(unique) + len(missing),
        failures=(*missing, *done.failures),
        warnings=done.warnings,
        report=out / FAILURES,
        kept=done.kept,
        bytes=done.bytes,
    )
