"""Plants: clipped balls, conifers, reeds, beds of flowers, cacti."""

from __future__ import annotations

import math

import torch

from ..people.skin_textures import PlainPaint
from ..rng import Rng
from ..surfaces.palette import dimmed
from ..surfaces.pieces import MeshPart, solid
from ..surfaces.primitives import Mesh, box, ellipsoid, join, tube
from .materials import Leaf, draw_material, thing_color
from .shapes import bar, blades, lathe, leaves

__all__ = ["plants"]


def plants(rng: Rng) -> list[MeshPart]:
    """Clipped balls on stems, conifers, reeds, cacti, climbing frames and flower beds."""
    kind = rng.pick(("ball", "conifer", "reeds", "bed", "cactus"), (28, 20, 22, 20, 10))
    green = rng.around(rng.pick(((0.2, 0.34, 0.14), (0.34, 0.42, 0.2), (0.12, 0.22, 0.13),
                                 (0.44, 0.42, 0.24), (0.28, 0.36, 0.34))), 0.05)  # fmt: skip
    blossom = thing_color(rng, "strong") if rng.flag(0.5) else rng.around(green, 0.1)
    paint = Leaf((green, blossom), rng.integer(0, 1 << 30))
    return {"ball": _ball, "conifer": _conifer, "reeds": _reeds, "bed": _bed,
            "cactus": _cactus}[kind](rng, paint)  # fmt: skip


def _ball(rng: Rng, paint: Leaf) -> list[MeshPart]:
    pot = lathe([(0.2, 0.0), (0.26, 0.38), (0.29, 0.42), (0.24, 0.42)])
    pieces = [solid(pot, draw_material(rng, "plain", "bricks", "concrete", "wicker"), closed=False)]
    low = 0.42
    for _ in range(rng.integer(1, 4)):
        r = rng.uniform(0.22, 0.4)
        low += r + rng.uniform(-0.05, 0.15)
        core = ellipsoid((0, low, 0), (r * 0.93, r * 0.93, r * 0.93), segments=14)
        centers = torch.tensor([0.0, low, 0.0]) + r * torch.nn.functional.normalize(
            rng.normals(260, 3), dim=1)  # fmt: skip
        pieces += [solid(core, _inner(paint)), _foliage(leaves(centers, rng, 0.045), paint)]
        low += r
        if low > 1.7:
            break
    stem = bar((0, 0.4, 0), (0, low - 0.2, 0), radius=0.025)
    return [*pieces, solid(stem, PlainPaint((0.28, 0.22, 0.16)))]


def _inner(paint: Leaf) -> Leaf:
    """The shade between leaves."""
    return Leaf((dimmed(paint.colors[0], 0.5), dimmed(paint.colors[0], 0.5)), paint.seed)


def _foliage(mesh: Mesh, paint: Leaf) -> MeshPart:
    return solid(mesh, paint, smooth=False, closed=False)


def _conifer(rng: Rng, paint: Leaf) -> list[MeshPart]:
    height, reach = rng.uniform(1.3, 2.4), rng.uniform(0.35, 0.7)
    rows = [(0.0, 0.1)]
    for layer in range(6):
        at = layer / 6
        rows += [(reach * (1 - at) * rng.uniform(0.85, 1.1), 0.1 + at * height),
                 (reach * (1 - at) * 0.62, 0.1 + (at + 0.12) * height)]  # fmt: skip
    rows.append((0.0, height))
    core = lathe(rows, 12)
    rise = rng.uniforms(700, 1) ** 1.5
    angle = 2 * math.pi * rng.uniforms(700, 1)
    radius = reach * (1 - rise) * (0.8 + 0.3 * rng.uniforms(700, 1))
    centers = torch.cat([radius * angle.sin(), 0.1 + rise * height, radius * angle.cos()], 1)
    core_piece = solid(core, _inner(paint), closed=False)
    return [core_piece, _foliage(leaves(centers, rng, 0.06), paint)]


def _reeds(rng: Rng, paint: Leaf) -> list[MeshPart]:
    count, width = rng.integer(60, 140), rng.uniform(0.5, 1.4)
    roots = torch.stack([width * (rng.uniforms(count) - 0.5), torch.zeros(count),
                         0.3 * (rng.uniforms(count) - 0.5)], 1)  # fmt: skip
    mesh = blades(
        roots, rng, rng.uniform(0.8, 1.7), rng.uniform(0.012, 0.05), rng.uniform(0.2, 1.3)
    )
    return [_foliage(mesh, paint)]


def _bed(rng: Rng, paint: Leaf) -> list[MeshPart]:
    width, low = rng.uniform(0.9, 1.8), rng.uniform(0.3, 0.8)
    wall = box((0, low / 2, 0), (width, low, 0.5))
    count = 500
    top = 0.2 + 0.5 * rng.uniforms(count)
    centers = torch.stack([width * (rng.uniforms(count) - 0.5), low + top * rng.uniforms(count),
                           0.45 * (rng.uniforms(count) - 0.5)], 1)  # fmt: skip
    stone = draw_material(rng, "bricks", "planks", "concrete", "tiles")
    mesh = leaves(centers, rng, rng.uniform(0.04, 0.08))
    return [solid(wall, stone, smooth=False), _foliage(mesh, paint)]


def _cactus(rng: Rng, paint: Leaf) -> list[MeshPart]:
    r, h = rng.uniform(0.1, 0.2), rng.uniform(1.0, 1.8)
    parts = [lathe([(r, 0), (r * 1.1, h * 0.5), (r * 0.9, h), (0.0, h + r)], 10)]
    for side in (-1, 1):
        y = rng.uniform(0.3, 0.7) * h
        reach = rng.uniform(0.3, 0.5)
        parts.append(tube(torch.tensor([[0.0, y, 0.0], [side * reach, y, 0.0],
                                        [side * reach * 1.1, y + 0.15, 0.0],
                                        [side * reach * 1.1, y + rng.uniform(0.3, 0.7), 0.0]]),
                          r * 0.6, 9))  # fmt: skip
    return [solid(join(parts), paint, closed=False)]
