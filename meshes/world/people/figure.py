"""Figure: the surfaces and joints of a dressed, posed person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pose.deprecation import deprecated_members

from ...body.model import SMPL_JOINTS
from ...rasterizer import vertex_normals
from ..surfaces.pieces import Bearer, MeshPart, Origin
from ..surfaces.primitives import Mesh, turn_y
from .accessories import wear
from .bags import carry_bag
from .clothing import Layer, build_outfit, world_body
from .drape import drape
from .hair import brim, hanging_hair
from .identity import Garment, Identity
from .poses import Motion
from .shoes import wear_shoes
from .skin_textures import ClothPaint, HairPaint, PlainPaint

__all__ = ["Figure", "pose_figure"]

_JOINT = {name: index for index, name in enumerate(SMPL_JOINTS)}
# Displacement along the rest normal by which the posed normal is measured, metres.
_STEP = 0.02


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
    number = len(outfit.rests)
    rests = torch.cat([outfit.rests, outfit.rests + _STEP * outfit.normals])
    posed = body.skin(
        rests,
        rotations.expand(2 * number, -1, -1, -1),
        identity.betas.expand(2 * number, -1),
    )
    vertices = posed.vertices[:number]
    normals = torch.nn.functional.normalize(posed.vertices[number:] - vertices, dim=-1)
    joints = posed.joints[0]
    turns = posed.global_rotations[0]
    rest = body.rest_joints(identity.betas[None])[0]
    shoes = wear_shoes(identity, turns, joints, rest)
    lowest = min(float(shoe.vertices[:, 1].min()) for shoe in shoes)
    shift = torch.tensor([place[0], -lowest, place[1]])
    vertices, joints = vertices + shift, joints + shift
    bearer = Bearer(identity.seed, vertices[0], joints)
    pieces = [_skinned(layer, vertices[layer.rest], normals[layer.rest], bearer, identity)
              for layer in outfit.layers]  # fmt: skip
    shoes = [replace(shoe, vertices=shoe.vertices + shift) for shoe in shoes]
    pieces += _worn(shoes, bearer, "shoes")
    pieces += _head_pieces(identity, turns, joints, bearer)
    pieces += _drapes(identity, vertices, joints, turns, bearer)
    if identity.cape is not None:
        cape = _cape(identity.cape, vertices[outfit.outer], joints, turns)
        pieces += _worn([cape], bearer, identity.cape.kind)
    for item in identity.worn:
        pieces += _worn([wear(item, outfit, turns, joints)], bearer, item.name)
    facing = _facing(turns[0])
    hands = torch.stack([joints[_JOINT["left_hand"]], joints[_JOINT["right_hand"]]])
    pieces += _worn(carry_bag(identity, vertices[outfit.outer], hands, facing), bearer, "bag")
    return Figure(identity, motion, heading, rotations, shift, vertices[0], joints, tuple(pieces))


def _worn(pieces: Sequence[MeshPart], bearer: Bearer, label: str) -> list[MeshPart]:
    """Pieces with their source."""
    return [replace(each, origin=Origin(bearer, label, each.vertices)) for each in pieces]


def _skinned(
    layer: Layer, vertices: Tensor, normals: Tensor, bearer: Bearer, identity: Identity
) -> MeshPart:
    """Piece of a layer of the outfit, from the posed vertices of its shape."""
    cut = layer.cut
    garments = {"top": identity.top, "bottom": identity.bottom, "jacket": identity.jacket}
    garment = garments.get(layer.name)
    placed = cut.carry(vertices)
    label = layer.name if garment is None else garment.kind
    return MeshPart(
        vertices=placed,
        faces=cut.faces,
        coords=layer.coords,
        paint=layer.paint,
        normals=cut.carry(normals),
        closed=layer.closed,
        wrinkle=layer.wrinkle,
        gloss=layer.gloss,
        origin=Origin(bearer, label, placed, (cut.first, cut.second, cut.mix)),
    )


def _facing(turn: Tensor) -> Tensor:
    """Part of a rotation about the vertical (the heading of +z)."""
    front = turn[:, 2]
    return turn_y(math.atan2(float(front[0]), float(front[2])))


def _head_pieces(
    identity: Identity, turns: Tensor, joints: Tensor, bearer: Bearer
) -> list[MeshPart]:
    """Hanging hair and brims, fixed to the head; long hair follows the trunk further down."""
    body = world_body()
    head, trunk = _JOINT["head"], _JOINT["spine3"]
    template = body.joint_regressor @ body.v_template
    rest = body.rest_joints(identity.betas[None])[0]
    skull = body.v_template[:, 1] > 0.6
    scale = float(
        body.shaped(identity.betas[None])[0][skull].std(0).mean()
        / body.v_template[skull].std(0).mean()
    )

    def attach(points: Tensor) -> Tensor:
        on_head = (points - template[head]) * scale @ turns[head].T + joints[head]
        shaped = (points - template[head]) * scale + rest[head]
        on_trunk = (shaped - rest[trunk]) @ turns[trunk].T + joints[trunk]
        mix = ((0.58 - points[:, 1:2]) / 0.14).clamp(0, 1)
        return torch.lerp(on_head, on_trunk, mix)

    pieces: list[MeshPart] = []
    covered = identity.headwear in ("hood", "scarf")
    hair = (
        None if covered else hanging_hair(identity.hair_style, identity.hair_volume, identity.seed)
    )
    if hair is not None:
        paint = HairPaint(identity.hair, identity.seed)
        pieces += _worn([_attached(hair, attach(hair.vertices), paint, 0.2)], bearer, "hair")
    peak = brim(identity.headwear)
    if peak is not None:
        hat = _attached(peak, attach(peak.vertices), PlainPaint(identity.hat_color), 0.05)
        pieces += _worn([hat], bearer, "hat")
    return pieces


def _attached(
    mesh: Mesh, vertices: Tensor, paint: HairPaint | PlainPaint, gloss: float
) -> MeshPart:
    normals = vertex_normals(vertices[None], mesh.faces)[0]
    return MeshPart(vertices, mesh.faces, mesh.vertices, paint, normals, closed=False, gloss=gloss)


def _drapes(
    identity: Identity, vertices: Tensor, joints: Tensor, turns: Tensor, bearer: Bearer
) -> list[MeshPart]:
    """Skirt, dress and coat tails."""
    template = world_body().v_template
    legs = (template[:, 1] < 0.16) & (template[:, 1] > -0.75)
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
    template = world_body().v_template
    under = (template[:, 1] < 0.5) & (template[:, 1] > -0.5)
    scale = float(joints[_JOINT["neck"], 1] - joints[_JOINT["pelvis"], 1]) / 0.541
    start = 0.47 * max(0.7, min(1.2, scale))
    facing = _facing(turns[0])
    return drape(surface[under], joints[0], facing, garment, ClothPaint(garment), start)
