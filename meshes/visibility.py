"""Visibility of parts from the fitted body; from keypoints, see `pose.part_visibility`."""

from __future__ import annotations

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from .lift import Lift

__all__ = ["body_visibility", "part_visibility"]


@plain_torch()
def part_visibility(lift: Lift, size: tuple[int, int], *, parts: int = 3) -> Tensor:
    """Visible fraction of the body in each horizontal stripe of the image.

    Unlike `pose.part_visibility`, which needs a visible joint in a stripe, this is a ratio of
    vertices: visible ones over those that the body itself does not occlude.

    Args:
        lift: lift of an image, in layout ``"surface"``.
        size: height and width of the image in pixels.
        parts: number of stripes, all of one height.

    Returns:
        (parts,) float32 in [0, 1], from top to bottom; 0 without the body. All ones when no vertex
        is visible, which is no evidence, as in `pose.part_visibility`.

    Raises:
        ValueError: an argument has another shape or range.
    """
    if parts < 1 or size[0] < 1:
        raise ValueError(f"parts and size must be above 0; got {parts} and {size}")
    y = lift.view.projected[0, :, 1]
    stripe = (y * parts / size[0]).floor().long()
    return _shares(lift, stripe, parts)


@plain_torch()
def body_visibility(lift: Lift) -> Tensor:
    """Visible fraction of each part of the body.

    Args:
        lift: lift of an image, in layout ``"surface"``.

    Returns:
        (J,) float32 in [0, 1], by the joint of largest skinning weight (`BodyModel.joint_names`); 0
        for parts that face away. All ones when no vertex is visible.
    """
    body = lift.fit.body
    return _shares(lift, body.part, len(body.joint_names))


def _shares(lift: Lift, group: Tensor, count: int) -> Tensor:
    """(count,) ratio of visible to facing vertices of each group; `group` is (V,)."""
    facing = lift.view.faces_camera
    on_body = ~lift.cloud.is_background
    if int(on_body.sum()) != len(facing):
        raise ValueError(
            f"lift must hold all {len(facing)} vertices of the body; its cloud has "
            f'{int(on_body.sum())} body points: use layout="surface"'
        )
    seen = lift.cloud.visible[on_body] & facing
    if not bool(seen.any()):
        return torch.ones(count)
    known = facing & (group >= 0) & (group < count)
    total = torch.bincount(group[known], minlength=count)
    visible = torch.bincount(group[known & seen], minlength=count)
    return visible / total.clamp_min(1)
