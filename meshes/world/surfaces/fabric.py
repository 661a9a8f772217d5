"""Procedural cloth: colours evaluated per point of the T-pose, so that every edge stays crisp."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from ..rng import Rng

__all__ = ["PATTERNS", "Fabric", "grain", "noise", "noise_vectors", "unroll"]

#: Names of the fabric patterns.
PATTERNS: tuple[str, ...] = (
    "solid", "heather", "hstripe", "vstripe", "check", "plaid", "block", "raglan", "chestband",
    "print", "gradient", "camouflage", "dots", "floral", "sidestripe",
)  # fmt: skip
Color = tuple[float, float, float]


@lru_cache(maxsize=512)
def _waves(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit-frequency wave vectors (count, 3), phases (count,) and amplitudes (count, 3)."""
    rng = Rng.seeded("waves", seed, count)
    direction = torch.nn.functional.normalize(rng.normals(count, 3), dim=-1)
    length = 0.6 + 0.9 * rng.uniforms(count, 1)
    return direction * length, 2 * math.pi * rng.uniforms(count), rng.normals(count, 3)


def noise(points: Tensor, frequency: float, seed: int, count: int = 8) -> Tensor:
    """Smooth random field: a sum of sine waves of random directions.

    Args:
        points: (N, 3) metres.
        frequency: cycles per metre.
        seed: seed of the field.
        count: number of waves.

    Returns:
        (N,) about zero mean and unit variance.
    """
    waves, phases, _ = _waves(seed, count)
    angles = torch.addmm(phases, points, waves.T * (2 * math.pi * frequency))
    return angles.sin_().sum(-1) * math.sqrt(2.0 / count)


def noise_vectors(points: Tensor, frequency: float, seed: int, count: int = 8) -> Tensor:
    """Like ``noise`` with three components: (N, 3), for bending normals."""
    waves, phases, amplitudes = _waves(seed, count)
    angles = torch.addmm(phases, points, waves.T * (2 * math.pi * frequency))
    return angles.sin_() @ (amplitudes * math.sqrt(2.0 / count))


@lru_cache(maxsize=8)
def _tile(seed: int) -> Tensor:
    return Rng.seeded("tile", seed % 8).normals(64 * 64)


def grain(u: Tensor, v: Tensor, seed: int) -> Tensor:
    """Value noise without visible waves: bilinear in a random tile, one cell per unit.

    Args:
        u: (N,) first coordinate in cells.
        v: (N,) second coordinate in cells.
        seed: seed of the field.

    Returns:
        (N,) about zero mean; repeats every 64 cells.
    """
    tile = _tile(seed)
    column, row = u.floor(), v.floor()
    mix_u, mix_v = u - column, v - row
    column, row = column.long(), row.long()
    left, right = column & 63, (column + 1) & 63
    top, bottom = (row & 63) << 6, ((row + 1) & 63) << 6
    upper = torch.lerp(tile[top | left], tile[top | right], mix_u)
    lower = torch.lerp(tile[bottom | left], tile[bottom | right], mix_u)
    return torch.lerp(upper, lower, mix_v)


@dataclass(frozen=True)
class Fabric:
    """A cloth.

    Attributes:
        pattern: one of ``PATTERNS``.
        colors: three sRGB colours in [0, 1]: ground, second, third.
        scale: period of the pattern, metres.
        level: height in the T-pose where blocks, bands and prints sit, metres.
        seed: seed of noise and prints.
        trim: sRGB colour of cuffs, hem line and collar, or None.
    """

    pattern: str
    colors: tuple[Color, Color, Color]
    scale: float = 0.06
    level: float = 0.25
    seed: int = 0
    trim: Color | None = None
    _table: Tensor = field(init=False, repr=False, compare=False)
    patterns: ClassVar[tuple[str, ...]] = PATTERNS

    def __post_init__(self) -> None:
        """Check the pattern's name and keep the colours as a tensor."""
        if self.pattern not in self.patterns:
            raise ValueError(f"pattern must be one of {self.patterns}; got {self.pattern!r}")
        object.__setattr__(self, "_table", torch.tensor(self.colors))

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1] at T-pose coordinates (N, 3) in metres."""
        along, across, sleeve = unroll(coords)
        pattern = self.pattern
        if pattern == "print":
            rgb = self._printed(coords, sleeve)
        elif pattern in ("hstripe", "vstripe", "check", "plaid", "dots"):
            rgb = self._periodic(along, across)
        elif pattern in ("camouflage", "floral", "heather"):
            rgb = self._blotched(coords)
        elif pattern == "gradient":
            mix = ((self.level + 0.25 - along) / 0.5).clamp(0, 1)[:, None]
            rgb = self._table[0] * (1 - mix) + self._table[1] * mix
        else:
            rgb = self._table[self._zones(coords, along, sleeve)]
        weave = grain(90 * along + 30 * coords[:, 2], 90 * across, self.seed)
        return rgb * (1 + 0.035 * weave)[:, None]

    def _zones(self, coords: Tensor, along: Tensor, sleeve: Tensor) -> Tensor:
        zone = torch.zeros(len(coords), dtype=torch.long)
        if self.pattern == "block":
            zone[along < self.level] = 1
        elif self.pattern == "raglan":
            zone[sleeve] = 1
        elif self.pattern == "chestband":
            offset = (along - self.level).abs()
            zone[offset < self.scale * 1.5] = 1
            zone[offset < self.scale * 0.5] = 2
        elif self.pattern == "sidestripe":
            side = torch.where(sleeve, (coords[:, 1] - 0.47) / 0.02, coords[:, 2] / 0.02)
            outer = torch.where(sleeve, coords[:, 1] > 0.44, coords[:, 0].abs() > 0.1)
            zone[(side.abs() < 1) & outer] = 1
        return zone

    def _periodic(self, along: Tensor, across: Tensor) -> Tensor:
        table, period = self._table, self.scale
        row, column = along / period, across / period
        if self.pattern == "hstripe":
            return table[((row % 1) < 0.45).long()]
        if self.pattern == "vstripe":
            return table[((column % 1) < 0.3).long()]
        if self.pattern == "check":
            return table[((row.floor() + column.floor()) % 2).long()]
        if self.pattern == "dots":
            shifted = column + 0.5 * (row.floor() % 2)
            radius = ((row % 1) - 0.5).square() + ((shifted % 1) - 0.5).square()
            return table[(radius < 0.07).long()]
        rgb = table[0].expand(len(row), 3)
        for value, index in ((row, 1), (column, 1), (row + 0.37, 2), (column + 0.37, 2)):
            width = 0.4 if index == 1 else 0.09
            rgb = torch.where(((value % 1) < width)[:, None], 0.5 * rgb + 0.5 * table[index], rgb)
        return rgb

    def _blotched(self, coords: Tensor) -> Tensor:
        if self.pattern == "heather":
            mix = 0.5 + 0.4 * grain(
                coords[:, 0] * 160 + coords[:, 2] * 60, coords[:, 1] * 110, self.seed
            )
            return self._table[0] + 0.25 * (self._table[1] - self._table[0]) * mix[:, None]
        first = noise(coords, 0.7 / self.scale, self.seed + 1)
        second = noise(coords, 0.7 / self.scale, self.seed + 2)
        low = 0.2 if self.pattern == "camouflage" else 1.0
        zone = torch.where(first > low, 1, torch.where(second > low + 0.2, 2, 0))
        return self._table[zone]

    def _printed(self, coords: Tensor, sleeve: Tensor) -> Tensor:
        """Mirrored 8 x 8 emblem or rows of letters on the chest, sometimes on the back."""
        rng = Rng.seeded("print", self.seed)
        kind = rng.pick(("emblem", "text", "disc", "plate"))
        half_width, half_height = rng.uniform(0.06, 0.12), rng.uniform(0.04, 0.11)
        back = rng.flag(0.25)
        bits = rng.uniforms(8, 8) < 0.5
        bits = bits | bits.flip(1) if kind == "emblem" else bits
        front = coords[:, 2] < 0 if back else coords[:, 2] > 0
        u, v = coords[:, 0] / half_width, (coords[:, 1] - self.level - 0.05) / half_height
        inside = front & ~sleeve & (u.abs() < 1) & (v.abs() < 1)
        column = ((u + 1) * 4).long().clamp(0, 7)
        row = ((v + 1) * 4).long().clamp(0, 7)
        zone = torch.zeros(len(coords), dtype=torch.long)
        ink = bits[row, column]
        if kind == "emblem":
            zone[inside] = 1 + (~ink[inside]).long()
        elif kind == "text":
            zone[inside & ink & (row % 3 != 0)] = 1
        elif kind == "disc":
            radius = u.square() + v.square()
            zone[inside & (radius < 1)] = 1
            zone[inside & (radius < 0.4) & ink] = 2
        else:
            zone[inside] = 1
            zone[inside & ink & (row % 2 == 0)] = 2
        return self._table[zone]


def unroll(coords: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates along and across a garment, and a mask of the sleeves.

    Down the sleeve counts like down the trunk, so that stripes of hanging arms and chest meet.
    """
    x, y, z = coords.unbind(-1)
    sleeve = (x.abs() > 0.19) & (y > 0.33) & (y < 0.56)
    along = torch.where(sleeve, 0.47 - (x.abs() - 0.19), y)
    across = torch.where(sleeve, z + 0.02, x)
    return along, across, sleeve
