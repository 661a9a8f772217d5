"""Things beside people: seats, bicycles, buggies, dogs, wheeled bags.

Every builder returns pieces in its own frame: x forwards, y up (ground at 0), z to the right, with
the pelvis of its owner above the origin, metres; `stood` places them at a figure. None of these is
the person's own surface.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...body.model import SMPL_JOINTS
from ..people.clothing import world_body
from ..people.figure import Figure
from ..people.skin_textures import PlainPaint
from ..rng import Rng
from ..scenery.occluders import translated
from ..surfaces.fabric import noise
from ..surfaces.pieces import MeshPart, solid
from ..surfaces.primitives import Mesh, box, ellipsoid, grid_faces, join, tube, turn_y
from .fabrics import city_fabric
from .materials import draw_material, thing_color
from .shapes import bar, ring, slab, tilted, wheel

__all__ = ["bicycle", "buggy", "dog", "hands_of", "lowest_of_hips", "seat", "stood", "wheeled_bag"]

Point = tuple[float, float, float]
_HIPS = tuple(SMPL_JOINTS.index(name) for name in ("pelvis", "left_hip", "right_hip"))
_HANDS = tuple(SMPL_JOINTS.index(name) for name in ("left_hand", "right_hand"))
_STEEL = PlainPaint((0.5, 0.51, 0.53))
_DARK = PlainPaint((0.09, 0.09, 0.1))


def _frame(figure: Figure) -> tuple[Tensor, Tensor]:
    """(3, 3) rotation from the frame of the builders to the world, and its origin (3,)."""
    pelvis = figure.joints[0]
    return turn_y(figure.heading - math.pi / 2), torch.tensor(
        [float(pelvis[0]), 0.0, float(pelvis[2])]
    )


def stood(pieces: Sequence[MeshPart], figure: Figure) -> list[MeshPart]:
    """Pieces of a builder, beside a figure."""
    turn, origin = _frame(figure)
    return translated(pieces, origin, turn)


def hands_of(figure: Figure) -> tuple[Point, Point]:
    """Middle of the left and the right palm in the frame of the builders."""
    turn, origin = _frame(figure)
    left, right = ((figure.joints[list(_HANDS)] - origin) @ turn).tolist()
    return (left[0], left[1], left[2]), (right[0], right[1], right[2])


def lowest_of_hips(figure: Figure) -> float:
    """Height of the lower side of the bare hips and thighs, metres."""
    part = world_body().part
    hips = torch.isin(part, torch.tensor(_HIPS))
    return float(figure.vertices[hips][:, 1].min())


def seat(rng: Rng, height: float, *, back: bool = True) -> list[MeshPart]:
    """A bench, block, chair or stool of a given height, with or without a back."""
    chances = (35, 25, 28, 12) if back else (0, 60, 0, 40)
    kind = rng.pick(("bench", "block", "chair", "stool"), chances)
    paint = draw_material(rng, "planks", "plain", "worn", "concrete", "cloth", "wicker")
    top = height - 0.012
    if kind == "block":
        wide = rng.uniform(0.5, 1.8)
        mesh = box((0.02, top / 2, rng.uniform(-0.3, 0.3) * (wide - 0.5)), (0.46, top, wide))
        return [solid(mesh, draw_material(rng), smooth=False)]
    if kind == "stool":
        plate = ellipsoid((0.0, top - 0.03, 0.0), (0.2, 0.03, 0.2), squareness=0.4, segments=14)
        stem = bar((0, 0, 0), (0, top - 0.04, 0), radius=0.03)
        foot = ellipsoid((0, 0.02, 0), (0.22, 0.02, 0.22), segments=14)
        return [solid(plate, paint), solid(join([stem, foot]), _STEEL, gloss=0.4)]
    wide = 0.46 if kind == "chair" else rng.uniform(1.2, 1.9)
    middle = 0.0 if kind == "chair" else rng.uniform(-0.35, 0.35)
    parts = [box((0.04 - 0.1 * i, top - 0.015, middle), (0.085, 0.03, wide)) for i in range(-1, 3)]
    parts += [slab((-0.31 - 0.1 * h, top + h, middle), (0.03, 0.09, wide), tilted(0.0, 0.12))
              for h in (0.16, 0.28, 0.4)]  # fmt: skip
    half = wide / 2 - 0.04
    legs = [box((x, top / 2, middle + s * half), (0.04, top, 0.04)) for x in (0.12, -0.24)
            for s in (-1, 1)]  # fmt: skip
    posts = [bar((-0.27, top - 0.03, middle + s * half), (-0.36, top + 0.44, middle + s * half),
                 radius=0.016) for s in (-1, 1)]  # fmt: skip
    return [solid(join(parts), paint, smooth=False),
            solid(join([*legs, *posts]), draw_material(rng, "plain", "worn"), smooth=False,
                  closed=False)]  # fmt: skip


def bicycle(rng: Rng, saddle: Point, handle: Point) -> list[MeshPart]:
    """A bicycle with the top of its saddle and the middle of its handlebar at given points."""
    radius, z = 0.335, saddle[2]
    rear = (saddle[0] - rng.uniform(0.22, 0.3), radius)
    front = (max(handle[0] + 0.1, rear[0] + 0.98), radius)
    crank = (saddle[0] + 0.16, 0.29)
    head = (front[0] - 0.19, 0.78)
    post = (saddle[0], saddle[1] - 0.06)

    def rod(*points: tuple[float, float], thick: float = 0.017) -> Mesh:
        return bar(*((x, y, z) for x, y in points), radius=thick)

    frame = [
        rod(rear, crank), rod(crank, post),
        rod(rear, (0.7 * post[0] + 0.3 * crank[0], 0.7 * post[1])),
        rod(crank, head, thick=0.022), rod(head, front), rod(head, (handle[0], handle[1] - 0.02)),
    ]  # fmt: skip
    if rng.flag(0.65):
        frame.append(rod((0.8 * post[0] + 0.2 * crank[0], 0.8 * post[1]), head))
    tyres = [ring((x, y, z), radius - 0.02, 0.02) for x, y in (rear, front)]
    spokes = []
    for x, y in (rear, front):
        for k in range(9):
            c, s = radius * math.cos(k * 0.7), radius * math.sin(k * 0.7)
            spokes.append(bar((x - c, y - s, z), (x + c, y + s, z), radius=0.003, segments=3))
    grip = bar((handle[0] - 0.08, handle[1], z - 0.29), (handle[0], handle[1], z - 0.1),
               (handle[0], handle[1], z + 0.1), (handle[0] - 0.08, handle[1], z + 0.29),
               radius=0.014)  # fmt: skip
    top = ellipsoid((saddle[0] - 0.03, saddle[1] - 0.03, z), (0.14, 0.035, 0.075), segments=12)
    pedals = [box((crank[0] + s * 0.1, crank[1] - s * 0.13, z + s * 0.1), (0.1, 0.02, 0.09))
              for s in (-1, 1)]  # fmt: skip
    pieces = [
        solid(join(frame), PlainPaint(thing_color(rng), 0.02), closed=False, gloss=0.4),
        solid(join([*tyres, grip, top, *pedals]), _DARK, closed=False),
        solid(join(spokes), _STEEL, closed=False),
    ]
    if rng.flag(0.3):
        basket = box((front[0] + 0.08, 0.88, z), (0.28, 0.24, 0.34))
        pieces.append(
            solid(basket, draw_material(rng, "wicker", "plain", "cardboard"), smooth=False)
        )
    if rng.flag(0.25):
        load = ellipsoid((rear[0] - 0.02, 0.78, z), (0.2, 0.14, 0.14), squareness=0.4, segments=12)
        pieces.append(solid(load, draw_material(rng, "cloth", "plain", "wicker", "letters")))
    return pieces


def buggy(rng: Rng, handle: Point) -> list[MeshPart]:
    """A buggy: a sling seat with a child between two folding frames, under a fan of cloth."""
    cloth, second = city_fabric(rng, "jacket"), city_fabric(rng, "top")
    x, y = handle[0] + 0.38, handle[1]
    tubes = []
    for z in (-0.21, 0.21):
        tubes.append(bar((handle[0], y, 1.1 * z), (handle[0] + 0.1, y - 0.1, z), (x + 0.3, 0.13, z),
                         radius=0.013))  # fmt: skip
        tubes.append(bar((handle[0] + 0.12, 0.13, z), (x + 0.2, 0.72, z), radius=0.013))
    tubes.append(bar((handle[0], y, -0.23), (handle[0], y, 0.23), radius=0.018))
    wheels = [wheel((a, 0.09, z), 0.09, 0.035) for a in (handle[0] + 0.12, x + 0.3)
              for z in (-0.22, 0.22)]  # fmt: skip
    # The sling: back, seat and foot rest as one bent cloth.
    line = torch.tensor([[x - 0.2, 0.95], [x - 0.12, 0.6], [x - 0.05, 0.46], [x + 0.14, 0.47],
                         [x + 0.22, 0.3], [x + 0.3, 0.2]])  # fmt: skip
    across = torch.linspace(-0.19, 0.19, 5)
    points = torch.stack(
        [line[:, :1].expand(6, 5), line[:, 1:].expand(6, 5) - 0.05 * (1 - (across / 0.19).square()),
         across.expand(6, 5)], -1
    )  # fmt: skip
    sling = Mesh(points.reshape(-1, 3), grid_faces(6, 5, wrap=False))
    angle = torch.linspace(0.25, rng.uniform(1.3, 2.1), 6)[:, None]
    rib = torch.linspace(0, math.pi, 9)[None]
    fan = torch.stack(
        [(x - 0.2) + 0.36 * rib.sin() * angle.sin(), 0.78 + 0.34 * rib.sin() * angle.cos(),
         (0.23 * rib.cos()).expand(6, 9)], -1
    )  # fmt: skip
    canopy = Mesh(fan.reshape(-1, 3), grid_faces(6, 9, wrap=False))
    skin = rng.around(rng.pick(((0.84, 0.66, 0.55), (0.6, 0.42, 0.32), (0.36, 0.25, 0.19))))
    head = ellipsoid((x - 0.08, 0.8, 0.0), (0.085, 0.1, 0.08), segments=12)
    child = ellipsoid((x - 0.02, 0.6, 0.0), (0.1, 0.17, 0.13), squareness=0.8, segments=12)
    cover = ellipsoid((x + 0.1, 0.48, 0.0), (0.2, 0.08, 0.17), squareness=0.6, segments=12)
    pieces = [
        solid(join(tubes), PlainPaint(rng.pick(((0.5, 0.51, 0.53), (0.12, 0.12, 0.13)))),
              closed=False, gloss=0.4),
        solid(join(wheels), _DARK, smooth=False, closed=False),
        solid(sling, cloth, coords=sling.vertices * 0.5, closed=False),
        solid(canopy, cloth, coords=canopy.vertices * 0.5, closed=False),
        solid(child, second, coords=child.vertices * 0.5), solid(head, PlainPaint(skin, 0.03)),
    ]  # fmt: skip
    if rng.flag(0.6):
        pieces.append(solid(cover, city_fabric(rng, "skirt"), coords=cover.vertices * 0.5))
    if rng.flag(0.5):
        bag = ellipsoid(
            (handle[0] + 0.06, y - 0.26, 0.0), (0.09, 0.15, 0.17), squareness=0.4, segments=12
        )
        pieces.append(solid(bag, city_fabric(rng, "jacket"), coords=bag.vertices * 0.5))
    return pieces


class _Coat:
    """Fur with patches of a second colour."""

    def __init__(self, rng: Rng) -> None:
        browns = ((0.1, 0.09, 0.09), (0.35, 0.24, 0.15), (0.62, 0.47, 0.3), (0.85, 0.8, 0.72),
                  (0.45, 0.43, 0.42))  # fmt: skip
        self.colors = torch.tensor([rng.around(rng.pick(browns)), rng.around(rng.pick(browns))])
        self.seed, self.limit = rng.integer(0, 1 << 30), rng.uniform(0.2, 1.6)

    def __call__(self, coords: Tensor) -> Tensor:
        patch = noise(coords, 3.0, self.seed, 6) > self.limit
        hair = 0.12 * noise(coords, 45.0, self.seed + 1, 5)
        return (self.colors[patch.long()] * (1 + hair)[:, None]).clamp(0, 1)


def dog(rng: Rng, hand: Point, side: float) -> list[MeshPart]:
    """A dog on a lead; ``side`` is 1.0 to the right of its owner, -1.0 to the left."""
    size = rng.uniform(0.6, 1.3)
    tall, long = 0.45 * size * rng.uniform(0.75, 1.1), 0.34 * size
    x, z = rng.uniform(-0.1, 0.7), hand[2] + side * rng.uniform(0.1, 0.35)
    coat = _Coat(rng)
    body = ellipsoid((x, tall, z), (long, 0.13 * size, 0.11 * size), segments=14)
    chest = ellipsoid(
        (x + 0.7 * long, tall + 0.03 * size, z), (0.13 * size, 0.15 * size, 0.11 * size)
    )
    throat = torch.tensor(
        [[x + 0.8 * long, tall + 0.06 * size, z], [x + 1.15 * long, tall + 0.24 * size, z]]
    )
    neck = tube(throat, 0.065 * size, 9)
    low = rng.uniform(-0.05, 0.05)
    skull = (x + 1.25 * long, tall + (0.28 + low) * size, z)
    head = ellipsoid(skull, (0.11 * size, 0.085 * size, 0.08 * size))
    muzzle = ellipsoid((skull[0] + 0.12 * size, skull[1] - 0.03 * size, z),
                       (0.09 * size, 0.045 * size, 0.045 * size))  # fmt: skip
    ear = (skull[0] - 0.03 * size, skull[1] + rng.pick((0.08, 0.0)) * size)
    ears = [ellipsoid((*ear, z + s * 0.07 * size), (0.03 * size, 0.07 * size, 0.02 * size))
            for s in (-1, 1)]  # fmt: skip
    legs = []
    for a, s in ((0.75, 1), (0.75, -1), (-0.75, 1), (-0.75, -1)):
        step = rng.uniform(-0.09, 0.09) * size
        hip = (x + a * long, tall - 0.03 * size, z + s * 0.06 * size)
        knee = (hip[0] + 0.5 * step + (0.02 if a < 0 else 0.0), tall * 0.45, hip[2])
        legs.append(tube(torch.tensor([hip, knee, (hip[0] + step, 0.03, hip[2])]),
                         torch.tensor([0.06, 0.04, 0.03]) * size, 8))  # fmt: skip
        legs.append(ellipsoid((hip[0] + step + 0.02 * size, 0.022, hip[2]),
                              (0.045 * size, 0.024, 0.035 * size)))  # fmt: skip
    end = (x - 1.4 * long, tall + rng.uniform(0.0, 0.3) * size, z)
    back = ((x - long, tall + 0.05 * size, z), (x - 1.25 * long, tall + 0.12 * size, z), end)
    tail = tube(torch.tensor(back), torch.tensor([0.035, 0.028, 0.012]) * size, 7)
    collar = (x + 0.98 * long, tall + 0.15 * size, z)
    at = torch.linspace(0, 1, 9)[:, None]
    lead = torch.lerp(torch.tensor(hand).expand(9, 3), torch.tensor(collar).expand(9, 3), at)
    lead = lead - torch.tensor([0.0, 1.0, 0.0]) * (0.35 * rng.uniform(0.1, 1.0) * at * (1 - at))
    strap = PlainPaint(thing_color(rng))
    band = ring((0, 0, 0), 0.075 * size, 0.014).transformed(turn_y(math.pi / 2), collar)
    nose = ellipsoid((skull[0] + 0.2 * size, skull[1] - 0.02 * size, z), (0.018, 0.016, 0.016))
    return [
        solid(join([body, chest, neck, head, muzzle, *ears, *legs, tail]), coat),
        solid(join([tube(lead, 0.007, 5), band]), strap, closed=False),
        solid(nose, _DARK),
    ]


def wheeled_bag(rng: Rng, hand: Point) -> list[MeshPart]:
    """A shopping bag of cloth on two wheels, pulled behind."""
    low = (hand[0] - 0.42, 0.12)
    lean = math.atan2(hand[0] - low[0], hand[1] - low[1])
    turn = tilted(0.0, -lean)
    size = (0.2, rng.uniform(0.5, 0.62), rng.uniform(0.3, 0.38))
    mesh = ellipsoid(
        (0, 0, 0), (size[0] / 2, size[1] / 2, size[2] / 2), squareness=0.3, segments=14
    )
    along = torch.tensor([math.sin(lean), math.cos(lean), 0.0])
    center = torch.tensor([low[0] - 0.1, low[1], hand[2]]) + along * (size[1] / 2 + 0.08)
    cloth = city_fabric(rng, "skirt")
    bars = [bar((low[0], low[1], hand[2] + s * 0.13), (hand[0], hand[1], hand[2] + s * 0.1),
                radius=0.01) for s in (-1, 1)]  # fmt: skip
    ends = [(hand[0], hand[1], hand[2] + s * 0.1) for s in (-1, 1)]
    bars.append(bar(*ends, radius=0.014))
    wheels = [wheel((low[0] - 0.02, 0.09, hand[2] + s * 0.18), 0.09, 0.03) for s in (-1, 1)]
    return [
        solid(mesh.transformed(turn, center), cloth, coords=mesh.vertices),
        solid(join(bars), _STEEL, closed=False, gloss=0.4),
        solid(join(wheels), _DARK, smooth=False, closed=False),
    ]
