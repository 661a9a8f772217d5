"""Image -> keypoints: what a person's pose is and which of the joints the camera sees."""

from .estimator import NoPersonError, Pose, PoseEstimator
from .image import read_image
from .io import CocoKeypoints, read_coco, read_npz, write_coco, write_npz
from .keypoints import COCO_17, COCO_17_FEET, FLIP_PAIRS, SKELETON, Keypoints
from .mediapipe_estimator import MediapipePose

__all__ = [
    "COCO_17",
    "COCO_17_FEET",
    "FLIP_PAIRS",
    "SKELETON",
    "CocoKeypoints",
    "Keypoints",
    "MediapipePose",
    "NoPersonError",
    "Pose",
    "PoseEstimator",
    "read_coco",
    "read_image",
    "read_npz",
    "write_coco",
    "write_npz",
]
