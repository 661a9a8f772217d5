"""Occluders between camera and person, placed to occlude a target fraction of the person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..people.clothing import world_body
from ..people.figure import pose_figure
from ..people.identity import draw_identity
from ..people.poses import draw_motion
from ..rng import Rng
from ..surfaces.pieces import MeshPart
from . import street, vehicles

__all__ = ["OCCLUDERS", "bystander", "place_occluder", "translated"]

OCCLUDERS: tuple[str, ...] = (
    "car", "shrub", "trunk", "board", "column", "furniture", "luggage", "fence", "bicycle",
    "umbrella", "person", "cut",
)  # fmt: skip
"""Kinds of occlusion. "cut" is the image's border; "person" another identity in front."""

_BUILDERS: dict[str, Callable[[Rng], list[MeshPart]]] = {
    "car": vehicles.car, "shrub": street.shrub, "trunk": street.trunk, "board": street.board,
    "column": street.column, "furniture": street.furniture, "luggage": street.luggage,
    "fence": street.fence, "bicycle": vehicles.bicycle, "umbrella": street.umbrella,
}  # fmt: skip
# Metres in front of the person.
_DEPTH = {
    "car": (1.1, 1.8), "shrub": (0.5, 1.4), "trunk": (0.4, 1.6), "board": (0.4, 1.5),
    "column": (0.4, 1.6), "furniture": (0.5, 1.0), "luggage": (0.45, 1.2), "fence": (0.4, 1.0),
    "bicycle": (0.45, 1.0), "umbrella": (0.7, 1.2), "person": (0.45, 1.3),
}  # fmt: skip


def translated(
    pieces: Sequence[MeshPart], shift: Tensor, turn: Tensor | None = None
) -> list[MeshPart]:
    """Pieces turned by ``turn`` (3, 3) about the origin, then shifted by (3,) metres."""
    result = []
    for piece in pieces:
        vertices, normals = piece.vertices, piece.normals
        if turn is not None:
            vertices = vertices @ turn.T
            normals = None if normals is None else normals @ turn.T
        result.append(replace(piece, vertices=vertices + shift, normals=normals))
    return result


def bystander(rng: Rng) -> list[MeshPart]:
    """A passer-by at the origin, for backgrounds and occlusion."""
    # Numbers far above any data set's identities: an occluder is never an identity of the set.
    identity = draw_identity(500_000_000 + rng.integer(0, 4000))
    joints = world_body().rest_joints(identity.betas[None])[0]
    motion = draw_motion(rng, identity, joints)
    return list(pose_figure(identity, motion, rng.uniform(-3.14, 3.14), (0.0, 0.0)).pieces)


def place_occluder(
    kind: str,
    rng: Rng,
    origin: Tensor,
    turn: Tensor,
    target: float,
    coverage: Callable[[Sequence[MeshPart]], float],
) -> tuple[list[MeshPart], float]:
    """Places an occluder so that it occludes the target fraction of the person.

    Args:
        kind: one of ``OCCLUDERS`` but "cut".
        rng: source of randomness.
        origin: (3,) ground point below the person.
        turn: (3, 3) rotation with the columns right, up and towards the camera.
        target: fraction of the person's area to occlude, in (0, 1).
        coverage: occluded fraction under given pieces.

    Returns:
        The placed pieces and the occluded fraction, which may miss the target.
    """
    if kind not in OCCLUDERS or kind == "cut":
        raise ValueError(f"kind must be one of {OCCLUDERS[:-1]}; got {kind!r}")
    pieces = bystander(rng) if kind == "person" else _BUILDERS[kind](rng)
    depth = rng.uniform(*_DEPTH[kind])
    everything = torch.cat([piece.vertices for piece in pieces])
    hanging = kind == "board" and float(everything[:, 1].max()) > 2.5
    lift = rng.uniform(0.7, 1.25) if kind == "umbrella" else 0.0
    side = rng.sign()
    reach = float(everything[:, 0].abs().max()) + 0.45
    sway = rng.uniform(-0.25, 0.25)

    def at(amount: float) -> list[MeshPart]:
        if hanging:
            local = torch.tensor([sway, 1.0 - 1.1 * amount, depth])
        else:
            local = torch.tensor([side * reach * (1 - amount), lift, depth])
        return translated(pieces, turn @ local + origin, turn)

    low, high, best = 0.0, 1.0, (at(1.0), -1.0)
    amount = rng.uniform(0.55, 1.0)
    for _ in range(5):
        placed = at(amount)
        hidden = coverage(placed)
        if abs(hidden - target) < abs(best[1] - target):
            best = (placed, hidden)
        if abs(hidden - target) < 0.05:
            break
        low, high = (low, amount) if hidden > target else (amount, high)
        amount = (low + high) / 2
    return best
