"""Plain meshes beyond those of `surfaces.primitives`: turned profiles, bars, cloth, leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..rng import Rng
from ..surfaces.primitives import Mesh, box, disc, grid_faces, join, tube

__all__ = ["arc", "bar", "bars", "blades", "cloth", "lathe", "leaves", "mesh_wire", "ring", "slab",
           "tilted", "wheel"]  # fmt: skip

Point = tuple[float, float, float]


def lathe(profile: Sequence[tuple[float, float]], segments: int = 14) -> Mesh:
    """Solid of revolution about the vertical: (radius, height) from the bottom up, metres."""
    angle = torch.arange(segments) * (2 * math.pi / segments)
    rows = torch.tensor(profile)
    radius, height = rows[:, :1], rows[:, 1:]
    points = torch.stack(
        [radius * angle.sin(), height.expand(len(rows), segments), radius * angle.cos()], -1
    )
    return Mesh(points.reshape(-1, 3), grid_faces(len(rows), segments, wrap=True).flip(1))


def bar(*points: Point, radius: float = 0.015, segments: int = 6) -> Mesh:
    """Round bar through points, metres."""
    return tube(torch.tensor(points), radius, segments)


def bars(start: Point, stop: Point, step: Point, count: int, radius: float = 0.012) -> Mesh:
    """Parallel bars, each shifted by ``step`` from the one before."""
    first, last, by = torch.tensor(start), torch.tensor(stop), torch.tensor(step)
    return join([tube(torch.stack([first, last]) + i * by, radius, 5) for i in range(count)])


def arc(center: Point, radius: float, start: float, stop: float, thick: float) -> Mesh:
    """Bent bar in the x-y plane, angles in radians from +x."""
    angle = torch.linspace(start, stop, 13)
    path = torch.stack([radius * angle.cos(), radius * angle.sin(), torch.zeros(13)], 1)
    return tube(path + torch.tensor(center), thick, 6)


def ring(center: Point, radius: float, thick: float) -> Mesh:
    """Torus in the x-y plane."""
    return arc(center, radius, 0.0, 2 * math.pi, thick)


def wheel(center: Point, radius: float, width: float) -> Mesh:
    """Wheel that rolls along x, closed on both sides."""
    x, y, z = center
    rim = tube(torch.tensor([[x, y, z - width / 2], [x, y, z + width / 2]]), radius, 16)
    sides = [disc((x, y, z + s * width / 2), radius, 2, 16) for s in (-1, 1)]
    return join([rim, sides[0]._replace(faces=sides[0].faces.flip(1)), sides[1]])


def slab(center: Point, size: Point, turn: Tensor | None = None) -> Mesh:
    """Box, turned about its centre."""
    return box((0, 0, 0), size).transformed(turn, center)


def tilted(x: float = 0.0, z: float = 0.0) -> Tensor:
    """(3, 3) rotation by ``x`` radians about x after ``z`` radians about z."""
    c, s, e, f = math.cos(x), math.sin(x), math.cos(z), math.sin(z)
    about_x = torch.tensor([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    return about_x @ torch.tensor([[e, -f, 0.0], [f, e, 0.0], [0.0, 0.0, 1.0]])


def cloth(width: float, height: float, rng: Rng, sag: float = 0.05) -> Mesh:
    """Hanging cloth in the x-y plane with folds, its upper edge at y = 0 and middle at x = 0."""
    rows, columns = 12, 22
    u = torch.linspace(-0.5, 0.5, columns)[None]
    v = torch.linspace(0, 1, rows)[:, None]
    fold = torch.sin(u * rng.uniform(14, 40) + rng.uniform(0, 6) + v * rng.uniform(-1.5, 1.5))
    z = sag * fold * (0.35 + 0.65 * v) + 0.04 * torch.sin(v * 5 + 3 * u)
    lower = height * (1 + 0.05 * torch.sin(u * rng.uniform(4, 12)))
    squeeze = width * (1 - 0.08 * v * rng.uniform(-1, 1))
    points = torch.stack([u * squeeze, -v * lower, z], -1)
    return Mesh(points.reshape(-1, 3), grid_faces(rows, columns, wrap=False))


def mesh_wire(width: float, height: float, step: float, radius: float) -> Mesh:
    """Crossed wires in the x-y plane, centred at x = 0, up from y = 0."""
    reach = torch.arange(-width / 2 - height, width / 2, step).tolist()
    wires = []
    for x in reach:
        low, high = max(0.0, -width / 2 - x), min(height, width / 2 - x)
        if high - low > step:
            wires.append(
                tube(torch.tensor([[x + low, low, 0.0], [x + high, high, 0.0]]), radius, 4)
            )
            wires.append(
                tube(torch.tensor([[-x - low, low, 0.01], [-x - high, high, 0.01]]), radius, 4)
            )
    return join(wires)


def leaves(centers: Tensor, rng: Rng, size: float) -> Mesh:
    """Round leaves of four triangles about centres (N, 3), turned at random."""
    count = len(centers)
    across = torch.nn.functional.normalize(rng.normals(count, 3), dim=1)
    other = torch.linalg.cross(across, torch.nn.functional.normalize(rng.normals(count, 3), dim=1))
    half = size * (0.6 + 0.8 * rng.uniforms(count, 1))
    corners = ((1, 0), (0.3, 0.8), (-0.6, 0.6), (-0.6, -0.6), (0.3, -0.8))
    edge = [centers + half * (c * across + s * other) for c, s in corners]
    first = torch.arange(count)[:, None] * 5
    fans = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 4]])
    return Mesh(torch.stack(edge, 1).reshape(-1, 3), (first[:, None] + fans).reshape(-1, 3))


def blades(roots: Tensor, rng: Rng, length: float, width: float, bend: float) -> Mesh:
    """Long narrow leaves that rise from roots (N, 3) and arch over."""
    count, steps = len(roots), 5
    angle = 2 * math.pi * rng.uniforms(count)
    out = torch.stack([angle.sin(), torch.zeros(count), angle.cos()], 1)
    side = torch.stack([angle.cos(), torch.zeros(count), -angle.sin()], 1)
    tall = length * (0.6 + 0.6 * rng.uniforms(count, 1, 1))
    lean = bend * (0.3 + 0.9 * rng.uniforms(count, 1, 1))
    at = torch.linspace(0, 1, steps)[None, :, None]
    rise = at * torch.cos(lean * at)
    spine = roots[:, None] + tall * (
        rise * torch.tensor([0.0, 1.0, 0.0]) + at * torch.sin(lean * at) * out[:, None]
    )
    half = width * (1 - at) * (0.35 + at).clamp(max=0.8)
    left, right = spine - half * side[:, None], spine + half * side[:, None]
    points = torch.stack([left, right], 2).reshape(count, -1, 3)
    strip = grid_faces(steps, 2, wrap=False)
    faces = (torch.arange(count)[:, None, None] * (2 * steps) + strip).reshape(-1, 3)
    return Mesh(points.reshape(-1, 3), faces)
