"""Body fitting and point clouds: keypoints to a fitted body to a coloured point cloud.

Names are imported on first use, so that importing stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pose.deprecation import deprecated_attribute

if TYPE_CHECKING:
    from .body.load import load_body
    from .body.model import BodyModel, BodyPose
    from .fitting.camera import CropCamera, PinholeCamera
    from .fitting.fit import BodyFit, fit_body
    from .lift import Lift, lift_fit, lift_image, lift_images
    from .local_features import sample_features
    from .pointcloud import PointCloud
    from .pointcloud_io import read_pointcloud, write_pointcloud, write_reference_obj
    from .quality import LiftQuality
    from .regressors.convert import to_body_fit
    from .regressors.readers import read_sam3d_body, read_smpl_bodies
    from .regressors.regressed import RegressedBodies
    from .rerendering.occlusion import Occluded, occlude
    from .rerendering.redress import redress
    from .rerendering.rendering import Rerendered, rerender
    from .texture.completion import complete_texture
    from .texture.unwrapping import unwrap, unwrap_images
    from .texture.values import Texture, merge_textures
    from .visibility import body_visibility, part_visibility

__all__ = [
    "BodyFit",
    "BodyModel",
    "BodyPose",
    "CropCamera",
    "Lift",
    "LiftQuality",
    "Occluded",
    "PinholeCamera",
    "PointCloud",
    "RegressedBodies",
    "Rerendered",
    "Texture",
    "body_visibility",
    "complete_texture",
    "fit_body",
    "lift_fit",
    "lift_image",
    "lift_images",
    "load_body",
    "merge_textures",
    "occlude",
    "part_visibility",
    "read_pointcloud",
    "read_sam3d_body",
    "read_smpl_bodies",
    "redress",
    "rerender",
    "sample_features",
    "to_body_fit",
    "unwrap",
    "unwrap_images",
    "write_pointcloud",
    "write_reference_obj",
]

_HOME = {
    "BodyFit": "fitting.fit",
    "BodyModel": "body.model",
    "BodyPose": "body.model",
    "CropCamera": "fitting.camera",
    "Lift": "lift",
    "LiftQuality": "quality",
    "Occluded": "rerendering.occlusion",
    "PinholeCamera": "fitting.camera",
    "PointCloud": "pointcloud",
    "RegressedBodies": "regressors.regressed",
    "Rerendered": "rerendering.rendering",
    "Texture": "texture.values",
    "body_visibility": "visibility",
    "complete_texture": "texture.completion",
    "fit_body": "fitting.fit",
    "lift_fit": "lift",
    "lift_image": "lift",
    "lift_images": "lift",
    "load_body": "body.load",
    "merge_textures": "texture.values",
    "occlude": "rerendering.occlusion",
    "part_visibility": "visibility",
    "read_pointcloud": "pointcloud_io",
    "read_sam3d_body": "regressors.readers",
    "read_smpl_bodies": "regressors.readers",
    "redress": "rerendering.redress",
    "rerender": "rerendering.rendering",
    "sample_features": "local_features",
    "to_body_fit": "regressors.convert",
    "unwrap": "texture.unwrapping",
    "unwrap_images": "texture.unwrapping",
    "write_pointcloud": "pointcloud_io",
    "write_reference_obj": "pointcloud_io",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return deprecated_attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
