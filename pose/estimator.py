"""What a pose estimator is: one image in, one `Pose` out."""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from .keypoints import Keypoints

__all__ = ["NoPersonError", "Pose", "PoseEstimator"]


class NoPersonError(ValueError):
    """No person was found where a caller cannot go on without one.

    Estimators do not raise it: for them an empty photo is a result (`Pose.found` is False).
    """


@dataclasses.dataclass(frozen=True, eq=False)
class Pose:
    """One person in one image.

    Attributes:
        keypoints: without batch dimensions; pixels of the image.
        mask: (H, W) float in [0, 1], how likely a pixel shows the person, at the image's size; or
            None. Weak evidence: such masks spill onto things and people beside the person.

    Raises:
        ValueError: the keypoints are batched, or the mask is not as said.
    """

    keypoints: Keypoints
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.keypoints.shape:
            raise ValueError(
                f"keypoints must be of one person; got batch shape {tuple(self.keypoints.shape)}: "
                "index them first"
            )
        mask = self.mask
        if mask is None:
            return
        if mask.ndim != 2 or not mask.is_floating_point():
            raise ValueError(
                f"mask must be (H, W) floating point; got {tuple(mask.shape)} {mask.dtype}"
            )
        # Written so that NaN fails as well.
        if mask.numel() and not bool(torch.logical_and(mask >= 0, mask <= 1).all()):
            raise ValueError("mask must be in [0, 1]; got values outside: divide by its maximum")

    @property
    def found(self) -> bool:
        """Whether a person was found."""
        return bool(self.keypoints.found)


@runtime_checkable
class PoseEstimator(Protocol):
    """Anything that finds one person in an image."""

    def __call__(self, image: np.ndarray) -> Pose:
        """Find a person.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            The pose in pixels of `image`; `Keypoints.none` when there is nobody.
        """
        ...
