"""Keypoints of images: their source as a typed value, and their estimation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pose.files.user_folder import user_folder
from pose.literals import FileFormat, Masks, Target

from .fields import as_path, as_tuple, check_choice, check_workers
from .input_files import check_exists
from .progress import StageProgress

if TYPE_CHECKING:
    from pose import Keypoints, Pose, PoseEstimator

    from ..data import Sample

__all__ = [
    "Estimator",
    "KeypointSpec",
    "build_estimator",
    "check_keypoint_files",
    "check_keypoints",
    "default_cache",
    "estimate_all",
    "find_keypoints",
    "naming_unreadable",
    "pose_model",
]

_LOG = logging.getLogger("og_reid")
_BATCH = 32  # images
_NAMED = 5  # unreadable images listed in a message

#: Pose estimators by name.
Estimator = Literal["mediapipe", "mmpose"]


@dataclass(frozen=True, kw_only=True)
class KeypointSpec:
    """Source of the keypoints of images: files, or a pose estimator.

    Attributes:
        keypoints: File, or folder with a file for each image; None for an estimator.
        keypoints_format: Format of ``keypoints``; None: sep-json for a folder, alphapose for a
            JSON list, else coco.
        keypoints_names: Joints of ``keypoints`` in the files' order; None: as the files name them.
        estimator: Pose estimator; None for none (`build_estimator` takes mediapipe then).
        pose_model: Model of mediapipe: None or ``full`` for the one of its package, ``heavy``, or
            the file of one, see `pose.MediapipePose`.
        pose_config: Model of mmpose: a file, or a name such as
            ``rtmpose-s_8xb256-420e_coco-256x192``.
        pose_checkpoint: Weights of mmpose; None downloads those of ``pose_config``.
        person: Selection rule for several people; None for ``most_joints``.
        cache: Folder of lifted point clouds and estimated poses; None for `default_cache`.
        workers: Processes that lift, and threads that read.
        masks: Pixels that show the person, in lifts: see ``mask`` of `og_reid.lift`.

    Raises:
        ValueError: A value is not one of its choices, or two exclude each other.
    """

    keypoints: Path | None = None
    keypoints_format: FileFormat | None = None
    keypoints_names: tuple[str, ...] | None = None
    estimator: Estimator | None = None
    pose_model: str | Path | None = None
    pose_config: str | None = None
    pose_checkpoint: Path | None = None
    person: Target | None = None
    cache: Path | None = None
    workers: int = 1
    masks: Masks = "own-surface"

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        for name in ("keypoints", "pose_checkpoint", "cache"):
            as_path(self, name)
        check_choice("keypoints_format", self.keypoints_format, get_args(FileFormat))
        check_choice("estimator", self.estimator, get_args(Estimator))
        check_choice("person", self.person, get_args(Target))
        check_choice("masks", self.masks, get_args(Masks))
        check_workers(self.workers)
        if self.keypoints_names is not None:
            as_tuple(self, "keypoints_names", str.strip)

    @property
    def has_keypoints(self) -> bool:
        """True if keypoints are given, or an estimator of them."""
        return self.keypoints is not None or self.estimator is not None

    @property
    def cache_folder(self) -> Path:
        """Folder of lifted point clouds and estimated poses."""
        return self.cache or default_cache()


def default_cache() -> Path:
    """Default cache folder: ``og-reid`` in $XDG_CACHE_HOME, or in ``~/.cache``.

    Raises:
        ValueError: There is no home folder, as in a container with an unnamed user.
    """
    folder = user_folder("XDG_CACHE_HOME", ".cache")
    if folder is None:
        raise ValueError(
            "--cache must be given, or the variable XDG_CACHE_HOME: this user has no home folder"
        )
    return folder


def build_estimator(spec: KeypointSpec) -> PoseEstimator:
    """Pose estimator of a specification; estimated poses are cached, those of files are not.

    Raises:
        ValueError: Two values exclude each other, or one needs another.
    """
    from pose import CachedPose, MediapipePose, MMPose, PrecomputedPose

    if spec.keypoints is not None:
        for name in ("estimator", "pose_model"):
            if getattr(spec, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise ValueError(f"--keypoints and {flag} exclude each other: give one of them")
        format = spec.keypoints_format or _guess_format(spec.keypoints)
        names = spec.keypoints_names
        return PrecomputedPose(
            spec.keypoints, format, target=spec.person, names=None if names is None else list(names)
        )
    if spec.keypoints_names is not None:
        raise ValueError("--keypoints-names is for --keypoints: give that, too, or leave it out")
    if spec.estimator == "mmpose":
        if spec.pose_config is None:
            raise ValueError("--estimator mmpose needs --pose-config (and --pose-checkpoint)")
        inner: PoseEstimator = MMPose(
            spec.pose_config, spec.pose_checkpoint, target=spec.person or "most_joints"
        )
        if spec.pose_model is not None:
            raise ValueError("--pose-model is for --estimator mediapipe: leave one of them out")
    elif spec.person is not None:
        raise ValueError(
            "--person is for --keypoints and --estimator mmpose: mediapipe detects one of several "
            "people, by its own choice"
        )
    else:
        inner = MediapipePose(model=pose_model(spec.pose_model))
    return CachedPose(inner, spec.cache_folder / "poses")


def pose_model(given: str | Path | None) -> str | Path | None:
    """Model for `pose.MediapipePose`; ``full`` is that of its package."""
    return None if given == "full" else given


def _guess_format(path: Path) -> FileFormat:
    """Usual format of a folder or a file of keypoints, by its first character.

    Raises:
        ValueError: There is neither.
    """
    if path.is_dir():
        return "sep-json"
    if not path.is_file():
        raise ValueError(f"--keypoints must be a file or a folder; there is no {path}")
    with path.open("rb") as file:
        return "alphapose" if file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[" else "coco"


def estimate_all(
    paths: Sequence[Path],
    estimator: PoseEstimator,
    stage: str,
    progress: StageProgress | None = None,
    failed: dict[Path, str] | None = None,
    raised: list[tuple[Path, str]] | None = None,
) -> list[Pose]:
    """Poses of images, in batches, without their masks.

    Args:
        paths: Images.
        estimator: Pose estimator.
        stage: Name of the work, for ``progress``.
        progress: Called with (stage, images done, images in all).
        failed: Filled with failed images, which are left out, and their reasons; None: the first
            failure is an error.
        raised: Filled with warnings; None: warnings are issued again, once per kind.

    Raises:
        ValueError: Without ``failed``: lists the unreadable images.
    """
    from pose import Pose, estimate_batch
    from pose.files.reading import InputWarning, level_outside

    from ..data.clouds.attempts import attempt_poses, collected
    from ..data.files.inputs import summarize_warnings

    poses: list[Pose] = []
    noted: list[tuple[Path, str]] = []
    with naming_unreadable(paths):
        for start in range(0, len(paths), _BATCH):
            some = paths[start : start + _BATCH]
            with collected() as texts:
                if failed is None:
                    found = estimate_batch(estimator, some)
                else:
                    found = attempt_poses(some, estimator, failed)
            noted += [(some[0], text) for text in texts]
            poses += [Pose(pose.keypoints, others=pose.others) for pose in found]
            if progress is not None:
                progress(stage, start + len(some), len(paths))
    if raised is None:
        for text in summarize_warnings(noted):
            warnings.warn(text, InputWarning, stacklevel=level_outside())
    else:
        raised += noted
    return poses


def find_keypoints(
    samples: Sequence[Sample],
    spec: KeypointSpec,
    *,
    required: bool = False,
    progress: StageProgress | None = None,
) -> Callable[[Sample], Keypoints | None]:
    """Keypoints by image, read or estimated; None for images without keypoints.

    Args:
        samples: Images.
        spec: Source of the keypoints.
        required: Refuse a missing source of keypoints.
        progress: Called with ("looking for people", images done, images in all).

    Raises:
        ValueError: No image has keypoints, or their source is missing.
    """
    from pose import to_openpose18

    known: dict[Path, Keypoints] = {}
    if spec.has_keypoints:
        paths = [sample.path for sample in samples]
        poses = estimate_all(paths, build_estimator(spec), "looking for people", progress)
        known = {path: to_openpose18(pose.people) for path, pose in zip(paths, poses, strict=True)}
        found = sum(pose.found for pose in poses)
        if not found:
            raise ValueError(
                f"no person was found in any of {len(paths):,} images, such as {paths[0]}: are "
                "the keypoints of other images?"
            )
        _LOG.info("people in %s of %s images", f"{found:,}", f"{len(paths):,}")
    elif required:
        check_keypoints(spec)
    return lambda sample: known.get(sample.path)


def check_keypoints(spec: KeypointSpec) -> None:
    """Refuses a missing source of keypoints, for networks guided by them.

    Raises:
        ValueError: There is no source of keypoints.
    """
    if not spec.has_keypoints:
        raise ValueError(
            "--keypoints or --estimator must be given: the network is guided by keypoints "
            "(og-reid pose writes them)"
        )


def check_keypoint_files(spec: KeypointSpec) -> None:
    """Refuses missing files of keypoints or of a pose estimator.

    Raises:
        ValueError: A file is missing.
    """
    check_exists(spec.keypoints, "give --keypoints a file, or a folder with a file for each image")
    advice = "give --pose-checkpoint the weights of --pose-config, or leave it out"
    check_exists(spec.pose_checkpoint, advice)


@contextmanager
def naming_unreadable(paths: Sequence[Path]) -> Iterator[None]:
    """Extends an error about one image to all unreadable images.

    Images are checked after an error only; errors of other causes are unchanged.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        bad = [path for path in paths if not _readable(path)]
        if len(bad) < 2:
            raise
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise ValueError(
            f"{len(bad)} of {len(paths)} images cannot be read: "
            f"{', '.join(map(str, bad[:_NAMED]))}{more}; replace them or leave them out"
        ) from error


def _readable(path: Path) -> bool:
    from pose import read_image

    try:
        read_image(path)
    except (ValueError, OSError):
        return False
    return True
