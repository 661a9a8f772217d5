"""Surfaces of mesh parts at pixel centres, and the body under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...rasterizer import rasterize_layers
from ..imaging.camera import View
from ..surfaces.nearest import NearestVertex
from ..surfaces.pieces import Bearer, MeshPart, closed_faces, merge

__all__ = ["FaceIndex", "Surface", "find_surface", "find_surfaces", "placed"]


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
    def pixel(self) -> Tensor:
        """(M,) index of each covered pixel, row by row."""
        return self.covered.flatten().nonzero()[:, 0]

    @cached_property
    def seen(self) -> Tensor:
        """(M,) face at each covered pixel."""
        return self.face.flatten().index_select(0, self.pixel)

    @cached_property
    def corners(self) -> Tensor:
        """(M, 3) vertices of the face at each covered pixel."""
        return self.faces.index_select(0, self.seen)

    @cached_property
    def owner(self) -> Tensor:
        """(M,) part at each covered pixel."""
        return self.owners.index_select(0, self.seen)

    def spread(self, values: Tensor, empty: float) -> Tensor:
        """(H, W, ...) map of values (M, ...) at the covered pixels; ``empty`` elsewhere."""
        shape = (self.face.numel(), *values.shape[1:])
        whole = torch.full(shape, empty, dtype=values.dtype)
        return whole.index_copy_(0, self.pixel, values).view(*self.face.shape, *values.shape[1:])

    def mixed(self, values: Tensor) -> Tensor:
        """(M, C) values at the covered pixels from (V, C) of the vertices."""
        a, b, c = (values.index_select(0, corner) for corner in self.corners.unbind(1))
        x, y, z = self.weights[..., None].unbind(1)
        return (a * x).add_(b * y).add_(c * z)

    def normals(self) -> Tensor:
        """(M, 3) unit normals in the camera frame, on the side that faces the camera."""
        a, b, c = (self.vertices.index_select(0, corner) for corner in self.corners.unbind(1))
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

    @cached_property
    def body_weights(self) -> tuple[Tensor, Tensor]:
        """Place on the bare body at each covered pixel.

        Returns:
            (6, M) int64 vertices of the body, some of them repeated, and (6, M) their weights, with
            a sum of one.
        """
        corners = self.corners.T.contiguous()
        first, second, mix = (each.take(corners) for each in self._followed())
        weights = self.weights.T
        return (
            torch.cat([first, second]),
            torch.cat([weights * (1 - mix), weights * mix]),
        )

    @cached_property
    def body_vertices(self) -> Tensor:
        """(M,) int64 vertex of the bare body with the largest weight at each covered pixel."""
        vertices, weights = self.body_weights
        total = weights.clone()
        for one in range(1, len(vertices)):  # weights of a vertex that is named twice add up
            same = vertices[:one] == vertices[one]
            total[one] += (same * weights[:one]).sum(0)
            total[:one] += same * weights[one]
        # Ties go to the lowest vertex, in whatever order the corners come.
        best = total >= _largest(total) - 1e-6
        return _least(torch.where(best, vertices, torch.iinfo(torch.int64).max))

    def body_points(self, index: FaceIndex) -> tuple[Tensor, Tensor]:
        """Point of the bare body under each covered pixel.

        Args:
            index: that of the body's faces.

        Returns:
            (M,) int64 faces and (M, 3) barycentric weights of their corners. Where the surface
            follows no single face, it is a vertex: that of the largest weight.
        """
        vertices, weights = self.body_weights
        face = index.find(vertices)
        corners = index.faces.index_select(0, face.clamp(min=0)).T
        weight = torch.stack([((vertices == corner) * weights).sum(0) for corner in corners], 1)
        lone = (face < 0).nonzero()[:, 0]
        if len(lone):
            vertex = self.body_vertices[lone]
            face[lone] = index.first[vertex]
            weight[lone] = (index.faces[face[lone]] == vertex[:, None]).float()
        return face, weight

    def _followed(self) -> tuple[Tensor, Tensor, Tensor]:
        """For all (V,) vertices the two of the body that they follow, and their mix."""
        used = torch.zeros(len(self.vertices), dtype=torch.bool)
        used[self.corners.flatten()] = True
        trees: dict[Bearer, NearestVertex] = {}
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
                bearer = origin.bearer
                tree = trees.setdefault(bearer, NearestVertex(bearer.vertices))
                rows = used[start:end].nonzero()[:, 0]
                found = torch.zeros(end - start, dtype=torch.int64)
                found[rows] = tree.of(origin.vertices[rows])
                pieces.append((found, found, torch.zeros(len(found))))
            start = end
        firsts, seconds, mixes = zip(*pieces, strict=True)
        return torch.cat(firsts), torch.cat(seconds), torch.cat(mixes)


@dataclass(frozen=True, eq=False)
class FaceIndex:
    """Faces of a body, found by their vertices.

    Attributes:
        faces: (F, 3) int64.
    """

    faces: Tensor

    @cached_property
    def _sorted(self) -> tuple[Tensor, Tensor]:
        """Keys of all faces in ascending order, and the faces in that order."""
        low, middle, high = self.faces.sort(1).values.unbind(1)
        keys, order = _face_keys(low, middle, high).sort()
        return keys, order

    @cached_property
    def first(self) -> Tensor:
        """(V,) first face of each vertex."""
        first = torch.zeros(int(self.faces.max()) + 1, dtype=torch.int64)
        numbers = torch.arange(len(self.faces)).flip(0).repeat_interleave(3)
        first[self.faces.flip(0).flatten()] = numbers
        return first

    def find(self, vertices: Tensor) -> Tensor:
        """(M,) face whose three corners are the vertices of each column of (K, M); -1 if none."""
        low, high = _least(vertices), _largest(vertices)
        between = torch.where(vertices == high, low, vertices)
        middle = _largest(between)
        three = (middle > low) & ((between == low) | (between == middle)).all(0)
        keys, order = self._sorted
        wanted = _face_keys(low, middle, high)
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        known = three & (keys.index_select(0, place) == wanted)
        return torch.where(known, order.index_select(0, place), -1)


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


def _least(rows: Tensor) -> Tensor:
    """(M,) least value of each column of (K, M); a few times faster than `amin` for small K."""
    return reduce(torch.minimum, rows.unbind(0))


def _largest(rows: Tensor) -> Tensor:
    """(M,) largest value of each column of (K, M)."""
    return reduce(torch.maximum, rows.unbind(0))


def _face_keys(low: Tensor, middle: Tensor, high: Tensor) -> Tensor:
    """(F,) one number for the vertices of each face, in ascending order."""
    return (low << 40) | (middle << 20) | high
