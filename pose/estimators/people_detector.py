"""Detection of several people in one image, and the pose of each.

`MediapipePose` finds one person. Its detector alone, the first half of BlazePose, gives the places
of all people that it detects in a few milliseconds; each is then cropped and its pose estimated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..keypoints import Keypoints
from ..runtime.defaults import plain_torch
from .base import Pose, PoseEstimator
from .native_graph import INSTALL, NativeGraph

__all__ = ["Spot", "find_people", "find_spots", "unmatched"]

# The detector's threshold: on rendered people nearly full recall (the rest is missed at any
# threshold) and no false positives.
_THRESHOLD = 0.4
# The detector's input has 224 x 224 pixels: in wide images it misses people far apart. So it also
# runs on windows of this width in image heights, which overlap by half.
_WINDOW = 0.75
# Detections nearer than this are of one person, in radii of the larger one: across, and down, where
# the detector's error is larger and people do not stand side by side.
_SAME = (0.4, 0.65)
_REACH = 1.25  # radii around the hips: the square that BlazePose cuts out
_GRAPH = """
input_stream: "image"
output_stream: "detections"
node {
  calculator: "PoseDetectionCpu"
  input_stream: "IMAGE:image"
  output_stream: "DETECTIONS:detections"
}
"""


@dataclass(frozen=True)
class Spot:
    """Detection of a person.

    Attributes:
        x, y: midpoint of the hips, pixels.
        radius: radius of a circle around the hips that holds the whole body, pixels.
        score: detection score in [0, 1].
    """

    x: float
    y: float
    radius: float
    score: float

    def is_at(self, x: float, y: float, radius: float) -> bool:
        """True when this is the person with these hips and radius."""
        across, down = (fraction * max(self.radius, radius) for fraction in _SAME)
        return abs(self.x - x) <= across and abs(self.y - y) <= down


def find_spots(image: np.ndarray) -> list[Spot]:
    """Detections of people in an image, by descending score.

    Args:
        image: (H, W, 3) uint8 RGB.

    Raises:
        ImportError: mediapipe is missing.
    """
    found: list[Spot] = []
    for left, right in _windows(*image.shape[:2]):
        found += _detect(image, left, right)
    found.sort(key=lambda spot: -spot.score)
    kept: list[Spot] = []
    for spot in found:
        if not any(spot.is_at(other.x, other.y, other.radius) for other in kept):
            kept.append(spot)
    return kept


def unmatched(spots: list[Spot], poses: list[Pose]) -> list[Spot]:
    """Detections without a pose."""
    places = [(*_hips(pose), _radius(pose)) for pose in poses if pose.found]
    return [spot for spot in spots if not any(spot.is_at(*place) for place in places)]


@plain_torch()
def find_people(image: np.ndarray, estimator: PoseEstimator) -> list[Pose]:
    """Poses of all people in an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        estimator: single-person estimator, as `MediapipePose`; its layout must have hips.

    Returns:
        First the person that the estimator finds in the whole image, then the others from left to
        right, each with its own mask. Empty when no person is found.
    """
    whole = estimator(image)
    poses = [whole] if whole.found else []
    spots = find_spots(image)
    others: list[Pose] = []
    for spot in unmatched(spots, poses):
        pose = _look_at(image, spot, spots, estimator)
        if pose is not None and unmatched([spot], [*poses, *others]):
            others.append(pose)
    others.sort(key=lambda pose: _hips(pose)[0])
    return [*poses, *others]


def _look_at(
    image: np.ndarray, spot: Spot, spots: list[Spot], estimator: PoseEstimator
) -> Pose | None:
    """Pose of the person at a detection; None where the estimator finds none."""
    height, width = image.shape[:2]
    reach = _REACH * spot.radius
    left, right = spot.x - reach, spot.x + reach
    for other in spots:
        # Half way to the neighbours, so that they are not found instead.
        middle = (spot.x + other.x) / 2
        if 0.5 * spot.radius < spot.x - other.x:
            left = max(left, min(middle, spot.x - 0.3 * spot.radius))
        elif 0.5 * spot.radius < other.x - spot.x:
            right = min(right, max(middle, spot.x + 0.3 * spot.radius))
    x0, x1 = max(0, math.floor(left)), min(width, math.ceil(right))
    y0, y1 = max(0, math.floor(spot.y - reach)), min(height, math.ceil(spot.y + reach))
    if x1 - x0 < 8 or y1 - y0 < 8:
        return None
    pose = estimator(np.ascontiguousarray(image[y0:y1, x0:x1]))
    if not pose.found:
        return None
    keypoints = pose.keypoints
    moved = replace(keypoints, xy=keypoints.xy + keypoints.xy.new_tensor([x0, y0]))
    inside = moved.inside(height, width)
    moved = replace(moved, visibility=moved.visibility * inside)
    mask = None
    if pose.mask is not None:
        mask = torch.zeros(height, width)
        mask[y0:y1, x0:x1] = pose.mask
    found = Pose(moved, mask)
    return None if unmatched([spot], [found]) else found


def _hips(pose: Pose) -> tuple[float, float]:
    hips: Keypoints = pose.keypoints.select(("left_hip", "right_hip"))
    x, y = hips.xy.mean(0).tolist()
    return float(x), float(y)


def _radius(pose: Pose) -> float:
    """Largest distance of a confident joint from the hips, pixels."""
    sure = pose.keypoints.xy[pose.keypoints.score > 0.5]
    if not len(sure):
        return 0.0
    return float((sure - sure.new_tensor(_hips(pose))).norm(dim=-1).max())


def _windows(height: int, width: int) -> list[tuple[int, int]]:
    """Column ranges of the whole image, and of overlapping windows in a wide one."""
    window = max(1, round(_WINDOW * height))
    if width <= 1.25 * window:
        return [(0, width)]
    count = min(16, max(2, math.ceil((width - window) / (window / 2)) + 1))
    starts = [round(i * (width - window) / (count - 1)) for i in range(count)]
    return [(0, width), *((start, start + window) for start in starts)]


def _detect(image: np.ndarray, left: int, right: int) -> list[Spot]:
    height = len(image)
    native = np.ascontiguousarray(image[:, left:right])
    found = []
    for detection in _run(native):
        hips, rim = detection.location_data.relative_keypoints[:2]
        x, y = hips.x * (right - left), hips.y * height
        radius = math.hypot(rim.x * (right - left) - x, rim.y * height - y)
        found.append(Spot(x + left, y, radius, float(detection.score[0])))
    return found


def _run(image: np.ndarray) -> list[Any]:
    """Native detections."""
    detections: list[Any] = _detector.run(
        lambda graph, pixels: graph.process({"image": pixels}).detections or [], image
    )
    return detections


def _load() -> Any:
    try:
        from google.protobuf import text_format  # type: ignore[import-untyped]
        from mediapipe.framework import calculator_pb2
        from mediapipe.python.solution_base import SolutionBase
    except ImportError as error:
        raise ImportError(f"mediapipe is needed to find people in images; {INSTALL}") from error
    threshold = "posedetectioncpu__TensorsToDetectionsCalculator.min_score_thresh"
    return SolutionBase(
        graph_config=text_format.Parse(_GRAPH, calculator_pb2.CalculatorGraphConfig()),
        calculator_params={threshold: _THRESHOLD},
        outputs=["detections"],
    )


_detector = NativeGraph(_load)
