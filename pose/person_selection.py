"""Selection of one of several people in an image."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from .keypoints import Keypoints
from .literals import Target
from .runtime.defaults import plain_torch

__all__ = ["Target", "lies_outside", "select_person"]


@plain_torch()
def select_person(
    people: Keypoints,
    target: Target = "most_joints",
    *,
    size: tuple[int, int] | None = None,
    threshold: float = 0.2,
) -> int | None:
    """Choose one person of an image.

    Only people with a score over the threshold somewhere are candidates, and only their joints
    over it count. Ties go to the first in order, except for ``most_joints_last``.

    Args:
        people: (P,) people of one image.
        target: ``first``: in order. ``most_joints``: with most joints, as PGFA chooses for its
            heat maps; ``most_joints_last``: the last of those, as PGFA chooses for its labels.
            ``most_confident``: with the largest sum of scores. ``largest``: with the largest box
            around the joints. ``most_central``: with the box centre nearest to the
            image's, as fractions of its size.
        size: height and width of the image in pixels; needed by ``most_central`` alone.
        threshold: joints with a score above it count as found.

    Returns:
        The index of the person, or None when there is no candidate.

    Raises:
        ValueError: `people` is not (P,), the policy is unknown, or `size` is missing.
    """
    if target not in get_args(Target):
        raise ValueError(f"target must be one of {', '.join(get_args(Target))}; got {target!r}")
    if len(people.shape) != 1:
        raise ValueError(
            f"people must be (P,) people of one image; got batch shape {tuple(people.shape)}"
        )
    joints = people.score > threshold
    candidates = joints.any(-1).nonzero().squeeze(1)
    if not len(candidates):
        return None
    value = _value(people[candidates], joints[candidates], target, size)
    best = (value == value.max()).nonzero().squeeze(1)
    return int(candidates[best[-1 if target == "most_joints_last" else 0]])


@plain_torch()
def lies_outside(people: Keypoints, size: tuple[int, int], threshold: float = 0.0) -> Tensor:
    """(...,) bool: people with joints that cannot be pixels of this image.

    Three or more joints were found, and at most one of them lies inside, as with coordinates of a
    whole video frame or of an image of another size.

    Args:
        people: (..., K) people.
        size: height and width of the image in pixels.
        threshold: joints with a score above it count as found.
    """
    found = people.score > threshold
    inside = (found & people.inside(*size)).sum(-1)
    return (found.sum(-1) >= 3) & (inside <= 1)


def _value(people: Keypoints, joints: Tensor, target: str, size: tuple[int, int] | None) -> Tensor:
    """(P,) selection criterion, larger is better."""
    if target == "first":
        return torch.zeros(len(joints))
    if target == "most_confident":
        return (people.score * joints).sum(-1)
    if target.startswith("most_joints"):
        return joints.sum(-1)
    infinite = torch.full_like(people.xy, torch.inf)
    low = torch.where(joints[..., None], people.xy, infinite).amin(-2)
    high = torch.where(joints[..., None], people.xy, -infinite).amax(-2)
    if target == "largest":
        return (high - low).prod(-1)
    if size is None:
        raise ValueError("size must be given for target 'most_central': height and width")
    extent = people.xy.new_tensor([size[1], size[0]])
    return -((low + high) / (2 * extent) - 0.5).norm(dim=-1)
