"""Estimation of the poses of people in images, written as files of keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from .fields import as_path, as_tuple, check_choice
from .input_files import Bulk, check_output, list_files, not_image, refuse_files
from .keypoints import KeypointSpec, build_estimator, check_keypoint_files, estimate_all
from .progress import StageProgress

if TYPE_CHECKING:
    from pose import Keypoints, Pose

    from ..data.files.inputs import Input

__all__ = ["EstimatedPoses", "PoseFormat", "PoseSpec", "estimate_poses"]

#: Output formats.
PoseFormat = Literal["alphapose", "coco", "sep-json"]


@dataclass(frozen=True, kw_only=True)
class PoseSpec(KeypointSpec):
    """Images, pose estimator, and the output file of keypoints.

    Attributes:
        images: Images, and folders of them.
        out: File; for ``sep-json`` a folder.
        format: ``alphapose``: one list; ``coco``: one file, with flags in place of scores;
            ``sep-json``: a file for each image, the input of PGFA.
        skip: Leave out images that are missing.

    Raises:
        ValueError: A value is not one of its choices.
    """

    images: tuple[Path, ...]
    out: Path
    format: PoseFormat = "alphapose"
    skip: bool = False

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        super().__post_init__()
        as_tuple(self, "images", Path)
        as_path(self, "out")
        if not self.images:
            raise ValueError("images must be given: at least one")
        check_choice("format", self.format, get_args(PoseFormat))


@dataclass(frozen=True)
class EstimatedPoses(Bulk):
    """Result of `estimate_poses`.

    Attributes:
        found: Number of images with a detected person.
    """

    found: int


def estimate_poses(spec: PoseSpec, progress: StageProgress | None = None) -> EstimatedPoses:
    """Estimates the keypoints of the people in images, and writes them.

    The target person of each image is first. Estimated poses are cached.

    Args:
        spec: Images, estimator, output.
        progress: Called with ("estimating poses", images done, images in all).

    Raises:
        ValueError: Images are missing, two would have one entry, or all fail.
    """
    check_keypoint_files(spec)
    check_output(spec.out, folder=spec.format == "sep-json")
    from ..data.files.image_files import image_endings

    inputs, missing = list_files(spec.images, image_endings, skip=spec.skip, check=not_image)

    from ..data.files.inputs import Failure, summarize_warnings

    inputs = list({each.path: each for each in inputs}.values())
    _check_unique(inputs, stems=spec.format == "sep-json")
    failed: dict[Path, str] = {}
    raised: list[tuple[Path, str]] = []
    paths = [each.path for each in inputs]
    estimator = build_estimator(spec)
    poses = estimate_all(paths, estimator, "estimating poses", progress, failed, raised)
    done = [each for each in inputs if each.path not in failed]
    failures = [*missing, *(Failure(path, reason) for path, reason in failed.items())]
    if not done:
        refuse_files(failures, len(inputs) + len(missing))
    _write(spec, done, poses)
    return EstimatedPoses(
        out=spec.out,
        made=len(done),
        total=len(inputs) + len(missing),
        failures=tuple(failures),
        warnings=summarize_warnings(raised),
        report=spec.out.with_name(f"{spec.out.stem}.failures.csv"),
        found=sum(pose.found for pose in poses),
    )


def _write(spec: PoseSpec, images: Sequence[Input], poses: Sequence[Pose]) -> None:
    from pose import (
        COCO_17,
        CocoKeypoints,
        Keypoints,
        to_openpose18,
        write_alphapose,
        write_coco,
        write_sep_json,
    )

    people: list[Keypoints] = [pose.people for pose in poses]
    if spec.format == "sep-json":
        for each, found in zip(images, people, strict=True):
            if len(found.score):
                write_sep_json(spec.out / f"{each.path.stem}.json", to_openpose18(found))
        return
    names = [each.name for each, found in zip(images, people, strict=True) for _ in found.score]
    everyone = CocoKeypoints(Keypoints.cat(people), tuple(names))
    # COCO json has 17 keypoints; its readers expect no others.
    if spec.format == "coco" or "neck" not in everyone.keypoints.names:
        everyone = CocoKeypoints(everyone.keypoints.select(COCO_17), everyone.images)
    write = write_coco if spec.format == "coco" else write_alphapose
    write(spec.out, everyone)


def _check_unique(inputs: Sequence[Input], *, stems: bool) -> None:
    """Refuses two images with one entry: of one stem, or of one name below their folders."""
    known: dict[str, Path] = {}
    for each in inputs:
        name = each.path.stem if stems else each.name
        other = known.setdefault(name, each.path)
        if other != each.path:
            raise ValueError(
                f"{other} and {each.path} would have one file in format sep-json: give one "
                "folder at a time, or --format coco"
                if stems
                else f"{other} and {each.path} would both be {name} in --out: give the "
                "folder above both"
            )
