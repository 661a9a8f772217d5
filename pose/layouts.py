"""Keypoint layouts of other programs, and the conversion of COCO to OpenPose's 18."""

from __future__ import annotations

import torch

from .keypoints import COCO_17, Keypoints

__all__ = ["HALPE_26", "OPENPOSE_18", "OPENPOSE_25", "WHOLEBODY_23", "to_openpose18"]

_FEET_6 = (
    "left_toe",
    "left_small_toe",
    "left_heel",
    "right_toe",
    "right_small_toe",
    "right_heel",
)

OPENPOSE_18: tuple[str, ...] = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)
"""OpenPose's COCO model, AlphaPose's ``open`` format and PGFA; with a neck."""

OPENPOSE_25: tuple[str, ...] = (*OPENPOSE_18[:8], "mid_hip", *OPENPOSE_18[8:], *_FEET_6)
"""OpenPose's BODY_25; ``left_toe`` is the big toe, as in ``COCO_17_FEET``."""

HALPE_26: tuple[str, ...] = (
    *COCO_17,
    "head_top",
    "neck",
    "mid_hip",
    "left_toe",
    "right_toe",
    "left_small_toe",
    "right_small_toe",
    "left_heel",
    "right_heel",
)
"""Halpe's body, which is also the beginning of Halpe-136 (the rest is face and hands)."""

WHOLEBODY_23: tuple[str, ...] = (*COCO_17, *_FEET_6)
"""Body and feet of COCO-WholeBody, the beginning of its 133 keypoints."""


def to_openpose18(people: Keypoints) -> Keypoints:
    """OpenPose's 18 keypoints; a missing neck is computed as in AlphaPose.

    Args:
        people: (...,) of a layout that holds `COCO_17`; eyes, ears and nose may be missing, as in
            PoseTrack and Human3.6M, and are then not found (score 0).

    Returns:
        (...,) named `OPENPOSE_18`. A computed neck is the mean of both shoulders in position, score
        and visibility.

    Raises:
        ValueError: a keypoint is missing.
    """
    people = _with_face(people)
    if "neck" in people.names:
        return people.select(OPENPOSE_18)
    rest = people.select([name for name in OPENPOSE_18 if name != "neck"])
    both = people.select(["left_shoulder", "right_shoulder"])
    return Keypoints(
        torch.cat([rest.xy, both.xy.mean(-2, keepdim=True)], -2),
        torch.cat([rest.score, both.score.mean(-1, keepdim=True)], -1),
        torch.cat([rest.visibility, both.visibility.mean(-1, keepdim=True)], -1),
        (*rest.names, "neck"),
        None if rest.xyz is None else torch.cat([rest.xyz, _mean_xyz(both)], -2),
    ).select(OPENPOSE_18)


def _with_face(people: Keypoints) -> Keypoints:
    """People with all joints of the face; those that the layout lacks are not found."""
    missing = [name for name in COCO_17[:5] if name not in people.names]
    if not missing:
        return people
    none = people.score.new_zeros(*people.score.shape[:-1], len(missing))
    zero = none[..., None]
    xyz = people.xyz
    return Keypoints(
        torch.cat([people.xy, zero.expand(*none.shape, 2).to(people.xy)], -2),
        torch.cat([people.score, none], -1),
        torch.cat([people.visibility, none.to(people.visibility)], -1),
        (*people.names, *missing),
        None if xyz is None else torch.cat([xyz, zero.expand(*none.shape, 3).to(xyz)], -2),
    )


def _mean_xyz(both: Keypoints) -> torch.Tensor:
    assert both.xyz is not None
    return both.xyz.mean(-2, keepdim=True)
