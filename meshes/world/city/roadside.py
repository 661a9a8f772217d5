"""Roadside things: litter baskets, doors, pillars, railings, shelters, signs, mopeds, lorries."""

from __future__ import annotations

import math

import torch

from ..people.skin_textures import PlainPaint
from ..rng import Rng
from ..scenery.occluders import translated
from ..surfaces.pieces import MeshPart, solid, turned
from ..surfaces.primitives import Mesh, box, ellipsoid, extrude, join
from .composites import rail_bars
from .materials import draw_material, thing_color
from .shapes import bar, bars, lathe, slab, tilted, wheel

__all__ = [
    "door",
    "litter",
    "pillar",
    "railing",
    "scooter",
    "shelter",
    "shifted",
    "sign",
    "spun",
    "truck",
]

_STEEL = PlainPaint((0.5, 0.51, 0.53))
_DARK = PlainPaint((0.1, 0.1, 0.11))
_RUBBER = PlainPaint((0.055, 0.055, 0.06))


def spun(rng: Rng, pieces: list[MeshPart], spread: float = 0.35) -> list[MeshPart]:
    """Pieces turned about the vertical at random, by ``spread`` radians, at times to their back."""
    turn = rng.normal(0, spread) + (math.pi if rng.flag(0.3) else 0.0)
    return [turned(piece, turn) for piece in pieces]


def shifted(pieces: list[MeshPart], x: float) -> list[MeshPart]:
    """Pieces moved by ``x`` metres to the right."""
    return translated(pieces, torch.tensor([x, 0.0, 0.0]))


def litter(rng: Rng) -> list[MeshPart]:
    """Litter baskets, post boxes, hydrants: turned bodies on feet, one to three."""
    pieces = []
    for index in range(rng.integer(1, 4)):
        height, radius = rng.uniform(0.7, 1.35), rng.uniform(0.18, 0.34)
        rows = [(0.0, 0.0), (radius * 0.8, 0.0), (radius * 0.8, 0.08)]
        for step in range(rng.integer(2, 5)):
            rows.append((radius * rng.uniform(0.75, 1.1), 0.1 + (step + 1) * 0.18 * height))
        rows += [
            (radius * rng.uniform(0.8, 1.2), height * 0.93),
            (radius * 0.5, height),
            (0.0, height),
        ]
        body = lathe(rows, rng.pick((6, 8, 16)))
        x = 0.62 * index
        moved = body.transformed(None, (x, 0.0, 0.0))
        paint = draw_material(rng, "plain", "worn", "panels", "bands", "concrete", "wicker")
        pieces.append(solid(moved, paint, coords=body.vertices, gloss=rng.uniform(0, 0.4)))
        slot = box((x, height * 0.8, radius * 0.92), (radius, 0.07, 0.1))
        pieces.append(solid(slot, _DARK, smooth=False))
        if rng.flag(0.5):
            label = slab((x, height * 0.5, radius * 1.02), (radius * 0.9, 0.22, 0.02))
            pieces.append(solid(label, draw_material(rng, "letters", "plain"), smooth=False))
    middle = 0.31 * (len({float(p.vertices[:, 0].mean()) for p in pieces}) > 2)
    return shifted(pieces, -middle)


def door(rng: Rng) -> list[MeshPart]:
    """A door leaf, a gate, a shutter or a curtain wall of glass, standing half open."""
    w, h = rng.uniform(0.7, 1.1), rng.uniform(1.95, 2.3)
    kind = rng.pick(("leaf", "glass", "shutter", "gate"), (40, 25, 15, 20))
    paint = draw_material(rng, "plain", "planks", "panels", "worn", "sheen")
    jamb = box((-w / 2 - 0.06, h / 2, 0), (0.12, h + 0.1, 0.16))
    pieces = [
        solid(jamb, draw_material(rng, "concrete", "bricks", "plain", "planks"), smooth=False)
    ]
    if kind == "gate":
        pieces.append(solid(rail_bars(rng, w, h * 0.85, 0.1), paint, closed=False))
        return spun(rng, pieces, 0.3)
    if kind == "glass":
        parts = [box((x, h / 2, 0), (0.07, h, 0.05)) for x in (-w / 2 + 0.035, w / 2 - 0.035)]
        parts += [box((0, y, 0), (w, 0.12, 0.05)) for y in (0.06, h - 0.06)]
        pieces.append(solid(join(parts), paint, smooth=False, gloss=0.4))
        stripe = slab((0, 1.25, 0), (w * 0.9, rng.uniform(0.1, 0.5), 0.01))
        pieces.append(solid(stripe, draw_material(rng, "letters", "plain", "bands"), smooth=False))
        lower = slab((0, 0.5, 0), (w * 0.9, 0.8, 0.015))
        pieces.append(solid(lower, draw_material(rng, "sheen"), smooth=False, gloss=0.6))
        return spun(rng, pieces, 0.4)
    body = box((0, h / 2, 0), (w, h, 0.05))
    pieces.append(solid(body, paint, smooth=False, gloss=0.15))
    if kind == "leaf":
        panels = [slab((x * w, y * h, 0.03), (0.32 * w, 0.26 * h, 0.02)) for x in (-0.22, 0.22)
                  for y in (0.24, 0.62)]  # fmt: skip
        pieces.append(
            solid(join(panels), draw_material(rng) if rng.flag(0.3) else paint, smooth=False)
        )
        pieces.append(solid(bar((0.4 * w, 1.0, 0.06), (0.28 * w, 1.0, 0.06)), _STEEL, gloss=0.6))
    else:
        ribs = bars(
            (-w / 2, 0.05, 0.03), (w / 2, 0.05, 0.03), (0.0, 0.09, 0.0), int(h / 0.09), 0.02
        )
        pieces.append(solid(ribs, paint, closed=False))
    return spun(rng, pieces, 0.4)


def pillar(rng: Rng) -> list[MeshPart]:
    """Advertising columns, statues on plinths, fountains, chimneys, cooling towers of signs."""
    kind = rng.pick(("column", "statue", "clock"), (45, 35, 20))
    if kind == "column":
        r, h = rng.uniform(0.28, 0.5), rng.uniform(2.0, 2.6)
        body = lathe([(r * 1.05, 0), (r * 1.05, 0.2), (r, 0.22), (r, h), (r * 1.1, h + 0.05),
                      (0.1, h + 0.3), (0.0, h + 0.45)], 20)  # fmt: skip
        pieces = [
            solid(body, draw_material(rng, "collage", "letters", "concrete", "plain", "tiles"))
        ]
        for _index in range(rng.integer(1, 5)):
            angle, y = rng.uniform(-1.0, 1.0), rng.uniform(0.5, 1.7)
            sheet = slab((r * math.sin(angle), y, r * math.cos(angle)),
                         (0.34, rng.uniform(0.3, 0.6), 0.03))  # fmt: skip
            pieces.append(solid(sheet, draw_material(rng, "letters", "collage"), smooth=False))
        return pieces
    plinth = box((0, 0.35, 0), (rng.uniform(0.5, 0.9), 0.7, 0.6))
    stone = draw_material(rng, "concrete", "bricks", "tiles")
    pieces = [solid(plinth, stone, smooth=False)]
    if kind == "clock":
        pieces = [solid(lathe([(0.16, 0), (0.12, 0.3), (0.06, 0.5), (0.05, 1.9)]), _DARK)]
        face = wheel((0.0, 2.05, 0.0), rng.uniform(0.25, 0.4), 0.18)
        pieces.append(solid(face, draw_material(rng, "plain", "letters"), closed=False))
        panel = slab((0, 1.15, 0.03), (rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.9), 0.08))
        pieces.append(solid(panel, draw_material(rng, "letters", "collage", "plain"), smooth=False))
        return pieces
    bronze = draw_material(rng, "plain", "concrete", "worn", "sheen")
    rows = [
        (0.2, 0.7),
        (0.24, 0.95),
        (0.16, 1.3),
        (0.23, 1.6),
        (0.09, 1.78),
        (0.11, 1.9),
        (0.0, 2.05),
    ]
    rows = [(r * rng.uniform(0.8, 1.2), y) for r, y in rows]
    pieces.append(solid(lathe(rows, 12), bronze, gloss=0.3))
    arm = bar((0.2, 1.55, 0.0), (0.42, rng.uniform(1.2, 1.9), 0.15), radius=0.05)
    pieces.append(solid(arm, bronze, gloss=0.3))
    return pieces


def railing(rng: Rng) -> list[MeshPart]:
    """Iron railings, guard rails, glass balustrades, ropes of planks."""
    w, h = rng.uniform(1.6, 2.8), rng.uniform(0.85, 1.45)
    kind = rng.pick(("iron", "guard", "glass", "cross"), (35, 20, 20, 25))
    paint = draw_material(rng, "plain", "worn", "sheen", "planks")
    if kind == "iron":
        pieces = [
            solid(rail_bars(rng, w, h, rng.uniform(0.07, 0.15)), paint, closed=False, gloss=0.2)
        ]
        if rng.flag(0.45):
            base = box((0, 0.2, -0.02), (w, 0.4, 0.14))
            pieces.append(solid(base, draw_material(rng, "bricks", "concrete"), smooth=False))
        return pieces
    posts = join([box((x * w, h / 2, -0.04), (0.08, h, 0.08)) for x in (-0.45, 0.0, 0.45)])
    pieces = [solid(posts, draw_material(rng, "plain", "worn", "planks", "concrete"), smooth=False)]
    if kind == "guard":
        profile = [slab((0, h - 0.1 - dy, 0.03 * s), (w, 0.13, 0.05), tilted(0.4 * s))
                   for dy, s in ((0.0, 1), (0.12, -1), (0.24, 1))]  # fmt: skip
        pieces.append(solid(join(profile), paint, smooth=False, gloss=0.4))
    elif kind == "glass":
        pane = box((0, h * 0.5, 0), (w, h * 0.8, 0.015))
        pieces.append(solid(pane, draw_material(rng, "sheen", "bands"), smooth=False, gloss=0.6))
        pieces.append(solid(bar((-w / 2, h, 0), (w / 2, h, 0), radius=0.03), _STEEL, gloss=0.5))
    else:
        for x in (-0.225, 0.225):
            beams = [bar((x * w - 0.2 * w * s, 0.12, 0.0), (x * w + 0.2 * w * s, h - 0.08, 0.0),
                         radius=0.03) for s in (-1, 1)]  # fmt: skip
            pieces.append(solid(join(beams), paint, closed=False))
        top = join([box((0, y, 0), (w, 0.09, 0.05)) for y in (0.1, h - 0.04)])
        pieces.append(solid(top, paint, smooth=False))
    return pieces


def shelter(rng: Rng) -> list[MeshPart]:
    """The side of a bus shelter, kiosk or telephone box: frames, panes, posters."""
    w, h = rng.uniform(0.8, 1.5), rng.uniform(2.1, 2.5)
    metal = draw_material(rng, "plain", "worn")
    posts = [box((x * w, h / 2, 0), (0.07, h, 0.07)) for x in (-0.5, 0.5)]
    beams = [box((0, y, 0), (w, 0.07, 0.07)) for y in (0.3, h)]
    roof = box((0, h + 0.05, -0.3), (w + 0.2, 0.1, 1.0))
    pieces = [solid(join([*posts, *beams, roof]), metal, smooth=False)]
    fill = rng.pick(("poster", "half", "panes", "full"), (35, 25, 20, 20))
    if fill in ("poster", "full"):
        tall = 1.7 if fill == "poster" else h - 0.35
        mesh = box((0, 0, 0), (w * 0.92, tall, 0.06))
        moved = mesh.transformed(None, (0.0, 0.35 + tall / 2, 0.0))
        pieces.append(solid(moved, draw_material(rng, "letters", "collage", "bands", "plain"),
                            coords=mesh.vertices, smooth=False, gloss=0.2))  # fmt: skip
    elif fill == "half":
        low = box((0, 0.75, 0), (w * 0.95, 0.9, 0.03))
        pieces.append(solid(low, draw_material(rng), smooth=False, gloss=0.3))
    else:
        rows = [
            slab((0, 0.35 + i * 0.3, 0), (w * 0.9, rng.uniform(0.06, 0.24), 0.02)) for i in range(6)
        ]
        pieces.append(
            solid(join(rows), draw_material(rng, "sheen", "plain", "bands"), smooth=False)
        )
    return spun(rng, pieces, 0.2)


def sign(rng: Rng) -> list[MeshPart]:
    """Traffic signs, direction signs and meters: several plates on one or two posts."""
    pieces, posts = [], []
    number = rng.integer(1, 3)
    for index in range(number):
        x = (index - (number - 1) / 2) * rng.uniform(0.5, 0.8)
        top = rng.uniform(1.7, 2.4)
        posts.append(bar((x, 0, 0), (x, top, 0), radius=rng.uniform(0.025, 0.05)))
        y = top
        while y > 0.9:
            w, h = rng.uniform(0.4, 0.95), rng.uniform(0.25, 0.6)
            corners = rng.pick((3, 4, 5, 8, 16), (15, 45, 12, 8, 20))
            angle = torch.arange(corners) * (2 * math.pi / corners) + (
                math.pi / corners if corners % 2 == 0 else math.pi / 2
            )
            outline = torch.stack([w * 0.6 * angle.cos(), h * 0.6 * angle.sin()], 1)
            plate = extrude(outline, 0.03)
            place = (x + rng.uniform(-0.1, 0.1), y - h / 2, 0.05)
            rim = Mesh(plate.vertices * torch.tensor([1.1, 1.12, 0.6]), plate.faces)
            paint = draw_material(rng, "letters", "plain", "bands", "collage")
            pieces.append(solid(plate.transformed(None, place), paint, coords=plate.vertices,
                                smooth=False, closed=False))  # fmt: skip
            pieces.append(solid(rim.transformed(None, place), PlainPaint(thing_color(rng)),
                                smooth=False, closed=False))  # fmt: skip
            y -= h * 1.25
            if rng.flag(0.3):
                break
    pieces.append(solid(join(posts), draw_material(rng, "plain", "worn"), gloss=0.2))
    return spun(rng, pieces, 0.25)


def scooter(rng: Rng) -> list[MeshPart]:
    """Mopeds, motorcycles and kick scooters."""
    color = PlainPaint(thing_color(rng), 0.02)
    light = rng.flag(0.3)
    r = 0.11 if light else rng.uniform(0.22, 0.31)
    gap = 0.42 if light else 0.62
    wheels = join([wheel((x, r, 0.0), r, 0.05 if light else 0.13) for x in (-gap, gap)])
    fork = bar((gap, r, 0.0), (gap * 0.72, 1.0, 0.0), radius=0.03)
    handle = bar(
        (gap * 0.7, 1.02, -0.32), (gap * 0.72, 1.06, 0.0), (gap * 0.7, 1.02, 0.32), radius=0.018
    )
    pieces = [solid(wheels, _RUBBER, smooth=False, closed=False),
              solid(join([fork, handle]), _DARK, closed=False, gloss=0.3)]  # fmt: skip
    if light:
        board = box((-0.02, 0.14, 0), (0.8, 0.05, 0.16))
        pieces.append(solid(board, color, smooth=False))
    else:
        body = ellipsoid((-0.22, 0.55, 0), (0.42, 0.24, 0.17), squareness=0.6, segments=16)
        seat = ellipsoid((-0.25, 0.82, 0), (0.38, 0.07, 0.15), squareness=0.5, segments=14)
        apron = ellipsoid((0.42, 0.68, 0), (0.09, 0.34, 0.22), squareness=0.6, segments=14)
        floor = box((0.15, 0.3, 0), (0.5, 0.06, 0.26))
        pieces += [solid(join([body, apron, floor]), color, gloss=0.6), solid(seat, _DARK)]
        if rng.flag(0.6):
            trunk = ellipsoid((-0.6, 1.0, 0), (0.2, 0.2, 0.2), squareness=0.25, segments=14)
            pieces.append(solid(trunk, draw_material(rng, "plain", "letters", "cloth", "panels")))
        mirrors = [ellipsoid((gap * 0.65, 1.2, s * 0.3), (0.02, 0.06, 0.08)) for s in (-1, 1)]
        pieces.append(solid(join(mirrors), _DARK, gloss=0.5))
    turn = rng.normal(0, 0.5) + (math.pi if rng.flag(0.5) else 0.0)
    return [turned(piece, turn) for piece in pieces]


def truck(rng: Rng) -> list[MeshPart]:
    """The end of a lorry, bus, tram or trailer: a tall wall with wheels, lamps and lettering."""
    w, h = rng.uniform(1.2, 2.4), rng.uniform(1.7, 2.6)
    low = rng.uniform(0.3, 0.75)
    mesh = ellipsoid((0, 0, 0), (w / 2, (h - low) / 2, 0.6), squareness=0.14, segments=20)
    body = mesh.transformed(None, (0.0, (low + h) / 2, 0.0))
    paint = draw_material(rng, "letters", "plain", "panels", "bands", "worn", "collage")
    pieces = [solid(body, paint, coords=mesh.vertices, gloss=0.3)]
    front = 0.6
    if rng.flag(0.6):
        pane = slab((0, low + 0.68 * (h - low), front), (w * 0.84, 0.4 * (h - low), 0.03))
        pieces.append(solid(pane, draw_material(rng, "sheen"), smooth=False, gloss=0.7))
    bumper = slab((0, low + 0.05, front), (w * 0.98, 0.16, 0.08))
    pieces.append(solid(bumper, _DARK, smooth=False))
    lamps = [slab((s * w * 0.42, low + 0.22, front + 0.01), (0.14, 0.1, 0.03)) for s in (-1, 1)]
    lamp = rng.pick(((0.7, 0.08, 0.06), (0.92, 0.9, 0.8), (0.85, 0.45, 0.08)))
    pieces.append(solid(join(lamps), PlainPaint(lamp), smooth=False, gloss=0.6))
    tyres = [wheel((s * w * 0.36, min(low, 0.42), 0.3), min(low, 0.42), 0.3) for s in (-1, 1)]
    pieces.append(solid(join(tyres), _RUBBER, smooth=False, closed=False))
    return pieces
