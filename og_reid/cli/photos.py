"""What commands do with photographs and keypoints: estimate poses, train and score PGFA."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pose.literals import FileFormat, Target

from .bulk import check_readable, listed, refuse, settle
from .datasets import splits
from .options import check_out
from .scoring import check_scoring, score_and_tell
from .sources import (
    can_be_searched,
    check_people,
    generated,
    held_out,
    naming_unreadable,
    say,
)

if TYPE_CHECKING:
    from pose import Keypoints, Pose, PoseEstimator

    from ..config.schema import TrainConfig
    from ..data import ImageSet, Sample, Splits
    from ..data.files.inputs import Input
    from ..train import Task

__all__ = [
    "add_estimator",
    "add_keypoints",
    "check_guided",
    "do_pose",
    "evaluate_people",
    "not_image",
    "people_set",
    "people_task",
    "refuse_keypoints",
]

_AT_A_TIME = 32
TARGETS: tuple[str, ...] = get_args(Target)
FORMATS: tuple[str, ...] = get_args(FileFormat)


def add_keypoints(command: argparse.ArgumentParser) -> None:
    """Options of commands that look up keypoints or estimate them."""
    command.add_argument(
        "--keypoints", type=Path, metavar="PATH",
        help="for PGFA: keypoints of the photographs, a file or a folder with one for each",
    )  # fmt: skip
    command.add_argument(
        "--keypoints-format", metavar="FORMAT",
        choices=FORMATS,
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
        "--target", choices=TARGETS,
        help="who of several people a photograph is about (default: most_joints)",
    )  # fmt: skip


def do_pose(options: argparse.Namespace) -> None:
    """Writes the keypoints of the people in photographs."""
    from ..data.files.image_files import image_endings

    check_out(options.out, folder=options.format == "sep-json")
    inputs, missing = listed(options.images, image_endings, skip=options.skip, check=not_image)

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
    poses = _estimated(paths, _estimator(options), "estimating poses", failed, raised)
    done = [each for each in inputs if each.path not in failed]
    people = [pose.people for pose in poses]
    failures = [*missing, *(Failure(path, reason) for path, reason in failed.items())]
    if not done:
        refuse(failures, len(inputs) + len(missing))
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
    print(f"{options.out}: people in {count:,} of {len(done):,} photographs")
    settle(
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


def people_task(config: TrainConfig, data: Path, options: argparse.Namespace) -> Task[Any]:
    """PGFA on the photographs of a data set."""
    from ..train import ImageTask
    from ..train.image_task import stripe_counts

    images = splits(data, options)
    prepared = stripe_counts(config.model), config.photos
    known, held = images.train, None
    if config.data.hold_out:
        held = held_out(images.train, config.data.hold_out)
        known = tuple(images.train[i] for i in held.train)
    check_people(config, (*images.train, *generated(options)))
    guided = config.model.preset == "pgfa" and config.model.global_branch == "pose"
    train_set = people_set((*known, *generated(options)), *prepared, options, guided)
    validation = None
    if held is not None:
        query, gallery = ([images.train[i] for i in rows] for rows in (held.query, held.gallery))
        validation = people_set(query, *prepared, options), people_set(gallery, *prepared, options)
    elif can_be_searched(images):
        validation = _test_people(images, *prepared, options)
    return ImageTask(config, train_set, validation=validation)


def evaluate_people(options: argparse.Namespace) -> None:
    """Prints how well a network of photographs ranks a data set."""
    from ..inference.model_file import read_image_model
    from ..inference.pretrained import model_file
    from ..pipelines.part_ablation import part_ablation
    from .progress import progress_bar

    stored = read_image_model(model_file(options.model))
    if getattr(stored.model, "global_branch", None) == "pose":
        check_guided(options)
    if options.mirror or options.test_view != "none":
        raise ValueError("--mirror and --test-view are for models of clouds; leave them out")
    if "parts" in options.by and not stored.model.parts:
        raise ValueError("--by parts needs a network with stripes; this one has none")
    images = splits(options.data, options)
    check_scoring(images, options)
    check_readable((*images.query, *images.gallery), options.workers)
    query, gallery = _test_people(images, stored.model.parts, stored.preprocessing, options)
    with progress_bar("embedding") as show:
        searches = part_ablation(
            query,
            gallery,
            stored.model,
            name=Path(options.model).stem,
            descriptor=options.descriptor,
            progress=lambda done, total: show(done, total, ""),
        )
    score_and_tell(searches, query, gallery, options)


def _test_people(
    images: Splits, parts: int | tuple[int, ...], photos: Any, options: argparse.Namespace
) -> tuple[ImageSet, ImageSet]:
    return (
        people_set(images.query, parts, photos, options),
        people_set(images.gallery, parts, photos, options),
    )


def people_set(
    samples: Sequence[Sample],
    parts: int | tuple[int, ...],
    photos: Any,
    options: argparse.Namespace,
    needed: bool = False,
) -> ImageSet:
    """Photographs with the people in them; ``photos`` tells height, width and mode."""
    from pose import to_openpose18

    from ..data import ImageSet

    known: dict[Path, Keypoints] = {}
    if options.keypoints is not None or options.estimator is not None:
        paths = [sample.path for sample in samples]
        poses = _estimated(paths, _estimator(options), "looking for people")
        known = {path: to_openpose18(pose.people) for path, pose in zip(paths, poses, strict=True)}
        found = sum(pose.found for pose in poses)
        if not found:
            raise ValueError(
                f"nobody was found in any of {len(paths):,} photographs, such as {paths[0]}: are "
                "the keypoints of other photographs?"
            )
        say(f"people in {found:,} of {len(paths):,} photographs")
    elif needed:
        check_guided(options)
    return ImageSet(
        samples,
        lambda sample: known.get(sample.path),
        parts=parts,
        size=(photos.height, photos.width),
        mode=photos.mode,
        # The authors' rules choose among people in two ways; otherwise the estimator has chosen.
        target=None if photos.mode == "reference" else "first",
        threads=options.workers,
    )


def check_guided(options: argparse.Namespace) -> None:
    """Refuses to go without the joints that a network is guided by."""
    if options.keypoints is None and options.estimator is None:
        raise ValueError(
            "--keypoints or --estimator must be given: the network is guided by the joints "
            "(og-reid pose writes them)"
        )


def refuse_keypoints(options: argparse.Namespace) -> None:
    """Refuses options about keypoints where photographs are lifted, which has its own."""
    given = {
        "--keypoints": options.keypoints,
        "--keypoints-names": options.keypoints_names,
        "--estimator": options.estimator,
    }
    for name, value in given.items():
        if value is not None and value != "mediapipe":
            raise ValueError(
                f"{name} is for networks of photographs, such as pgfa; this one takes clouds, "
                f"which are lifted with the keypoints of mediapipe: leave {name} out"
            )


def _estimator(options: argparse.Namespace) -> PoseEstimator:
    """What the options about keypoints ask for."""
    from pose import CachedPose, MediapipePose, MMPose, PrecomputedPose

    given = getattr(options, "keypoints", None)
    if given is not None:
        if options.estimator is not None:
            raise ValueError("--keypoints and --estimator exclude each other: give one of them")
        format: FileFormat = options.keypoints_format or _usual_format(given)
        names = options.keypoints_names
        joints = None if names is None else [name.strip() for name in names.split(",")]
        return PrecomputedPose(given, format, target=options.target, names=joints)
    if getattr(options, "keypoints_names", None) is not None:
        raise ValueError("--keypoints-names is for --keypoints: give that, too, or leave it out")
    if options.estimator == "mmpose":
        if options.pose_config is None:
            raise ValueError("--estimator mmpose needs --pose-config (and --pose-checkpoint)")
        inner: PoseEstimator = MMPose(
            options.pose_config, options.pose_checkpoint, target=options.target or "most_joints"
        )
    elif options.target is not None:
        raise ValueError(
            "--target is for --keypoints and --estimator mmpose: mediapipe takes one of several "
            "people without saying which"
        )
    else:
        inner = MediapipePose()
    return CachedPose(inner, options.cache / "poses")


def _usual_format(path: Path) -> FileFormat:
    """What a folder or a file of keypoints holds, by its first character."""
    if path.is_dir():
        return "sep-json"
    if not path.is_file():
        raise ValueError(f"--keypoints must be a file or a folder; there is no {path}")
    with path.open("rb") as file:
        return "alphapose" if file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[" else "coco"


def _estimated(
    paths: Sequence[Path],
    estimator: PoseEstimator,
    title: str,
    failed: dict[Path, str] | None = None,
    raised: list[tuple[Path, str]] | None = None,
) -> list[Pose]:
    """Poses in images, some at a time, without their masks.

    With ``failed`` (images and reasons) those of images that fail are left out, otherwise the first
    is an error; ``raised`` takes warnings, otherwise they are raised again, once for each kind.
    """
    from pose import Pose, estimate_batch
    from pose.files.reading import InputWarning, level_outside

    from ..data.clouds.attempts import attempt_poses, collected
    from ..data.files.inputs import summarize_warnings
    from .progress import progress_bar

    poses: list[Pose] = []
    noted: list[tuple[Path, str]] = []
    with progress_bar(title) as show, naming_unreadable(paths):
        for start in range(0, len(paths), _AT_A_TIME):
            some = paths[start : start + _AT_A_TIME]
            with collected() as texts:
                if failed is None:
                    found = estimate_batch(estimator, some)
                else:
                    found = attempt_poses(some, estimator, failed)
            noted += [(some[0], text) for text in texts]
            poses += [Pose(pose.keypoints, others=pose.others) for pose in found]
            show(start + len(some), len(paths), "")
    if raised is None:
        for text in summarize_warnings(noted):
            warnings.warn(text, InputWarning, stacklevel=level_outside())
    else:
        raised += noted
    return poses


def _check_stems(paths: Sequence[Path]) -> None:
    known: dict[str, Path] = {}
    for path in paths:
        if known.setdefault(path.stem, path) != path:
            raise ValueError(
                f"{known[path.stem]} and {path} would have one file in format sep-json: give one "
                "folder at a time, or --format coco"
            )
