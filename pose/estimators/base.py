"""Pose estimators: the protocol, from one image to one `Pose`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ..image import read_image
from ..keypoints import Keypoints
from ..person_selection import Target, select_person

__all__ = ["NoPersonError", "Pose", "PoseEstimator", "choose", "estimate_batch", "validate_image"]


class NoPersonError(ValueError):
    """No person was found where one is required.

    Estimators do not raise it: for them an empty image is a result (`Pose.found` is False).
    """


@dataclasses.dataclass(frozen=True, eq=False)
class Pose:
    """Keypoints of the target person of an image, and of further people in it.

    Attributes:
        keypoints: without batch dimensions; pixels of the image.
        mask: (H, W) float in [0, 1], probability that a pixel shows the person, at the
            image's size; or None. Weak evidence: such masks spill onto neighbouring objects.
        others: (P,) keypoints of further people, same layout; None where they were not
            estimated.

    Raises:
        ValueError: the keypoints are batched, the others are of another layout, or the mask is
            of another shape or range.
    """

    keypoints: Keypoints
    mask: Tensor | None = None
    others: Keypoints | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.keypoints.shape:
            raise ValueError(
                f"keypoints must be of one person; got batch shape {tuple(self.keypoints.shape)}: "
                "index them first"
            )
        others = self.others
        if others is not None and (len(others.shape) != 1 or others.names != self.keypoints.names):
            raise ValueError(
                "others must be (P,) people of the layout of keypoints; got batch shape "
                f"{tuple(others.shape)} and {len(others.names)} names"
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
        """True when a person was found."""
        return bool(self.keypoints.found)

    @property
    def people(self) -> Keypoints:
        """(P,) all people found, the target first."""
        first = self.keypoints
        one = Keypoints.stack([first])[slice(None) if self.found else slice(0)]
        return one if self.others is None else Keypoints.cat([one, self.others])


@runtime_checkable
class PoseEstimator(Protocol):
    """Protocol of pose estimators: one target person per image.

    Where it can do several images at once it has ``batch(images)``, too, which `estimate_batch`
    calls. With a property ``settings``, plain values that differ between estimators of
    different results, its results can be kept (`CachedPose`).
    """

    def __call__(self, image: np.ndarray | str | Path) -> Pose:
        """Find a person.

        Args:
            image: (H, W, 3) uint8 RGB, or the path of an image.

        Returns:
            The pose in pixels of `image`; `Keypoints.none` when no person is found.
        """
        ...


def estimate_batch(
    estimator: PoseEstimator, images: Sequence[np.ndarray | str | Path]
) -> list[Pose]:
    """Poses of several images, in their order; in one batch where the estimator has one."""
    batch = getattr(estimator, "batch", None)
    return [estimator(image) for image in images] if batch is None else list(batch(images))


def choose(
    people: Keypoints, target: Target, size: tuple[int, ...] | None, threshold: float
) -> Pose:
    """Pose from (P,) people: the target by `select_person`, the others in their order.

    Without scores over the threshold no target is found, and all people are others.
    """
    height_width = None if size is None else (int(size[0]), int(size[1]))
    index = select_person(people, target, size=height_width, threshold=threshold)
    if index is None:
        none = Keypoints.none(people.names, xyz=people.xyz is not None)
        return Pose(none.to(people.xy.dtype), others=people)
    rest = torch.arange(len(people.score)) != index
    return Pose(people[index], others=people[rest])


def validate_image(image: np.ndarray | str | Path) -> np.ndarray:
    """Input of an estimator as (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the array has another shape or type, or the file cannot be read.
    """
    if not isinstance(image, np.ndarray):
        return read_image(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"image must be (H, W, 3) uint8 RGB; got {image.shape} {image.dtype}: use "
            "pose.read_image"
        )
    return image
