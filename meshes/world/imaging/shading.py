"""Visible surfaces and their shading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...rasterizer import rasterize, rasterize_layers
from ..surfaces.fabric import noise_vectors
from ..surfaces.pieces import MeshPart, closed_faces, merge
from .camera import Light, View

__all__ = ["Hit", "Layers", "Shadow", "cast_layers", "cast_rays", "light_of"]

_SHADOW_SIZE = 96
_FOLD_STRENGTH = 0.24


@dataclass(frozen=True, eq=False)
class Hit:
    """Surfaces of a group of pieces, per sub-pixel (N = h * w, row by row).

    Attributes:
        pieces: the group.
        places: (V, 6) world position and normal of each vertex.
        coords: (V, 3) paint coordinates of each vertex.
        faces: (F, 3) vertex indices.
        owners: (F,) piece of each face.
        flat: (F, 3) face normals, not of unit length.
        face: (N,) index into ``faces``; -1 where empty.
        depth: (N,) metres; inf where empty.
        weights: (N, 3) barycentric.
        width: w.
    """

    pieces: Sequence[MeshPart]
    places: Tensor
    coords: Tensor
    faces: Tensor
    owners: Tensor
    flat: Tensor
    face: Tensor
    depth: Tensor
    weights: Tensor
    width: int

    def mix(self, values: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
        """Interpolate vertex values (V, C) at points given by corners and weights (M, 3)."""
        mixed = values.index_select(0, corners[:, 0]) * weights[:, :1]
        mixed.addcmul_(values.index_select(0, corners[:, 1]), weights[:, 1:2])
        return mixed.addcmul_(values.index_select(0, corners[:, 2]), weights[:, 2:])


def cast_rays(pieces: Sequence[MeshPart], view: View) -> Hit | None:
    """Rasterise pieces; None when there are none."""
    if not pieces:
        return None
    return _cast(pieces, len(pieces), view)[0]


@dataclass(frozen=True, eq=False)
class Layers:
    """Nearest surfaces of a figure and of everything else.

    Attributes:
        hit: nearest surfaces of all.
        own_depth: (N,) depth of the figure alone, metres; inf where it is not.
        mine: (N,) bool, the figure is nearest.
    """

    hit: Hit
    own_depth: Tensor
    mine: Tensor


def cast_layers(figure: Sequence[MeshPart], others: Sequence[MeshPart], view: View) -> Layers:
    """Rasterise a figure and everything else in one pass."""
    own, other = _cast((*figure, *others), len(figure), view)
    mine = own.depth < other.depth
    hit = replace(
        own,
        face=torch.where(mine, own.face, other.face),
        depth=torch.minimum(own.depth, other.depth),
        weights=torch.where(mine[:, None], own.weights, other.weights),
    )
    return Layers(hit, own.depth, mine)


def _cast(pieces: Sequence[MeshPart], first: int, view: View) -> tuple[Hit, Hit]:
    """Surfaces of the first pieces and of the others, each by themselves."""
    vertices, faces, owners = merge(pieces)
    projected = view.project(vertices)
    count = sum(len(piece.faces) for piece in pieces[:first])
    rasters = rasterize_layers(
        projected[None],
        faces,
        (count, len(faces) - count),
        view.height,
        view.width,
        perspective=True,
        one_sided=closed_faces(owners, pieces),
    )
    a, b, c = (vertices.index_select(0, faces[:, corner]) for corner in range(3))
    normals = [torch.zeros_like(p.vertices) if p.normals is None else p.normals for p in pieces]
    places = torch.cat([vertices, torch.cat(normals)], 1)
    coords = torch.cat([piece.coords for piece in pieces])
    flat = torch.linalg.cross(b - a, c - a)
    near, far = (
        Hit(
            pieces=pieces,
            places=places,
            coords=coords,
            faces=faces,
            owners=owners,
            flat=flat,
            face=raster.face[0].flatten(),
            depth=raster.depth[0].flatten(),
            weights=raster.barycentric[0].flatten(0, 1),
            width=view.width,
        )
        for raster in rasters
    )
    return near, far


class Shadow:
    """Depth buffer seen from the sun.

    Args:
        pieces: shadow casters.
        person: (M, 3) points that the buffer covers, metres.
        light: light with the sun's direction.
    """

    def __init__(self, pieces: Sequence[MeshPart], person: Tensor, light: Light) -> None:
        direction = light.direction
        side = normalize(torch.linalg.cross(direction, torch.tensor([0.0, 1.0, 0.0])), dim=0)
        up = torch.linalg.cross(side, direction)
        # Rows right, down and away from the sun, so that front faces turn as in an image.
        self.basis = torch.stack([side, -up, -direction])
        seen = person @ self.basis.T
        low, high = seen[:, :2].amin(0) - 0.25, seen[:, :2].amax(0) + 0.25
        self.low = low
        self.scale = _SHADOW_SIZE / float((high - low).max())
        vertices, faces, owners = merge(pieces)
        projected = self._project(vertices)
        sides = closed_faces(owners, pieces)
        size = (_SHADOW_SIZE, _SHADOW_SIZE)
        depth = rasterize(projected[None], faces, *size, one_sided=sides).depth[0]
        # A border of "nothing in front": all outside of the buffer is lit.
        self.depth = torch.nn.functional.pad(depth, (1, 1, 1, 1), value=torch.inf).flatten()

    def _project(self, points: Tensor) -> Tensor:
        seen = points @ self.basis.T
        return torch.cat([(seen[:, :2] - self.low) * self.scale, seen[:, 2:]], 1)

    def lit(self, points: Tensor) -> Tensor:
        """Fraction (N,) of sunlight that reaches points (N, 3)."""
        x, y, depth = self._project(points).unbind(-1)
        x, y = (v.clamp(-0.5, _SHADOW_SIZE + 0.49) + 0.5 for v in (x, y))
        left, top = x.floor(), y.floor()
        mix_x, mix_y = x - left, y - top
        stride = _SHADOW_SIZE + 2
        corner = (top * stride + left).long()
        depth = depth - 0.03
        near = [(depth < self.depth[corner + o]).float() for o in (0, 1, stride, stride + 1)]
        upper, lower = torch.lerp(near[0], near[1], mix_x), torch.lerp(near[2], near[3], mix_x)
        return torch.lerp(upper, lower, mix_y)


def light_of(hits: Hit, chosen: Tensor, view: View, light: Light, shadow: Shadow | None) -> Tensor:
    """Linear light (M, 3) from chosen sub-pixels (M,) of a raster.

    Paint is evaluated at every sub-pixel; the smoother incoming light at one of each 2 x 2 block,
    and again at sub-pixels that belong to another piece than that one.
    """
    face = hits.face.index_select(0, chosen)
    weights = hits.weights.index_select(0, chosen)
    corners = hits.faces.index_select(0, face)
    owner = hits.owners.index_select(0, face)
    coords = hits.mix(hits.coords, corners, weights)
    base = _painted(hits.pieces, owner, coords).clamp_(0, 1).pow_(2.2)
    source = _block_source(chosen, owner, hits)
    lead = (source == torch.arange(len(source))).nonzero()[:, 0]
    samples = (each.index_select(0, lead) for each in (face, corners, weights, owner, coords))
    diffuse, shine = _incoming(hits, tuple(samples), view, light, shadow)
    rank = torch.empty_like(source)
    rank[lead] = torch.arange(len(lead))
    source = rank.index_select(0, source)
    shining = shine.index_select(0, source)
    result = torch.addcmul(shining, base, diffuse.index_select(0, source))
    return light.through_air(result, hits.depth.index_select(0, chosen))


def _painted(pieces: Sequence[MeshPart], owner: Tensor, coords: Tensor) -> Tensor:
    """Colours (M, 3) of points, by the paint of the piece (M,) that each lies on."""
    order = owner.to(torch.int16).argsort(stable=True)
    counts = owner.bincount(minlength=len(pieces)).tolist()
    groups = coords.index_select(0, order).split(counts)
    colors = [piece.paint(group) for piece, group in zip(pieces, groups, strict=True) if len(group)]
    albedo = torch.empty_like(coords)
    return albedo.index_copy_(0, order, torch.cat(colors)) if colors else albedo


def _block_source(chosen: Tensor, owner: Tensor, hits: Hit) -> Tensor:
    """(M,) position in ``chosen`` of the sub-pixel that gives each one its light."""
    row = torch.div(chosen, hits.width, rounding_mode="floor")
    first = (row & -2) * hits.width + ((chosen - row * hits.width) & -2)
    position = torch.full((len(hits.face),), -1)
    own = torch.arange(len(chosen))
    position[chosen] = own
    leader = position[first]
    same = (leader >= 0) & (owner[leader.clamp(min=0)] == owner)
    return torch.where(same, leader, own)


def _incoming(
    hits: Hit,
    samples: tuple[Tensor, ...],
    view: View,
    light: Light,
    shadow: Shadow | None,
) -> tuple[Tensor, Tensor]:
    """Light to be multiplied by the paint, and highlights, both (L, 3)."""
    face, corners, weights, owner, coords = samples
    flat = hits.flat.index_select(0, face)
    mixed = hits.mix(hits.places, corners, weights)
    points, normals = mixed[:, :3], mixed[:, 3:]
    rigid = torch.tensor([piece.normals is None for piece in hits.pieces])[owner]
    normals = normalize(torch.where(rigid[:, None], flat, normals), dim=-1)
    normals = _folded(hits.pieces, owner, coords, normals)
    to_eye = normalize(view.center - points, dim=-1)
    # Both sides of a sheet are lit: turn the normal to the side of the face that is seen.
    facing = (flat * to_eye).sum(-1, keepdim=True).sign()
    normals = torch.where((normals * flat).sum(-1, keepdim=True) * facing < 0, -normals, normals)
    lit = torch.ones(len(points)) if shadow is None else shadow.lit(points + 0.015 * normals)
    if light.cover is not None:
        lit = lit * light.cover(points)
    toward = (normals @ light.direction).clamp(min=0) * lit
    up = 0.5 + 0.5 * normals[:, 1:2]
    # Low parts, folds between legs above all, see less of the sky.
    open_sky = 0.75 + 0.25 * (points[:, 1:2] / 0.9).clamp(0, 1)
    ambient = (light.sky * up + light.bounce * (1 - up)) * open_sky
    # A weak light from the camera's side keeps shapes readable in flat light.
    ambient = ambient * (0.8 + 0.2 * (normals * to_eye).sum(-1, keepdim=True).clamp(0, 1))
    gloss = torch.tensor([piece.gloss for piece in hits.pieces])[owner]
    half = normalize(light.direction + to_eye, dim=-1)
    shine = 0.35 * gloss * lit * (normals * half).sum(-1).clamp(0, 1).pow(24)
    diffuse = ambient + toward[:, None] * light.sun
    if light.lamps:
        diffuse = diffuse + light.lamplight(points, normals)
    return diffuse, shine[:, None] * light.sun


def _folded(pieces: Sequence[MeshPart], owner: Tensor, coords: Tensor, normals: Tensor) -> Tensor:
    """Normals (L, 3) bent by the folds of cloth."""
    strength = torch.tensor([piece.wrinkle for piece in pieces])[owner]
    cloth = (strength > 0).nonzero()[:, 0]
    where = coords[cloth]
    bend = noise_vectors(where * torch.tensor([1.0, 0.6, 1.0]), 7.0, 17, 7)
    bend = bend + 0.35 * noise_vectors(where, 17.0, 31, 6)
    bent = normals[cloth] + _FOLD_STRENGTH * strength[cloth, None] * bend
    return normals.index_copy(0, cloth, normalize(bent, dim=-1))
