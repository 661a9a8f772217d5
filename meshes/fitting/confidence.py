"""Confidence of the parts of a fit, calibrated on rendered people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pose import Keypoints
from pose.runtime.defaults import MadeOnce

from ..body.model import SMPL_JOINTS
from .body_fit import BodyFit
from .extents import mask_at, reach
from .skeleton import Skeleton
from .targets import score_weight

__all__ = [
    "FEATURES", "FILE", "NEAR", "PARTS", "Calibration", "evidence", "joint_confidence",
    "load_calibration", "standing_height",
]  # fmt: skip

#: Where `tools/fit_confidence.py` writes the calibration.
FILE = Path(__file__).parents[1] / "data" / "fit_confidence.json"
#: Body heights: a joint is in its place within this distance of it in the image.
NEAR = 0.1
#: Evidence about a joint, in the order of `evidence`.
FEATURES = ("weight", "torso distance", "distance", "inside", "mask")
#: Part of each joint: both sides are one.
PARTS = tuple(name.removeprefix("left_").removeprefix("right_") for name in SMPL_JOINTS)

# Keypoint that shows each joint; those of the trunk are shown by hips and shoulders.
_SHOWN = {"hip": "hip", "knee": "knee", "ankle": "ankle", "foot": "ankle", "collar": "shoulder",
          "shoulder": "shoulder", "elbow": "elbow", "wrist": "wrist", "hand": "wrist"}  # fmt: skip
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


@dataclass(frozen=True)
class Calibration:
    """Logistic regression of "the joint lies within `NEAR` of its true place in the image".

    Attributes:
        weights: factor of each of `FEATURES`.
        offsets: constant of each part out of `PARTS`.
    """

    weights: tuple[float, ...]
    offsets: Mapping[str, float]

    def __post_init__(self) -> None:
        """Check the names."""
        if len(self.weights) != len(FEATURES) or set(self.offsets) != set(PARTS):
            raise ValueError(
                f"weights must be {len(FEATURES)} and offsets those of {sorted(set(PARTS))}; got "
                f"{len(self.weights)} and {sorted(self.offsets)}"
            )

    def probability(self, found: Tensor) -> Tensor:
        """(..., J) probability, of `evidence` (..., J, 5)."""
        offsets = found.new_tensor([self.offsets[part] for part in PARTS])
        return torch.sigmoid(offsets + found @ found.new_tensor(self.weights))


@MadeOnce
def load_calibration() -> tuple[Calibration, Calibration]:
    """Calibrations of fits without and with a mask, made once."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    plain, masked = (
        Calibration(tuple(content[name]["weights"].values()), content[name]["offsets"])
        for name in ("without mask", "with mask")
    )
    return plain, masked


def standing_height(fit: BodyFit) -> Tensor:
    """(B,) height of the standing body in the image, pixels."""
    standing = fit.body.shaped(fit.betas)[..., 1]
    camera = fit.camera
    return (standing.amax(1) - standing.amin(1)) * camera.scale * camera.log_aspect.exp()


def evidence(
    fit: BodyFit,
    keypoints: Keypoints,
    size: Tensor,
    masks: Sequence[Tensor | None] | None,
    skeleton: Skeleton,
) -> Tensor:
    """Evidence for each joint of B bodies.

    Args:
        fit: the bodies.
        keypoints: (B, K) keypoints of the estimator.
        size: (B, 2) height and width of the images.
        masks: (H, W) own surface of each person, or None.
        skeleton: that of the body model.

    Returns:
        (B, J, 5) in [0, 1]: weight of the joint's keypoint; distance of keypoints and body over the
        torso, and at the joint's keypoint, 1 from `NEAR` on; 1 for joints inside the image;
        greatest value of the mask around the joint, 0 without one.
    """
    known = [name for name in keypoints.names if name in skeleton.names]
    keypoints = keypoints.select(tuple(known))
    points = skeleton.pose(fit.rotations, fit.betas).points
    pixels = fit.camera.project(points)[..., :2]
    joints = pixels[:, : skeleton.num_joints]
    places = pixels[:, [skeleton.index(name) for name in known]]
    weight = score_weight(keypoints.score.clamp(0, 1)).to(places)
    height = standing_height(fit)[:, None].clamp_min(1e-6)
    away = ((places - keypoints.xy.to(places)).norm(dim=-1) / height / NEAR).clamp(max=1)
    torso = [known.index(name) for name in _TORSO]
    trunk = weight[:, torso].mean(1), away[:, torso].mean(1)
    nothing = torch.zeros_like(trunk[0]), torch.ones_like(trunk[1])
    inside = (joints >= 0).all(-1) & (joints < size.to(joints).flip(1)[:, None]).all(-1)
    on = torch.zeros_like(joints[..., 0])
    for row, mask in enumerate(masks or ()):
        if mask is not None:
            on[row] = mask_at(mask.to(joints), joints[row], reach(float(size[row, 0])))
    rows = []
    for number, joint in enumerate(SMPL_JOINTS):
        side, _, limb = joint.partition("_")
        shown = f"{side}_{_SHOWN[limb]}" if limb in _SHOWN else ""
        own = trunk if not limb else nothing
        if shown in known:
            own = weight[:, known.index(shown)], away[:, known.index(shown)]
        found = own[0], trunk[1], own[1], inside[:, number].to(on), on[:, number]
        rows.append(torch.stack(found, -1))
    return torch.stack(rows, 1)


def joint_confidence(
    fit: BodyFit,
    keypoints: Keypoints,
    size: Tensor,
    masks: Sequence[Tensor | None] | None,
    skeleton: Skeleton,
) -> Tensor:
    """(B, J) probability that a joint is in its place, 0 without keypoints; see `evidence`."""
    found = evidence(fit, keypoints, size, masks, skeleton)
    plain, masked = load_calibration()
    with_mask = torch.tensor([mask is not None for mask in masks or [None] * len(fit)])
    sure = torch.where(with_mask[:, None], masked.probability(found), plain.probability(found))
    return torch.where(keypoints.found[:, None], sure, 0.0)
