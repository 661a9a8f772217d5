"""Confidence of the parts of a fit, calibrated on rendered people."""

from __future__ import annotations

import torch
from torch import Tensor

from ..body.model import SMPL_JOINTS
from .skeleton import Skeleton
from .targets import FitTargets

__all__ = ["confidence", "features"]

# Keypoint that shows each joint; those of the trunk are shown by hips and shoulders.
_SHOWN = {"hip": "hip", "knee": "knee", "ankle": "ankle", "foot": "ankle", "collar": "shoulder",
          "shoulder": "shoulder", "elbow": "elbow", "wrist": "wrist", "hand": "wrist"}  # fmt: skip
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_FAR = 0.1  # image heights: distance of keypoint and fit that counts fully
# Logistic regression of "the joint lies within 0.1 body heights of its true place in the image", on
# images of the default world. Constant, then `features` in their order.
_WEIGHTS = (1.81, 0.62, 0.86, -3.96, -2.15)


def features(targets: FitTargets, uv: Tensor, skeleton: Skeleton) -> Tensor:
    """Evidence for each joint.

    Args:
        targets: observations of B people.
        uv: (B, K, 2) the keypoints' places on the fitted body, image heights.
        skeleton: the skeleton.

    Returns:
        (B, J, 4): weight of the joint's keypoint, mean weight of the torso's, distance between
        keypoints and fit over the torso and at the joint's keypoint, both in [0, 1].
    """
    away = ((uv - targets.uv).norm(dim=-1) / _FAR).clamp(max=1)
    names = [skeleton.names[int(point)] for point in targets.point]
    torso = [names.index(name) for name in _TORSO]
    trunk = targets.weight[:, torso].mean(1), away[:, torso].mean(1)
    rows = []
    for joint in SMPL_JOINTS:
        side, _, limb = joint.partition("_")
        shown = f"{side}_{_SHOWN[limb]}" if limb in _SHOWN else ""
        if shown in names:
            own = targets.weight[:, names.index(shown)], away[:, names.index(shown)]
        else:
            own = trunk if not limb else (torch.zeros_like(trunk[0]), torch.ones_like(trunk[1]))
        rows.append(torch.stack([own[0], trunk[0], trunk[1], own[1]], -1))
    return torch.stack(rows, 1)


def confidence(found: Tensor) -> Tensor:
    """(B, J) probability that a joint is in its place, of its ``features`` (B, J, 4)."""
    weights = found.new_tensor(_WEIGHTS)
    return torch.sigmoid(weights[0] + found @ weights[1:])
