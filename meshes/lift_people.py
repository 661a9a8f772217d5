"""Selection of the people of an image to lift, and warnings about doubtful selections."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pose import Keypoints, Pose, PoseEstimator, select_person
from pose.estimators.people_detector import find_people, find_spots, unmatched
from pose.files.reading import InputWarning, level_outside
from pose.formats.json_fields import are_fractions
from pose.person_selection import Target, lies_outside

from .quality import LiftQuality

__all__ = [
    "check_pixels",
    "chosen_person",
    "count_people",
    "estimated_people",
    "given_people",
    "warn_of_doubts",
]


def estimated_people(
    image: np.ndarray, estimator: PoseEstimator, *, several: bool
) -> tuple[list[Pose], int]:
    """Poses of the people in an image, and their number.

    Args:
        image: (H, W, 3) uint8 RGB.
        estimator: single-person estimator.
        several: find the pose of all people; otherwise of one person, and count the others, which
            takes much less time.
    """
    if several:
        poses = find_people(image, estimator)
        return poses, len(poses)
    pose = estimator(image)
    if not pose.found:
        return [], 0
    if pose.others is not None:
        return [pose], 1 + int(pose.others.found.sum())
    return [pose], 1 + len(unmatched(find_spots(image), [pose]))


def given_people(keypoints: Keypoints | Pose, image: np.ndarray, *, several: bool) -> list[Pose]:
    """Poses from given keypoints.

    Raises:
        TypeError: the value is neither keypoints nor a pose.
        ValueError: several people without a selection.
    """
    if isinstance(keypoints, Pose):
        poses = [replace(keypoints, others=None)]
        others = keypoints.others
        poses += [] if others is None else [Pose(others[i]) for i in range(len(others.score))]
    elif isinstance(keypoints, Keypoints):
        if len(keypoints.shape) > 1 or (keypoints.shape and not several and len(keypoints.xy) != 1):
            raise ValueError(
                "keypoints must be of one person, or (P, K) of several with people= or all=True; "
                f"got batch shape {tuple(keypoints.shape)}: index them, or name one"
            )
        rows = range(len(keypoints.xy)) if keypoints.shape else ()
        poses = [Pose(keypoints[i]) for i in rows] if keypoints.shape else [Pose(keypoints)]
    else:
        raise TypeError(
            "keypoints must be pose.Keypoints, a pose.Pose or None; got "
            f"{type(keypoints).__name__}: pose.Keypoints(xy, score) takes tensors (17, 2) and (17,)"
        )
    return [pose for pose in poses if pose.found]


def chosen_person(poses: Sequence[Pose], people: int | Target | None, image: np.ndarray) -> int:
    """Index of the selected person; 0 without a selection.

    Raises:
        ValueError: there is no such person or rule.
    """
    if people is None:
        return 0
    if isinstance(people, str):
        all_people = Keypoints.stack([pose.keypoints for pose in poses])
        height, width = image.shape[:2]
        index = select_person(all_people, people, size=(height, width))
        return 0 if index is None else index
    if isinstance(people, bool) or not isinstance(people, int):
        raise ValueError(f"people must be an index or a rule of pose.select_person; got {people!r}")
    if not 0 <= people < len(poses):
        raise ValueError(
            f"people must be an index from 0 to {len(poses) - 1}, as the image shows {len(poses)}; "
            f"got {people}"
        )
    return operator.index(people)


def check_pixels(poses: Sequence[Pose], image: np.ndarray) -> None:
    """Refuse keypoints that cannot be pixels of the image.

    Raises:
        ValueError: all joints of a person lie in [-1, 1], or at most one of three or more lies
            inside the image.
    """
    height, width = image.shape[:2]
    for pose in poses:
        if are_fractions(pose.keypoints):
            raise ValueError(
                "keypoints must be in pixels of the image; all joints lie in [-1, 1], as fractions "
                f"of the image do: multiply x by its width ({width}) and y by its height ({height})"
            )
        if bool(lies_outside(pose.keypoints, (height, width))):
            found = pose.keypoints.score > 0
            low = pose.keypoints.xy[found].amin(0).tolist()
            high = pose.keypoints.xy[found].amax(0).tolist()
            raise ValueError(
                "keypoints must be in pixels of the image; at most one joint lies inside its "
                f"{height} x {width} (rows x columns), they go from x = {low[0]:.0f}, "
                f"y = {low[1]:.0f} to x = {high[0]:.0f}, y = {high[1]:.0f}: shift coordinates of a "
                "whole frame by the corner of the crop, scale those of another size"
            )


def count_people(quality: LiftQuality, seen: int, pose: Pose, *, unasked: bool) -> LiftQuality:
    """Quality of a lift, with the number of people in the image.

    Args:
        quality: quality of the lift.
        seen: number of people in the image.
        pose: the person that was lifted.
        unasked: several people are a reason for doubt, as none was chosen.
    """
    reasons = quality.reasons
    if unasked and seen > 1:
        x, y = pose.keypoints.xy[pose.keypoints.score > 0].mean(0).tolist()
        reasons = (
            f"{seen} people are in the image, and the one around x = {x:.0f}, y = {y:.0f} was "
            f"taken: choose with people= (0 to {seen - 1}, or a rule such as 'largest'), lift "
            "all of them with all=True, or cut one person out",
            *reasons,
        )
    return replace(quality, people=seen, reasons=reasons)


def warn_of_doubts(qualities: Sequence[LiftQuality]) -> None:
    """Warn of doubtful lifts of one image, at the caller outside these packages."""
    doubts = [quality.reasons for quality in qualities if quality.doubtful]
    if not doubts:
        return
    what = "lift" if len(qualities) == 1 else f"lifts of {len(doubts)} of {len(qualities)} people"
    reasons = "; ".join(dict.fromkeys(reason for reasons in doubts for reason in reasons))
    warnings.warn(f"doubtful {what}: {reasons}", InputWarning, stacklevel=level_outside())
