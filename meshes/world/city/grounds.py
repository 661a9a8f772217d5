"""Grounds of streets and halls: strips of materials with joints, marks, stains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..rng import Rng
from .textures import Color, chance, fractal, line, mixed, tinted

__all__ = ["Ground", "Strip", "draw_strips"]

#: Colours in sRGB; asphalt reflects 5 to 15 % of the light, concrete 20 to 40 %, grass 15 to 25 %.
_BASES: dict[str, tuple[Color, ...]] = {
    "asphalt": ((0.36, 0.36, 0.37), (0.43, 0.42, 0.41), (0.29, 0.29, 0.31)),
    "slabs": ((0.56, 0.55, 0.52), (0.62, 0.6, 0.57), (0.47, 0.46, 0.45)),
    "setts": ((0.45, 0.43, 0.41), (0.5, 0.42, 0.37), (0.38, 0.37, 0.37)),
    "brick": ((0.53, 0.38, 0.32), (0.49, 0.43, 0.38)),
    "gravel": ((0.6, 0.55, 0.48), (0.52, 0.49, 0.45)),
    "lawn": ((0.33, 0.38, 0.21), (0.4, 0.4, 0.26), (0.29, 0.34, 0.2)),
    "concrete": ((0.55, 0.54, 0.52), (0.48, 0.47, 0.46)),
    "stone": ((0.66, 0.64, 0.6), (0.52, 0.5, 0.48), (0.4, 0.38, 0.37), (0.71, 0.67, 0.6)),
    "vinyl": ((0.6, 0.6, 0.58), (0.5, 0.52, 0.54), (0.62, 0.57, 0.48), (0.42, 0.45, 0.47)),
    "carpet": ((0.3, 0.32, 0.37), (0.36, 0.3, 0.28), (0.4, 0.4, 0.4)),
    "wood": ((0.52, 0.41, 0.3), (0.6, 0.5, 0.39)),
}  # fmt: skip
#: Contrast of the grain of a material, for a camera that resolves centimetres.
_ROUGH = {"lawn": 0.15, "gravel": 0.06, "asphalt": 0.03, "carpet": 0.03}
_SIDES = {"slabs": (0.3, 0.6), "stone": (0.4, 1.0), "vinyl": (0.5, 1.2), "concrete": (2.0, 4.0)}


@dataclass(frozen=True)
class Strip:
    """A strip of one material.

    Attributes:
        material: one of the names of ``_BASES``.
        color: sRGB.
        start: where it begins across the strips, metres.
        side: of its tiles, metres.
        marks: "none", "edge" (a painted line at its start), "dashes", "bays", "zebra", "tactile".
    """

    material: str
    color: Color
    start: float
    side: float
    marks: str = "none"


@dataclass(frozen=True)
class Ground:
    """Strips side by side.

    Attributes:
        strips: in the order of their starts; the first reaches to minus infinity.
        turn: of the strips about the vertical, radians.
        seed: seed of all noise.
    """

    strips: tuple[Strip, ...]
    turn: float
    seed: int

    def colors(self, x: Tensor, z: Tensor) -> Tensor:
        """SRGB colours (N, 3) at ground points, metres."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        u, v = x * c - z * s, x * s + z * c
        starts = torch.tensor([strip.start for strip in self.strips[1:]])
        number = torch.bucketize(u.contiguous(), starts)
        dirt = 0.05 * fractal(u, v, 14.0, self.seed) + 0.018 * fractal(v, u, 3.1, self.seed + 5)
        rgb = torch.empty(len(u), 3)
        for index, strip in enumerate(self.strips):
            mine = (number == index).nonzero()[:, 0]
            if len(mine):
                rgb[mine] = self._strip(strip, u[mine], v[mine], dirt[mine])
        return rgb * (1 - 0.55 * self._stains(u, v))[:, None]

    def _strip(self, strip: Strip, u: Tensor, v: Tensor, dirt: Tensor) -> Tensor:
        seed, side, material = self.seed, strip.side, strip.material
        joint = torch.zeros_like(u)
        fine = _ROUGH.get(material, 0.02) * fractal(u * 1.7, v * 1.7, 0.9, seed + 1)
        if material in _SIDES:
            joint = torch.maximum(line(u, side, 0.008), line(v, side, 0.008))
            cell = chance((u / side).round(), (v / side).round(), seed) - 0.5
            dirt = dirt + (0.05 if material == "concrete" else 0.13) * cell
        elif material in ("setts", "brick"):
            row = (v / (0.5 * side)).floor()
            shifted = u + 0.5 * side * (row % 2)
            joint = torch.maximum(line(shifted, side, 0.012), line(v, 0.5 * side, 0.01))
            dirt = dirt + 0.22 * (chance((shifted / side).round(), row, seed) - 0.5)
        elif material == "wood":
            joint = line(u, 0.14, 0.006)
            dirt = dirt + 0.2 * (chance((u / 0.14).round(), torch.zeros_like(u), seed) - 0.5)
        elif material == "lawn":
            fine = fine + 0.12 * fractal(u, v, 0.5, seed + 2)
        elif material == "asphalt":
            patch = chance((u / 2.6).floor(), (v / 3.7).floor(), seed + 7)
            dirt = dirt + torch.where(patch > 0.84, -0.14, torch.where(patch < 0.07, 0.12, 0.0))
            crack = fractal(u, v, 5.0, seed + 8).abs() < 0.012
            joint = 0.7 * crack.float()
        rgb = mixed(tinted(strip.color, dirt + fine), torch.tensor(strip.color) * 0.6, 0.6 * joint)
        return self._marked(strip, u, v, rgb, dirt)

    def _marked(self, strip: Strip, u: Tensor, v: Tensor, rgb: Tensor, dirt: Tensor) -> Tensor:
        """Paint that is worn off in places."""
        inside = u - strip.start
        if strip.marks == "none":
            return rgb
        if strip.marks == "edge":
            on = (inside > 0.1) & (inside < 0.22)
        elif strip.marks == "dashes":
            on = ((inside - 1.7).abs() < 0.07) & ((v % 6) < 3)
        elif strip.marks == "bays":
            on = ((v % 2.5) < 0.12) & (inside > 0.3) & (inside < 5.3)
        elif strip.marks == "zebra":
            on = ((inside % 1.0) < 0.5) & ((v - 0.4).abs() < 1.9)
        else:
            on = (inside > 0.25) & (inside < 0.75)
            stud = ((inside * 20) % 1 - 0.5).square() + ((v * 20) % 1 - 0.5).square()
            yellow = (0.75, 0.66, 0.36) if self.seed % 2 else (0.72, 0.7, 0.66)
            paint = tinted(yellow, dirt - 0.12 * (stud < 0.09).float())
            return torch.where(on[:, None], paint, rgb)
        worn = fractal(u, v, 3.0, self.seed + 11) < 1.0
        return torch.where((on & worn)[:, None], tinted((0.77, 0.77, 0.74), 1.3 * dirt), rgb)

    def _stains(self, u: Tensor, v: Tensor) -> Tensor:
        """Gum, oil, a cover of a drain: darkness in [0, 1]."""
        cell_u, cell_v = (u / 0.9).floor(), (v / 0.9).floor()
        spot = chance(cell_u, cell_v, self.seed + 20)
        x = u / 0.9 - cell_u - 0.2 - 0.6 * chance(cell_u, cell_v, self.seed + 21)
        y = v / 0.9 - cell_v - 0.2 - 0.6 * chance(cell_u, cell_v, self.seed + 22)
        size = 0.0012 + 0.02 * chance(cell_u, cell_v, self.seed + 23).pow(6)
        stain = 0.4 * ((x.square() + y.square() < size) & (spot < 0.3)).float()
        far_u, far_v = (u / 6.5).floor(), (v / 6.5).floor()
        x = (u / 6.5 - far_u) * 6.5 - 3.2
        y = (v / 6.5 - far_v) * 6.5 - 3.2
        ring = x.square() + y.square()
        cover = (chance(far_u, far_v, self.seed + 24) < 0.25) & (ring < 0.09)
        grid = 0.35 + 0.25 * ((((x + y) * 16) % 1 < 0.4) | (ring > 0.075)).float()
        return torch.where(cover, grid, stain)


def draw_strips(rng: Rng, materials: tuple[str, ...], marks: tuple[str, ...]) -> Ground:
    """Ground of one to four strips, out of the given materials in turn.

    Curbs, 12 to 15 cm of bright stone, lie between asphalt and what is beside it.
    """
    count = rng.pick((1, 2, 3), (45, 35, 20))
    first = rng.integer(0, len(materials))
    strips: list[Strip] = []
    start = -rng.uniform(0.3, 2.4)
    for index in range(count):
        material = materials[(first + index) % len(materials)]
        if index:
            start += rng.uniform(0.9, 3.2)
            if "asphalt" in (material, strips[-1].material):
                curb = rng.around((0.6, 0.59, 0.56), 0.04)
                strips.append(Strip("concrete", curb, start, 1.0))
                start += 0.13
        side = rng.uniform(*_SIDES.get(material, (0.12, 0.22)))
        color = rng.around(rng.pick(_BASES[material]), 0.035)
        mark = rng.pick(marks) if material in ("asphalt", "slabs", "concrete", "stone") else "none"
        strips.append(Strip(material, color, start, side, mark))
    turn = rng.normal(0, 0.5) + (math.pi / 2 if rng.flag(0.5) else 0.0)
    return Ground(tuple(strips), turn, rng.integer(0, 1 << 30))
