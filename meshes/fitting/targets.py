"""Targets of a fit: the estimator's keypoints and directions, and a resting pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose import Keypoints

from ..body.model import BodyModel
from ..rotation import axis_angle_to_matrix
from .skeleton import Skeleton

__all__ = ["FitTargets", "PosePrior"]

# Bones with reliable directions in 3D estimates: (from, to, weight).
_BONES: tuple[tuple[str, str, float], ...] = (
    ("left_shoulder", "left_elbow", 1.0),
    ("left_elbow", "left_wrist", 1.0),
    ("right_shoulder", "right_elbow", 1.0),
    ("right_elbow", "right_wrist", 1.0),
    ("left_hip", "left_knee", 1.0),
    ("left_knee", "left_ankle", 1.0),
    ("right_hip", "right_knee", 1.0),
    ("right_knee", "right_ankle", 1.0),
    ("right_hip", "left_hip", 1.0),
    ("right_shoulder", "left_shoulder", 1.0),
    ("left_hip", "left_shoulder", 1.0),
    ("right_hip", "right_shoulder", 1.0),
    ("left_heel", "left_toe", 0.5),
    ("right_heel", "right_toe", 0.5),
    ("right_ear", "left_ear", 0.7),
    ("left_ear", "nose", 0.7),
    ("right_ear", "nose", 0.7),
)

# Keypoints that determine the pose of a joint; the prior holds a joint harder when they are unseen.
_EVIDENCE: dict[str, tuple[str, ...]] = {
    "hip": ("knee",),
    "knee": ("knee", "ankle"),
    "ankle": ("ankle",),
    "shoulder": ("elbow",),
    "elbow": ("elbow", "wrist"),
}


@dataclass(frozen=True, eq=False)
class FitTargets:
    """Observations of the estimator, in the fit's units.

    Attributes:
        point: (K,) position in the skeleton of each keypoint.
        uv: (B, K, 2) image heights, y up.
        weight: (B, K) in [0, 1].
        bone: (E, 2) skeleton points from, to.
        direction: (B, E, 3) unit vectors, camera-aligned.
        bone_weight: (B, E) in [0, 1]; zero where no direction is known.
        unseen: (B, J) in [0, 1], 1 without evidence of the joint's pose.
    """

    point: Tensor
    uv: Tensor
    weight: Tensor
    bone: Tensor
    direction: Tensor
    bone_weight: Tensor
    unseen: Tensor

    @classmethod
    def from_keypoints(cls, keypoints: Keypoints, skeleton: Skeleton, height: Tensor) -> FitTargets:
        """Targets of batched keypoints (B, K) in images of the given heights (B,) pixels."""
        known = [name for name in keypoints.names if name in skeleton.names]
        missing = {"left_shoulder", "right_shoulder", "left_hip", "right_hip"} - set(known)
        if missing:
            raise ValueError(
                f"keypoints must name shoulders and hips; got {keypoints.names}, "
                f"{sorted(missing)} missing"
            )
        keypoints = keypoints.select(tuple(known))
        uv = keypoints.xy / height[:, None, None]
        score = keypoints.score.clamp(0, 1)
        # Below 0.35 the estimator guesses: such points only break ties.
        weight = score**1.5 * torch.where(score < 0.35, 0.02, 1.0).to(score)
        bones = [bone for bone in _BONES if bone[0] in known and bone[1] in known]
        ends = torch.tensor([[known.index(a), known.index(b)] for a, b, _ in bones])
        smaller = torch.minimum(score[:, ends[:, 0]], score[:, ends[:, 1]])
        trust = smaller**1.5 * score.new_tensor([bone[2] for bone in bones])
        if keypoints.xyz is None:
            direction, trust = uv.new_zeros(len(uv), len(bones), 3), trust * 0
        else:
            direction = keypoints.xyz[:, ends[:, 1]] - keypoints.xyz[:, ends[:, 0]]
            length = direction.norm(dim=-1, keepdim=True)
            trust = torch.where(length[..., 0] > 1e-6, trust, torch.zeros_like(trust))
            direction = direction / length.clamp_min(1e-6)
        return cls(
            point=torch.tensor([skeleton.index(name) for name in known]),
            uv=torch.stack([uv[..., 0], -uv[..., 1]], -1),
            weight=weight,
            bone=torch.tensor([[skeleton.index(a), skeleton.index(b)] for a, b, _ in bones]),
            direction=direction,
            bone_weight=trust,
            unseen=_unseen(score, known, skeleton),
        )


@dataclass(frozen=True, eq=False)
class PosePrior:
    """Resting pose with a weight for each joint.

    Attributes:
        mean: (J, 3, 3) rotations of standing with hanging arms.
        weight: (J, 3) per component of the rotation vector from the mean.
        hinges: (joint, axis, sign): the rotation vector's component times sign must be >= 0.
    """

    mean: Tensor
    weight: Tensor
    hinges: tuple[tuple[int, int, int], ...]

    @classmethod
    def standing(cls, body: BodyModel) -> PosePrior:
        """Default prior of a 24-joint SMPL-layout body; other joints have a small weight."""
        vector = torch.zeros(body.num_joints, 3, dtype=torch.float64)
        weight = torch.full_like(vector, 0.25)
        loose: dict[str, tuple[Sequence[float], Sequence[float]]] = {
            "shoulder": ((0.0, 0.0, -1.2), (0.5, 0.2, 0.2)),
            "elbow": ((0.0, -0.3, 0.0), (1.0, 0.15, 1.0)),
            "knee": ((0.2, 0.0, 0.0), (0.15, 3.0, 3.0)),
            "hip": ((0.0, 0.0, 0.0), (0.2, 0.8, 0.4)),
            "collar": ((0.0, 0.0, 0.0), (3.0, 3.0, 3.0)),
            "ankle": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
            "wrist": ((0.0, 0.0, 0.0), (20.0, 20.0, 20.0)),
            "hand": ((0.0, 0.0, 0.0), (20.0, 20.0, 20.0)),
            "foot": ((0.0, 0.0, 0.0), (20.0, 20.0, 20.0)),
        }
        for name, (mean, held) in loose.items():
            for side, mirror in (("left", 1.0), ("right", -1.0)):
                joint = body.joint(f"{side}_{name}")
                # Mirroring left and right negates the y and z components of a rotation vector.
                vector[joint] = vector.new_tensor(mean) * vector.new_tensor([1.0, mirror, mirror])
                weight[joint] = weight.new_tensor(held)
        for name, strength in (("spine1", 1.5), ("spine2", 1.5), ("spine3", 2.0), ("neck", 1.0)):
            weight[body.joint(name)] = strength
        weight[body.joint("head")] = 1.0
        weight[0] = 0.0
        hinges = (
            (body.joint("left_knee"), 0, 1),
            (body.joint("right_knee"), 0, 1),
            (body.joint("left_elbow"), 1, -1),
            (body.joint("right_elbow"), 1, 1),
        )
        return cls(axis_angle_to_matrix(vector), weight, hinges)


def _unseen(score: Tensor, known: list[str], skeleton: Skeleton) -> Tensor:
    """(B, J): one minus the least score among the keypoints that determine a joint's pose."""
    unseen = score.new_zeros(len(score), skeleton.num_joints)
    for name, evidence in _EVIDENCE.items():
        for side in ("left", "right"):
            points = [known.index(f"{side}_{e}") for e in evidence if f"{side}_{e}" in known]
            seen = score[:, points].amin(1) if points else torch.zeros_like(score[:, 0])
            unseen[:, skeleton.index(f"{side}_{name}")] = 1 - seen
    return unseen
