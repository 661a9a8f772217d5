"""Shapes of the embedded body: drawn people, A-pose to T-pose, shape basis, joint regressor.

Metres; x to the body's left, y up, z to the body's front. B bodies, N or V vertices, J joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from body_assets import (
    GENDERS,
    HEIGHTS,
    JOINT_NAMES,
    MUSCLES,
    PARENTS,
    PROPORTIONS,
    RACES,
    WEIGHT_LEVELS,
)

__all__ = [
    "Person",
    "draw_person",
    "factor_values",
    "joint_regressor",
    "mean_positions",
    "principal_components",
    "regress_joint",
    "repose",
    "rotation_between",
    "shape_bodies",
    "t_pose_rotations",
    "target_weights",
]

# Direction of each bone of a limb in the T-pose. Legs are spread a little, as in SMPL.
LIMBS: tuple[tuple[tuple[str, ...], tuple[tuple[float, float, float], ...]], ...] = (
    (("shoulder", "elbow", "wrist", "hand"), ((1.0, 0.0, 0.0),) * 3),
    (("hip", "knee", "ankle"), ((0.06, -1.0, -0.01), (0.06, -1.0, -0.02))),
)
# Joints deep inside the trunk have a larger search radius for their regressor's vertices, metres.
TRUNK = frozenset({"pelvis", "left_hip", "right_hip", "spine1", "spine2", "spine3"})
TRUNK_RADIUS, LIMB_RADIUS = 0.24, 0.17
MAX_CANDIDATES = 320
# Weight of the sum-to-one row against rows in metres.
SUM_ROW = 10.0


@dataclass(frozen=True)
class Person:
    """Macro-details of one body, each in [0, 1]; race holds three fractions that sum to one.

    0 -> 1 means female -> male, young -> old, least -> most muscle / weight / height, and
    uncommon -> ideal proportions; 0.5 is the average of the last four.
    """

    gender: float
    age: float
    muscle: float
    weight: float
    height: float
    proportion: float
    race: tuple[float, float, float]


def draw_person(rng: np.random.Generator) -> Person:
    """Draw an adult: both genders alike, mostly young, the rest around the average."""
    return Person(
        gender=rng.choice([0, 1]) * 0.9 + 0.05 + rng.uniform(-0.05, 0.05),
        age=rng.beta(1, 2.5),
        muscle=float(np.clip(rng.normal(0.5, 0.17), 0, 1)),
        weight=float(np.clip(rng.normal(0.5, 0.2), 0, 1)),
        height=float(np.clip(rng.normal(0.5, 0.12), 0, 1)),
        proportion=float(np.clip(rng.normal(0.6, 0.2), 0, 1)),
        race=tuple(rng.dirichlet([1, 1, 1])),
    )


def factor_values(person: Person) -> dict[str, float]:
    """Value in [0, 1] of every factor; the values along each axis of three sum to one."""
    values = {"young": 1 - person.age, "old": person.age}
    values |= dict(zip(GENDERS, (1 - person.gender, person.gender), strict=True))
    values |= dict(zip(MUSCLES, _three_levels(person.muscle), strict=True))
    values |= dict(zip(WEIGHT_LEVELS, _three_levels(person.weight), strict=True))
    # The average height and proportion are the base mesh: they have no target.
    low, _, high = _three_levels(person.height)
    values |= dict(zip(HEIGHTS, (low, high), strict=True))
    uncommon, _, ideal = _three_levels(person.proportion)
    values |= dict(zip(PROPORTIONS, (ideal, uncommon), strict=True))
    values |= dict(zip(RACES, person.race, strict=True))
    return values


def _three_levels(value: float) -> tuple[float, float, float]:
    """Linear hat weights of the levels 0, 0.5 and 1 at a value in [0, 1]; they sum to one."""
    return max(0.0, 1 - 2 * value), 1 - abs(2 * value - 1), max(0.0, 2 * value - 1)


def target_weights(person: Person, factors: Sequence[tuple[str, ...]]) -> np.ndarray:
    """(T,) weight of each target: the product of its factors' values."""
    values = factor_values(person)
    return np.array([np.prod([values[name] for name in names]) for names in factors])


def shape_bodies(base: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Bodies (B, N, 3) float32: base (N, 3) plus targets (T, N, 3) under weights (B, T)."""
    offsets = weights @ targets.reshape(len(targets), -1).astype(np.float64)
    return (base + offsets.reshape(-1, *base.shape)).astype(np.float32)


def mean_positions(vertices: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    """Mean position (..., J, 3) float64 of each group of vertices of (..., N, 3)."""
    means = [vertices[..., index, :].mean(axis=-2, dtype=np.float64) for index in groups]
    return np.stack(means, axis=-2)


def rotation_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Smallest rotation (3, 3) that turns the direction of ``start`` into that of ``end``.

    Raises:
        ValueError: the directions are opposite, so that the axis is undefined.
    """
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    x, y, z = np.cross(start, end)
    cosine = start @ end
    if cosine < -1 + 1e-9:
        raise ValueError("start and end must not be opposite: the axis of rotation is open")
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def t_pose_rotations(joints: np.ndarray) -> np.ndarray:
    """Rotations that turn the limbs of an A-pose into those of a T-pose.

    Args:
        joints: (J, 3) of the A-pose.

    Returns:
        (J, 3, 3) rotation of each joint in the body's frame (not relative to its parent). Hands
        turn with their wrists; trunk, head, ankles and feet keep their orientation.
    """
    rotations = np.stack([np.eye(3)] * len(joints))
    for side, mirror in (("left", 1.0), ("right", -1.0)):
        for names, directions in LIMBS:
            chain = [JOINT_NAMES.index(f"{side}_{name}") for name in names]
            turn = np.eye(3)
            for (joint, child), direction in zip(pairwise(chain), directions, strict=True):
                wanted = np.array(direction) * (mirror, 1, 1)
                turn = rotation_between(turn @ (joints[child] - joints[joint]), wanted) @ turn
                rotations[joint] = turn
            if names[-1] == "hand":
                rotations[chain[-1]] = turn
    return rotations


def repose(
    bodies: np.ndarray, joints: np.ndarray, rotations: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bodies skinned with the same rotations, with the pelvis at the origin.

    Args:
        bodies: (B, N, 3) skin vertices.
        joints: (B, J, 3) their joints.
        rotations: (J, 3, 3) rotation of each joint in the body's frame.
        weights: (N, J) skinning weights.

    Returns:
        (B, N, 3) and (B, J, 3), both float32.
    """
    moved = joints.copy()
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            bone = joints[:, joint] - joints[:, parent]
            moved[:, joint] = moved[:, parent] + bone @ rotations[parent].T
    skinned = np.zeros(bodies.shape, np.float32)
    for joint, rotation in enumerate(rotations):
        held = np.nonzero(weights[:, joint])[0]
        local = bodies[:, held] - joints[:, joint, None]
        rigid = local @ rotation.T + moved[:, joint, None]
        skinned[:, held] += weights[held, joint][None, :, None] * rigid
    pelvis = moved[:, :1]
    return (skinned - pelvis).astype(np.float32), (moved - pelvis).astype(np.float32)


def principal_components(bodies: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Shape basis of bodies (B, V, 3) by principal component analysis.

    Returns:
        basis: (V, 3, count) displacement in metres per standard deviation; each component's sign
            is such that its largest vertical displacement points up.
        explained: (count,) fraction of the variance explained by the first k components.
    """
    centred = (bodies - bodies.mean(axis=0)).reshape(len(bodies), -1)
    # The Gram matrix of B bodies is far smaller than the covariance of 3 V coordinates.
    vectors, variances, _ = np.linalg.svd(centred @ centred.T)
    singular = np.sqrt(variances)
    units = (vectors[:, :count].T @ centred) / singular[:count, None]
    deviations = singular[:count] / np.sqrt(len(bodies) - 1)
    basis = (units * deviations[:, None]).T.reshape(-1, 3, count)
    down = basis[:, 1].max(axis=0) < -basis[:, 1].min(axis=0)
    basis[..., down] *= -1
    return basis, np.cumsum(variances[:count]) / variances.sum()


def regress_joint(candidates: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Non-negative weights of candidate vertices that regress a joint.

    Args:
        candidates: (B, n, 3) vertices of B bodies.
        joints: (B, 3) the joint in each body.

    Returns:
        (n,) weights >= 0 that sum to one; few are positive.
    """
    from scipy.optimize import nnls

    count = candidates.shape[1]
    rows = candidates.transpose(0, 2, 1).reshape(-1, count)
    system = np.concatenate([rows, np.full((1, count), SUM_ROW)])
    solution, _ = nnls(system, np.append(joints.reshape(-1), SUM_ROW))
    return solution / solution.sum()


def joint_regressor(
    bodies: np.ndarray, joints: np.ndarray, sample: int, rng: np.random.Generator
) -> np.ndarray:
    """Regressor (J, V) of joints from nearby vertices; rows sum to one, few entries each.

    Args:
        bodies: (B, V, 3) rest bodies.
        joints: (B, J, 3) their joints.
        sample: number of bodies to fit the weights to.
        rng: draws the bodies and, where there are too many, the candidate vertices.
    """
    from scipy.spatial import cKDTree

    centres, tree = joints.mean(axis=0), cKDTree(bodies.mean(axis=0))
    chosen = rng.choice(len(bodies), sample, replace=False)
    regressor = np.zeros((joints.shape[1], bodies.shape[1]))
    for joint, name in enumerate(JOINT_NAMES):
        radius = TRUNK_RADIUS if name in TRUNK else LIMB_RADIUS
        near = np.array(tree.query_ball_point(centres[joint], radius))
        near = rng.permutation(near)[:MAX_CANDIDATES]
        candidates = bodies[chosen][:, near]
        regressor[joint, near] = regress_joint(candidates, joints[chosen, joint])
    return regressor
