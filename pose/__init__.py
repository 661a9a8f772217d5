"""Image -> keypoints: a person's pose, and the joints that the camera sees.

Names are imported on first use, so that importing stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .deprecation import deprecated_attribute

if TYPE_CHECKING:
    from .estimators.base import NoPersonError, Pose, PoseEstimator, estimate_batch
    from .estimators.cache import CachedPose
    from .estimators.mediapipe import MediapipePose
    from .estimators.mmpose import MMPose
    from .estimators.people_detector import find_people
    from .estimators.precomputed import PrecomputedPose
    from .formats.coco import CocoKeypoints, read_coco, read_npz, write_coco, write_npz
    from .formats.estimator_writers import (
        write_alphapose,
        write_kpr,
        write_mmpose,
        write_openpose,
        write_sep_json,
    )
    from .formats.estimators import (
        read_alphapose,
        read_kpr,
        read_mmpose,
        read_openpose,
        read_sep_json,
    )
    from .image import read_image
    from .keypoints import COCO_17, COCO_17_FEET, FLIP_PAIRS, SKELETON, Keypoints
    from .layouts import OPENPOSE_18, OPENPOSE_25, to_openpose18
    from .person_selection import select_person
    from .visibility import heatmaps, part_visibility, stripe_masks

__all__ = [
    "COCO_17",
    "COCO_17_FEET",
    "FLIP_PAIRS",
    "OPENPOSE_18",
    "OPENPOSE_25",
    "SKELETON",
    "CachedPose",
    "CocoKeypoints",
    "Keypoints",
    "MMPose",
    "MediapipePose",
    "NoPersonError",
    "Pose",
    "PoseEstimator",
    "PrecomputedPose",
    "estimate_batch",
    "find_people",
    "heatmaps",
    "part_visibility",
    "read_alphapose",
    "read_coco",
    "read_image",
    "read_kpr",
    "read_mmpose",
    "read_npz",
    "read_openpose",
    "read_sep_json",
    "select_person",
    "stripe_masks",
    "to_openpose18",
    "write_alphapose",
    "write_coco",
    "write_kpr",
    "write_mmpose",
    "write_npz",
    "write_openpose",
    "write_sep_json",
]

_HOME = {
    "COCO_17": "keypoints",
    "COCO_17_FEET": "keypoints",
    "CachedPose": "estimators.cache",
    "CocoKeypoints": "formats.coco",
    "FLIP_PAIRS": "keypoints",
    "Keypoints": "keypoints",
    "MMPose": "estimators.mmpose",
    "MediapipePose": "estimators.mediapipe",
    "NoPersonError": "estimators.base",
    "OPENPOSE_18": "layouts",
    "OPENPOSE_25": "layouts",
    "Pose": "estimators.base",
    "PoseEstimator": "estimators.base",
    "PrecomputedPose": "estimators.precomputed",
    "SKELETON": "keypoints",
    "estimate_batch": "estimators.base",
    "find_people": "estimators.people_detector",
    "heatmaps": "visibility",
    "part_visibility": "visibility",
    "read_alphapose": "formats.estimators",
    "read_coco": "formats.coco",
    "read_image": "image",
    "read_kpr": "formats.estimators",
    "read_mmpose": "formats.estimators",
    "read_npz": "formats.coco",
    "read_openpose": "formats.estimators",
    "read_sep_json": "formats.estimators",
    "select_person": "person_selection",
    "stripe_masks": "visibility",
    "to_openpose18": "layouts",
    "write_alphapose": "formats.estimator_writers",
    "write_coco": "formats.coco",
    "write_kpr": "formats.estimator_writers",
    "write_mmpose": "formats.estimator_writers",
    "write_npz": "formats.coco",
    "write_openpose": "formats.estimator_writers",
    "write_sep_json": "formats.estimator_writers",
}

# Reached without an import of their own, as in ``pose.estimators.base``.
_MODULES = (
    "estimators", "files", "formats", "image", "joint_names", "keypoints", "layouts",
    "person_selection", "runtime", "visibility",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    return deprecated_attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
