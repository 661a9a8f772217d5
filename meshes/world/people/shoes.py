"""Shoes and boots: the hull of the foot, slice by slice, bent at ankle and toes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ...body.model import SMPL_JOINTS
from ...rasterizer import vertex_normals
from ..surfaces.pieces import MeshPart
from ..surfaces.primitives import grid_faces
from .clothing import bare_body, world_body
from .drape import hull_radius
from .identity import Identity
from .skin_textures import ShoePaint

__all__ = ["wear_shoes"]

_COLUMNS = 28
_SOLE = 0.016
_LEATHER = 0.008


@dataclass(frozen=True, eq=False)
class _Shoe:
    """Rest points (N, 3), faces, T-pose coordinates and blend weights of knee, ankle and toes."""

    points: Tensor
    faces: Tensor
    coords: Tensor
    weights: Tensor
    joints: tuple[int, int, int]


@lru_cache(maxsize=192)
def _make(identity: Identity, side: float) -> _Shoe:
    body = world_body()
    template = body.v_template
    shaped, rest = bare_body(identity)
    mine = (template[:, 0] * side > 0) & (template[:, 1] < -0.5)
    foot, low = shaped[mine], float(shaped[mine][:, 1].min())
    scale = low / float(template[mine][:, 1].min())
    top = identity.shoe_height * scale
    steps = [0.0, 0.012, 0.022, 0.034, 0.046, 0.06, 0.075]
    height = top - low
    steps = [s for s in steps if s < height - 0.006] + [height]
    if height > 0.12:
        steps = [*steps[:-1], *torch.linspace(0.09, height, 5).tolist()]
    angle = torch.arange(_COLUMNS) * (2 * torch.pi / _COLUMNS)
    rows = _outlines(foot, low, steps, angle)
    sole = rows[1].clone()
    sole[:, 1] = low - _SOLE
    edge = rows[1].clone()
    edge[:, 1] = low
    middle = sole.mean(0).expand(_COLUMNS, 3)
    grid = torch.cat([torch.stack([middle, sole, edge]), rows[1:]])
    points = grid.reshape(-1, 3)
    coords = points / scale
    coords[:, 1] = points[:, 1] / scale
    knee, ankle, toes = (
        SMPL_JOINTS.index(f"{'left' if side > 0 else 'right'}_{n}")
        for n in ("knee", "ankle", "foot")
    )
    tip = ((points[:, 2] - rest[toes, 2] + 0.01) / 0.04).clamp(0, 1)
    shin = ((points[:, 1] - rest[ankle, 1] + 0.005) / 0.05).clamp(0, 1) * (1 - tip)
    weights = torch.stack([shin, 1 - shin - tip, tip], 1)
    return _Shoe(
        points,
        grid_faces(len(grid), _COLUMNS, wrap=True).flip(1),
        coords,
        weights,
        (knee, ankle, toes),
    )


def _outlines(foot: Tensor, low: float, steps: list[float], angle: Tensor) -> Tensor:
    """(S, A, 3) convex outlines of slices of a foot (M, 3) at heights over its lowest point."""
    height, flat = foot[:, 1] - low, foot[:, [0, 2]]
    direction = torch.stack([angle.sin(), angle.cos()])
    centers, supports = [], []
    for step in steps:
        near = flat.index_select(0, ((height - step).abs() < 0.012).nonzero()[:, 0])
        least, most = near.aminmax(dim=0)
        centers.append((least + most) / 2)
        supports.append(((near - centers[-1]) @ direction).amax(0))
    radius = hull_radius(torch.stack(supports) + _LEATHER, angle)
    x, z = torch.stack(centers)[:, None].unbind(-1)
    y = torch.tensor([low + step for step in steps])[:, None].expand_as(radius)
    return torch.stack([x + radius * angle.sin(), y, z + radius * angle.cos()], -1)


def wear_shoes(identity: Identity, turns: Tensor, joints: Tensor, rest: Tensor) -> list[MeshPart]:
    """Both shoes of a posed person.

    Args:
        identity: the identity.
        turns: (24, 3, 3) global joint rotations.
        joints: (24, 3) posed joints.
        rest: (24, 3) rest joints.
    """
    pieces = []
    for side in (1.0, -1.0):
        shoe = _make(identity, side)
        vertices = torch.zeros_like(shoe.points)
        for column, joint in enumerate(shoe.joints):
            moved = (shoe.points - rest[joint]) @ turns[joint].T + joints[joint]
            vertices += shoe.weights[:, column : column + 1] * moved
        normals = vertex_normals(vertices[None], shoe.faces)[0]
        pieces.append(
            MeshPart(
                vertices,
                shoe.faces,
                shoe.coords,
                ShoePaint(identity),
                normals,
                closed=False,
                gloss=0.12,
            )
        )
    return pieces
