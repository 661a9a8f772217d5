"""Image -> keypoints: what a person's pose is and which of the joints the camera sees."""

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
from .formats.estimators import read_alphapose, read_kpr, read_mmpose, read_openpose, read_sep_json
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
