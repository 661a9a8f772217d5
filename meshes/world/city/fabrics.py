"""Cloth of the city: weaves, knits, denim, quilts, logos and prints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from ..rng import Rng
from ..surfaces.fabric import Fabric, grain, noise, unroll
from .palette import street_color

__all__ = ["CITY_PATTERNS", "CityFabric", "city_fabric"]

#: Names of the patterns of the city's cloth.
CITY_PATTERNS: tuple[str, ...] = (
    "flat", "melange", "washed", "knit", "quilted", "pinstripe", "houndstooth", "windowpane",
    "breton", "logo", "front print", "back letters", "piping", "yoke", "sprigs",
)  # fmt: skip
_SIDE = 24


@lru_cache(maxsize=128)
def _emblem(seed: int) -> Tensor:
    """(24, 24) zones 0 to 2 of a print: letters, a shield, a scene of shapes, rings."""
    rng = Rng.seeded("emblem", seed)
    zone = torch.zeros(_SIDE, _SIDE, dtype=torch.long)
    row, column = torch.meshgrid(torch.arange(_SIDE), torch.arange(_SIDE), indexing="ij")
    kind = rng.pick(("letters", "shield", "scene", "rings", "slogan"), (30, 15, 25, 12, 18))
    if kind in ("letters", "slogan"):
        lines = rng.integer(1, 3) if kind == "letters" else rng.integer(3, 6)
        tall = _SIDE // lines
        for line in range(lines):
            x = rng.integer(0, 4)
            while x < _SIDE - 3:
                wide = max(2, round(tall * rng.uniform(0.3, 0.6)))
                glyph = rng.uniforms(4, 3) < 0.62
                part = glyph.repeat_interleave(max(1, (tall - 2) // 4), 0)
                part = part.repeat_interleave(max(1, wide // 3), 1)
                low = line * tall + 1
                cut = part[: _SIDE - low, : _SIDE - x]
                zone[low : low + len(cut), x : x + cut.shape[1]] = cut.long()
                x += part.shape[1] + (3 if rng.flag(0.2) else 1)
    elif kind == "shield":
        edge = 11 - (row - 12).clamp(min=0) * 0.9
        inside = (column - 11.5).abs() < edge
        zone[inside] = 1
        half = rng.uniforms(6, 6) < 0.45
        bits = torch.cat([half, half.flip(1)], 1).repeat_interleave(3, 0)
        bits = bits.repeat_interleave(2, 1)
        zone[3:21] = torch.where(bits & inside[3:21], 2, zone[3:21])
    elif kind == "rings":
        radius = ((row - 11.5).square() + (column - 11.5).square()).sqrt()
        step = rng.uniform(2.0, 4.0)
        zone[radius < 11.5] = 1
        zone[(radius < 11.5) & ((radius / step).long() % 2 == 0)] = 2
    else:
        for index in range(14):
            left, top = rng.uniform(2, 22), rng.uniform(2, 22)
            reach = rng.uniform(2, 7)
            if rng.flag(0.5):
                inside = (row - top).square() + (column - left).square() < reach**2
            else:
                inside = ((row - top).abs() < reach * 0.5) & ((column - left).abs() < reach)
            zone[inside] = 1 + index % 2
    return zone


@dataclass(frozen=True)
class CityFabric(Fabric):
    """A cloth of the city; see `Fabric`.

    Attributes:
        around: "trunk", or "legs" for trousers; patterns run around these.
    """

    around: str = "trunk"
    patterns: ClassVar[tuple[str, ...]] = CITY_PATTERNS

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1] at T-pose coordinates (N, 3) in metres."""
        along, across, sleeve = unroll(coords)
        table = self._table
        rgb = table[0].expand(len(coords), 3)
        pattern = self.pattern
        if pattern in ("logo", "front print", "back letters"):
            rgb = self._printed(coords, sleeve)
        elif pattern in ("piping", "yoke"):
            rgb = self._paneled(coords, along, sleeve)
        elif pattern != "flat":
            rgb = self._woven(coords, along, self._wound(coords, sleeve))
        weave = grain(95 * along + 35 * coords[:, 2], 85 * across, self.seed)
        worn = noise(coords, 3.0, self.seed + 2, 5)
        return (rgb * (1 + 0.03 * weave + 0.025 * worn)[:, None]).clamp(0, 1)

    def _wound(self, coords: Tensor, sleeve: Tensor) -> Tensor:
        """Metres around trunk, sleeves or legs at a mean girth."""
        x, y, z = coords.unbind(-1)
        if self.around == "legs":
            return torch.where(
                y < -0.03, _leg_angle(coords) * 0.085, torch.atan2(x, z + 0.02) * 0.14
            )
        return torch.where(sleeve, torch.atan2(z + 0.03, y - 0.455) * 0.055,
                           torch.atan2(x, z + 0.02) * 0.14)  # fmt: skip

    def _woven(self, coords: Tensor, along: Tensor, across: Tensor) -> Tensor:
        table, size, pattern = self._table, self.scale, self.pattern
        row, column = along / size, across / size
        if pattern == "melange":
            mix = 0.5 + 0.45 * grain(across * 170, along * 120, self.seed)
            return table[0] + 0.16 * (table[1] - table[0]) * mix[:, None]
        if pattern == "washed":  # paler on thighs and knees, dark along seams
            y, z = coords[:, 1], coords[:, 2]
            thigh = torch.exp(-((y + 0.3) / 0.22).square()) * ((z + 0.05) / 0.16).clamp(0, 1)
            fade = 1 + 0.22 * thigh + 0.1 * grain(across * 60, along * 18, self.seed)
            return table[0] * fade[:, None]
        if pattern == "knit":
            rib = torch.sin(2 * math.pi * across / (0.22 * size + 0.006))
            cable = torch.sin(2 * math.pi * (along / size + 0.35 * torch.sin(across * 60)))
            return table[0] * (1 + 0.1 * rib + 0.07 * cable)[:, None]
        if pattern == "quilted":  # padded rows: bright crowns over dark seams
            place = (row * 0.9) % 1
            puff = torch.sin(math.pi * place)
            return table[0] * (0.62 + 0.5 * puff.clamp(min=0).sqrt())[:, None]
        if pattern == "pinstripe":
            line = 0.6 * table[0] + 0.4 * table[1]
            return torch.where(((column * 2.4) % 1 < 0.12)[:, None], line, table[0])
        if pattern == "windowpane":
            line = ((row % 1) < 0.06) | ((column % 1) < 0.06)
            return torch.where(line[:, None], 0.45 * table[0] + 0.55 * table[1], table[0])
        if pattern == "breton":
            return torch.where((((row * 1.6) % 1) < 0.32)[:, None], table[1], table[0])
        if pattern == "houndstooth":
            fine = 3.2
            a, b = (row * fine) % 2, (column * fine) % 2
            tooth = ((a < 1) & (b < 1)) | ((a < 1) ^ (b < 1)) & (((a + b) % 0.5) < 0.25)
            return torch.where(tooth[:, None], table[1], table[0])
        # Sprigs: small flowers at jittered places of a grid.
        fine = 2.0
        cell_u, cell_v = (column * fine).floor(), (row * fine).floor()
        key = torch.sin(cell_u * 12.9898 + cell_v * 78.233 + self.seed % 91) * 43758.5453
        jitter = (key - key.floor()) * 0.5 + 0.25
        radius = ((column * fine) % 1 - jitter).square() + ((row * fine) % 1 - 1 + jitter).square()
        zone = torch.where(radius < 0.012, 2, torch.where(radius < 0.06, 1, 0))
        return table[zone]

    def _printed(self, coords: Tensor, sleeve: Tensor) -> Tensor:
        rng = Rng.seeded("city print", self.seed)
        x, y, z = coords.unbind(-1)
        if self.pattern == "logo":
            half = (rng.uniform(0.018, 0.035), rng.uniform(0.012, 0.03))
            middle, front = (rng.sign() * 0.075, 0.35), z > 0.02
        elif self.pattern == "front print":
            half = (rng.uniform(0.07, 0.125), rng.uniform(0.06, 0.15))
            middle, front = (0.0, rng.uniform(0.2, 0.3)), z > 0.0
        else:
            half = (rng.uniform(0.1, 0.15), rng.uniform(0.03, 0.075))
            middle, front = (0.0, rng.uniform(0.28, 0.36)), z < -0.02
        # Letters read from left to right, seen from the side that they are on.
        across = torch.where(z > 0, x - middle[0], -(x - middle[0])) / half[0]
        down = (middle[1] - y) / half[1]
        inside = front & ~sleeve & (across.abs() < 1) & (down.abs() < 1)
        tile = _emblem(self.seed % 4096)
        column = ((across + 1) * (_SIDE / 2)).long().clamp(0, _SIDE - 1)
        row = ((down + 1) * (_SIDE / 2)).long().clamp(0, _SIDE - 1)
        zone = torch.where(inside, tile[row, column], torch.zeros_like(row))
        return self._table[zone]

    def _paneled(self, coords: Tensor, along: Tensor, sleeve: Tensor) -> Tensor:
        x, y, z = coords.unbind(-1)
        if self.around == "legs":
            side = ((_leg_angle(coords) - math.pi / 2) * 0.085 / 0.012).abs()
            stripes = (side < 1.3) if self.pattern == "yoke" else ((side - 1.2).abs() < 0.5)
            return self._table[(stripes & (y < 0.1)).long()]
        if self.pattern == "yoke":
            lower = torch.where(sleeve, x.abs() > 0.3, y < self.level + 0.1)
            edge = torch.where(sleeve, (x.abs() - 0.3).abs(), (y - self.level - 0.1).abs()) < 0.012
            zone = torch.where(edge, 2, lower.long())
            return self._table[zone]
        # Piping: a narrow line down sleeves and sides, as on track suits.
        line = torch.where(sleeve, ((y - 0.47) / 0.014).abs(), (z / 0.016).abs())
        outer = torch.where(sleeve, y > 0.44, x.abs() > 0.09)
        lines = outer & (((line - 0.8).abs() < 0.45) | ((line - 2.4).abs() < 0.45))
        return self._table[torch.where(lines, 1, 0)]


def _leg_angle(coords: Tensor) -> Tensor:
    """(N,) angle around the middle of a leg of the mean body, radians from the front outwards."""
    x, y, z = coords.unbind(-1)
    down = (-0.1 - y).clamp(min=0)
    middle = 0.01 - 0.18 * (down - 0.2).clamp(0, 0.25)
    return torch.atan2(x.abs() - 0.092 - 0.096 * down, z - middle)


_CHANCES: dict[str, dict[str, float]] = {
    "top": {"flat": 40, "melange": 12, "knit": 7, "breton": 5, "logo": 11, "front print": 11,
            "back letters": 2, "windowpane": 3, "sprigs": 3, "houndstooth": 1, "yoke": 2,
            "pinstripe": 2, "piping": 1},
    "jacket": {"flat": 46, "melange": 12, "quilted": 18, "washed": 3, "logo": 7, "windowpane": 2,
               "houndstooth": 2, "yoke": 4, "piping": 3, "back letters": 3},
    "bottom": {"flat": 62, "melange": 9, "washed": 22, "piping": 4, "pinstripe": 1.5,
               "houndstooth": 0.7, "windowpane": 0.8},
    "skirt": {"flat": 60, "melange": 8, "sprigs": 14, "windowpane": 6, "pinstripe": 4,
              "breton": 4, "houndstooth": 4},
}  # fmt: skip


def city_fabric(rng: Rng, use: str) -> CityFabric:
    """A cloth of streets for a use: "top", "jacket", "bottom" or "skirt"."""
    chances = _CHANCES[use]
    pattern = rng.pick(tuple(chances), tuple(chances.values()))
    ground = street_color(rng, "top" if use == "skirt" else use)
    if pattern == "washed":
        ground = rng.around(rng.pick(((0.14, 0.18, 0.28), (0.24, 0.32, 0.45), (0.4, 0.5, 0.62),
                                      (0.1, 0.1, 0.11), (0.3, 0.3, 0.32))), 0.03)  # fmt: skip
    second = street_color(rng, "accent")
    if sum(abs(a - b) for a, b in zip(ground, second, strict=True)) < 0.4:
        second = (0.85, 0.84, 0.8) if sum(ground) < 1.3 else (0.1, 0.1, 0.13)
    return CityFabric(
        pattern,
        (ground, second, street_color(rng, "accent")),
        scale=rng.uniform(0.045, 0.095),
        level=rng.uniform(0.18, 0.34),
        seed=rng.integer(0, 1 << 30),
        trim=second if use == "top" and rng.flag(0.08) else None,
        around="legs" if use == "bottom" else "trunk",
    )
