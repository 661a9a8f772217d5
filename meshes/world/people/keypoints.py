"""Keypoints of a body of the world: joints and landmarks of its surface."""

from __future__ import annotations

import torch
from torch import Tensor

from pose.keypoints import COCO_17_FEET

from ...body.model import SMPL_JOINTS
from .clothing import world_body

__all__ = ["SKIN_DEPTH", "body_points"]

_DEPTH = {"shoulder": 0.13, "hip": 0.17, "knee": 0.1, "elbow": 0.09, "ankle": 0.09, "wrist": 0.07,
          "heel": 0.05, "toe": 0.05, "ear": 0.05, "eye": 0.035, "nose": 0.035}  # fmt: skip
#: Depth of each of ``COCO_17_FEET`` below the skin, metres: a surface of the own body that is this
#: much nearer hides it.
SKIN_DEPTH: Tensor = torch.tensor(
    [next(depth for name, depth in _DEPTH.items() if name in point) for point in COCO_17_FEET],
    dtype=torch.float32,
    device="cpu",
)


def body_points(vertices: Tensor, joints: Tensor) -> Tensor:
    """Positions (21, 3) of ``COCO_17_FEET`` from vertices (V, 3) and joints (24, 3) of a body."""
    landmarks = world_body().landmarks
    return torch.stack(
        [
            vertices[landmarks[name]] if name in landmarks else joints[SMPL_JOINTS.index(name)]
            for name in COCO_17_FEET
        ]
    )
