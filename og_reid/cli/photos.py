"""What commands do with photographs and keypoints: estimate poses, train and score PGFA."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pose.literals import FileFormat, Target

from ..pipelines.data import check_keypoints, image_set
from ..pipelines.input_files import check_readable, list_files, refuse_files, report_failures
from ..pipelines.keypoints import build_estimator, estimate_all
from .options import check_out, data_spec
from .progress import progress_stages
from .scoring import check_scoring, score_and_tell

if TYPE_CHECKING:
    from ..data.files.inputs import Input

__all__ = ["add_estimator", "add_keypoints", "do_pose", "evaluate_people", "not_image"]


def add_keypoints(command: argparse.ArgumentParser) -> None:
    """Options of commands that look up keypoints or estimate them."""
    command.add_argument(
        "--keypoints", type=Path, metavar="PATH",
        help="for PGFA: keypoints of the photographs, a file or a folder with one for each",
    )  # fmt: skip
    command.add_argument(
        "--keypoints-format", metavar="FORMAT",
        choices=get_args(FileFormat),
        help="what --keypoints holds: %(choices)s (default: sep-json for a folder, alphapose for a "
        "list, else coco)",
    )  # fmt: skip
    command.add_argument(
        "--keypoints-names", metavar="NAME,NAME,...",
        help="the joints of --keypoints in the files' order, such as nose,left_eye,..., for "
        "another skeleton or order (default: as the files name them, otherwise by their number)",
    )  # fmt: skip
    add_estimator(command)


def add_estimator(command: argparse.ArgumentParser) -> None:
    """Options of commands that estimate keypoints."""
    command.add_argument(
        "--estimator", choices=("mediapipe", "mmpose"), help="what finds people in photographs"
    )
    command.add_argument(
        "--pose-config", metavar="CONFIG",
        help="of mmpose: a file, or a name such as rtmpose-s_8xb256-420e_coco-256x192",
    )  # fmt: skip
    command.add_argument(
        "--pose-checkpoint", type=Path, metavar="FILE",
        help="of mmpose: weights (default: download those of the name)",
    )  # fmt: skip
    command.add_argument(
        "--target", choices=get_args(Target),
        help="who of several people a photograph is about (default: most_joints)",
    )  # fmt: skip


def do_pose(options: argparse.Namespace) -> None:
    """Writes the keypoints of the people in photographs."""
    from ..data.files.image_files import image_endings

    check_out(options.out, folder=options.format == "sep-json")
    inputs, missing = list_files(options.images, image_endings, skip=options.skip, check=not_image)

    from pose import (
        COCO_17,
        CocoKeypoints,
        Keypoints,
        to_openpose18,
        write_alphapose,
        write_coco,
        write_sep_json,
    )

    from ..data.files.inputs import Failure, summarize_warnings

    inputs = list({each.path: each for each in inputs}.values())
    if options.format == "sep-json":
        _check_stems([each.path for each in inputs])
    else:
        _check_names(inputs)
    failed: dict[Path, str] = {}
    raised: list[tuple[Path, str]] = []
    paths = [each.path for each in inputs]
    estimator = build_estimator(data_spec(options))
    with progress_stages() as show:
        poses = estimate_all(paths, estimator, "estimating poses", show, failed, raised)
    done = [each for each in inputs if each.path not in failed]
    people = [pose.people for pose in poses]
    failures = [*missing, *(Failure(path, reason) for path, reason in failed.items())]
    if not done:
        refuse_files(failures, len(inputs) + len(missing))
    if options.format == "sep-json":
        for each, found in zip(done, people, strict=True):
            if len(found.score):
                write_sep_json(options.out / f"{each.path.stem}.json", to_openpose18(found))
    else:
        images = [each.name for each, found in zip(done, people, strict=True) for _ in found.score]
        everybody = CocoKeypoints(Keypoints.cat(people), tuple(images))
        # COCO json has 17 keypoints: what reads it knows no others.
        if options.format == "coco" or "neck" not in everybody.keypoints.names:
            everybody = CocoKeypoints(everybody.keypoints.select(COCO_17), everybody.images)
        write = write_coco if options.format == "coco" else write_alphapose
        write(options.out, everybody)
    count = sum(pose.found for pose in poses)
    print(f"{options.out}: people in {count:,} of {len(done):,} images")
    report_failures(
        failures,
        len(inputs) + len(missing),
        made=len(done),
        warnings=summarize_warnings(raised),
        report=options.out.with_name(f"{options.out.stem}.failures.csv"),
        skip=options.skip,
    )


def not_image(each: Input) -> str | None:
    """Why a file is no image by its name; None where it is one."""
    from ..data.files.image_files import image_endings

    if each.path.suffix.lower() in image_endings():
        return None
    return f"is no image ({', '.join(sorted(image_endings()))}): convert it"


def _check_names(inputs: Sequence[Input]) -> None:
    known: dict[str, Path] = {}
    for each in inputs:
        if known.setdefault(each.name, each.path) != each.path:
            raise ValueError(
                f"{known[each.name]} and {each.path} would both be {each.name} in --out: give the "
                "folder above both"
            )


def evaluate_people(options: argparse.Namespace) -> None:
    """Prints how well a network of photographs ranks a data set."""
    from ..inference.model_file import read_image_model
    from ..inference.pretrained import model_file
    from ..pipelines.part_ablation import part_ablation

    stored = read_image_model(model_file(options.model))
    if getattr(stored.model, "global_branch", None) == "pose":
        check_keypoints(data_spec(options))
    if options.mirror or options.test_view != "none":
        raise ValueError("--mirror and --test-view are for models of clouds; leave them out")
    if "parts" in options.by and not stored.model.parts:
        raise ValueError("--by parts needs a network with stripes; this one has none")
    data = data_spec(options)
    images = data.splits
    check_scoring(images, options)
    check_readable((*images.query, *images.gallery), options.workers)
    with progress_stages() as show:
        query, gallery = (
            image_set(side, stored.model.parts, stored.preprocessing, data, progress=show)
            for side in (images.query, images.gallery)
        )
        searches = part_ablation(
            query,
            gallery,
            stored.model,
            name=Path(options.model).stem,
            descriptor=options.descriptor,
            progress=lambda done, total: show("embedding", done, total),
        )
    score_and_tell(searches, query, gallery, options)


def _check_stems(paths: Sequence[Path]) -> None:
    known: dict[str, Path] = {}
    for path in paths:
        if known.setdefault(path.stem, path) != path:
            raise ValueError(
                f"{known[path.stem]} and {path} would have one file in format sep-json: give one "
                "folder at a time, or --format coco"
            )
