"""Surfaces of mesh parts at pixel centres, and the body under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...rasterizer import rasterize_layers
from ..imaging.camera import View
from ..surfaces.pieces import MeshPart, Origin, closed_faces, merge

__all__ = ["Surface", "find_surface", "find_surfaces", "placed"]

_CHUNK = 1024  # points whose nearest vertices are looked for at once


@dataclass(frozen=True, eq=False)
class Surface:
    """Nearest surface of a group of parts at the centres of H x W pixels.

    Attributes:
        parts: the group.
        view: the view.
        vertices: (V, 3) world positions of all parts.
        faces: (F, 3) that may be seen.
        owners: (F,) part of each face.
        face: (H, W) index into ``faces``; -1 where empty.
        depth: (H, W) metres; inf where empty.
        weights: (M, 3) barycentric at the covered pixels, row by row.
    """

    parts: Sequence[MeshPart]
    view: View
    vertices: Tensor
    faces: Tensor
    owners: Tensor
    face: Tensor
    depth: Tensor
    weights: Tensor

    @cached_property
    def covered(self) -> Tensor:
        """(H, W) bool."""
        return self.face >= 0

    @cached_property
    def corners(self) -> Tensor:
        """(M, 3) vertices of the face at each covered pixel."""
        return self.faces[self.face[self.covered]]

    @cached_property
    def owner(self) -> Tensor:
        """(M,) part at each covered pixel."""
        return self.owners[self.face[self.covered]]

    def mixed(self, values: Tensor) -> Tensor:
        """(M, C) values at the covered pixels from (V, C) of the vertices."""
        return (values[self.corners] * self.weights[..., None]).sum(1)

    def normals(self) -> Tensor:
        """(M, 3) unit normals in the camera frame, on the side that faces the camera."""
        a, b, c = (self.vertices[self.corners[:, corner]] for corner in range(3))
        flat = torch.linalg.cross(b - a, c - a)
        smooth = torch.cat(
            [torch.zeros_like(p.vertices) if p.normals is None else p.normals for p in self.parts]
        )
        rigid = torch.tensor([part.normals is None for part in self.parts])[self.owner]
        normals = normalize(torch.where(rigid[:, None], flat, self.mixed(smooth)), dim=-1)
        to_eye = normalize(self.view.center - self.mixed(self.vertices), dim=-1)
        # Both sides of a sheet may be seen.
        facing = (flat * to_eye).sum(-1, keepdim=True).sign()
        turned = (normals * flat).sum(-1, keepdim=True) * facing < 0
        normals = torch.where(turned, -normals, normals)
        # Interpolated normals at an outline may turn away: bend them until they are seen edge-on.
        away = (normals * to_eye).sum(-1, keepdim=True).clamp(max=0)
        return normalize(normals - away * to_eye, dim=-1) @ self.view.turn.T

    def body_weights(self) -> tuple[Tensor, Tensor]:
        """Place on the bare body at each covered pixel.

        Returns:
            (M, 6) int64 vertices of the body, some of them repeated, and (M, 6) their weights, with
            a sum of one.
        """
        first, second, mix = self._followed()
        vertices = torch.cat([first[self.corners], second[self.corners]], 1)
        share = mix[self.corners]
        return vertices, torch.cat([self.weights * (1 - share), self.weights * share], 1)

    def body_vertices(self) -> Tensor:
        """(M,) int64 vertex of the bare body with the largest weight at each covered pixel."""
        vertices, weights = self.body_weights()
        same = vertices[:, :, None] == vertices[:, None]
        total = (same * weights[:, None]).sum(-1)
        # Ties go to the lowest vertex, in whatever order the corners come.
        best = total >= total.amax(1, keepdim=True) - 1e-6
        return torch.where(best, vertices, torch.iinfo(torch.int64).max).amin(1)

    def body_points(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Point of the bare body under each covered pixel.

        Args:
            faces: (F, 3) of the body.

        Returns:
            (M,) int64 faces and (M, 3) barycentric weights of their corners. Where the surface
            follows no single face, it is a vertex: that of the largest weight.
        """
        vertices, weights = self.body_weights()
        distinct = vertices.sort(1).values
        new = torch.ones_like(distinct, dtype=torch.bool)
        new[:, 1:] = distinct[:, 1:] != distinct[:, :-1]
        corners = torch.zeros(len(vertices), 3, dtype=torch.int64)
        three = new.sum(1) == 3
        corners[three] = distinct[three][new[three]].reshape(-1, 3)
        table, order = _face_keys(faces).sort()
        keys = _face_keys(corners)
        place = torch.searchsorted(table, keys).clamp(max=len(table) - 1)
        known = three & (table[place] == keys)
        face = order[place]
        weight = (weights[:, None] * (vertices[:, None] == faces[face][..., None])).sum(-1)
        if not bool(known.all()):
            lone = self.body_vertices()[~known]
            first = torch.zeros(int(faces.max()) + 1, dtype=torch.int64)
            first[faces.flip(0).flatten()] = torch.arange(len(faces)).flip(0).repeat_interleave(3)
            face[~known] = first[lone]
            weight[~known] = (faces[first[lone]] == lone[:, None]).float()
        return face, weight

    def _followed(self) -> tuple[Tensor, Tensor, Tensor]:
        """For all (V,) vertices the two of the body that they follow, and their mix."""
        used = torch.zeros(len(self.vertices), dtype=torch.bool)
        used[self.corners.flatten()] = True
        pieces: list[tuple[Tensor, Tensor, Tensor]] = []
        start = 0
        for part in self.parts:
            end = start + len(part.vertices)
            origin = part.origin
            if origin is None:
                raise ValueError("parts must be those of a person; got one without an origin")
            if origin.follows is not None:
                pieces.append(origin.follows)
            else:
                nearest = _nearest(part, origin, used[start:end])
                pieces.append((nearest, nearest, torch.zeros(len(nearest))))
            start = end
        firsts, seconds, mixes = zip(*pieces, strict=True)
        return torch.cat(firsts), torch.cat(seconds), torch.cat(mixes)


def find_surface(parts: Sequence[MeshPart], view: View) -> Surface | None:
    """Nearest surface of parts at the pixel centres of a view; None without parts."""
    return find_surfaces((parts,), view)[0]


def find_surfaces(groups: Sequence[Sequence[MeshPart]], view: View) -> list[Surface | None]:
    """Nearest surface of each group of parts, as if the others were not there."""
    found: list[Surface | None] = [None] * len(groups)
    merged = {index: merge(parts) for index, parts in enumerate(groups) if parts}
    if not merged:
        return found
    vertices = [each for each, _, _ in merged.values()]
    begins = [0, *accumulate(len(each) for each in vertices)]
    rasters = rasterize_layers(
        torch.cat([view.project(each) for each in vertices])[None],
        torch.cat(
            [faces + begin for (_, faces, _), begin in zip(merged.values(), begins, strict=False)]
        ),
        [len(faces) for _, faces, _ in merged.values()],
        view.height,
        view.width,
        perspective=True,
        one_sided=torch.cat(
            [closed_faces(owners, groups[index]) for index, (_, _, owners) in merged.items()]
        ),
    )
    first = 0
    for (index, (points, faces, owners)), raster in zip(merged.items(), rasters, strict=True):
        there = raster.face[0] >= 0
        found[index] = Surface(
            groups[index], view, points, faces, owners,
            torch.where(there, raster.face[0] - first, -1), raster.depth[0],
            raster.barycentric[0][there],
        )  # fmt: skip
        first += len(faces)
    return found


def placed(part: MeshPart, points: Tensor) -> Tensor:
    """Points (N, 3) of the bearer of a part, moved as the part was moved into the scene.

    Raises:
        ValueError: the part is a thing.
    """
    origin = part.origin
    if origin is None:
        raise ValueError("part must be one of a person; got one without an origin")
    if origin.vertices is part.vertices:
        return points
    # Rigid motion of least squares (Kabsch, Acta Crystallographica A32, 1976).
    before, after = origin.vertices.double(), part.vertices.double()
    middle, moved = before.mean(0), after.mean(0)
    u, _, vh = torch.linalg.svd((before - middle).T @ (after - moved))
    sign = torch.linalg.det(u) * torch.linalg.det(vh)
    turn = u @ torch.diag(torch.tensor([1.0, 1.0, float(sign)], dtype=torch.float64)) @ vh
    return ((points.double() - middle) @ turn + moved).float()


def _face_keys(corners: Tensor) -> Tensor:
    """(F,) one number for the set of vertices of each face (F, 3)."""
    low, middle, high = corners.sort(1).values.unbind(1)
    return (low << 40) | (middle << 20) | high


def _nearest(part: MeshPart, origin: Origin, used: Tensor) -> Tensor:
    """(V,) nearest vertex of the bare body for the used vertices of a part; 0 for others."""
    nearest = torch.zeros(len(part.vertices), dtype=torch.int64)
    for rows in used.nonzero()[:, 0].split(_CHUNK):
        distance = torch.cdist(origin.vertices[rows], origin.bearer.vertices)
        nearest[rows] = distance.argmin(1)
    return nearest
