"""Quality of a lift: agreement of body and keypoints, and reasons for doubt in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose import Keypoints, Pose
from pose.person_selection import lies_outside
from pose.runtime.defaults import plain_torch

from .color import BodyView
from .fitting.confidence import standing_height
from .fitting.fit import BodyFit

__all__ = [
    "UNMEASURED", "LiftQuality", "image_reasons", "keypoint_distance", "measure_quality",
]  # fmt: skip

# Median distance of keypoints and body, in body heights, over which the keypoints may be those of
# something else; without a mask the fit follows them, so that the distance is smaller. 1 % of the
# people of the city world who are clear and rightly found have a larger one.
MAX_DISTANCE, MAX_DISTANCE_MASKED = 0.06, 0.16
MIN_SCORE = 0.45
# Rendered and real colour images vary by 5 levels and more around their grey, images of one tint
# by less than 1. In rendered ones a tenth of the pixels is brighter than a third of white.
_MIN_COLOR = 1.5
_MIN_BRIGHT = 0.2
_MIN_ROWS = 48
# Relative difference of an image and the same at `_MIN_ROWS` rows: colour images of people have
# 0.17 and more, those enlarged from 32 rows under 0.1, from 24 rows under 0.06.
_MIN_DETAIL = 0.08
_MAX_ROWS = 512  # larger images are reduced to this many rows first


@dataclass(frozen=True)
class LiftQuality:
    """Quality of one lift.

    Attributes:
        reprojection_error: root mean square distance between the keypoints and the fitted body in
            the image, weighted by score, as a fraction of the body's height; 0 is exact. NaN where
            no keypoint was found.
        mean_score: mean score of the keypoints inside the image, in [0, 1].
        people: number of people seen in the image, 0 where none was found.
        reasons: reasons for doubt, one short sentence each; empty for a sound lift.
    """

    reprojection_error: float
    mean_score: float
    people: int
    reasons: tuple[str, ...] = ()

    @property
    def doubtful(self) -> bool:
        """True when there is any reason to doubt the lift."""
        return bool(self.reasons)


UNMEASURED = LiftQuality(math.nan, math.nan, 0)
"""Quality of a lift made by hand."""


@plain_torch()
def measure_quality(
    image: np.ndarray,
    pose: Pose,
    fit: BodyFit,
    view: BodyView,
    seen: bool = True,
    *,
    masked: bool = False,
) -> LiftQuality:
    """Measure the quality of a lift.

    Args:
        image: (H, W, 3) uint8 RGB.
        pose: the keypoints.
        fit: the body fitted to them, B = 1.
        view: projection of the body.
        seen: True when any point of the body is visible.
        masked: the fit followed a mask of the person, too.
    """
    if not pose.found:
        return LiftQuality(math.nan, 0.0, _count(pose), ("no person was found",))
    height, width = image.shape[:2]
    keypoints = pose.keypoints
    inside = keypoints.inside(height, width)
    score = float(keypoints.score[inside].mean()) if bool(inside.any()) else 0.0
    error = _relative_error(fit, height)
    reasons = []
    sure = keypoints.score > 0.3
    within, total = int((sure & inside).sum()), int(sure.sum())
    if bool(lies_outside(keypoints, (height, width))) or within * 3 < total:
        reasons.append(f"only {within} of {total} joints lie inside the image")
    elif not seen:
        reasons.append("the image shows no point of the body")
    distance, limit = keypoint_distance(fit, keypoints), MAX_DISTANCE
    if masked:
        limit = MAX_DISTANCE_MASKED
    if distance > limit:
        body = "follows the mask of this person" if masked else "may be in another place"
        reasons.append(
            f"the keypoints may be of another person or a thing: half of them lie over "
            f"{distance:.2f} body heights from the body, which {body} (limit {limit})"
        )
    if score < MIN_SCORE:
        reasons.append(f"the keypoints' mean score is {score:.2f}, under {MIN_SCORE}")
    reasons += image_reasons(image, _box(view, height, width))
    return LiftQuality(error, score, _count(pose), tuple(reasons))


@plain_torch()
def image_reasons(image: np.ndarray, box: tuple[int, int, int, int]) -> list[str]:
    """Reasons why an image is poor for comparing people: colours, light, pixels.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: left, top, right and bottom of the person in pixels, inside the image.
    """
    left, top, right, bottom = box
    rows = bottom - top
    part = torch.from_numpy(image[top:bottom, left:right].copy())
    pixels = part.permute(2, 0, 1).float()
    if rows > _MAX_ROWS:
        pixels = _resized(pixels, _MAX_ROWS)
    reasons = []
    # Few rows: the noise of a sensor at night is no colour.
    small = _resized(pixels, 32) if pixels.shape[1] > 32 else pixels
    brightness = float(small.mean(0).flatten().quantile(0.9)) / 255
    color = _color_variation(small)
    if brightness < _MIN_BRIGHT:
        reasons.append(
            f"the image is dark (nine tenths of the pixels are under {100 * brightness:.0f} % of "
            "white), so colours cannot be compared"
        )
    elif color < _MIN_COLOR:
        reasons.append(
            f"the image is grey or of one tint (its colours vary by {color:.1f} of 255 levels), so "
            "clothes can be compared by brightness alone"
        )
    if rows < _MIN_ROWS:
        reasons.append(f"the person is {rows} pixels tall, under {_MIN_ROWS}")
    elif brightness >= _MIN_BRIGHT and not _has_detail(pixels.mean(0)):
        reasons.append(
            f"the person is {rows} pixels tall with the detail of fewer than {_MIN_ROWS} (an "
            "enlarged thumbnail, or out of focus)"
        )
    return reasons


def _color_variation(pixels: Tensor) -> float:
    """Variation of colours (3, h, w) around one tint, root mean square, levels of 255.

    The tint is the best straight line from dark to light in the space of colours.
    """
    colors = pixels.flatten(1).double()
    centred = colors - colors.mean(1, keepdim=True)
    spread = torch.linalg.eigvalsh(centred @ centred.T / max(1, centred.shape[1]))
    return math.sqrt(max(0.0, float(spread[:2].sum())))


def _has_detail(grey: Tensor) -> bool:
    """True when an image (h, w) shows more than fits in `_MIN_ROWS` rows."""
    spread = float(grey.std())
    if len(grey) <= _MIN_ROWS or spread < 1 or _repeats_rows(grey):
        return len(grey) <= _MIN_ROWS or spread < 1
    reduced = _resized(grey[None], _MIN_ROWS)
    again = torch.nn.functional.interpolate(reduced[None], size=grey.shape, mode="bicubic")[0, 0]
    return float((again - grey).square().mean().sqrt()) >= _MIN_DETAIL * spread


def _repeats_rows(grey: Tensor) -> bool:
    """True when an image was enlarged from few rows by repeating them."""
    changes = ((grey[1:] - grey[:-1]).abs().mean(1) >= 1).nonzero()[:, 0]
    steps = changes.diff().float()
    if not 8 <= len(steps) < _MIN_ROWS:
        return False
    # Rows that are equal for another reason, as on a plain wall, have other steps.
    low, high = steps.quantile(torch.tensor([0.1, 0.9])).tolist()
    return high - low <= 1 and low >= 2


def _resized(pixels: Tensor, rows: int) -> Tensor:
    """(C, rows, w') of (C, h, w), in the same proportions."""
    width = max(1, round(pixels.shape[2] * rows / pixels.shape[1]))
    size = (rows, width)
    return torch.nn.functional.interpolate(pixels[None], size, mode="bicubic", antialias=True)[0]


def _box(view: BodyView, height: int, width: int) -> tuple[int, int, int, int]:
    """Box of the body inside the image; the whole image where it is outside or one pixel thin."""
    low = view.projected[0, :, :2].amin(0).floor().tolist()
    high = view.projected[0, :, :2].amax(0).ceil().tolist()
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(width, int(high[0])), min(height, int(high[1]))
    if right - left < 2 or bottom - top < 2:
        return 0, 0, width, height
    return left, top, right, bottom


def _count(pose: Pose) -> int:
    return int(pose.found) + (0 if pose.others is None else int(pose.others.found.sum()))


def keypoint_distance(fit: BodyFit, keypoints: Keypoints) -> float:
    """Median distance of found keypoints to their places on a body, B = 1, in body heights.

    The height is that of the standing body in the image. 0 without keypoints. Unsure ones count,
    too: estimates of another person have more of them.
    """
    body = fit.body
    known = [name for name in keypoints.names if name in (*body.joint_names, *body.landmarks)]
    found = keypoints.select(tuple(known))
    counted = found.score > 0
    if not bool(counted.any()):
        return 0.0
    places = [
        fit.joints[0, body.joint(name)]
        if name in body.joint_names
        else fit.vertices[0, body.landmarks[name]]
        for name in known
    ]
    pixels = fit.camera.project(torch.stack(places)[None])[0, :, :2]
    away = (pixels - found.xy.to(pixels)).norm(dim=-1)[counted]
    height = float(standing_height(fit)[0])
    return float(away.median()) / height if height else math.inf


def _relative_error(fit: BodyFit, image_height: int) -> float:
    """The fit's error, from image heights to heights of the standing body."""
    pixels = float(standing_height(fit)[0])
    return float(fit.error[0]) * image_height / pixels if pixels else math.nan
