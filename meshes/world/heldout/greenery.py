"""Plants of the held-out world, in the frame of `scenery.street`."""

from __future__ import annotations

import math

import torch

from ..people.skin_textures import PlainPaint
from ..rng import Rng
from ..surfaces.pieces import MeshPart, solid
from ..surfaces.primitives import Mesh, ellipsoid, join, tube
from .fabrics import draw_color
from .paints import FoliagePaint

__all__ = ["branches", "planter"]


def _leaf(rng: Rng, count: int, centers: torch.Tensor, size: float, droop: float) -> Mesh:
    """Pointed leaves of two triangles, hanging from their centres."""
    angle = 2 * math.pi * rng.uniforms(count)
    tilt = droop + 0.5 * rng.normals(count)
    along = torch.stack([angle.sin() * tilt.cos(), -tilt.sin(), angle.cos() * tilt.cos()], 1)
    aside = torch.stack([angle.cos(), torch.zeros(count), -angle.sin()], 1)
    length = size * (0.7 + 0.6 * rng.uniforms(count, 1))
    tip = centers + along * length
    middle = centers + along * length * 0.45
    left, right = middle + aside * length * 0.22, middle - aside * length * 0.22
    points = torch.stack([centers, left, tip, right], 1).reshape(-1, 3)
    first = torch.arange(count) * 4
    faces = torch.cat(
        [torch.stack([first, first + 1, first + 2], 1),
         torch.stack([first, first + 2, first + 3], 1)]
    )  # fmt: skip
    return Mesh(points, faces)


def branches(rng: Rng) -> list[MeshPart]:
    """A willow-like curtain of hanging branches, down from y = 2.9 m."""
    width, bottom = rng.uniform(0.9, 2.0), rng.uniform(0.3, 1.2)
    twigs, places = [], []
    number = rng.integer(12, 26)
    for _ in range(number):
        x, z = rng.uniform(-width / 2, width / 2), rng.uniform(-0.2, 0.2)
        low = bottom + rng.uniform(0.0, 0.7)
        at = torch.linspace(0, 1, 8)
        sway = 0.12 * torch.sin(at * rng.uniform(2, 5) + rng.uniform(0, 6))
        path = torch.stack([x + sway, 2.9 - at * (2.9 - low), torch.full((8,), z)], 1)
        twigs.append(tube(path, 0.008, 4))
        pick = 1 + (rng.uniforms(36) * 6.99).long()
        places.append(path[pick] + 0.05 * rng.normals(36, 3))
    centers = torch.cat(places)
    leaves = _leaf(rng, len(centers), centers, rng.uniform(0.1, 0.2), rng.uniform(0.3, 1.1))
    color = rng.around(
        rng.pick(((0.34, 0.42, 0.16), (0.5, 0.5, 0.2), (0.2, 0.36, 0.24), (0.55, 0.3, 0.12))), 0.05
    )
    return [
        solid(join(twigs), PlainPaint((0.3, 0.24, 0.16))),
        solid(leaves, FoliagePaint(color, rng.integer(0, 1 << 30)), smooth=False, closed=False),
    ]


def planter(rng: Rng) -> list[MeshPart]:
    """A tub with tall grass or broad leaves."""
    height = rng.uniform(0.4, 0.75)
    half = rng.uniform(0.25, 0.6)
    tub = ellipsoid((0, height / 2, 0), (half, height / 2, 0.28), squareness=0.25, segments=16)
    count = rng.integer(90, 220)
    root = torch.stack(
        [half * 1.5 * (rng.uniforms(count) - 0.5), torch.full((count,), height),
         0.3 * (rng.uniforms(count) - 0.5)], 1
    )  # fmt: skip
    tall = rng.uniform(0.4, 1.0)
    leaves = _leaf(rng, count, root, tall, -1.2)
    color = rng.around(rng.pick(((0.3, 0.44, 0.2), (0.6, 0.55, 0.3), (0.16, 0.32, 0.2))), 0.05)
    return [
        solid(tub, PlainPaint(draw_color(rng), 0.08)),
        solid(leaves, FoliagePaint(color, rng.integer(0, 1 << 30)), smooth=False, closed=False),
    ]
