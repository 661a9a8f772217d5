"""Keypoints to a fitted body to a coloured point cloud."""

from .body.load import load_body
from .body.model import BodyModel, BodyPose
from .fitting.camera import CropCamera
from .fitting.fit import BodyFit, fit_body
from .lift import Lift, lift_image, lift_images
from .part_visibility import body_visibility, part_visibility
from .pointcloud import PointCloud
from .pointcloud_io import read_pointcloud, write_pointcloud, write_reference_obj
from .quality import LiftQuality

__all__ = [
    "BodyFit",
    "BodyModel",
    "BodyPose",
    "CropCamera",
    "Lift",
    "LiftQuality",
    "PointCloud",
    "body_visibility",
    "fit_body",
    "lift_image",
    "lift_images",
    "load_body",
    "part_visibility",
    "read_pointcloud",
    "write_pointcloud",
    "write_reference_obj",
]
