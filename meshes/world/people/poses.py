"""Poses of people: a gait cycle, standing, and gestures of the hands.

Angles of the gait cycle follow the mean joint angles of normal walking (D. A. Winter,
Biomechanics and Motor Control of Human Movement, Wiley, 2009, chapter 5), in degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...body.model import SMPL_JOINTS
from ...rotation import axis_angle_to_matrix
from ..rng import Rng
from .identity import Identity

__all__ = ["Motion", "draw_motion", "place_hand", "reach"]

# Every tenth of the cycle, from heel strike on: hip flexion, knee flexion, ankle dorsiflexion.
_HIP = (29, 25, 17, 7, -2, -9, -7, 10, 25, 32)
_KNEE = (5, 16, 18, 11, 6, 10, 35, 60, 46, 14)
_ANKLE = (0, -5, 3, 8, 11, 5, -16, -9, 0, 2)
_GESTURES = (
    "relaxed",
    "phone_ear",
    "phone_look",
    "pockets",
    "one_pocket",
    "strap",
    "folded",
    "wave",
)
_JOINT = {name: index for index, name in enumerate(SMPL_JOINTS)}


@dataclass(frozen=True, eq=False)
class Motion:
    """A pose.

    Attributes:
        rotations: (24, 3, 3) relative to the parents; the root stands upright and faces +z.
        gait: "walk", "stand", or a posture of the city: "run", "sit", "cycle", "crouch".
        gesture: gesture of the hands.
        knees: (2,) flexion of the left and right knee, radians, never negative.
        lift: height of the lowest shoe over the ground, metres.
    """

    rotations: Tensor
    gait: str
    gesture: str
    knees: tuple[float, float]
    lift: float = 0.0


def _cycle(table: tuple[int, ...], phase: float) -> float:
    """Periodic interpolation of a table over the gait cycle; radians."""
    values = [table[i % 10] for i in range(-3, 14)]
    # Piecewise cubic through the samples (Catmull-Rom) keeps the cycle smooth.
    place = (phase % 1.0) * 10
    index = int(place)
    mix = place - index
    p0, p1, p2, p3 = (values[index + offset + 3] for offset in (-1, 0, 1, 2))
    value = 0.5 * (2 * p1 + (p2 - p0) * mix + (2 * p0 - 5 * p1 + 4 * p2 - p3) * mix**2
                   + (3 * p1 - p0 - 3 * p2 + p3) * mix**3)  # fmt: skip
    return math.radians(value)


def draw_motion(
    rng: Rng,
    identity: Identity,
    rest_joints: Tensor,
    *,
    stand: bool | None = None,
    phase: float | None = None,
) -> Motion:
    """Random pose of an identity.

    Args:
        rng: source of randomness.
        identity: bags keep their hand busy.
        rest_joints: (24, 3) rest joints of the identity.
        stand: True forces standing, False walking; None draws the gait.
        phase: place in the gait cycle of a walk, in cycles from heel strike of the left foot; None
            draws it. It changes no other draw: sources of one seed give one person's gait.
    """
    standing = rng.flag(0.3) if stand is None else stand
    angles = torch.zeros(24, 3)
    knees = _stand(angles, rng) if standing else _walk(angles, rng, phase)
    angles[_JOINT["head"], 1] = rng.normal(0, 0.28)
    angles[_JOINT["neck"], 0] = rng.normal(0.05, 0.08)
    angles[_JOINT["head"], 0] = rng.normal(0.04, 0.1)
    rotations = axis_angle_to_matrix(angles)
    gesture = rng.pick(_GESTURES, (58, 6, 9, 6, 6, 5, 4, 2))
    if identity.bag in ("hand", "case") and gesture not in ("relaxed", "one_pocket", "phone_ear"):
        gesture = "relaxed"
    free = (
        -identity.bag_side if identity.bag in ("hand", "case", "tote", "shoulder") else rng.sign()
    )
    amplitude = 0.0 if standing else rng.uniform(0.12, 0.42)
    swing = float(angles[_JOINT["right_hip"], 0] - angles[_JOINT["left_hip"], 0]) / 0.65 * amplitude
    for side in (1.0, -1.0):
        _hanging_arm(rotations, rng, side, swing, identity)
    for side in (1.0, -1.0):
        target = _target(gesture, side, free, rng)
        if target is not None:
            place_hand(rotations, rest_joints, side, *target)
    if gesture in ("phone_look",):
        rotations[_JOINT["head"]] = (
            _turns((0, rng.uniform(0.25, 0.5)))[0] @ rotations[_JOINT["head"]]
        )
    return Motion(rotations, "stand" if standing else "walk", gesture, knees)


def _turns(*turns: tuple[int, float]) -> Tensor:
    """(N, 3, 3) rotations about coordinate axes by angles in radians."""
    vectors = torch.zeros(len(turns), 3)
    for vector, (axis, angle) in zip(vectors, turns, strict=True):
        vector[axis] = angle
    return axis_angle_to_matrix(vectors)


def _walk(angles: Tensor, rng: Rng, given: float | None) -> tuple[float, float]:
    """Fill in the legs and trunk of a walking pose; returns knee flexion."""
    phase, stride = rng.uniform(0, 1), rng.uniform(0.65, 1.1)
    phase = phase if given is None else given
    knees = []
    for side, name, offset in ((1, "left", 0.0), (-1, "right", 0.5)):
        at = phase + offset
        knee = max(0.02, _cycle(_KNEE, at) * (0.55 + 0.45 * stride))
        angles[_JOINT[f"{name}_hip"], 0] = -_cycle(_HIP, at) * stride
        angles[_JOINT[f"{name}_hip"], 2] = side * rng.uniform(-0.07, -0.01)
        angles[_JOINT[f"{name}_knee"], 0] = knee
        angles[_JOINT[f"{name}_ankle"], 0] = -_cycle(_ANKLE, at) * 0.9
        # Behind the body the heel lifts and the toes bend.
        angles[_JOINT[f"{name}_foot"], 0] = -max(0.0, _cycle(_ANKLE, at) * -1.0)
        angles[_JOINT[f"{name}_hip"], 1] = side * rng.uniform(0.0, 0.15)
        knees.append(knee)
    turn = 0.09 * math.sin(2 * math.pi * phase) * stride
    angles[0, 1] = -turn
    angles[_JOINT["spine2"], 1] = 0.8 * turn
    angles[_JOINT["spine3"], 1] = 1.2 * turn
    angles[_JOINT["spine1"], 0] = rng.uniform(0.0, 0.09)
    return knees[0], knees[1]


def _stand(angles: Tensor, rng: Rng) -> tuple[float, float]:
    """Fill in legs and trunk of a standing pose; returns knee flexion."""
    lean = rng.normal(0, 0.035)
    knees = []
    for side, name in ((1, "left"), (-1, "right")):
        bent = max(0.02, rng.normal(0.06, 0.05))
        angles[_JOINT[f"{name}_knee"], 0] = bent
        angles[_JOINT[f"{name}_hip"], 0] = -0.5 * bent + rng.normal(0, 0.04)
        angles[_JOINT[f"{name}_ankle"], 0] = -0.5 * bent
        angles[_JOINT[f"{name}_hip"], 1] = side * rng.uniform(0.0, 0.3)
        angles[_JOINT[f"{name}_hip"], 2] = side * rng.uniform(-0.06, 0.06) + lean
        knees.append(bent)
    angles[_JOINT["spine1"], 2] = -lean
    angles[_JOINT["spine1"], 0] = rng.uniform(-0.02, 0.07)
    angles[_JOINT["spine3"], 1] = rng.normal(0, 0.1)
    return knees[0], knees[1]


def _hanging_arm(
    rotations: Tensor, rng: Rng, side: float, swing: float, identity: Identity
) -> None:
    name = "left" if side > 0 else "right"
    lower = rng.uniform(1.2, 1.34)
    carries = identity.bag in ("hand", "case") and side == identity.bag_side
    bend = rng.uniform(0.12, 0.25) if carries else rng.uniform(0.15, 0.5) + 0.4 * abs(swing)
    # The arm swings against the leg of its own side.
    forward = -side * swing * (0.35 if carries else 1.0) + rng.normal(0.0, 0.05)
    swung, hung, flexed, rolled = _turns(
        (0, -forward),
        (2, -side * lower),
        (1, -side * bend),
        (0, side * rng.uniform(-0.2, 0.5)),
    )
    rotations[_JOINT[f"{name}_shoulder"]] = swung @ hung
    rotations[_JOINT[f"{name}_elbow"]] = flexed
    rotations[_JOINT[f"{name}_wrist"]] = rolled


def _target(
    gesture: str, side: float, free: float, rng: Rng
) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
    """Wrist target and elbow direction in the frame of the upright trunk, or None to hang."""

    def spread() -> float:
        return rng.uniform(-0.02, 0.02)

    if gesture in ("phone_ear", "wave", "one_pocket") and side != free:
        return None
    if gesture == "phone_ear":
        return (side * 0.15, 0.57 + spread(), 0.1 + spread()), (side * 0.5, -1.0, 0.1)
    if gesture == "wave":
        return (side * 0.35, 0.55, 0.25 + spread()), (side * 0.8, -1.0, 0.0)
    if gesture in ("pockets", "one_pocket"):
        return (side * 0.23, 0.02 + spread(), 0.08), (side * 0.8, 0.0, -1.0)
    if gesture == "phone_look":
        if side != free and rng.flag(0.5):
            return None
        return (side * 0.08, 0.27 + 2 * spread(), 0.3), (side * 0.6, -1.0, -0.2)
    if gesture == "strap":
        return (side * 0.13, 0.33 + spread(), 0.17), (side * 0.6, -1.0, -0.2)
    if gesture == "folded":
        return (-side * 0.06, 0.24 + 0.02 * side, 0.2), (side * 1.0, -0.7, 0.2)
    return None


def reach(shoulder: Tensor, target: Tensor, lengths: tuple[float, float], pole: Tensor) -> Tensor:
    """Elbow position of an arm of two bones that reaches for a target.

    Args:
        shoulder: (3,) start.
        target: (3,) wrist target; projected onto the reachable shell if too far or too near.
        lengths: upper arm and forearm, metres.
        pole: (3,) direction to which the elbow points.

    Returns:
        (3,) elbow; the wrist lies from there towards the target at the forearm's length.
    """
    upper, lower = lengths
    line = target - shoulder
    distance = float(line.norm().clamp(abs(upper - lower) + 1e-3, 0.999 * (upper + lower)))
    line = torch.nn.functional.normalize(line, dim=0)
    cosine = (upper**2 + distance**2 - lower**2) / (2 * upper * distance)
    side = torch.nn.functional.normalize(pole - (pole @ line) * line, dim=0)
    return shoulder + upper * (cosine * line + math.sqrt(max(0.0, 1 - cosine**2)) * side)


def place_hand(
    rotations: Tensor,
    rest: Tensor,
    side: float,
    target: tuple[float, float, float],
    pole: tuple[float, float, float],
) -> None:
    """Turns shoulder and elbow, in place, so that the wrist reaches the target.

    Args:
        rotations: (24, 3, 3) of the pose.
        rest: (24, 3) rest joints.
        side: 1.0 for the left hand, -1.0 for the right one.
        target: of the wrist, in the frame of the upright trunk of the mean body, metres.
        pole: direction to which the elbow points.
    """
    name = "left" if side > 0 else "right"
    shoulder, elbow, wrist = (
        rest[_JOINT[f"{name}_{part}"]] for part in ("shoulder", "elbow", "wrist")
    )
    # Targets are given for the mean body: scale them by the trunk's height.
    scale = float(rest[_JOINT["neck"], 1]) / 0.541
    goal = torch.tensor(target) * scale
    upper, lower = float((elbow - shoulder).norm()), float((wrist - elbow).norm())
    bent = reach(shoulder, goal, (upper, lower), torch.tensor(pole))
    arm = torch.nn.functional.normalize(bent - shoulder, dim=0)
    fore = torch.nn.functional.normalize(goal - bent, dim=0)
    flex = fore - (fore @ arm) * arm
    flex = torch.nn.functional.normalize(flex, dim=0)
    rest_arm = torch.nn.functional.normalize(elbow - shoulder, dim=0)
    rest_flex = torch.tensor([0.0, 0.0, 1.0])
    rest_flex = torch.nn.functional.normalize(rest_flex - (rest_flex @ rest_arm) * rest_arm, dim=0)
    now = torch.stack([arm, flex, torch.linalg.cross(arm, flex)], 1)
    then = torch.stack([rest_arm, rest_flex, torch.linalg.cross(rest_arm, rest_flex)], 1)
    rotations[_JOINT[f"{name}_shoulder"]] = now @ then.T
    angle = math.acos(float((fore @ arm).clamp(-1, 1)))
    rotations[_JOINT[f"{name}_elbow"]] = axis_angle_to_matrix(
        torch.linalg.cross(rest_arm, rest_flex) * angle
    )
    rotations[_JOINT[f"{name}_wrist"]] = torch.eye(3)
