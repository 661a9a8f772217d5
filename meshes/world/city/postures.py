"""Group "poses": waiting, talking, carrying hands, turning, bending, running, sitting, cycling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...body.model import SMPL_JOINTS
from ...rotation import axis_angle_to_matrix
from ..people.figure import Figure
from ..people.identity import Identity
from ..people.poses import Motion, place_hand
from ..rng import Rng
from ..settings import WorldSettings
from ..surfaces.pieces import MeshPart
from .companions import bicycle, hands_of, lowest_of_hips, seat, stood

__all__ = ["POSTURES", "Belong", "MotionRule", "PoseChange", "poses", "whole_legs"]

_JOINT = {name: index for index, name in enumerate(SMPL_JOINTS)}
#: Pose of an identity with rest joints (24, 3), from a source of randomness.
MotionRule = Callable[[Rng, Identity, Tensor], Motion]
#: The figure with what it carries, and things beside it, from a source of randomness.
Belong = Callable[[Figure, Rng], tuple[Figure, list[MeshPart]]]


def _turn(rotations: Tensor, name: str, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
    """Turns a joint, in place, by an axis-angle vector in the parent's frame, radians."""
    vector = torch.tensor([x, y, z])
    index = _JOINT[name]
    rotations[index] = axis_angle_to_matrix(vector) @ rotations[index]


def _set(rotations: Tensor, name: str, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
    rotations[_JOINT[name]] = axis_angle_to_matrix(torch.tensor([x, y, z]))


def whole_legs(identity: Identity) -> bool:
    """True for clothes that let both legs move apart: no skirt, dress, coat or cape."""
    coat = identity.jacket is not None and identity.jacket.kind == "coat"
    skirt = identity.bottom.kind in ("skirt", "dress")
    return not (coat or skirt or identity.cape is not None)


@dataclass(frozen=True)
class PoseChange:
    """A pose to be changed: rotations (24, 3, 3), rest joints (24, 3) and the identity."""

    rotations: Tensor
    rest: Tensor
    identity: Identity
    rng: Rng

    def hand(
        self, side: float, x: float, y: float, z: float, pole: tuple[float, float, float]
    ) -> None:
        """Puts a hand to a place of the trunk's frame; ``x`` and the pole's x count outwards."""
        jitter = [self.rng.uniform(-0.02, 0.02) for _ in range(3)]
        target = (side * x + jitter[0], y + jitter[1], z + jitter[2])
        place_hand(self.rotations, self.rest, side, target, (side * pole[0], pole[1], pole[2]))

    def busy(self, side: float) -> bool:
        """True for a hand that holds a bag."""
        return self.identity.bag in ("hand", "case") and side == self.identity.bag_side

    def free(self) -> list[float]:
        """Sides of the hands that hold nothing."""
        return [side for side in (1.0, -1.0) if not self.busy(side)]


def _hips(b: PoseChange) -> None:
    for side in b.free():
        b.hand(side, 0.19, 0.05, 0.0, (1.0, 0.1, -0.35))


def _behind(b: PoseChange) -> None:
    for side in b.free():
        b.hand(side, -0.02, 0.02, -0.17, (0.9, 0.0, -0.5))


def _clasped(b: PoseChange) -> None:
    for side in b.free():
        b.hand(side, 0.04, -0.02, 0.2, (0.9, -0.2, -0.3))


def _talk(b: PoseChange) -> None:
    for side in b.free()[: b.rng.integer(1, 3)]:
        b.hand(side, b.rng.uniform(0.12, 0.3), b.rng.uniform(0.12, 0.36), b.rng.uniform(0.24, 0.4),
               (0.7, -1.0, -0.2))  # fmt: skip
    _turn(b.rotations, "head", b.rng.normal(0.0, 0.1), b.rng.normal(0, 0.35))


def _point(b: PoseChange) -> None:
    side = b.rng.pick(b.free())
    b.hand(side, b.rng.uniform(0.15, 0.6), b.rng.uniform(0.3, 0.6), b.rng.uniform(0.3, 0.5),
           (0.6, -1.0, 0.0))  # fmt: skip


def _face(b: PoseChange) -> None:
    """A hand at the face, the hair or a cup."""
    side = b.rng.pick(b.free())
    y, z = b.rng.pick(((0.6, 0.17), (0.7, 0.1), (0.56, 0.2), (0.72, 0.0)))
    b.hand(side, 0.1, y, z, (0.9, -0.8, 0.0))


def _watch(b: PoseChange) -> None:
    side = b.rng.pick(b.free())
    b.hand(side, 0.02, 0.25, 0.28, (0.9, -0.8, -0.1))
    _turn(b.rotations, "head", 0.35, 0.15 * side)


def _crossed(b: PoseChange) -> None:
    if len(b.free()) == 2:
        for side in (1.0, -1.0):
            b.hand(side, -0.08, 0.25 + 0.015 * side, 0.2, (1.0, -0.7, 0.1))


def _turned(b: PoseChange) -> None:
    """Looks round: trunk and head turn to one side."""
    angle = b.rng.sign() * b.rng.uniform(0.25, 0.75)
    for name, part in (
        ("spine1", 0.25),
        ("spine2", 0.3),
        ("spine3", 0.3),
        ("neck", 0.25),
        ("head", 0.45),
    ):
        _turn(b.rotations, name, 0.0, part * angle)


def _down(b: PoseChange) -> None:
    """Looks at the ground, or bends a little."""
    bend = b.rng.uniform(0.1, 0.55)
    for name, part in (("spine1", 0.35), ("spine2", 0.3), ("neck", 0.35), ("head", 0.5)):
        _turn(b.rotations, name, part * bend)


def _weight(b: PoseChange) -> None:
    """Weight on one leg: the pelvis tilts, the other knee gives way, the trunk makes up for it."""
    side = b.rng.sign()
    tilt = side * b.rng.uniform(0.05, 0.13)
    _turn(b.rotations, "pelvis", 0.0, 0.0, tilt)
    _turn(b.rotations, "spine1", 0.0, 0.0, -1.3 * tilt)
    for name in ("left", "right"):
        _turn(b.rotations, f"{name}_hip", 0.0, 0.0, -tilt)
    loose = "left" if tilt < 0 else "right"
    knee = b.rng.uniform(0.2, 0.5)
    _turn(b.rotations, f"{loose}_hip", -0.55 * knee)
    _turn(b.rotations, f"{loose}_knee", knee)
    _turn(b.rotations, f"{loose}_ankle", -0.45 * knee)


def _stoop(b: PoseChange) -> None:
    """Bends down to something."""
    bend = b.rng.uniform(0.6, 1.1)
    for name, part in (("spine1", 0.3), ("spine2", 0.2), ("spine3", 0.15)):
        _turn(b.rotations, name, part * bend)
    for name in ("left", "right"):
        _turn(b.rotations, f"{name}_hip", -0.35 * bend)
    _turn(b.rotations, "pelvis", 0.35 * bend)
    for side in b.free():
        b.hand(side, 0.13, 0.0, 0.42, (0.6, -0.3, -0.6))


#: Changes of a standing or walking pose, with the sum of their frequencies in 100.
POSTURES: Mapping[Callable[[PoseChange], None], float] = {
    _hips: 7, _behind: 6, _clasped: 6, _talk: 14, _point: 3, _face: 8, _watch: 3, _crossed: 7,
    _turned: 12, _down: 7, _weight: 12, _stoop: 3,
}  # fmt: skip


def _run(b: PoseChange) -> Motion:
    phase = b.rng.uniform(0, 2 * math.pi)
    knees = []
    for name, side, offset in (("left", 1.0, 0.0), ("right", -1.0, math.pi)):
        swing = math.sin(phase + offset)
        knee = 0.35 + 0.75 * (1 + math.cos(phase + offset + 0.6)) * 0.75
        _set(b.rotations, f"{name}_hip", -0.25 - 0.65 * swing, 0.05 * side)
        _set(b.rotations, f"{name}_knee", knee)
        _set(b.rotations, f"{name}_ankle", 0.25 * (1 - swing))
        _set(b.rotations, f"{name}_foot")
        if not b.busy(side):
            b.hand(side, 0.2, 0.13 - 0.1 * swing, 0.16 - 0.22 * swing, (0.5, -0.3, -1.0))
        knees.append(knee)
    _turn(b.rotations, "spine1", b.rng.uniform(0.1, 0.25))
    lift = b.rng.uniform(0.0, 0.06)
    return Motion(b.rotations, "run", "relaxed", (knees[0], knees[1]), lift)


def _crouch(b: PoseChange) -> Motion:
    knees = []
    for name, side in (("left", 1.0), ("right", -1.0)):
        knee = b.rng.uniform(1.9, 2.25)
        hip = -b.rng.uniform(1.75, 1.95)
        _set(b.rotations, f"{name}_hip", hip, 0.25 * side, -0.12 * side)
        _set(b.rotations, f"{name}_knee", knee)
        _set(b.rotations, f"{name}_ankle", -knee - hip - 0.1)
        b.hand(side, b.rng.uniform(0.05, 0.16), 0.02, b.rng.uniform(0.34, 0.44), (0.8, -0.6, -0.2))
        knees.append(knee)
    _turn(b.rotations, "spine1", 0.3)
    _turn(b.rotations, "pelvis", 0.2)
    return Motion(b.rotations, "crouch", "relaxed", (knees[0], knees[1]))


def _sit(b: PoseChange) -> Motion:
    knees = []
    recline = b.rng.uniform(-0.1, 0.25)
    for name, side in (("left", 1.0), ("right", -1.0)):
        hip, knee = -1.5 + recline + b.rng.normal(0, 0.05), 1.5 + b.rng.normal(0.0, 0.12)
        _set(b.rotations, f"{name}_hip", hip, 0.12 * side, -b.rng.uniform(0.0, 0.22) * side)
        _set(b.rotations, f"{name}_knee", knee)
        _set(b.rotations, f"{name}_ankle", -(hip + knee) + recline)
        _set(b.rotations, f"{name}_foot")
        knees.append(knee)
    _turn(b.rotations, "pelvis", -recline)
    _turn(b.rotations, "spine1", b.rng.uniform(0.0, 0.3))
    gesture = b.rng.pick(("lap", "phone_look", "crossed"))
    if gesture == "crossed":
        _crossed(b)
    else:
        for side in b.free():
            if gesture == "lap":
                b.hand(side, b.rng.uniform(0.03, 0.14), 0.06, 0.26, (0.9, -0.5, -0.3))
            else:
                b.hand(side, 0.07, 0.2, 0.3, (0.8, -0.9, -0.2))
    if gesture == "phone_look":
        _turn(b.rotations, "head", 0.4)
    return Motion(b.rotations, "sit", gesture, (knees[0], knees[1]))


def _cycle(b: PoseChange) -> Motion:
    phase = b.rng.uniform(0, 2 * math.pi)
    lean = b.rng.uniform(0.1, 0.45)
    knees = []
    for name, side, offset in (("left", 1.0, 0.0), ("right", -1.0, math.pi)):
        up = 0.5 + 0.5 * math.cos(phase + offset)
        hip, knee = -(0.42 + 0.85 * up), 0.5 + 1.15 * up
        _set(b.rotations, f"{name}_hip", hip - lean * 0.6, 0.03 * side)
        _set(b.rotations, f"{name}_knee", knee)
        _set(b.rotations, f"{name}_ankle", -0.2 * up)
        _set(b.rotations, f"{name}_foot")
        b.hand(side, 0.22, 0.16, 0.47, (0.5, -1.0, -0.2))
        knees.append(knee)
    _turn(b.rotations, "pelvis", lean * 0.6)
    _turn(b.rotations, "spine1", lean * 0.4)
    _turn(b.rotations, "head", -lean * 0.7)
    return Motion(b.rotations, "cycle", "handlebar", (knees[0], knees[1]), 0.13)


_WHOLE: Mapping[Callable[[PoseChange], Motion], float] = {
    _run: 22,
    _crouch: 8,
    _sit: 40,
    _cycle: 30,
}


def _posed(motion: Motion, rng: Rng, identity: Identity, rest: Tensor) -> Motion:
    kind = rng.pick(("kept", "changed", "whole"), (48, 42, 10))
    if kind == "kept":
        return motion
    body = PoseChange(motion.rotations.clone(), rest, identity, rng)
    if kind == "whole":
        if whole_legs(identity) and identity.bag not in ("case", "hand"):
            return rng.pick(tuple(_WHOLE), tuple(_WHOLE.values()))(body)
        return motion
    # Gestures of both hands replace those of the pose; turns and weight come on top.
    first = rng.pick(tuple(POSTURES), tuple(POSTURES.values()))
    if first is _weight and motion.gait != "stand":
        first = _turned
    first(body)
    if rng.flag(0.3):
        rng.pick((_turned, _down))(body)
    return replace(motion, rotations=body.rotations)


@dataclass(frozen=True)
class _Postures:
    """Motions of ``before``, changed from a stream of the group's own."""

    before: MotionRule

    def __call__(self, rng: Rng, identity: Identity, rest: Tensor) -> Motion:
        """Motion of an identity with rest joints (24, 3)."""
        return _posed(self.before(rng, identity, rest), rng.branch("poses"), identity, rest)


@dataclass(frozen=True)
class _Seated:
    """Things of ``before``, and the seat or the bicycle below a person who sits on one."""

    before: Belong

    def __call__(self, figure: Figure, rng: Rng) -> tuple[Figure, list[MeshPart]]:
        """The figure, and the things on the ground."""
        figure, things = self.before(figure, rng)
        own = rng.branch("poses")
        if figure.motion.gait == "sit":
            back = figure.identity.bag in ("none", "shoulder", "tote", "belt")
            below = seat(own, lowest_of_hips(figure), back=back)
            return figure, [*things, *stood(below, figure)]
        if figure.motion.gait == "cycle":
            left, right = hands_of(figure)
            bar = (0.5 * (left[0] + right[0]), 0.5 * (left[1] + right[1]) - 0.02, 0.0)
            saddle = (-0.08, lowest_of_hips(figure), 0.0)
            return figure, [*things, *stood(bicycle(own, saddle, bar), figure)]
        return figure, things


def poses(settings: WorldSettings) -> WorldSettings:
    """Settings with more postures and gestures."""
    return replace(
        settings,
        motion=_Postures(settings.motion),
        belongings=_Seated(settings.belongings),
    )
