"""Things to sit at and piles of goods: benches, cafes, armchairs, cabinets, crates."""

from __future__ import annotations

import torch

from ..people.skin_textures import PlainPaint
from ..rng import Rng
from ..surfaces.pieces import MeshPart, solid
from ..surfaces.primitives import box, disc, ellipsoid, extrude, join, tube
from .materials import draw_material
from .roadside import shifted, spun
from .shapes import bar, cloth, lathe, slab, tilted

__all__ = ["bench", "cabinet", "cafe", "crates", "seat_row"]

_STEEL = PlainPaint((0.5, 0.51, 0.53))
_DARK = PlainPaint((0.1, 0.1, 0.11))
_RUBBER = PlainPaint((0.055, 0.055, 0.06))


def bench(rng: Rng) -> list[MeshPart]:
    """A slatted bench seen from the front or the back, at times with things on it."""
    width, seat = rng.uniform(1.1, 1.9), rng.uniform(0.42, 0.5)
    lean = tilted(-0.2)
    slats = [box((0, seat, z), (width, 0.03, 0.07)) for z in (-0.16, -0.06, 0.04, 0.14)]
    back = [slab((0, seat + h, -0.26 - 0.2 * h), (width, 0.08, 0.03), lean)
            for h in (0.14, 0.26, 0.38)]  # fmt: skip
    feet = [extrude(torch.tensor([[-0.22, 0.0], [-0.17, 0.0], [-0.08, seat], [-0.3, 0.92],
                                  [-0.34, 0.9], [-0.2, seat]]), 0.05) for _ in (0, 1)]  # fmt: skip
    quarter = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    placed = [foot.transformed(quarter.T, (x * width, 0.0, 0.0))
              for foot, x in zip(feet, (-0.42, 0.42), strict=True)]  # fmt: skip
    legs = [box((x * width, seat / 2, z), (0.05, seat, 0.05)) for x in (-0.42, 0.42)
            for z in (-0.2, 0.15)]  # fmt: skip
    pieces = [solid(join([*slats, *back]), draw_material(rng, "planks", "worn", "plain"),
                    smooth=False),
              solid(join([*placed, *legs]), draw_material(rng, "plain", "worn", "concrete"),
                    smooth=False, closed=False)]  # fmt: skip
    for _ in range(rng.integer(0, 3)):
        size = (rng.uniform(0.15, 0.3), rng.uniform(0.12, 0.28), 0.14)
        thing = ellipsoid((rng.uniform(-0.4, 0.4) * width, seat + size[1], 0.0), size,
                          squareness=rng.pick((0.2, 0.5)), segments=14)  # fmt: skip
        pieces.append(solid(thing, draw_material(rng)))
    return spun(rng, pieces)


def _chair(rng: Rng, x: float, paint: object, z: float = 0.0) -> list[MeshPart]:
    seat = rng.uniform(0.42, 0.5)
    legs = [bar((x + 0.19 * s, 0.0, z + 0.18 * t), (x + 0.16 * s, seat, z + 0.15 * t), radius=0.014)
            for s in (-1, 1) for t in (-1, 1)]  # fmt: skip
    posts = [bar((x + 0.17 * s, seat, z - 0.16), (x + 0.18 * s, 0.88, z - 0.23), radius=0.014)
             for s in (-1, 1)]  # fmt: skip
    cushion = ellipsoid((x, seat, z), (0.22, 0.03, 0.21), squareness=0.4, segments=12)
    back = slab((x, 0.72, z - 0.21), (0.38, rng.uniform(0.12, 0.34), 0.025), tilted(-0.15))
    pieces = [solid(join([*legs, *posts]), _DARK, closed=False)]
    pieces += [solid(cushion, paint), solid(back, paint, smooth=False)]  # type: ignore[arg-type]
    if rng.flag(0.3):  # a coat over the back
        coat = cloth(0.46, rng.uniform(0.4, 0.65), rng, 0.03)
        hung = coat.transformed(None, (x, 0.93, z - 0.26 + 0.09))
        pieces.append(solid(hung, draw_material(rng, "cloth"), coords=coat.vertices, closed=False))
    return pieces


def cafe(rng: Rng) -> list[MeshPart]:
    """Tables and chairs of a cafe, at times under a closed or open parasol."""
    round_top, radius = rng.flag(0.6), rng.uniform(0.3, 0.5)
    top = disc((0, 0.74, 0), radius, 1) if round_top else box((0, 0.74, 0), (2 * radius, 0.03, 0.7))
    edge = tube(torch.tensor([[0.0, 0.72, 0.0], [0.0, 0.745, 0.0]]), radius, 18)
    parts = [top, edge] if round_top else [top]
    stem = lathe([(0.24, 0.0), (0.22, 0.03), (0.04, 0.06), (0.035, 0.72)])
    pieces = [solid(join(parts), draw_material(rng, "planks", "plain", "sheen", "concrete"),
                    smooth=False, closed=False, gloss=0.2), solid(stem, _DARK)]  # fmt: skip
    paint = draw_material(rng, "plain", "planks", "wicker", "bands", "worn")
    for x in (-radius - 0.25, radius + 0.25):
        if rng.flag(0.85):
            pieces += _chair(rng, x, paint, rng.uniform(-0.2, 0.3))
    for _ in range(rng.integer(0, 5)):
        r, h = rng.uniform(0.03, 0.09), rng.uniform(0.06, 0.26)
        cup = lathe([(r * 0.7, 0), (r, h * 0.6), (r * rng.uniform(0.3, 1.1), h)], 9)
        cup = cup.transformed(
            None, (rng.uniform(-0.7, 0.7) * radius, 0.755, rng.uniform(-0.2, 0.2))
        )
        pieces.append(solid(cup, draw_material(rng, "plain", "sheen"), closed=False, gloss=0.4))
    if rng.flag(0.25):
        cover = draw_material(rng, "bands", "plain", "cloth", "letters")
        shape = [(0.03, 1.15), (0.11, 1.25), (0.08, 2.3), (0.01, 2.45)]
        if rng.flag(0.4):
            shape = [(1.15, 1.85), (1.1, 2.0), (0.5, 2.25), (0.01, 2.4)]
        pieces.append(solid(lathe(shape), cover, closed=False))
        pieces.append(solid(bar((0, 0.7, 0), (0, 2.4, 0), radius=0.022), _STEEL))
    return spun(rng, pieces, 0.6)


def cabinet(rng: Rng) -> list[MeshPart]:
    """Switch cabinets, cupboards, drawers, safes, pianos: closed fronts with handles."""
    pieces, x = [], 0.0
    number = rng.integer(1, 4)
    paint = draw_material(rng)
    for _ in range(number):
        w, h, d = rng.uniform(0.4, 0.9), rng.uniform(0.7, 1.75), rng.uniform(0.3, 0.5)
        mesh = box((0, 0, 0), (w, h, d))
        moved = mesh.transformed(None, (x + w / 2, h / 2 + 0.03, 0.0))
        each = paint if rng.flag(0.6) else draw_material(rng)
        pieces.append(solid(moved, each, coords=mesh.vertices, smooth=False, gloss=0.15))
        rows, columns = rng.integer(1, 5), rng.integer(1, 3)
        doors, handles = [], []
        for row in range(rows):
            for column in range(columns):
                middle = (x + w * (column + 0.5) / columns, 0.03 + h * (row + 0.5) / rows, d / 2)
                doors.append(slab(middle, (w / columns * 0.88, h / rows * 0.86, 0.02)))
                handles.append(slab((middle[0] + 0.2 * w / columns, middle[1], d / 2 + 0.03),
                                    (0.09, 0.02, 0.03)))  # fmt: skip
        front = draw_material(rng) if rng.flag(0.4) else each
        pieces.append(solid(join(doors), front, smooth=False))
        pieces.append(solid(join(handles), _STEEL, smooth=False, gloss=0.5))
        x += w + rng.uniform(0.0, 0.05)
    return spun(rng, shifted(pieces, -x / 2), 0.25)


def crates(rng: Rng) -> list[MeshPart]:
    """Piles: crates, cartons, sacks, tyres, rolls, pallets."""
    kind = rng.pick(
        ("cartons", "crates", "sacks", "tyres", "rolls", "pallets"), (30, 22, 16, 12, 10, 10)
    )
    pieces, columns = [], rng.integer(1, 4)
    paint = draw_material(rng, "cardboard", "planks", "plain", "cloth", "letters", "bands")
    for column in range(columns):
        low, x = 0.0, (column - (columns - 1) / 2) * 0.58
        for _ in range(rng.integer(1, 6)):
            w, h, d = rng.uniform(0.38, 0.6), rng.uniform(0.16, 0.4), rng.uniform(0.3, 0.5)
            if kind == "tyres":
                h = 0.19
                mesh = lathe(
                    [(0.16, -0.09), (0.27, -0.095), (0.31, 0.0), (0.27, 0.095), (0.16, 0.09)], 18
                )
                each: object = _RUBBER
            elif kind == "sacks":
                mesh = ellipsoid((0, 0, 0), (w * 0.62, h / 2, d / 2), squareness=0.7, segments=16)
                each = draw_material(rng, "cloth", "plain", "letters", "wicker")
            elif kind == "rolls":
                h = rng.uniform(0.14, 0.24)
                path = torch.tensor([[-0.3, 0.0, 0.0], [0.3, 0.0, 0.0]])
                mesh = join([tube(path, h / 2, 14), disc((0.3, 0, 0), h / 2, 0, 14)])
                each = draw_material(rng, "cloth", "bands", "plain", "collage")
            elif kind == "pallets":
                h = 0.15
                boards = [box((0, y, z), (1.05, 0.025, 0.12)) for y in (-0.06, 0.06)
                          for z in (-0.3, 0.0, 0.3)]  # fmt: skip
                mesh = join(
                    [*boards, *[box((x, 0, 0), (0.09, 0.1, 0.7)) for x in (-0.45, 0, 0.45)]]
                )
                each = paint
            else:
                mesh = box((0, 0, 0), (w, h, d))
                each = paint if kind == "crates" else draw_material(rng, "cardboard", "cardboard",
                                                                    "letters", "plain")  # fmt: skip
            sway = rng.uniform(-0.05, 0.05)
            smooth = kind in ("sacks", "tyres", "rolls")
            moved = mesh.transformed(None, (x + sway, low + h / 2, rng.uniform(-0.05, 0.05)))
            pieces.append(solid(moved, each, coords=mesh.vertices, smooth=smooth,  # type: ignore[arg-type]
                                closed=False))  # fmt: skip
            low += h
            if low > 1.6:
                break
    return spun(rng, pieces, 0.25)


def seat_row(rng: Rng) -> list[MeshPart]:
    """Armchairs, sofas and rows of seats seen from behind or the front."""
    number, w = rng.integer(1, 4), rng.uniform(0.5, 0.75)
    cover = draw_material(rng, "cloth", "cloth", "plain", "bands", "wicker", "collage")
    pieces = []
    for index in range(number):
        x = (index - (number - 1) / 2) * w * 1.02
        seat = ellipsoid((x, 0.4, 0.05), (w / 2, 0.12, 0.33), squareness=0.3, segments=14)
        high = rng.uniform(0.42, 0.6)
        back = ellipsoid((x, 0.4 + high / 2, -0.28), (w / 2, high / 2 + 0.05, 0.1), squareness=0.35,
                         segments=14)  # fmt: skip
        pieces += [solid(seat, cover), solid(back, cover)]
        if rng.flag(0.3):
            cushion = ellipsoid((x, 0.66, -0.12), (0.2, 0.18, 0.08), squareness=0.6, segments=14)
            pieces.append(solid(cushion, draw_material(rng, "cloth", "plain", "bands")))
    half = number * w * 0.51
    arms = [
        ellipsoid((s * half, 0.42, 0.0), (0.09, 0.2, 0.36), squareness=0.3, segments=14)
        for s in (-1, 1)
    ]
    legs = [
        box((s * half * 0.9, 0.12, z), (0.05, 0.26, 0.05)) for s in (-1, 1) for z in (-0.2, 0.25)
    ]
    pieces.append(solid(join(arms), cover if rng.flag(0.7) else draw_material(rng)))
    pieces.append(solid(join(legs), _DARK, smooth=False))
    return spun(rng, pieces, 0.4)
