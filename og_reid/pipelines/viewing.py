"""View of files: point clouds, images that are lifted on the spot, bodies and keypoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pose.literals import Masks

from ..viz.looks import Coloring, Look
from .fields import as_path, as_tuple, check_choice
from .input_files import check_output, list_files, refuse_files
from .keypoints import pose_model
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from pose import PoseEstimator

    from ..viz import ViewItem

__all__ = ["ViewSpec", "lifted_item", "view_files"]

_FILES = ("png", "gif", "mp4", "html")


@dataclass(frozen=True)
class ViewSpec:
    """Files to view, and the files to write.

    Attributes:
        paths: Point clouds (.ply, .npz, .obj), images of one person each, bodies of SAM 3D Body
            (.npz), keypoints (.npz, OpenPose .json), and folders (their clouds; their images if
            there are none).
        png: Image to write.
        gif: Turntable to write.
        mp4: Turntable to write.
        html: Interactive page to write. Without any file, a window is opened.
        color: Colouring of the points, see `og_reid.viz.Look`.
        background: Show background points.
        surface: Show bodies as surfaces at first, in page and window.
        dark: Dark form; None: light, and for the page the reader's.
        yaw: Viewing direction, degrees.
        point: Index of the point for ``neighbors``.
        neighbors: Number of its neighbours.
        height: Of image and movies, pixels.
        most_megabytes: Largest page, 10^6 bytes.
        skip: Leave out missing and failed files.
        pose_model: Model of mediapipe, as for `og_reid.pipelines.KeypointSpec`.
        masks: Pixels that show the person, see ``mask`` of `og_reid.lift`.

    Raises:
        ValueError: A value is out of its range, or not one of its choices.
    """

    paths: tuple[Path, ...]
    png: Path | None = None
    gif: Path | None = None
    mp4: Path | None = None
    html: Path | None = None
    color: Coloring = "image"
    background: bool = False
    surface: bool = False
    dark: bool | None = None
    yaw: float = 0.0
    point: int | None = None
    neighbors: int = 20
    height: int = 640
    most_megabytes: float = 100.0
    skip: bool = False
    pose_model: str | Path | None = None
    masks: Masks = "own-surface"

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        as_tuple(self, "paths", Path)
        for name in _FILES:
            as_path(self, name)
        check_choice("color", self.color, get_args(Coloring))
        check_choice("masks", self.masks, get_args(Masks))
        if self.color == "contribution":
            raise ValueError("color contribution is for Python: og_reid.viz.view(ViewItem(...))")
        if not self.paths:
            raise ValueError("paths must be given: at least one")
        if not self.most_megabytes > 0:
            raise ValueError(f"most_megabytes must be positive; got {self.most_megabytes}")
        _ = self.look

    @property
    def look(self) -> Look:
        """Colouring, direction and size."""
        names = ("color", "background", "surface", "dark", "yaw", "point", "neighbors", "height")
        return Look(**{name: getattr(self, name) for name in names})

    @property
    def written(self) -> dict[str, Path]:
        """Files to write, by their kind."""
        return {name: path for name in _FILES if (path := getattr(self, name)) is not None}


def view_files(spec: ViewSpec, progress: StageProgress | None = None) -> str:
    """Shows files side by side: in a window, or in the files of the specification.

    Args:
        spec: Files, colouring and outputs.
        progress: Called with ("reading", files done, files in all).

    Returns:
        Text: the number of items, and the written files.

    Raises:
        ValueError: Files are missing or damaged, no person was found in an image, or the page
            would be too large; nothing is written.
        RuntimeError: A window without a display.
    """
    from ..data.files.image_files import image_endings
    from ..data.files.inputs import CLOUD_ENDINGS, Failure, cause

    for path in spec.written.values():
        check_output(path)
    inputs, failures = list_files(spec.paths, CLOUD_ENDINGS, image_endings(), skip=spec.skip)
    for kind, path in spec.written.items():
        if any(each.path.exists() and each.path.samefile(path) for each in inputs if path.exists()):
            raise ValueError(f"--{kind} {path} is one of the inputs: give another name")

    from ..viz import view

    report = stage_progress(progress, "reading")
    estimator = _estimator(spec)
    items: list[ViewItem] = []
    for done, each in enumerate(inputs):
        try:
            items += _read(each.path, each.name, estimator, spec.masks)
        except (ValueError, OSError) as error:
            failures.append(Failure(each.path, cause(error)))
        report(done + 1, len(inputs))
    if failures and not (spec.skip and items):
        refuse_files(failures, len(inputs))
    title = items[0].name if len(items) == 1 else f"{len(items):,} views"
    outputs: dict[str, Any] = dict(spec.written)
    view(items, look=spec.look, title=title, most_megabytes=spec.most_megabytes, **outputs)
    count = f"{len(items):,} item{'' if len(items) == 1 else 's'}"
    return ", ".join([count, *map(str, spec.written.values())])


def _estimator(spec: ViewSpec) -> Callable[[], PoseEstimator | None]:
    """Function to the estimator of poses, made once; None for the default one."""
    model = pose_model(spec.pose_model)
    made: list[PoseEstimator] = []

    def find() -> PoseEstimator | None:
        if model is None:
            return None
        if not made:
            from pose import MediapipePose

            made.append(MediapipePose(model=model))
        return made[0]

    return find


def _read(
    path: Path, name: str, estimator: Callable[[], PoseEstimator | None], masks: Masks
) -> list[ViewItem]:
    """Items of a file: one for each person."""
    from meshes import read_pointcloud

    from ..viz import as_items

    ending = path.suffix.lower()
    if ending in {".ply", ".obj"}:
        found = as_items(read_pointcloud(path))
    elif ending == ".npz":
        found = as_items(_read_npz(path))
    elif ending == ".json":
        from pose.formats.estimators import read_openpose

        found = as_items(read_openpose(path))
    else:
        found = [lifted_item(path, estimator(), masks)]
    if len(found) == 1:
        return [dataclasses.replace(found[0], name=name)]
    return [dataclasses.replace(one, name=f"{name} {row + 1}") for row, one in enumerate(found)]


def _read_npz(path: Path) -> Any:
    """A point cloud, keypoints, or bodies, by the names of the arrays."""
    from meshes import read_pointcloud, read_sam3d_body, to_body_fit
    from pose.files.npz import array_names
    from pose.files.reading import reading
    from pose.formats.coco import read_npz

    with reading(path, "must be an npz archive of a point cloud, keypoints or bodies"):
        names = array_names(path)
    if {"xy", "score"} <= names:
        return read_npz(path)
    if "pred_keypoints_3d" in names:
        return to_body_fit(read_sam3d_body(path), 1)
    return read_pointcloud(path)


def lifted_item(
    path: Path, estimator: PoseEstimator | None = None, masks: Masks = "own-surface"
) -> ViewItem:
    """Lift of the person in an image, with the image and the skeleton of the fit.

    Args:
        path: Image of one person.
        estimator: Estimator of the pose; None: the default one.
        masks: Pixels that show the person, see ``mask`` of `og_reid.lift`.

    Raises:
        NoPersonError: No person was found.
        ValueError: The file is no image.
        OSError: The file cannot be read.
    """
    from meshes import load_body
    from meshes.lift_people import warn_of_doubts
    from pose import read_image

    from ..inference.given_images import lift_people
    from ..inference.own_surface import mask_source
    from ..viz import as_items

    image = read_image(path)
    lifts, qualities = lift_people(
        image,
        None,
        load_body(None),
        layout="surface",
        estimator=estimator,
        masks=mask_source(masks),
    )
    warn_of_doubts(qualities)
    item: ViewItem
    (item,) = as_items(lifts[0])
    return dataclasses.replace(item, image=image)
