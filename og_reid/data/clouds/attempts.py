"""Lifting and pose estimation of many images, each of which may fail on its own."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from meshes import Lift, lift_images
from pose import Pose, PoseEstimator, estimate_batch, read_image
from pose.files.reading import InputWarning
from pose.runtime.defaults import plain_torch

from ..files.inputs import cause

__all__ = [
    "NO_PERSON",
    "Attempt",
    "MaskSource",
    "attempt_lifts",
    "attempt_poses",
    "collected",
    "estimator_settings",
]

#: Reason of failure of an image without a person.
NO_PERSON = (
    "no person was found in the image: crop it to one person, standing and at least 60 pixels "
    "tall, or give keypoints"
)
# Failures of one image; others, such as a missing package, propagate.
_FAILURES = (ValueError, OSError, RuntimeError, MemoryError)


class MaskSource(Protocol):
    """Source of masks of people's own visible surface; picklable.

    `og_reid.inference.own_surface.OwnSurface` is one.
    """

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values that set these masks apart from others, for caches."""
        ...

    def __call__(
        self, images: Sequence[np.ndarray], poses: Sequence[Pose], *, alone: bool = True
    ) -> Sequence[Tensor | None]:
        """``masks`` of `meshes.lift_images`: (H, W) in [0, 1] of each image; None: unknown.

        With ``alone`` upright images are detectors' crops of the person.
        """
        ...


@dataclass(frozen=True, eq=False)
class Attempt:
    """Result of lifting an image.

    Attributes:
        lift: The lift; None for a failed image.
        found: True when a person was found in the image.
        reason: reason of the failure; empty without one.
        warnings: texts of each `InputWarning`, and reasons for doubt about the lift.
        transient: True for a failure that another try may not have: of the disk, of memory.
    """

    lift: Lift | None
    found: bool = False
    reason: str = ""
    warnings: tuple[str, ...] = ()
    transient: bool = False


# Modules of `pose` -> their paths in version 0.1.0, by which what it lifted is found.
_KEPT_PATHS = {
    "pose.estimators.mediapipe": "pose.mediapipe_estimator",
    "pose.estimators.mmpose": "pose.mmpose_estimator",
    "pose.estimators.precomputed": "pose.precomputed",
}

_estimators: dict[Callable[[], PoseEstimator], PoseEstimator] = {}  # one per process: slow to make


def _made(estimator: Callable[[], PoseEstimator]) -> PoseEstimator:
    if estimator not in _estimators:
        _estimators[estimator] = estimator()
    return _estimators[estimator]


def estimator_settings(estimator: Callable[[], PoseEstimator]) -> dict[str, Any]:
    """Settings that set an estimator apart from those with other results, as plain values.

    Args:
        estimator: constructor of the estimator.

    Raises:
        ValueError: the estimator has no ``settings``, and its constructor no unique name.
        ImportError: the package that it needs is not installed.
    """
    made = _made(estimator)
    kind = f"{type(made).__module__}.{type(made).__qualname__}"
    try:
        settings = getattr(made, "settings", None)
    except PackageNotFoundError as error:
        raise ImportError(
            f"{error.name} is not installed, and its version decides what {kind} finds: install "
            "the extra demo (pip install 'og-reid[demo]')"
        ) from error
    if settings:
        return {"type": _kept_path(type(made).__module__, type(made).__qualname__), **settings}
    name = getattr(estimator, "__qualname__", "<partial>")
    if "<lambda>" in name or "<partial>" in name:
        raise ValueError(
            f"estimator must have `settings` (a dict of its model, version and thresholds) for its "
            f"results to be kept; {kind} has none, and {estimator!r} does not identify it: "
            "add them, or give a class or a function of a module"
        )
    return {
        "type": _kept_path(type(made).__module__, type(made).__qualname__),
        "maker": _kept_path(estimator.__module__, name),
    }


def _kept_path(module: str, name: str) -> str:
    return f"{_KEPT_PATHS.get(module, module)}.{name}"


@plain_torch()
def attempt_lifts(
    paths: Sequence[Path],
    estimator: Callable[[], PoseEstimator],
    background: int,
    masks: MaskSource | None = None,
) -> list[Attempt]:
    """Lift images together, each of which may fail on its own.

    Args:
        paths: image files.
        estimator: constructor of the pose estimator, called once per process.
        background: background points per cloud, see `meshes.lift_images`.
        masks: source of masks of people's own surface; None for those of the estimator.

    Raises:
        ImportError: a package that the estimator needs is missing.
        OSError: a file other than the images cannot be read.
    """
    find = _made(estimator)
    attempts: list[Attempt] = []
    images, poses, places = [], [], []
    for path in paths:
        with collected() as raised:
            try:
                if path.exists() and not path.is_file():
                    raise ValueError(f"{path} must be a file; it is a folder, a pipe or a device")
                image = read_image(path)
                pose = find(image)
            except _FAILURES as error:
                if _elsewhere(error, [path]):
                    raise
                attempts.append(Attempt(None, reason=cause(error), transient=_transient(error)))
                continue
        places.append(len(attempts))
        attempts.append(Attempt(None, pose.found, warnings=tuple(raised)))
        images.append(image)
        poses.append(pose)
    with collected() as raised:
        lifts = _lift_together(images, poses, background, masks)
    for place, lift in zip(places, lifts, strict=True):
        # Warnings about the images together are kept with the first of them.
        known = (*attempts[place].warnings, *(raised if place == places[0] else ()))
        made, reason = (None, lift) if isinstance(lift, str) else (lift, "")
        if made is not None and attempts[place].found:
            known += tuple(f"doubtful lift: {each}" for each in made.quality.reasons)
        attempts[place] = replace(attempts[place], lift=made, reason=reason, warnings=known)
    return attempts


def _transient(error: Exception) -> bool:
    # Decoders of damaged images raise OSError, too, but without a number.
    return any(
        isinstance(each, MemoryError) or getattr(each, "errno", None) is not None
        for each in (error, error.__cause__)
    )


def _lift_together(
    images: Sequence[np.ndarray],
    poses: Sequence[Pose],
    background: int,
    masks: MaskSource | None,
) -> list[Lift | str]:
    """Lifts, or reasons why there is none: one by one where they fail together."""
    try:
        own = None if masks is None else masks(images, poses)
        return list(lift_images(images, poses, background=background, masks=own))
    except (ValueError, RuntimeError, MemoryError) as error:
        if len(images) == 1:
            return [cause(error)]
    pairs = zip(images, poses, strict=True)
    return [_lift_together([image], [pose], background, masks)[0] for image, pose in pairs]


@plain_torch()
def attempt_poses(
    paths: Sequence[Path], estimator: PoseEstimator, failed: dict[Path, str]
) -> list[Pose]:
    """Estimate poses together, each of which may fail on its own.

    Args:
        paths: image files.
        estimator: any.
        failed: filled with failed images and their reasons.

    Returns:
        The poses of the others, in order.

    Raises:
        OSError: a file other than the images, such as a cache, cannot be read or written.
    """
    try:
        return estimate_batch(estimator, paths)
    except _FAILURES as error:
        if _elsewhere(error, paths):
            raise
        if len(paths) == 1:
            failed[paths[0]] = cause(error)
            return []
    return [pose for path in paths for pose in attempt_poses([path], estimator, failed)]


def _elsewhere(error: Exception, paths: Sequence[Path]) -> bool:
    """True when the error concerns a file other than the images."""
    named = getattr(error, "filename", None)
    return named is not None and str(named) not in map(str, paths)


@contextmanager
def collected() -> Iterator[list[str]]:
    """List that holds, after the block, the texts of each `InputWarning` raised in it.

    Other warnings are raised then. Outside the main thread all are raised at once and the list
    stays empty: warning filters belong to the process, and two threads that change them at a time
    would not restore them.
    """
    texts: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield texts
        return
    raised: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always", InputWarning)
            yield texts
    finally:
        for each in raised:
            if issubclass(each.category, InputWarning):
                texts.append(str(each.message))
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
