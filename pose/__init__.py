"""Image -> keypoints: what a person's pose is and which of the joints the camera sees."""

from .estimator import NoPersonError, Pose, PoseEstimator
from .image import read_image
from .io import CocoKeypoints, read_coco, read_npz, write_coco, write_npz
from .keypoints import COCO_17, COCO_17_FEET, FLIP_PAIRS, SKELETON, Keypoints
from .layouts import OPENPOSE_18, OPENPOSE_25, to_openpose18
from .mediapipe_estimator import MediapipePose
from .occlusion import heatmaps, part_visibility, stripe_masks
from .target import select_person

__all__ = [
    "COCO_17",
    "COCO_17_FEET",
    "FLIP_PAIRS",
    "OPENPOSE_18",
    "OPENPOSE_25",
    "SKELETON",
    "CocoKeypoints",
    "Keypoints",
    "MediapipePose",
    "NoPersonError",
    "Pose",
    "PoseEstimator",
    "heatmaps",
    "part_visibility",
    "read_coco",
    "read_image",
    "read_npz",
    "select_person",
    "stripe_masks",
    "to_openpose18",
    "write_coco",
    "write_npz",
]
