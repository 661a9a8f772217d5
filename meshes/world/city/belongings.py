"""Group "belongings": umbrellas, bags in the hand, parcels, buggies, bicycles, dogs.

A belonging stays with its owner in all images. An umbrella, a carrier bag, a parcel and a rucksack
on one shoulder are on the body: they are the person's own surface, as bags are. A buggy, a bicycle,
a dog and a wheeled bag stand on the ground: they are other things, which may hide the person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from ..people.figure import Figure
from ..people.identity import Identity
from ..people.poses import Motion, draw_motion
from ..rng import Rng
from ..settings import WorldSettings
from ..surfaces.pieces import MeshPart, Origin
from .carried import carrier, parcel, rucksack, umbrella
from .companions import bicycle, buggy, dog, hands_of, stood, wheeled_bag
from .postures import Belong, MotionRule, PoseChange
from .wrapping import with_identity

__all__ = ["BELONGINGS", "belongings", "furnish"]

#: Belongings and their frequencies in 100 people; the others have none.
BELONGINGS: Mapping[str, float] = {
    "umbrella": 4.5, "carrier": 6, "parcel": 2, "rucksack": 4, "buggy": 3, "bicycle": 2.5,
    "dog": 3.5, "wheeled bag": 2.5,
}  # fmt: skip
# With these, poses of the other groups give way to walking and standing.
_STEADY = ("parcel", "buggy", "bicycle", "umbrella")
_WHOLE = ("sit", "cycle", "run", "crouch")


def _belonging(identity: Identity) -> str:
    """Belonging of a person, which follows from its number alone."""
    rng = Rng.seeded("city belonging", identity.seed)
    name = rng.pick(("none", *BELONGINGS), (100 - sum(BELONGINGS.values()), *BELONGINGS.values()))
    busy = identity.bag in ("hand", "case")
    taken = identity.bag != "none" if name in ("rucksack", "carrier") else busy
    return "none" if taken else name


def _side(identity: Identity) -> float:
    """Side of the hand that holds a belonging: 1.0 left, -1.0 right."""
    bag = identity.bag_side if identity.bag in ("shoulder", "tote") else 1.0
    return -bag


def _held(motion: Motion, rng: Rng, identity: Identity, rest: Tensor) -> Motion:
    """The motion with the hands where the belonging needs them."""
    name, side = identity.belonging, _side(identity)
    body = PoseChange(motion.rotations.clone(), rest, identity, rng)
    if name == "umbrella":
        body.hand(side, 0.11, 0.27, 0.2, (0.6, -1.0, -0.2))
    elif name == "buggy":
        for each in (1.0, -1.0):
            body.hand(each, 0.2, 0.1, 0.36, (0.7, -0.8, -0.5))
    elif name == "bicycle":
        body.hand(side, 0.26, 0.1, 0.32, (0.6, -0.8, -0.5))
    elif name == "dog":
        body.hand(side, 0.24, 0.02, 0.16, (0.5, -0.3, -1.0))
    elif name == "parcel":
        for each in (1.0, -1.0):
            body.hand(each, 0.15, 0.06, 0.28, (0.8, -0.6, -0.4))
    elif name == "wheeled bag":
        body.hand(side, 0.24, -0.08, -0.16, (0.5, 0.0, -1.0))
    return replace(motion, rotations=body.rotations)


@dataclass(frozen=True)
class _Held:
    """Motions of ``before`` with hands at the person's belonging."""

    before: MotionRule

    def __call__(self, rng: Rng, identity: Identity, rest: Tensor) -> Motion:
        """Motion of an identity with rest joints (24, 3)."""
        motion = self.before(rng, identity, rest)
        if identity.belonging == "none":
            return motion
        own = rng.branch("belongings")
        if motion.gait in _WHOLE or identity.belonging in _STEADY:
            motion = draw_motion(own, identity, rest)
        return _held(motion, own, identity, rest)


def furnish(figure: Figure, rng: Rng) -> tuple[Figure, list[MeshPart]]:
    """The figure with what it carries, and its things on the ground."""
    name, side = figure.identity.belonging, _side(figure.identity)
    # The thing itself follows from the identity: it is the same in all images.
    same = Rng.seeded("city belonging look", figure.identity.seed)
    hand = hands_of(figure)[0 if side > 0 else 1]
    if name in _CARRIED:
        bearer = figure.pieces[0].origin
        pieces = _CARRIED[name](same, figure, side)
        if bearer is not None:
            pieces = [replace(each, origin=Origin(bearer.bearer, "bag", each.vertices))
                      for each in pieces]  # fmt: skip
        return replace(figure, pieces=(*figure.pieces, *pieces)), []
    if name == "buggy":
        left, right = hands_of(figure)
        grip = tuple((a + b) / 2 for a, b in zip(left, right, strict=True))
        return figure, stood(buggy(same, (grip[0], grip[1], grip[2])), figure)
    if name == "bicycle":
        # The owner walks beside it; the near grip is in the hand.
        away = -side * 0.29
        made = bicycle(
            same, (hand[0] - 0.5, 0.92, hand[2] + away), (hand[0] + 0.08, hand[1], hand[2] + away)
        )
        return figure, stood(made, figure)
    if name == "dog":
        return figure, stood(dog(same, hand, -side), figure)
    if name == "wheeled bag":
        return figure, stood(wheeled_bag(same, hand), figure)
    return figure, []


_CARRIED: Mapping[str, Callable[[Rng, Figure, float], list[MeshPart]]] = {
    "umbrella": umbrella, "carrier": carrier, "parcel": parcel, "rucksack": rucksack,
}  # fmt: skip


def _owner(own: Identity) -> Identity:
    return replace(own, belonging=_belonging(own))


@dataclass(frozen=True)
class _Furnished:
    """Things of ``before``, and the person's belonging."""

    before: Belong

    def __call__(self, figure: Figure, rng: Rng) -> tuple[Figure, list[MeshPart]]:
        """The figure with what it carries, and the things on the ground."""
        figure, things = self.before(figure, rng)
        figure, own = furnish(figure, rng.branch("belongings"))
        return figure, [*things, *own]


def belongings(settings: WorldSettings) -> WorldSettings:
    """Settings in which some people have umbrellas, buggies, bicycles, dogs or luggage."""
    return replace(
        with_identity(settings, _owner),
        motion=_Held(settings.motion),
        belongings=_Furnished(settings.belongings),
    )
