"""Quality of a lift: how well body and keypoints agree, and what in the image speaks against it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pose import Pose

from .fit import BodyFit

__all__ = ["UNMEASURED", "LiftQuality", "measure_quality"]

# Of 35 lifts checked by eye these two limits catch 3 of the 4 worst.
MAX_ERROR = 0.02
MIN_SCORE = 0.45


@dataclass(frozen=True)
class LiftQuality:
    """Quality of one lift.

    Attributes:
        reprojection_error: root mean square distance between the keypoints and the fitted body in
            the image, weighted by score, as a fraction of the body's height; 0 is exact. NaN where
            no keypoint was found.
        mean_score: mean score of the keypoints, in [0, 1].
        people: number of people seen in the image, 0 where none was found.
        reasons: why the lift is doubtful, one short sentence each; empty for a sound one.
    """

    reprojection_error: float
    mean_score: float
    people: int
    reasons: tuple[str, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether there is any reason to doubt the lift."""
        return bool(self.reasons)


UNMEASURED = LiftQuality(math.nan, math.nan, 0)
"""Of a lift made by hand."""


def measure_quality(image: np.ndarray, pose: Pose, fit: BodyFit) -> LiftQuality:
    """Measure the quality of a lift.

    Args:
        image: (H, W, 3) uint8 RGB.
        pose: the keypoints.
        fit: the body fitted to them, B = 1.
    """
    score = float(pose.keypoints.score.mean()) if pose.keypoints.score.numel() else 0.0
    people = int(pose.found) + (0 if pose.others is None else int(pose.others.found.sum()))
    error = _relative_error(fit, len(image)) if pose.found else math.nan
    reasons = []
    if not pose.found:
        reasons.append("no person was found")
    else:
        if error > MAX_ERROR:
            reasons.append(
                f"keypoints and body disagree: reprojection error {error:.3f} of the body's "
                f"height, over {MAX_ERROR}"
            )
        if score < MIN_SCORE:
            reasons.append(f"the keypoints' mean score is {score:.2f}, under {MIN_SCORE}")
    return LiftQuality(error, score, people, tuple(reasons))


def _relative_error(fit: BodyFit, image_height: int) -> float:
    """The fit's error, from image heights to heights of the standing body."""
    standing = fit.body.shaped(fit.betas)[0, :, 1]
    metres = float(standing.max() - standing.min())
    camera = fit.camera
    pixels = metres * float(camera.scale[0] * camera.log_aspect[0].exp())
    return float(fit.error[0]) * image_height / pixels if pixels else math.nan
