"""A textured person in the world: surface, paint and joints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..body.atlas import load_atlas
from ..body.model import BodyModel
from ..rasterizer import vertex_normals
from ..texture.offsets import offset_vertices
from ..texture.values import UNKNOWN, Texture
from ..world.people.clothing import closed_faces
from ..world.surfaces.pieces import MeshPart

__all__ = ["SPREAD", "TexturePaint", "TexturedPerson", "place_person"]

SPREAD = 3
"""Texels by which colours are spread into the gutter."""


@dataclass(frozen=True, eq=False)
class TexturePaint:
    """Paint of a ``MeshPart`` whose coordinates begin with u, v; bilinear."""

    texture: Texture

    @cached_property
    def spread(self) -> Tensor:
        """(3, S, S) colours, spread over the borders of the charts; grey where there are none."""
        known = (self.texture.source != UNKNOWN).float()[None]
        color = self.texture.color.permute(2, 0, 1) * known
        for _ in range(SPREAD):
            sums = avg_pool2d(torch.cat([color, known])[None], 3, 1, 1)[0]
            mean = sums[:3] / sums[3:].clamp_min(1e-6)
            color = torch.where(known > 0, color, mean)
            known = torch.maximum(known, (sums[3:] > 0).float())
        return torch.where(known > 0, color, 0.5)

    def __call__(self, coords: Tensor) -> Tensor:
        """(N, 3) sRGB at coordinates (N, 3)."""
        size = self.texture.size
        x, y = (coords[:, :2] * size - 0.5).clamp(0, size - 1.001).unbind(1)
        left, top = x.floor().long(), y.floor().long()
        mix_x, mix_y = x - left, y - top
        right, low = (left + 1).clamp_max(size - 1), (top + 1).clamp_max(size - 1)
        upper = torch.lerp(self.spread[:, top, left], self.spread[:, top, right], mix_x)
        lower = torch.lerp(self.spread[:, low, left], self.spread[:, low, right], mix_x)
        return torch.lerp(upper, lower, mix_y).T


@dataclass(frozen=True, eq=False)
class TexturedPerson:
    """A posed person in the world: metres, y up, ground at y = 0.

    Attributes:
        body: the body model.
        vertices: (V, 3), clothes included.
        joints: (J, 3).
        part: the surface, with u, v as the first two coordinates.
        vertex: (N,) int64, vertex of the body at each vertex of the part.
        ground: height of the origin of the posed body over the ground.
    """

    body: BodyModel
    vertices: Tensor
    joints: Tensor
    part: MeshPart
    vertex: Tensor
    ground: float


def place_person(
    texture: Texture, body: BodyModel, rotations: Tensor, ground: float | None = None
) -> TexturedPerson:
    """Person with the given joint rotations (J, 3, 3), standing at the origin.

    ``ground`` is the height of the origin of the posed body over the ground, metres; None puts the
    lowest point on the ground.
    """
    mesh = _painted_mesh(body)
    betas = texture.betas[None]
    posed = body.skin(offset_vertices(body, betas, texture.offset), rotations[None], betas)
    height = -float(posed.vertices[0, :, 1].min()) if ground is None else ground
    shift = torch.tensor([0.0, height, 0.0])
    vertices = posed.vertices[0] + shift
    normals = vertex_normals(vertices[None], body.faces)[0]
    part = MeshPart(
        vertices=vertices[mesh.vertex],
        faces=mesh.faces,
        coords=torch.cat([mesh.uv, torch.zeros(len(mesh.uv), 1)], 1),
        paint=TexturePaint(texture),
        normals=normals[mesh.vertex],
    )
    return TexturedPerson(body, vertices, posed.joints[0] + shift, part, mesh.vertex, height)


@dataclass(frozen=True, eq=False)
class _PaintedMesh:
    """Triangles of a body with one u, v at each point: (N,) vertices, (N, 2) and faces (F, 3)."""

    vertex: Tensor
    uv: Tensor
    faces: Tensor


@lru_cache(maxsize=2)
def _painted_mesh(body: BodyModel) -> _PaintedMesh:
    """The body's faces, with fans over its holes.

    Faces that are laid out alone have hardly a texel; they and the fans are painted as the surface
    around them.
    """
    atlas = load_atlas(body)
    corners, count = atlas.corners, len(atlas.uv)
    alone = (torch.bincount(corners.flatten(), minlength=count)[corners] == 1).all(1)
    inner = torch.ones(count, dtype=torch.bool)
    inner[corners[alone].flatten()] = False
    chart = torch.zeros(count, dtype=torch.int64)
    chart[corners.flatten()] = atlas.chart.repeat_interleave(3)
    extra = torch.cat([body.faces[alone], closed_faces()[:, len(body.faces) :].T])
    rest = body.v_template[atlas.vertex]
    away = torch.where(inner, 0.0, torch.inf)
    middle = torch.cdist(body.v_template[extra].mean(1), rest) + away
    other = chart[middle.argmin(1)][:, None] != chart
    places = torch.cdist(body.v_template[extra.flatten()], rest) + away
    places = places + torch.where(other, torch.inf, 0.0).repeat_interleave(3, 0)
    return _PaintedMesh(
        vertex=torch.cat([atlas.vertex, extra.flatten()]),
        uv=torch.cat([atlas.uv, atlas.uv[places.argmin(1)]]),
        faces=torch.cat([corners[~alone], count + torch.arange(extra.numel()).reshape(-1, 3)]),
    )
