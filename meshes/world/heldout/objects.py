"""Occluders of the held-out world, in the frame of `scenery.street`."""

from __future__ import annotations

import math

import torch

from ..people.skin_textures import PlainPaint
from ..rng import Rng
from ..surfaces.pieces import MeshPart, solid, turned
from ..surfaces.primitives import Mesh, box, disc, ellipsoid, extrude, join, tube
from .fabrics import draw_color, draw_fabric
from .paints import GoodsPaint, NetPaint, StripePaint

__all__ = [
    "balloons", "barrier", "bin_on_wheels", "bollards", "clothes_rack", "machine", "pram",
    "scaffold", "stall", "step_ladder", "trolley", "wheelchair",
]  # fmt: skip

_STEEL = (0.55, 0.56, 0.58)
_RUBBER = PlainPaint((0.06, 0.06, 0.065))


def _bar(*points: tuple[float, float, float], radius: float = 0.015, segments: int = 6) -> Mesh:
    return tube(torch.tensor(points), radius, segments)


def _wheel(x: float, z: float, radius: float, width: float = 0.04) -> Mesh:
    rim = tube(torch.tensor([[x, radius, z - width / 2], [x, radius, z + width / 2]]), radius, 14)
    return join([rim, disc((x, radius, z + width / 2), radius, 2, 14)])


def _ring(x: float, y: float, z: float, radius: float, thick: float) -> Mesh:
    angle = torch.linspace(0, 2 * math.pi, 25)
    path = torch.stack(
        [x + radius * angle.cos(), y + radius * angle.sin(), torch.full((25,), z)], 1
    )
    return tube(path, thick, 6)


def bin_on_wheels(rng: Rng) -> list[MeshPart]:
    """One to three wheelie bins, or a wide container."""
    pieces, start = [], 0.0
    number = rng.pick((1, 2, 3), (45, 30, 25))
    body_color = draw_color(rng, rng.pick(("strong", "dark", "earth")))
    for _ in range(number):
        wide = rng.flag(0.25)
        w, h, d = (rng.uniform(0.9, 1.2) if wide else rng.uniform(0.5, 0.62),
                   rng.uniform(0.95, 1.3), 0.6)  # fmt: skip
        x = start + w / 2
        outline = torch.tensor(
            [[-0.4 * w, 0.08], [0.4 * w, 0.08], [0.5 * w, h - 0.08], [-0.5 * w, h - 0.08]]
        )
        body = extrude(outline, d).transformed(None, (x, 0.0, 0.0))
        lid = ellipsoid((x, h - 0.05, 0), (0.53 * w, 0.09, d * 0.55), squareness=0.35, segments=14)
        ridge = box((x, h * 0.55, d / 2 + 0.005), (0.5 * w, 0.25 * h, 0.02))
        lid_color = rng.around(body_color, 0.05) if rng.flag(0.5) else draw_color(rng, "strong")
        wheels = join([_wheel(x - 0.4 * w, d / 2, 0.1), _wheel(x + 0.4 * w, d / 2, 0.1)])
        pieces += [
            solid(body, PlainPaint(body_color, 0.05), smooth=False, closed=False, gloss=0.2),
            solid(lid, PlainPaint(lid_color, 0.03), gloss=0.3),
            solid(ridge, PlainPaint(draw_color(rng), 0.1), smooth=False),
            solid(wheels, _RUBBER, smooth=False, closed=False),
        ]
        start += w + rng.uniform(0.02, 0.12)
    return [_moved(piece, -start / 2) for piece in pieces]


def _moved(piece: MeshPart, x: float) -> MeshPart:
    from dataclasses import replace

    return replace(piece, vertices=piece.vertices + torch.tensor([x, 0.0, 0.0]))


def pram(rng: Rng) -> list[MeshPart]:
    """A pram with hood, basket and handle."""
    cloth = draw_fabric(rng, plain=0.6)
    seat = ellipsoid((0.0, 0.68, 0), (0.42, 0.2, 0.24), squareness=0.5, segments=16)
    hood = ellipsoid((-0.24, 0.92, 0), (0.28, 0.3, 0.25), segments=16)
    blanket = ellipsoid((0.15, 0.82, 0), (0.25, 0.1, 0.2), segments=12)
    basket = box((0.0, 0.33, 0), (0.6, 0.14, 0.4))
    frame = join(
        [_bar((-0.4, 0.15, z), (0.35, 0.6, z), (0.62, 1.05, z)) for z in (-0.22, 0.22)]
        + [_bar((0.4, 0.15, z), (-0.3, 0.6, z)) for z in (-0.22, 0.22)]
        + [_bar((0.62, 1.05, -0.22), (0.62, 1.05, 0.22), radius=0.02)]
    )
    wheels = join([_wheel(x, z, 0.15) for x in (-0.4, 0.4) for z in (-0.24, 0.24)])
    pieces = [
        solid(seat, cloth, coords=seat.vertices - torch.tensor([0.0, 0.5, 0.0])),
        solid(hood, cloth, coords=hood.vertices - torch.tensor([0.0, 0.7, 0.0])),
        solid(blanket, draw_fabric(rng, plain=0.3)),
        solid(basket, PlainPaint((0.12, 0.12, 0.13)), smooth=False),
        solid(frame, PlainPaint(_STEEL), gloss=0.4),
        solid(wheels, _RUBBER, smooth=False, closed=False),
    ]
    turn = rng.normal(0, 0.5) + (math.pi if rng.flag(0.5) else 0.0)
    return [turned(piece, turn) for piece in pieces]


def scaffold(rng: Rng) -> list[MeshPart]:
    """Tubes, planks, and often a net or sheet between them."""
    width, depth = rng.uniform(1.3, 2.2), 0.7
    levels = (rng.uniform(0.35, 0.6), rng.uniform(0.95, 1.15), 2.0)
    half = width / 2
    bars = [
        _bar((x, 0.0, z), (x, 3.0, z), radius=0.028) for x in (-half, half) for z in (0.0, -depth)
    ]
    bars += [_bar((-half, y, 0.0), (half, y, 0.0), radius=0.025) for y in levels]
    bars.append(_bar((-half, levels[0], 0.0), (half, levels[2], 0.0), radius=0.022))
    planks = box((0, levels[rng.integer(0, 3)], -depth / 2), (width, 0.05, depth))
    board = box((0, levels[1] + 0.1, 0.03), (width, 0.2, 0.03))
    pieces = [
        solid(join(bars), PlainPaint(rng.pick((_STEEL, (0.75, 0.6, 0.12), (0.5, 0.16, 0.12)))),
              gloss=0.3),
        solid(planks, PlainPaint((0.62, 0.5, 0.34), 0.12), smooth=False),
        solid(board, StripePaint(((0.9, 0.75, 0.1), (0.08, 0.08, 0.08)), 0.18), smooth=False),
    ]  # fmt: skip
    if rng.flag(0.6):
        low = rng.uniform(0.0, 0.9)
        net = box((0, (low + 2.6) / 2, 0.04), (width, 2.6 - low, 0.01))
        paint = NetPaint(draw_color(rng, rng.pick(("strong", "pale"))), rng.integer(0, 1 << 30))
        pieces.append(solid(net, paint, smooth=False))
    return pieces


def step_ladder(rng: Rng) -> list[MeshPart]:
    """A step ladder with a bucket, or a plank between two."""
    height, half = rng.uniform(1.3, 2.1), rng.uniform(0.22, 0.34)
    color = PlainPaint(rng.pick(((0.8, 0.81, 0.82), (0.85, 0.7, 0.1), (0.55, 0.38, 0.22))), 0.06)
    parts = []
    for front in (0.28, -0.28):
        for x in (-1, 1):
            start = (x * half * 1.3, 0.0, front)
            end = (x * half * 0.7, height, 0.02 * front)
            parts.append(_bar(start, end, radius=0.028))
    for step in range(1, 7):
        at = step / 7
        parts.append(
            box((0, at * height, 0.28 * (1 - at)), (2 * half * (1.3 - 0.6 * at), 0.04, 0.14))
        )
    parts.append(box((0, height, 0), (1.6 * half, 0.05, 0.3)))
    bucket = ellipsoid((0, height + 0.14, 0), (0.15, 0.14, 0.15), squareness=0.6, segments=12)
    return [
        solid(join(parts), color, smooth=False, closed=False, gloss=0.2),
        solid(bucket, PlainPaint(draw_color(rng, "strong"), 0.03)),
    ]


def stall(rng: Rng) -> list[MeshPart]:
    """A market stall, or a shelf full of goods."""
    width = rng.uniform(0.9, 1.9)
    top = rng.uniform(1.0, 1.9)
    wood = PlainPaint(draw_color(rng, rng.pick(("earth", "pale"))), 0.08)
    boards, goods = [], []
    y = rng.uniform(0.1, 0.3)
    while y < top:
        boards.append(box((0, y, 0), (width, 0.03, 0.45)))
        rise = rng.uniform(0.18, 0.34)
        x = -width / 2 + 0.04
        while x < width / 2 - 0.2:
            w = rng.uniform(0.15, 0.4)
            h = rise * rng.uniform(0.5, 0.9)
            paint = GoodsPaint(
                (draw_color(rng), draw_color(rng), draw_color(rng, "strong")),
                rng.uniform(0.03, 0.12), rng.integer(0, 1 << 30),
            )  # fmt: skip
            goods.append(solid(box((x + w / 2, y + h / 2 + 0.02, rng.uniform(-0.05, 0.05)),
                                   (w, h, 0.4)), paint, smooth=False))  # fmt: skip
            x += w + rng.uniform(0.0, 0.06)
        y += rise + 0.05
    sides = [box((x, top / 2, 0), (0.04, top, 0.45)) for x in (-width / 2, width / 2)]
    pieces = [solid(join([*boards, *sides]), wood, smooth=False), *goods]
    if rng.flag(0.35):
        cloth = StripePaint((draw_color(rng, "strong"), draw_color(rng, "pale")), 0.22, 0.0)
        posts = [_bar((x, 0.0, 0.0), (x, 2.25, 0.0), radius=0.02) for x in (-width / 2, width / 2)]
        pieces.append(solid(box((0, 2.25, 0.1), (width + 0.2, 0.22, 0.9)), cloth, smooth=False))
        pieces.append(solid(join(posts), PlainPaint(_STEEL)))
    return pieces


def bollards(rng: Rng) -> list[MeshPart]:
    """Bollards with a sagging chain, or a queue barrier with tape."""
    step, height = rng.uniform(0.5, 0.9), rng.uniform(0.8, 1.15)
    tape = rng.flag(0.4)
    posts, links = [], []
    for index in range(4):
        x = (index - 1.5) * step
        posts.append(_bar((x, 0.0, 0.0), (x, height, 0.0), radius=0.09 if not tape else 0.03,
                          segments=12))  # fmt: skip
        posts.append(ellipsoid((x, height, 0), (0.1, 0.07, 0.1), segments=12))
        if index < 3:
            at = torch.linspace(0, 1, 9)
            sag = torch.zeros(9) if tape else 0.25 * (1 - (2 * at - 1).square())
            path = torch.stack([x + at * step, height - 0.12 - sag, torch.zeros(9)], 1)
            links.append(tube(path, 0.035 if tape else 0.025, 6))
    return [
        solid(join(posts), PlainPaint(draw_color(rng)), gloss=0.3),
        solid(join(links), PlainPaint(draw_color(rng, rng.pick(("strong", "dark"))), 0.1)),
    ]


def trolley(rng: Rng) -> list[MeshPart]:
    """A shopping trolley of wire with goods in it."""
    wires = []
    for y in torch.linspace(0.45, 0.98, 7).tolist():
        spread = 0.42 + 0.1 * (y - 0.45)
        wires.append(_bar((-spread, y, 0.26), (spread, y, 0.26), radius=0.008, segments=4))
    for x in torch.linspace(-0.42, 0.46, 15).tolist():
        wires.append(_bar((x * 0.95, 0.45, 0.26), (x * 1.05, 0.98, 0.26), radius=0.006, segments=4))
    wires += [_bar((-0.45, 0.12, z), (-0.3, 0.45, z), (-0.55, 1.05, z)) for z in (-0.25, 0.25)]
    wires += [_bar((-0.45, 0.12, z), (0.42, 0.14, z)) for z in (-0.25, 0.25)]
    wheels = join([_wheel(x, z, 0.07) for x in (-0.42, 0.4) for z in (-0.25, 0.25)])
    pieces = [
        solid(join(wires), PlainPaint(_STEEL), gloss=0.5),
        solid(_bar((-0.55, 1.05, -0.26), (-0.55, 1.05, 0.26), radius=0.03),
              PlainPaint(draw_color(rng, "strong"))),
        solid(wheels, _RUBBER, smooth=False, closed=False),
    ]  # fmt: skip
    for _ in range(rng.integer(2, 8)):
        w, h = rng.uniform(0.12, 0.4), rng.uniform(0.15, 0.5)
        goods = box((rng.uniform(-0.3, 0.3), 0.47 + h / 2, rng.uniform(-0.15, 0.15)), (w, h, 0.2))
        paint = GoodsPaint((draw_color(rng), draw_color(rng), draw_color(rng)),
                           rng.uniform(0.05, 0.15), rng.integer(0, 1 << 30))  # fmt: skip
        pieces.append(solid(goods, paint, smooth=False))
    turn = rng.normal(0, 0.4) + (math.pi if rng.flag(0.5) else 0.0)
    return [turned(piece, turn) for piece in pieces]


def wheelchair(rng: Rng) -> list[MeshPart]:
    """A wheelchair without a user, often with a coat over its back."""
    rings = join([_ring(0.0, 0.31, z, 0.31, 0.02) for z in (-0.3, 0.3)])
    spokes = []
    for z in (-0.3, 0.3):
        for spoke in range(8):
            angle = spoke * math.pi / 4
            spokes.append(_bar((0.0, 0.31, z), (0.3 * math.cos(angle), 0.31 + 0.3 * math.sin(angle),
                                                z), radius=0.006, segments=4))  # fmt: skip
    frame = join(
        [*spokes]
        + [_bar((-0.2, 0.2, z), (-0.22, 0.92, z), (-0.4, 0.95, z), radius=0.018)
           for z in (-0.24, 0.24)]
        + [_bar((-0.2, 0.5, z), (0.3, 0.5, z), (0.42, 0.1, z), radius=0.018) for z in (-0.24, 0.24)]
    )  # fmt: skip
    small = join([_wheel(0.38, z, 0.09) for z in (-0.24, 0.24)])
    cushion = ellipsoid((0.05, 0.52, 0), (0.25, 0.05, 0.24), squareness=0.4, segments=14)
    back = ellipsoid((-0.22, 0.75, 0), (0.035, 0.24, 0.24), squareness=0.4, segments=14)
    pieces = [
        solid(rings, _RUBBER), solid(frame, PlainPaint(_STEEL), gloss=0.4),
        solid(small, _RUBBER, smooth=False, closed=False),
        solid(cushion, draw_fabric(rng, plain=0.7)), solid(back, draw_fabric(rng, plain=0.7)),
    ]  # fmt: skip
    if rng.flag(0.5):
        load = ellipsoid((0.08, 0.78, 0), (0.22, 0.24, 0.2), squareness=0.6, segments=14)
        pieces.append(solid(load, draw_fabric(rng, plain=0.3)))
    turn = rng.normal(0, 0.6) + (math.pi if rng.flag(0.5) else 0.0)
    return [turned(piece, turn) for piece in pieces]


def clothes_rack(rng: Rng) -> list[MeshPart]:
    """A rail of garments: cloth that belongs to no person."""
    width, height = rng.uniform(0.8, 1.5), rng.uniform(1.35, 1.75)
    frame = join(
        [_bar((x, 0.0, 0.0), (x, height, 0.0), radius=0.018) for x in (-width / 2, width / 2)]
        + [_bar((-width / 2, height, 0.0), (width / 2, height, 0.0), radius=0.018)]
        + [_bar((x, 0.03, -0.25), (x, 0.03, 0.25), radius=0.02) for x in (-width / 2, width / 2)]
    )
    pieces = [solid(frame, PlainPaint(_STEEL), gloss=0.4)]
    x = -width / 2 + 0.1
    while x < width / 2 - 0.08:
        thick, drop = rng.uniform(0.03, 0.07), rng.uniform(0.35, 0.6)
        cloth = ellipsoid((0, 0, 0), (thick, drop, 0.24), squareness=0.5, segments=12)
        placed = cloth.transformed(None, (x, height - drop - 0.03, 0.0))
        fabric = draw_fabric(rng, plain=0.5)
        coords = cloth.vertices[:, [2, 1, 0]].contiguous()
        pieces.append(solid(placed, fabric, coords=coords))
        x += 2 * thick + rng.uniform(0.0, 0.05)
    if rng.flag(0.5):
        front = torch.tensor(
            [
                [-0.2, -0.45],
                [0.2, -0.45],
                [0.2, 0.1],
                [0.42, -0.2],
                [0.5, -0.08],
                [0.22, 0.3],
                [-0.22, 0.3],
                [-0.5, -0.08],
                [-0.42, -0.2],
                [-0.2, 0.1],
            ]
        )
        shirt = extrude(front, 0.05)
        placed = shirt.transformed(None, (rng.uniform(-0.2, 0.2), height - 0.35, 0.28))
        pieces.append(solid(placed, draw_fabric(rng, plain=0.3), coords=shirt.vertices,
                            smooth=False, closed=False))  # fmt: skip
    return pieces


def machine(rng: Rng) -> list[MeshPart]:
    """A ticket machine, drinks machine or parcel locker."""
    w, h = rng.uniform(0.55, 1.2), rng.uniform(1.2, 2.0)
    paint = GoodsPaint(
        (draw_color(rng), draw_color(rng, "dark"), draw_color(rng, "strong")),
        rng.uniform(0.14, 0.35), rng.integer(0, 1 << 30), 0.55,
    )  # fmt: skip
    body = ellipsoid((0, h / 2, 0), (w / 2, h / 2, 0.3), squareness=0.12, segments=16)
    screen = box((0, 0.72 * h, 0.31), (0.6 * w, 0.2 * h, 0.02))
    return [
        solid(body, paint, gloss=0.2),
        solid(screen, PlainPaint((0.15, 0.3, 0.45), 0.2, 9.0), smooth=False, gloss=0.4),
    ]


def barrier(rng: Rng) -> list[MeshPart]:
    """Road works: striped boards on feet, and cones."""
    pieces = []
    colors = rng.pick((((0.85, 0.1, 0.1), (0.92, 0.92, 0.9)), ((0.95, 0.5, 0.08), (0.9, 0.9, 0.9)),
                       ((0.95, 0.8, 0.1), (0.08, 0.08, 0.08))))  # fmt: skip
    rows = rng.integer(1, 4)
    for row in range(rows):
        y = 0.9 - 0.32 * row
        plank = box((0, y, 0), (1.9, 0.22, 0.04))
        pieces.append(solid(plank, StripePaint(colors, 0.22), smooth=False))
    legs = [box((x, 0.5, -0.03), (0.06, 1.0, 0.05)) for x in (-0.7, 0.7)]
    pieces.append(solid(join(legs), PlainPaint((0.8, 0.8, 0.8)), smooth=False))
    for _ in range(rng.integer(0, 4)):
        x = rng.uniform(-0.9, 0.9)
        path = torch.tensor([[x, 0.0, 0.25], [x, 0.05, 0.25], [x, 0.75, 0.25]])
        cone = tube(path, torch.tensor([0.2, 0.15, 0.03]), 12)
        pieces.append(solid(cone, StripePaint(colors, 0.3, 0.0, upright=True), closed=False))
    return pieces


def balloons(rng: Rng) -> list[MeshPart]:
    """A bunch of balloons on strings; their middle is at y = 0.9."""
    pieces, strings = [], []
    for _ in range(rng.integer(4, 10)):
        at = (rng.uniform(-0.4, 0.4), 0.9 + rng.uniform(-0.35, 0.35), rng.uniform(-0.15, 0.15))
        radius = rng.uniform(0.13, 0.2)
        ball = ellipsoid(at, (radius, radius * 1.2, radius), segments=14)
        pieces.append(solid(ball, PlainPaint(draw_color(rng, "strong"), 0.01), gloss=0.8))
        strings.append(_bar((at[0], at[1] - radius, at[2]), (0.0, -0.2, 0.0), radius=0.004,
                            segments=4))  # fmt: skip
    return [*pieces, solid(join(strings), PlainPaint((0.8, 0.8, 0.8)), closed=False)]
