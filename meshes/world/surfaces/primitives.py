"""Plain meshes: boxes, rounded boxes, tubes, ellipsoids, extruded outlines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from pose.deprecation import deprecated_members

__all__ = [
    "Mesh",
    "box",
    "disc",
    "ellipsoid",
    "extrude",
    "grid_faces",
    "join",
    "sheet",
    "tube",
    "turn_y",
]


@deprecated_members
class Mesh(NamedTuple):
    """Vertices (V, 3) in metres and faces (F, 3) int64, counter-clockwise seen from outside."""

    vertices: Tensor
    faces: Tensor

    def transformed(self, turn: Tensor | None, shift: Tensor | Sequence[float]) -> Mesh:
        """The mesh rotated by ``turn`` (3, 3), then shifted."""
        vertices = self.vertices if turn is None else self.vertices @ turn.T
        return Mesh(vertices + torch.as_tensor(shift, dtype=vertices.dtype), self.faces)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several."""
    offsets = [0]
    for mesh in meshes[:-1]:
        offsets.append(offsets[-1] + len(mesh.vertices))
    faces = [mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]
    return Mesh(torch.cat([mesh.vertices for mesh in meshes]), torch.cat(faces))


def turn_y(angle: float) -> Tensor:
    """(3, 3) rotation about the vertical by ``angle`` radians: z turns towards x."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


@lru_cache(maxsize=64)
def grid_faces(rows: int, columns: int, *, wrap: bool) -> Tensor:
    """Triangles of a (rows, columns) vertex grid; ``wrap`` joins the last column to the first."""
    last = columns if wrap else columns - 1
    row, column = torch.meshgrid(torch.arange(rows - 1), torch.arange(last), indexing="ij")
    a = (row * columns + column).reshape(-1)
    b = (row * columns + (column + 1) % columns).reshape(-1)
    c, d = a + columns, b + columns
    return torch.cat([torch.stack([a, c, b], 1), torch.stack([b, c, d], 1)])


def box(center: Sequence[float], size: Sequence[float]) -> Mesh:
    """Axis-aligned box."""
    corners = torch.tensor(
        [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    )
    faces = torch.tensor(
        [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
         [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    )  # fmt: skip
    return Mesh(corners * torch.tensor(size) + torch.tensor(center), faces)


def ellipsoid(
    center: Sequence[float], radii: Sequence[float], *, squareness: float = 1.0, segments: int = 12
) -> Mesh:
    """Ellipsoid, or a box with round edges when ``squareness`` is below 1 (a superellipsoid)."""
    rings = max(4, segments // 2 + 2)
    polar = torch.linspace(0.0, math.pi, rings)[:, None]
    around = torch.arange(segments)[None] * (2 * math.pi / segments)

    def power(value: Tensor) -> Tensor:
        return value.sign() * value.abs().pow(squareness)

    points = torch.stack(
        [
            power(polar.sin()) * power(around.sin()),
            power(polar.cos()).expand(rings, segments),
            power(polar.sin()) * power(around.cos()),
        ],
        dim=-1,
    ).reshape(-1, 3)
    faces = grid_faces(rings, segments, wrap=True)
    return Mesh(points * torch.tensor(radii) + torch.tensor(center), faces)


def tube(path: Tensor, radius: float | Tensor, segments: int = 8) -> Mesh:
    """Round tube along a path (P, 3); ``radius`` is a number or (P,)."""
    count = len(path)
    tangent = torch.zeros_like(path)
    tangent[1:-1] = path[2:] - path[:-2]
    tangent[0], tangent[-1] = path[1] - path[0], path[-1] - path[-2]
    tangent = torch.nn.functional.normalize(tangent, dim=-1)
    reference = torch.tensor([0.0, 0.0, 1.0]).expand(count, 3)
    flat = (tangent[:, 2].abs() > 0.9)[:, None]
    reference = torch.where(flat, torch.tensor([1.0, 0.0, 0.0]).expand(count, 3), reference)
    side = torch.nn.functional.normalize(torch.linalg.cross(tangent, reference), dim=-1)
    other = torch.linalg.cross(side, tangent)
    around = torch.arange(segments) * (2 * math.pi / segments)
    ring = side[:, None] * around.cos()[:, None] + other[:, None] * around.sin()[:, None]
    radii = torch.as_tensor(radius, dtype=path.dtype).expand(count)
    points = path[:, None] + radii[:, None, None] * ring
    return Mesh(points.reshape(-1, 3), grid_faces(count, segments, wrap=True))


def disc(center: Sequence[float], radius: float, axis: int, segments: int = 18) -> Mesh:
    """Flat round plate, normal to a coordinate axis."""
    around = torch.arange(segments) * (2 * math.pi / segments)
    ring = torch.zeros(segments, 3)
    ring[:, (axis + 1) % 3], ring[:, (axis + 2) % 3] = around.cos(), around.sin()
    points = torch.cat([torch.zeros(1, 3), ring * radius]) + torch.tensor(center)
    index = torch.arange(segments)
    faces = torch.stack([torch.zeros_like(index), index + 1, (index + 1) % segments + 1], 1)
    return Mesh(points, faces)


def extrude(outline: Tensor, depth: float, taper: Tensor | None = None) -> Mesh:
    """Solid of a convex-ish outline (P, 2) in the x-y plane, extruded to +-depth / 2 in z.

    Args:
        outline: (P, 2) points, counter-clockwise; star-shaped about its mean.
        depth: thickness in z, metres.
        taper: (P,) factor on the half depth at each point, or None for 1.
    """
    count = len(outline)
    half = (torch.ones(count) if taper is None else taper) * (depth / 2)
    front = torch.cat([outline, half[:, None]], 1)
    back = torch.cat([outline, -half[:, None]], 1)
    middle = outline.mean(0)
    depth_middle = float(half.mean())
    caps = torch.tensor(
        [[float(middle[0]), float(middle[1]), depth_middle],
         [float(middle[0]), float(middle[1]), -depth_middle]]
    )  # fmt: skip
    index = torch.arange(count)
    following = (index + 1) % count
    faces = torch.cat(
        [
            torch.stack([index, following + count, following], 1),
            torch.stack([index, index + count, following + count], 1),
            torch.stack([torch.full_like(index, 2 * count), index, following], 1),
            torch.stack(
                [torch.full_like(index, 2 * count + 1), following + count, index + count], 1
            ),
        ]
    )
    return Mesh(torch.cat([front, back, caps]), faces)


def sheet(width: float, height: float) -> Mesh:
    """Upright rectangle in the x-y plane, centred, normal +z."""
    x, y = width / 2, height / 2
    vertices = torch.tensor([[-x, -y, 0.0], [x, -y, 0.0], [x, y, 0.0], [-x, y, 0.0]])
    return Mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))
