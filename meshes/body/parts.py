"""Parts of the body: the 24 joints of SMPL, and the coarser parts that they merge into.

One table of merges serves part maps, body histograms and the labels of training. The part of a
vertex is the joint of its largest skinning weight (`BodyModel.part`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .model import SMPL_JOINTS

__all__ = ["BODY_PARTS", "LIMB_PARTS", "OFF_BODY", "merged_parts"]

#: Value of a part map off the body.
OFF_BODY = 255

# Joint: its part of the 13, and of the 6.
_MERGED: dict[str, tuple[str, str]] = {
    "pelvis": ("hips", "torso"),
    "left_hip": ("left_thigh", "thighs"),
    "right_hip": ("right_thigh", "thighs"),
    "spine1": ("belly", "torso"),
    "left_knee": ("left_shin", "calves"),
    "right_knee": ("right_shin", "calves"),
    "spine2": ("belly", "torso"),
    "left_ankle": ("feet", "feet"),
    "right_ankle": ("feet", "feet"),
    "spine3": ("chest", "torso"),
    "left_foot": ("feet", "feet"),
    "right_foot": ("feet", "feet"),
    "neck": ("head", "head"),
    "left_collar": ("chest", "torso"),
    "right_collar": ("chest", "torso"),
    "head": ("head", "head"),
    "left_shoulder": ("left_upper_arm", "arms"),
    "right_shoulder": ("right_upper_arm", "arms"),
    "left_elbow": ("left_forearm", "arms"),
    "right_elbow": ("right_forearm", "arms"),
    "left_wrist": ("left_forearm", "arms"),
    "right_wrist": ("right_forearm", "arms"),
    "left_hand": ("left_forearm", "arms"),
    "right_hand": ("right_forearm", "arms"),
}
#: The 6 parts of part maps and of local features, in their order.
BODY_PARTS: tuple[str, ...] = ("head", "torso", "arms", "thighs", "calves", "feet")
#: The 13 parts of colour histograms, left and right apart but for the feet, in their order.
LIMB_PARTS: tuple[str, ...] = (
    "head", "chest", "belly", "hips", "left_upper_arm", "right_upper_arm", "left_forearm",
    "right_forearm", "left_thigh", "right_thigh", "left_shin", "right_shin", "feet",
)  # fmt: skip


def merged_parts(into: Sequence[str], joint_names: Sequence[str] = SMPL_JOINTS) -> Tensor:
    """Table from joints to merged parts.

    Args:
        into: ``BODY_PARTS`` or ``LIMB_PARTS``.
        joint_names: names of J joints, out of ``SMPL_JOINTS``.

    Returns:
        (256,) uint8; ``table[j] = p`` means that joint ``j`` belongs to ``into[p]``. Indices
        without a joint give ``OFF_BODY``, so that ``table[part.long()]`` merges a part map.

    Raises:
        ValueError: other parts, or an unknown joint.
    """
    column = {BODY_PARTS: 1, LIMB_PARTS: 0}.get(tuple(into))
    if column is None:
        raise ValueError(f"into must be BODY_PARTS or LIMB_PARTS; got {tuple(into)}")
    unknown = [name for name in joint_names if name not in _MERGED]
    if unknown:
        raise ValueError(f"joint_names must be joints of SMPL; got {unknown}")
    table = torch.full((256,), OFF_BODY, dtype=torch.uint8, device="cpu")
    for joint, name in enumerate(joint_names):
        table[joint] = into.index(_MERGED[name][column])
    return table
