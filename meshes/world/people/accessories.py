"""Pieces of things worn over an outfit; all follow the body's skinning, in any pose."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ...body.model import SMPL_JOINTS
from ...rasterizer import vertex_normals
from ..surfaces.pieces import MeshPart
from .clothing import Outfit, cut_faces, world_body
from .wearables import Overlay, Rigid, Wearable

__all__ = ["template_joints", "wear"]


_NECK, _HEAD = SMPL_JOINTS.index("neck"), SMPL_JOINTS.index("head")


@lru_cache(maxsize=192)
def _shell(item: Overlay, outfit: Outfit) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rest points (N, 3), faces, T-pose coordinates (N, 3) and blend weights (N, J)."""
    body = world_body()
    coords = body.v_template
    rest = outfit.outer if item.rest is None else item.rest
    thickness = item.thickness(coords)[:, None]
    points = outfit.rests[rest] + outfit.normals[rest] * thickness
    field = item.field(coords)
    faces = body.faces[(field[body.faces] > 0).any(1)]
    cut = cut_faces(field, faces)
    used = torch.unique(cut.faces)
    renumber = torch.zeros(len(cut.first), dtype=torch.long)
    renumber[used] = torch.arange(len(used))
    return (
        cut.carry(points)[used],
        renumber[cut.faces],
        cut.carry(coords)[used],
        cut.carry(body.skin_weights)[used],
    )


@lru_cache(maxsize=1)
def template_joints() -> Tensor:
    """(24, 3) joints of the mean body in its T-pose, metres."""
    body = world_body()
    return body.joint_regressor @ body.v_template


def wear(item: Wearable, outfit: Outfit, turns: Tensor, joints: Tensor) -> MeshPart:
    """Piece of a worn thing.

    Args:
        item: the thing.
        outfit: the clothes below.
        turns: (J, 3, 3) global rotations of the joints.
        joints: (J, 3) posed joints, metres, world.
    """
    rest = world_body().rest_joints(outfit.identity.betas[None])[0]
    if isinstance(item, Rigid):
        mean = template_joints()
        size = float((rest[_HEAD] - rest[_NECK]).norm() / (mean[_HEAD] - mean[_NECK]).norm())
        local = (item.mesh.vertices - mean[item.joint]) * max(0.9, min(1.15, size))
        vertices = local @ turns[item.joint].T + joints[item.joint]
        faces, coords = item.mesh.faces, item.mesh.vertices
        wrinkle, gloss = 0.0, item.gloss
    else:
        points, faces, coords, weights = _shell(item, outfit)
        turn = (weights @ turns.flatten(1)).reshape(-1, 3, 3)
        shift = joints - (turns @ rest[..., None])[..., 0]
        vertices = (turn @ points[..., None])[..., 0] + weights @ shift
        wrinkle, gloss = item.wrinkle, 0.0
    normals = vertex_normals(vertices[None], faces)[0]
    return MeshPart(vertices, faces, coords, item.paint, normals, closed=False, wrinkle=wrinkle,
                    gloss=gloss)  # fmt: skip
