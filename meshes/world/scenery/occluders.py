"""Occluders between camera and person, placed to occlude a target fraction of the person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..people.clothing import build_outfit
from ..people.figure import pose_figure
from ..people.identity import Identity, draw_identity
from ..people.poses import draw_motion
from ..rng import Rng
from ..surfaces.pieces import MeshPart
from . import street, vehicles

__all__ = [
    "OCCLUDERS",
    "OCCLUDER_KINDS",
    "Builder",
    "Occluder",
    "bystander",
    "place_occluder",
    "translated",
]

#: Pieces of an occluder in its own frame, from a source of randomness.
Builder = Callable[[Rng], list[MeshPart]]


@dataclass(frozen=True)
class Occluder:
    """A kind of occlusion.

    Attributes:
        build: pieces in their own frame: x right, y up (ground at 0), z towards the camera,
            centred at x = 0, metres; None for the image's border.
        weight: frequency against other kinds.
        depth: range of metres in front of the person.
        lift: range of heights over the ground, metres.
        hanging: comes from above instead of from the side; None: when "build" draws it so high.
    """

    build: Builder | None
    weight: float
    depth: tuple[float, float] = (0.0, 0.0)
    lift: tuple[float, float] | None = None
    hanging: bool | None = False


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


def bystander(rng: Rng, appearance: Callable[[int], Identity] = draw_identity) -> list[MeshPart]:
    """A passer-by at the origin, for backgrounds and occlusion; numbers give appearances."""
    # Numbers far above any data set's identities: an occluder is never an identity of the set.
    identity = appearance(500_000_000 + rng.integer(0, 4000))
    motion = draw_motion(rng, identity, build_outfit(identity).joints)
    return list(pose_figure(identity, motion, rng.uniform(-3.14, 3.14), (0.0, 0.0)).pieces)


OCCLUDER_KINDS: Mapping[str, Occluder] = {
    "car": Occluder(vehicles.car, 13, (1.1, 1.8)),
    "shrub": Occluder(street.shrub, 9, (0.5, 1.4)),
    "trunk": Occluder(street.trunk, 7, (0.4, 1.6)),
    "board": Occluder(street.board, 10, (0.4, 1.5), hanging=None),
    "column": Occluder(street.column, 8, (0.4, 1.6)),
    "furniture": Occluder(street.furniture, 9, (0.5, 1.0)),
    "luggage": Occluder(street.luggage, 8, (0.45, 1.2)),
    "fence": Occluder(street.fence, 6, (0.4, 1.0)),
    "bicycle": Occluder(vehicles.bicycle, 5, (0.45, 1.0)),
    "umbrella": Occluder(street.umbrella, 6, (0.7, 1.2), lift=(0.7, 1.25)),
    "person": Occluder(bystander, 15, (0.45, 1.3)),
    "cut": Occluder(None, 10),
}
"""Occluders of the default world."""

OCCLUDERS: tuple[str, ...] = tuple(OCCLUDER_KINDS)
"""Kinds of occlusion. "cut" is the image's border; "person" another identity in front."""


def place_occluder(
    occluder: Occluder,
    rng: Rng,
    origin: Tensor,
    turn: Tensor,
    target: float,
    coverage: Callable[[Sequence[MeshPart]], float],
) -> tuple[list[MeshPart], float]:
    """Places an occluder so that it occludes the target fraction of the person.

    Args:
        occluder: the kind; not the image's border.
        rng: source of randomness.
        origin: (3,) ground point below the person.
        turn: (3, 3) rotation with the columns right, up and towards the camera.
        target: fraction of the person's area to occlude, in (0, 1).
        coverage: occluded fraction under given pieces.

    Returns:
        The placed pieces and the occluded fraction, which may miss the target.
    """
    if occluder.build is None:
        raise ValueError("occluder must have pieces to place; the image's border has none")
    pieces = occluder.build(rng)
    depth = rng.uniform(*occluder.depth)
    everything = torch.cat([piece.vertices for piece in pieces])
    hanging = occluder.hanging
    if hanging is None:
        hanging = float(everything[:, 1].max()) > 2.5
    lift = 0.0 if occluder.lift is None else rng.uniform(*occluder.lift)
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
