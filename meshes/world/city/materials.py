"""Materials of things in the city: procedural textures with random colours, sizes and wear.

The variety matters more than any single one: a mask learned behind few textures fails behind
others. Cloth of garments is among them, since things and clothes look alike in streets.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..rng import Rng
from ..surfaces.fabric import Fabric, grain, noise
from ..surfaces.palette import random_fabric
from ..surfaces.pieces import Paint

__all__ = ["MATERIALS", "Leaf", "Material", "draw_material", "thing_color"]

Color = tuple[float, float, float]
#: Names of the materials and their frequencies.
MATERIALS: dict[str, float] = {
    "plain": 16, "planks": 9, "bricks": 6, "tiles": 5, "worn": 9, "concrete": 8, "panels": 7,
    "collage": 12, "letters": 6, "sheen": 6, "bands": 5, "wicker": 4, "cardboard": 5, "cloth": 14,
}  # fmt: skip
_TILE = 128
_LEAVES = 420


def thing_color(rng: Rng, mood: str = "any") -> Color:
    """Colour of a made thing: "muted", "dark", "pale", "strong", or "any". sRGB in [0, 1]."""
    if mood == "any":
        mood = rng.pick(("muted", "dark", "pale", "strong"), (40, 24, 18, 18))
    # Blue, green, red, yellow and brown paints are more common than pink and violet ones.
    hue = rng.pick((0.0, 0.07, 0.12, 0.3, 0.42, 0.58, 0.64, 0.8), (17, 16, 17, 12, 10, 14, 10, 4))
    hue = (hue + rng.uniform(-0.04, 0.04)) % 1
    if mood == "muted":
        return colorsys.hsv_to_rgb(hue, rng.uniform(0.03, 0.35), rng.uniform(0.25, 0.68))
    if mood == "dark":
        return colorsys.hsv_to_rgb(hue, rng.uniform(0.0, 0.5), rng.uniform(0.05, 0.24))
    if mood == "pale":
        return colorsys.hsv_to_rgb(hue, rng.uniform(0.0, 0.14), rng.uniform(0.7, 0.95))
    return colorsys.hsv_to_rgb(hue, rng.uniform(0.55, 0.92), rng.uniform(0.35, 0.9))


@lru_cache(maxsize=8)
def _collage(seed: int) -> Tensor:
    """(128, 128) periodic index of overlapping shapes with radii of density r ** -3.

    Such a texture has the edges and the power spectrum of natural images (A. B. Lee, D. Mumford,
    J. Huang, Occlusion models for natural images, IJCV 41, 2001).
    """
    rng = Rng.seeded("collage", seed)
    tile = torch.zeros(_TILE, _TILE, dtype=torch.long)
    axis = torch.arange(_TILE)
    for index in range(1, _LEAVES):
        radius = min(44.0, 2.2 / math.sqrt(max(1e-3, rng.uniform(0, 1))))
        x, y = rng.uniform(0, _TILE), rng.uniform(0, _TILE)
        across = (axis - x + _TILE / 2) % _TILE - _TILE / 2
        down = (axis - y + _TILE / 2) % _TILE - _TILE / 2
        if index % 2:
            inside = (down[:, None].square() + across[None].square()) < radius**2
        else:
            angle, ratio = rng.uniform(0, 3.14), rng.uniform(0.3, 1.0)
            c, s = math.cos(angle), math.sin(angle)
            u = c * across[None] + s * down[:, None]
            v = c * down[:, None] - s * across[None]
            inside = (u.abs() < radius) & (v.abs() < radius * ratio)
        tile[inside] = index
    return tile


@dataclass(frozen=True, eq=False)
class Material:
    """Surface colour of a thing.

    Attributes:
        kind: one of ``MATERIALS`` but "cloth".
        colors: three sRGB colours in [0, 1].
        scale: size of boards, bricks, letters and shapes, metres.
        seed: seed of all noise.
        upright: turns boards, bands and panels by a right angle.
        dirt: strength of stains towards the ground, in [0, 1].
    """

    kind: str
    colors: tuple[Color, Color, Color]
    scale: float
    seed: int
    upright: bool = False
    dirt: float = 0.0

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1] at points (N, 3) in metres."""
        x, y, z = coords.unbind(-1)
        # One oblique projection serves all sides of a thing without the normals.
        u, v = x + 0.83 * z, y + 0.31 * z
        if self.upright:
            u, v = v, u
        rgb = _DRAWN[self.kind](self, coords, u, v)
        if self.dirt > 0:
            low = (1 - y / 0.9).clamp(0, 1)
            stain = (noise(coords, 2.6, self.seed + 7, 6) * 0.5 + 0.5).clamp(0, 1)
            rgb = rgb * (1 - self.dirt * 0.55 * (low * 0.7 + 0.3) * stain)[:, None]
        return rgb.clamp(0, 1)

    @property
    def table(self) -> Tensor:
        """(3, 3) colours."""
        return torch.tensor(self.colors)


def _shaded(color: Tensor, tone: Tensor) -> Tensor:
    return color * (1 + tone)[:, None]


def _plain(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return _shaded(
        m.table[0], 0.05 * noise(coords, 4.0, m.seed, 6) + 0.02 * grain(u * 60, v * 60, 1)
    )


def _planks(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    row = v / m.scale
    tone = 0.2 * (torch.sin(row.floor() * 12.9898 + m.seed % 97) * 437.5).frac()
    veins = 0.11 * grain(u * 3 + 7 * row.floor(), v * 55, m.seed) + 0.06 * grain(u * 14, v * 90, 2)
    rgb = _shaded(m.table[0], tone + veins)
    return torch.where(((row % 1) < 0.07)[:, None], rgb * 0.4, rgb)


def _bricks(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    row = v / (0.55 * m.scale)
    column = u / (1.5 * m.scale) + 0.5 * (row.floor() % 2)
    key = torch.sin(row.floor() * 78.233 + column.floor() * 12.9898 + m.seed % 89) * 43758.5
    tone = 0.32 * (key - key.floor() - 0.5) + 0.09 * grain(u * 50, v * 50, m.seed)
    joint = ((row % 1) < 0.12) | ((column % 1) < 0.05)
    return torch.where(joint[:, None], m.table[2], _shaded(m.table[0], tone))


def _tiles(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    row, column = v / m.scale, u / m.scale
    key = torch.sin(row.floor() * 39.3 + column.floor() * 91.7 + m.seed % 83) * 9173.1
    zone = ((key - key.floor()) * 3.4 - 1).clamp(0, 2.9).long()
    edge = ((row % 1) < 0.06) | ((column % 1) < 0.06)
    rgb = m.table[zone]
    return torch.where(edge[:, None], 0.75 * m.table[2], rgb)


def _worn(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Paint that has come off in places, with streaks below: rust or wood."""
    field = noise(coords, 0.25 / m.scale, m.seed, 7) + 0.8 * grain(u * 34, v * 34, m.seed)
    streak = grain(u * 30, v * 1.5, m.seed + 2)
    edge = ((field + 0.5 * streak - 1.2) * 2.5).clamp(0, 1)[:, None] * 0.85
    under = _shaded(m.table[1], 0.2 * grain(u * 40, v * 12, m.seed + 1))
    return torch.lerp(_shaded(m.table[0], 0.07 * streak), under, edge)


def _concrete(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    tone = 0.09 * grain(u * 5, v * 5, m.seed) + 0.08 * grain(u * 21, v * 21, m.seed + 1)
    return _shaded(m.table[0], tone + 0.07 * grain(u * 70, v * 70, m.seed + 2))


def _panels(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    column, row = u / (3 * m.scale), v / (4.5 * m.scale)
    seam = ((column % 1) < 0.025) | ((row % 1) < 0.018)
    rivet = (((column % 1) - 0.09).abs() < 0.02) & (((row * 6) % 1) < 0.16)
    second = ((row % 1) > 0.72)[:, None]
    rgb = torch.where(second, m.table[1], m.table[0])
    rgb = _shaded(torch.ones(3), 0.04 * grain(u * 2, v * 30, m.seed)) * rgb
    return torch.where((seam | rivet)[:, None], rgb * 0.5, rgb)


def _collaged(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    tile = _collage(m.seed % 8)
    column = (u * (9 / m.scale)).floor().long() % _TILE
    row = (v * (9 / m.scale)).floor().long() % _TILE
    leaf = tile[row, column]
    rng = Rng.seeded("collage colours", m.seed)
    mix = rng.uniforms(_LEAVES, 3) ** 2
    table = (mix / mix.sum(1, keepdim=True)) @ m.table
    table = table * (0.55 + 0.8 * rng.uniforms(_LEAVES, 1)) + 0.04 * rng.normals(_LEAVES, 3)
    return _shaded(table[leaf], 0.07 * grain(u * 50, v * 50, m.seed))


def _hashed(*values: Tensor) -> Tensor:
    """A random number in [0, 1) for each tuple of whole numbers."""
    key = torch.full_like(values[0], 0.5)
    for value, step in zip(values, (12.9898, 78.233, 37.719), strict=False):
        key = key + step * value
    key = torch.sin(key) * 43758.5453
    return key - key.floor()


def _letters(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Words of glyphs in lines of several sizes, beside coloured fields."""
    tall = 0.9 * m.scale
    line = (v / tall).floor()
    shift = m.seed % 997
    big = _hashed(line + shift, line * 0 + 3) < 0.3
    size = torch.where(big, 1.0, 0.5)
    inside = (v / tall) % 1
    column = u / (0.5 * tall * size)
    glyph = column.floor()
    height = inside / size
    bit = _hashed((column % 1 * 4).floor() + glyph * 7 + shift, (height * 6).floor(), line)
    stroke = ((column % 1) < 0.75) & (height > 0.17) & (height < 0.95) & (bit < 0.56)
    word = _hashed(glyph + shift, line * 3 + 1) < 0.8
    filled = _hashed(line + shift, (u / (6 * tall)).floor() + 5) < 0.8
    field = _hashed((v / (4 * tall)).floor() + shift, (u / (5 * tall)).floor()) < 0.3
    rgb = torch.where(field[:, None], m.table[2], m.table[0])
    return torch.where((stroke & word & filled)[:, None], m.table[1], rgb)


def _sheen(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Glass and polished metal: a reflected horizon, streaks."""
    streak = 0.5 + 0.5 * torch.tanh(3 * grain(u * 1.7 / m.scale * 0.2 + v, v * 0.4, m.seed))
    sky = ((v - 0.6) / 1.2).clamp(0, 1)
    mix = (0.55 * sky + 0.35 * streak)[:, None].clamp(0, 1)
    return torch.lerp(m.table[0] * 0.6, 0.35 * m.table[0] + 0.6, mix)


def _bands(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    place = v / (2.2 * m.scale)
    key = torch.sin(place.floor() * 57.3 + m.seed % 71) * 917.3
    rgb = m.table[((key - key.floor()) * 3).long().clamp(0, 2)]
    return _shaded(torch.ones(3), 0.05 * grain(u * 20, v * 20, m.seed)) * rgb


def _wicker(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    step = 0.25 * m.scale + 0.008
    a, b = torch.sin(math.pi * u / step), torch.sin(math.pi * v / step)
    over = (torch.sin(math.pi * u / step) * b) > 0
    tone = torch.where(over, 0.35 * a.abs(), 0.35 * b.abs()) - 0.3
    return _shaded(m.table[0], tone + 0.1 * grain(u * 30, v * 30, m.seed))


def _cardboard(m: Material, coords: Tensor, u: Tensor, v: Tensor) -> Tensor:
    brown = torch.tensor([0.62, 0.47, 0.32]) * 0.8 + 0.2 * m.table[0]
    rgb = _shaded(brown, 0.06 * grain(u * 60, v * 4, m.seed) + 0.05 * noise(coords, 3.0, m.seed, 5))
    tape = ((u / (4 * m.scale)) % 1 < 0.13)[:, None]
    label = ((u / (3 * m.scale)) % 1 > 0.6) & ((v / (2.3 * m.scale)) % 1 > 0.66)
    rgb = torch.where(tape, 0.8 * rgb + 0.14, rgb)
    return torch.where(label[:, None], torch.tensor([0.85, 0.84, 0.8]), rgb)


_DRAWN: dict[str, Callable[[Material, Tensor, Tensor, Tensor], Tensor]] = {
    "plain": _plain, "planks": _planks, "bricks": _bricks, "tiles": _tiles, "worn": _worn,
    "concrete": _concrete, "panels": _panels, "collage": _collaged, "letters": _letters,
    "sheen": _sheen, "bands": _bands, "wicker": _wicker, "cardboard": _cardboard,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Folded:
    """Cloth of garments, hung or laid over a thing, with painted folds."""

    fabric: Fabric
    seed: int

    def __call__(self, coords: Tensor) -> Tensor:
        flat = torch.stack([0.4 * coords[:, 0] % 0.3 - 0.15, coords[:, 1] % 0.7 - 0.35,
                            coords[:, 2]], 1)  # fmt: skip
        fold = noise(coords * torch.tensor([1.0, 0.3, 1.0]), 5.0, self.seed, 6)
        return (self.fabric(flat) * (1 + 0.1 * fold)[:, None]).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Leaf:
    """Leaves: tones of one colour, some of a second one, darker towards the inside.

    Attributes:
        colors: of leaves, and of blossom or dry leaves.
        seed: seed of all noise.
    """

    colors: tuple[Color, Color]
    seed: int

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1] at points (N, 3) in metres."""
        x, y, z = coords.unbind(-1)
        tone = 0.3 * grain(x * 31 + z * 23, y * 33, self.seed) + 0.22 * noise(
            coords, 2.4, self.seed, 5
        )
        table = torch.tensor(self.colors)
        second = grain(x * 19 - z * 11, y * 21, self.seed + 3) > 1.5
        return (table[second.long()] * (1 + tone)[:, None]).clamp(0, 1)


def draw_material(rng: Rng, *kinds: str) -> Paint:
    """A random material, out of the given kinds or of all."""
    chosen = kinds or tuple(MATERIALS)
    kind = rng.pick(chosen, [MATERIALS[each] for each in chosen])
    seed = rng.integer(0, 1 << 30)
    if kind == "cloth":
        return _Folded(random_fabric(rng, rng.pick(("top", "jacket", "bottom"))), seed)
    first = thing_color(rng)
    if kind == "planks":
        first = rng.around(rng.pick(((0.5, 0.36, 0.23), (0.34, 0.25, 0.18), (0.66, 0.58, 0.48),
                                     (0.24, 0.2, 0.17), first)), 0.05)  # fmt: skip
    if kind == "bricks":
        first = rng.around(rng.pick(((0.5, 0.27, 0.2), (0.6, 0.5, 0.4), (0.35, 0.3, 0.28), first)))
    if kind == "concrete":
        first = rng.around(rng.pick(((0.55, 0.54, 0.52), (0.4, 0.39, 0.38), (0.68, 0.64, 0.57))))
    second = rng.around((0.36, 0.2, 0.12)) if kind == "worn" and rng.flag(0.6) else thing_color(rng)
    if kind == "letters" and sum(abs(a - b) for a, b in zip(first, second, strict=True)) < 0.5:
        second = (0.93, 0.92, 0.9) if sum(first) < 1.5 else (0.08, 0.08, 0.1)
    third = (0.7, 0.68, 0.64) if kind == "bricks" else thing_color(rng)
    return Material(kind, (first, second, third), rng.uniform(0.06, 0.2), seed, rng.flag(0.3),
                    rng.uniform(0.2, 0.8) if rng.flag(0.4) else 0.0)  # fmt: skip
