"""Cars and bicycles, in the frame of ``street``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..people.skin_textures import PlainPaint
from ..rng import Rng
from ..surfaces.fabric import Fabric, grain
from ..surfaces.palette import vivid_color
from ..surfaces.pieces import MeshPart, solid, turned
from ..surfaces.primitives import box, disc, ellipsoid, extrude, join, tube

__all__ = ["bicycle", "car"]

Color = tuple[float, float, float]
_CAR_COLORS: tuple[Color, ...] = (
    (0.85, 0.85, 0.84), (0.62, 0.63, 0.65), (0.35, 0.36, 0.38), (0.12, 0.12, 0.13),
    (0.5, 0.1, 0.1), (0.12, 0.2, 0.42), (0.75, 0.7, 0.6), (0.2, 0.36, 0.28), (0.8, 0.6, 0.15),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _CarPaint:
    color: Color
    half_width: float
    roof: float
    posts: tuple[float, float, float]

    def __call__(self, coords: Tensor) -> Tensor:
        x, y, z = coords.unbind(-1)
        rgb = torch.tensor(self.color).expand(len(coords), 3)
        side = z.abs() > self.half_width * 0.76
        glass = (y > 0.95) & (y < self.roof - 0.1)
        post = torch.stack([(x - p).abs() < 0.05 for p in self.posts]).any(0)
        ends = (x < self.posts[0] - 0.06) | (x > self.posts[2] + 0.06)
        frame = (side & (post | (ends & (y < 1.0)))) | (~side & (z.abs() > self.half_width * 0.7))
        sheen = 0.12 + 0.3 * ((y - 0.95) / 0.5).clamp(0, 1) + 0.06 * grain(x * 3, y * 5 + z * 3, 1)
        window = sheen[:, None] * torch.tensor([0.85, 0.95, 1.0])
        rgb = torch.where((glass & ~frame)[:, None], window, rgb)
        gap = (
            ((x - self.posts[1]).abs() < 0.012)
            | ((x + 0.95).abs() < 0.01)
            | ((y - 0.55).abs() < 0.008)
        )
        rgb = torch.where((gap & side & (y < 0.9) & (y > 0.3))[:, None], rgb * 0.45, rgb)
        handle = ((x - self.posts[1] + 0.15).abs() < 0.07) & ((y - 0.82).abs() < 0.015) & side
        rgb = torch.where(handle[:, None], rgb * 0.6, rgb)
        arch = ((x.abs() - 1.3).square() + (y - 0.32).square()) < 0.4**2
        rgb = torch.where((arch & side)[:, None], torch.tensor([0.04, 0.04, 0.04]), rgb)
        lamp = (x.abs() > 1.85) & (y > 0.56) & (y < 0.74) & (z.abs() > self.half_width * 0.55)
        lamps = torch.where(
            (x > 0)[:, None], torch.tensor([0.95, 0.95, 0.9]), torch.tensor([0.6, 0.06, 0.05])
        )
        rgb = torch.where(lamp[:, None], lamps, rgb)
        plate = (x.abs() > 1.9) & (z.abs() < 0.26) & ((y - 0.48).abs() < 0.055)
        rgb = torch.where(plate[:, None], torch.tensor([0.85, 0.85, 0.8]), rgb)
        return torch.where((y < 0.33)[:, None], torch.tensor([0.06, 0.06, 0.065]), rgb)


def car(rng: Rng) -> list[MeshPart]:
    """A parked car, seen from the side more often than from an end."""
    roof = rng.uniform(1.38, 1.75)
    shape = rng.pick(("sedan", "hatch", "van"), (45, 35, 20))
    rear = {"sedan": (-1.45, -0.85), "hatch": (-1.98, -1.6), "van": (-2.06, -2.0)}[shape]
    front = (0.75, 1.25) if shape != "van" else (1.2, 1.7)
    deck = 0.92 if shape == "sedan" else 0.97
    outline = torch.tensor(
        [[-2.0, 0.22], [2.0, 0.22], [2.12, 0.45], [2.05, 0.72], [front[1], 0.9],
         [front[0], roof - 0.06], [0.2, roof], [rear[1] + 0.35, roof], [rear[1], roof - 0.05],
         [rear[0], deck], [-2.08, 0.86], [-2.13, 0.5]]
    )  # fmt: skip
    half = rng.uniform(0.84, 0.92)
    taper = torch.where(outline[:, 1] > 1.1, 0.8, 1.0)
    body = extrude(outline, 2 * half, taper)
    color = rng.around(rng.pick(_CAR_COLORS), 0.04)
    posts = (rear[1] + 0.1, -0.15 + rng.uniform(-0.1, 0.1), front[0] + 0.1)
    wheels, rims = [], []
    for x in (-1.3, 1.3):
        for z in (-half + 0.08, half - 0.06):
            path = torch.tensor([[x, 0.32, z - 0.09], [x, 0.32, z + 0.09]])
            wheels += [tube(path, 0.32, 14), disc((x, 0.32, z + 0.095), 0.32, 2)]
            rims.append(disc((x, 0.32, z + 0.1), 0.2, 2, 10))
    pieces = [
        solid(body, _CarPaint(color, half, roof, posts), smooth=False, gloss=0.5),
        solid(join(wheels), PlainPaint((0.05, 0.05, 0.05)), smooth=False, closed=False),
        solid(join(rims), PlainPaint((0.55, 0.56, 0.58)), smooth=False, closed=False, gloss=0.4),
    ]
    turn = rng.normal(0, 0.12) + (math.pi if rng.flag(0.5) else 0.0)
    if rng.flag(0.22):
        turn += math.pi / 2
    return [turned(piece, turn) for piece in pieces]


def bicycle(rng: Rng) -> list[MeshPart]:
    """A bicycle or cargo bicycle seen from the side, with a full basket."""
    color = vivid_color(rng)
    around = torch.linspace(0, 2 * math.pi, 25)
    wheels = []
    for x in (-0.52, 0.52):
        ring = torch.stack(
            [x + 0.33 * around.cos(), 0.34 + 0.33 * around.sin(), torch.zeros(25)], 1
        )
        wheels.append(tube(ring, 0.022, 6))
    points = {
        "rear": (-0.52, 0.34), "crank": (-0.08, 0.3), "seat": (-0.25, 0.85),
        "head": (0.36, 0.82), "front": (0.52, 0.34), "bar": (0.38, 1.02),
    }  # fmt: skip
    bars = [
        ("rear", "crank"), ("crank", "seat"), ("seat", "rear"), ("crank", "head"),
        ("seat", "head"), ("head", "front"), ("head", "bar"),
    ]  # fmt: skip
    tubes = []
    for start, stop in bars:
        path = torch.tensor([[*points[start], 0.0], [*points[stop], 0.0]])
        tubes.append(tube(path, 0.02, 6))
    seat = ellipsoid((-0.27, 0.9, 0), (0.13, 0.035, 0.07))
    handle = tube(torch.tensor([[0.38, 1.02, -0.25], [0.38, 1.02, 0.25]]), 0.016, 6)
    dark = PlainPaint((0.07, 0.07, 0.07))
    pieces = [solid(join(wheels), dark), solid(join(tubes), PlainPaint(color), gloss=0.3),
              solid(join([seat, handle]), dark)]  # fmt: skip
    for x, low, width in ((0.58, 0.75, 0.4), (-0.55, 0.6, 0.5)):
        height = rng.uniform(0.3, 0.5)
        load = box((x, low + height / 2, 0), (width, height, 0.35))
        fabric = Fabric(rng.pick(("solid", "plaid", "hstripe", "block")),
                        (vivid_color(rng), vivid_color(rng), vivid_color(rng)), scale=0.07,
                        level=low + 0.1, seed=rng.integer(0, 1 << 30))  # fmt: skip
        pieces.append(solid(load, fabric, smooth=False))
    return pieces
