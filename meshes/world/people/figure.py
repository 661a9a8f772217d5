"""Figure: the surfaces and joints of a dressed, posed person."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from pose.deprecation import deprecated_members

from ...body.model import SMPL_JOINTS
from ...rasterizer import vertex_normals
from ..surfaces.pieces import Bearer, MeshPart, Origin
from ..surfaces.primitives import Mesh, turn_y
from .accessories import template_joints, wear
from .bags import carry_bag
from .clothing import Layer, Outfit, bare_body, build_outfit, world_body
from .drape import drape
from .hair import brim, hanging_hair
from .identity import Garment, Identity
from .poses import Motion
from .shoes import wear_shoes
from .skin_textures import ClothPaint, HairPaint, PlainPaint

__all__ = ["Figure", "pose_figure"]

_JOINT = {name: index for index, name in enumerate(SMPL_JOINTS)}


@deprecated_members
@dataclass(frozen=True, eq=False)
class Figure:
    """A posed person in the world (metres, y up, ground at y = 0).

    Attributes:
        identity: the identity.
        motion: the pose, before turning.
        heading: rotation about the vertical, radians; 0 faces +z.
        rotations: (24, 3, 3) with the heading in the root.
        shift: (3,) added to the posed body.
        vertices: (V, 3) of the bare body.
        joints: (24, 3).
        pieces: surfaces to draw.
    """

    identity: Identity
    motion: Motion
    heading: float
    rotations: Tensor
    shift: Tensor
    vertices: Tensor
    joints: Tensor
    pieces: tuple[MeshPart, ...]


def pose_figure(
    identity: Identity, motion: Motion, heading: float, place: tuple[float, float]
) -> Figure:
    """Figure of an identity on the ground.

    Args:
        identity: the identity.
        motion: the pose.
        heading: rotation about the vertical from +z, radians.
        place: ground coordinates (x, z) below the pelvis, metres.
    """
    outfit = build_outfit(identity)
    body = world_body()
    rotations = motion.rotations.clone()
    rotations[0] = turn_y(heading) @ rotations[0]
    posed = outfit.rig.pose(body, rotations)
    joints, turns = posed.joints, posed.turns
    shoes = wear_shoes(identity, turns, joints, outfit.joints)
    lowest = min(float(shoe.vertices[:, 1].min()) for shoe in shoes)
    shift = torch.tensor([place[0], motion.lift - lowest, place[1]])
    vertices = {index: shape + shift for index, shape in posed.shapes.items()}
    joints = joints + shift
    bearer = Bearer(identity.seed, vertices[0], joints)
    placed, normals = outfit.rig.layers(posed.points + shift), outfit.rig.layers(posed.normals)
    pieces = [
        _skinned(layer, places, directions, bearer, identity)
        for layer, places, directions in zip(outfit.layers, placed, normals, strict=True)
    ]
    shoes = [replace(shoe, vertices=shoe.vertices + shift) for shoe in shoes]
    pieces += _worn(shoes, bearer, "shoes")
    pieces += _head_pieces(outfit, turns, joints, bearer)
    pieces += _drapes(identity, vertices, joints, turns, bearer)
    if identity.cape is not None:
        cape = _cape(identity.cape, vertices[outfit.outer], joints, turns)
        pieces += _worn([cape], bearer, identity.cape.kind)
    for item in identity.worn:
        pieces += _worn([wear(item, outfit, turns, joints)], bearer, item.name)
    facing = _facing(turns[0])
    hands = torch.stack([joints[_JOINT["left_hand"]], joints[_JOINT["right_hand"]]])
    if identity.bag != "none":
        bag = carry_bag(identity, vertices[outfit.outer], hands, facing)
        pieces += _worn(bag, bearer, "bag")
    return Figure(identity, motion, heading, rotations, shift, vertices[0], joints, tuple(pieces))


def _worn(pieces: Sequence[MeshPart], bearer: Bearer, label: str) -> list[MeshPart]:
    """Pieces with their source."""
    return [replace(each, origin=Origin(bearer, label, each.vertices)) for each in pieces]


def _skinned(
    layer: Layer, placed: Tensor, normals: Tensor, bearer: Bearer, identity: Identity
) -> MeshPart:
    """Piece of a layer of the outfit, from its posed vertices and normals."""
    cut = layer.cut
    garments = {"top": identity.top, "bottom": identity.bottom, "jacket": identity.jacket}
    garment = garments.get(layer.name)
    label = layer.name if garment is None else garment.kind
    return MeshPart(
        vertices=placed,
        faces=cut.faces,
        coords=layer.coords,
        paint=layer.paint,
        normals=normals,
        closed=layer.closed,
        wrinkle=layer.wrinkle,
        gloss=layer.gloss,
        origin=Origin(bearer, label, placed, (cut.first, cut.second, cut.mix)),
    )


def _facing(turn: Tensor) -> Tensor:
    """Part of a rotation about the vertical (the heading of +z)."""
    front = turn[:, 2]
    return turn_y(math.atan2(float(front[0]), float(front[2])))


@dataclass(frozen=True, eq=False)
class _Head:
    """What hangs from a head: its size against the template's, hair and brim in the T-pose."""

    scale: float
    hair: Mesh | None
    peak: Mesh | None


@lru_cache(maxsize=96)
def _head(identity: Identity) -> _Head:
    body = world_body()
    skull = body.v_template[:, 1] > 0.6
    scale = float(
        bare_body(identity)[0][skull].std(0).mean() / body.v_template[skull].std(0).mean()
    )
    covered = identity.headwear in ("hood", "scarf")
    hair = (
        None if covered else hanging_hair(identity.hair_style, identity.hair_volume, identity.seed)
    )
    return _Head(scale, hair, brim(identity.headwear))


@lru_cache(maxsize=8)
def _between(low: float, high: float) -> Tensor:
    """(V,) vertices of the body between two heights of the T-pose."""
    height = world_body().v_template[:, 1]
    return ((height < high) & (height > low)).nonzero()[:, 0]


def _head_pieces(outfit: Outfit, turns: Tensor, joints: Tensor, bearer: Bearer) -> list[MeshPart]:
    """Hanging hair and brims, fixed to the head; long hair follows the trunk further down."""
    identity, rest = outfit.identity, outfit.joints
    hanging, template = _head(identity), template_joints()
    head, trunk = _JOINT["head"], _JOINT["spine3"]

    def attach(points: Tensor) -> Tensor:
        on_head = (points - template[head]) * hanging.scale @ turns[head].T + joints[head]
        shaped = (points - template[head]) * hanging.scale + rest[head]
        on_trunk = (shaped - rest[trunk]) @ turns[trunk].T + joints[trunk]
        mix = ((0.58 - points[:, 1:2]) / 0.14).clamp(0, 1)
        return torch.lerp(on_head, on_trunk, mix)

    pieces: list[MeshPart] = []
    if hanging.hair is not None:
        hair, paint = hanging.hair, HairPaint(identity.hair, identity.seed)
        pieces += _worn([_attached(hair, attach(hair.vertices), paint, 0.2)], bearer, "hair")
    if hanging.peak is not None:
        peak, hat_paint = hanging.peak, PlainPaint(identity.hat_color)
        pieces += _worn([_attached(peak, attach(peak.vertices), hat_paint, 0.05)], bearer, "hat")
    return pieces


def _attached(
    mesh: Mesh, vertices: Tensor, paint: HairPaint | PlainPaint, gloss: float
) -> MeshPart:
    normals = vertex_normals(vertices[None], mesh.faces)[0]
    return MeshPart(vertices, mesh.faces, mesh.vertices, paint, normals, closed=False, gloss=gloss)


def _drapes(
    identity: Identity,
    vertices: Mapping[int, Tensor],
    joints: Tensor,
    turns: Tensor,
    bearer: Bearer,
) -> list[MeshPart]:
    """Skirt, dress and coat tails."""
    legs = _between(-0.75, 0.16)
    facing = _facing(turns[0])
    scale = float(joints[_JOINT["neck"], 1] - joints[_JOINT["pelvis"], 1]) / 0.541
    scale = max(0.7, min(1.2, scale))
    hanging = []
    if identity.bottom.kind in ("skirt", "dress"):
        hanging.append((0, identity.bottom, 0.1 * scale))
    if identity.jacket is not None and identity.jacket.kind == "coat":
        hanging.append((1, identity.jacket, 0.12 * scale))
    pieces = []
    for rest, garment, start in hanging:
        cloth = drape(vertices[rest][legs], joints[0], facing, garment, ClothPaint(garment), start)
        pieces += _worn([cloth], bearer, garment.kind)
    return pieces


def _cape(garment: Garment, surface: Tensor, joints: Tensor, turns: Tensor) -> MeshPart:
    """Poncho around shoulders, arms and hips; it hangs from the neck."""
    under = _between(-0.5, 0.5)
    scale = float(joints[_JOINT["neck"], 1] - joints[_JOINT["pelvis"], 1]) / 0.541
    start = 0.47 * max(0.7, min(1.2, scale))
    facing = _facing(turns[0])
    return drape(surface[under], joints[0], facing, garment, ClothPaint(garment), start)
