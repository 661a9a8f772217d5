"""Fitted bodies: rotations, shape and camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..body.model import BodyModel, BodyPose
from ..rotation import matrix_to_axis_angle
from .camera import CropCamera, PinholeCamera

__all__ = ["BodyFit"]


@dataclass(frozen=True, eq=False)
class BodyFit:
    """Batch of fitted bodies, in the camera-aligned frame (x right, y up, z to the camera).

    Attributes:
        body: the body model.
        rotations: (B, J, 3, 3) relative to the parents.
        betas: (B, S). Keypoints hardly determine girth: read them as a prior, not as a measurement.
        camera: the crop's camera; a `PinholeCamera` for bodies of regressors that give one.
        pitch: (B,) downward tilt of the camera, radians.
        error: (B,) root mean square distance of keypoints to the fit, image heights, weighted
            by their weights; NaN where no keypoint was found.
        confidence: (B, J) probability that a joint lies within 0.1 body heights of its true place
            in the image, hidden ones included; 0 where no keypoint was found. Calibrated on
            rendered people, by part, with and without a mask. NaN where it is unknown, as in fits
            made by hand.
    """

    body: BodyModel
    rotations: Tensor
    betas: Tensor
    camera: CropCamera | PinholeCamera
    pitch: Tensor
    error: Tensor
    confidence: Tensor = None  # type: ignore[assignment]  # __post_init__ puts NaN here

    def __post_init__(self) -> None:
        """Check the batch sizes."""
        batch = len(self.rotations)
        if self.confidence is None:
            unknown = self.rotations.new_full(self.rotations.shape[:2], math.nan)
            object.__setattr__(self, "confidence", unknown)
        if self.rotations.shape[1:] != (self.body.num_joints, 3, 3):
            raise ValueError(
                f"rotations must be (B, {self.body.num_joints}, 3, 3); "
                f"got {tuple(self.rotations.shape)}"
            )
        for name in ("betas", "pitch", "error", "confidence"):
            if len(getattr(self, name)) != batch:
                raise ValueError(f"{name} must have {batch} rows; got {len(getattr(self, name))}")

    def __len__(self) -> int:
        return len(self.rotations)

    def __getitem__(self, index: int | slice) -> BodyFit:
        rows = slice(index, index + 1) if isinstance(index, int) else index
        return BodyFit(
            self.body,
            self.rotations[rows],
            self.betas[rows],
            self.camera[rows],
            self.pitch[rows],
            self.error[rows],
            self.confidence[rows],
        )

    @cached_property
    @plain_torch()
    def posed(self) -> BodyPose:
        """Vertices (B, V, 3) and joints (B, J, 3), metres."""
        return self.body.pose(self.rotations, self.betas)

    @property
    def vertices(self) -> Tensor:
        """(B, V, 3) metres."""
        return self.posed.vertices

    @property
    def joints(self) -> Tensor:
        """(B, J, 3) metres."""
        return self.posed.joints

    @property
    def global_orient(self) -> Tensor:
        """(B, 3) rotation vector of the root, radians."""
        return matrix_to_axis_angle(self.rotations[:, 0])

    @property
    def body_pose(self) -> Tensor:
        """(B, 3 (J - 1)) rotation vectors of the other joints, radians."""
        return matrix_to_axis_angle(self.rotations[:, 1:]).flatten(1)

    @property
    def yaw(self) -> Tensor:
        """(B,) radians in (-pi, pi]: 0 faces the camera, +pi/2 faces the image's right."""
        front = self.rotations[:, 0, :, 2]
        return torch.atan2(front[:, 0], front[:, 2])
