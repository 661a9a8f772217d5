"""Targets of a fit: the estimator's keypoints and directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pose import Keypoints

from .extents import Extents, mask_at, reach
from .skeleton import Skeleton

__all__ = ["MEAN_PITCH", "FitTargets", "score_weight"]

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


# Distance of a score from 1 at which a keypoint counts half.
_HALF = 0.12
# Keypoints beside the mask of the person count this much.
_OFF_MASK = 0.1
# Share of the keypoints' weight on the mask: those of something else, those of the person.
_OTHER = (0.2, 0.6)
# Lack of evidence of joints that no keypoint determines by itself: of the trunk, of the ends.
_TRUNK, _ENDS = 0.3, 1.0
#: Tangent of the usual pitch: cameras of the street look down by about 11 degrees.
MEAN_PITCH = 0.2
_PITCH_WEIGHT, _KNOWN_PITCH_WEIGHT = 8.0, 50.0


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
        extents: expected and least extents of the body.
        pitch: (B, 2) expected tangent of the camera's pitch, and its weight.
    """

    point: Tensor
    uv: Tensor
    weight: Tensor
    bone: Tensor
    direction: Tensor
    bone_weight: Tensor
    unseen: Tensor
    extents: Extents
    pitch: Tensor

    @classmethod
    def from_keypoints(
        cls,
        keypoints: Keypoints,
        skeleton: Skeleton,
        size: Tensor,
        masks: Sequence[Tensor | None] | None = None,
        pitch: Tensor | None = None,
    ) -> FitTargets:
        """Targets of batched keypoints (B, K) in images of sizes (B, 2), height and width."""
        expected = size.new_tensor([MEAN_PITCH, _PITCH_WEIGHT]).repeat(len(size), 1)
        if pitch is not None:
            expected[:, 0], expected[:, 1] = pitch.to(size).tan(), _KNOWN_PITCH_WEIGHT
        known = [name for name in keypoints.names if name in skeleton.names]
        missing = {"left_shoulder", "right_shoulder", "left_hip", "right_hip"} - set(known)
        if missing:
            raise ValueError(
                f"keypoints must name shoulders and hips; got {keypoints.names}, "
                f"{sorted(missing)} missing"
            )
        keypoints = keypoints.select(tuple(known))
        uv = keypoints.xy / size[:, :1, None]
        score = keypoints.score.clamp(0, 1)
        weight = score_weight(score)
        for row, mask in enumerate(masks or ()):
            if mask is not None:
                on = mask_at(mask.to(weight), keypoints.xy[row], reach(float(size[row, 0])))
                share = (weight[row] * on).sum() / weight[row].sum().clamp_min(1e-9)
                # Keypoints that mostly lie beside the person are those of something else.
                whole = ((share - _OTHER[0]) / (_OTHER[1] - _OTHER[0])).clamp(1e-3, 1)
                weight[row] *= whole * (_OFF_MASK + (1 - _OFF_MASK) * on)
        bones = [bone for bone in _BONES if bone[0] in known and bone[1] in known]
        ends = torch.tensor([[known.index(a), known.index(b)] for a, b, _ in bones])
        smaller = torch.minimum(weight[:, ends[:, 0]], weight[:, ends[:, 1]])
        trust = smaller * score.new_tensor([bone[2] for bone in bones])
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
            unseen=_unseen(weight, known, skeleton),
            extents=Extents.measure(size, masks),
            pitch=expected,
        )

    def rows(self, rows: Tensor) -> FitTargets:
        """The targets of some people."""
        return replace(
            self,
            uv=self.uv[rows],
            weight=self.weight[rows],
            direction=self.direction[rows],
            bone_weight=self.bone_weight[rows],
            unseen=self.unseen[rows],
            extents=self.extents.rows(rows),
            pitch=self.pitch[rows],
        )


def score_weight(score: Tensor) -> Tensor:
    """Weight in [0, 1] of a keypoint.

    Errors of the default estimator on rendered people: 3 % of the image's height, root mean square,
    at scores over 0.95, 8 % at 0.85, and 15 % under 0.8, where it guesses.
    """
    return score / (1 + ((1 - score) / _HALF) ** 2)


def _unseen(weight: Tensor, known: list[str], skeleton: Skeleton) -> Tensor:
    """(B, J): one minus the least weight among the keypoints that determine a joint's pose."""
    unseen = weight.new_full((len(weight), skeleton.num_joints), _TRUNK)
    for name in ("wrist", "hand", "foot", "collar"):
        for side in ("left", "right"):
            unseen[:, skeleton.index(f"{side}_{name}")] = _ENDS
    for name, evidence in _EVIDENCE.items():
        for side in ("left", "right"):
            points = [known.index(f"{side}_{e}") for e in evidence if f"{side}_{e}" in known]
            seen = weight[:, points].amin(1) if points else torch.zeros_like(weight[:, 0])
            unseen[:, skeleton.index(f"{side}_{name}")] = 1 - seen
    return unseen
