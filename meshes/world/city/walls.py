"""Walls of streets and halls, as functions of metres along and up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .textures import Color, chance, fractal, line, mixed, tinted

__all__ = ["WALLS", "Wall"]

_GLASS: Color = (0.22, 0.25, 0.28)
_WARM: Color = (1.0, 0.83, 0.56)
_COOL: Color = (0.93, 0.97, 1.0)


@dataclass(frozen=True)
class Wall:
    """An upright plane.

    Attributes:
        kind: name of its paint, one of ``WALLS``.
        turn: of its normal about the vertical from +z, radians.
        distance: from the origin, metres.
        height: metres.
        colors: main colour, second colour, accent; sRGB.
        size: of bays, doors and shelves, factor.
        glow: brightness of windows and lamps against a white surface in the ambient light.
        seed: seed of all noise.
    """

    kind: str
    turn: float
    distance: float
    height: float
    colors: tuple[Color, Color, Color]
    size: float
    glow: float
    seed: int

    def paint(self, u: Tensor, v: Tensor) -> Tensor:
        """Colours (N, 3); above 1 where a window or lamp is brighter than a white surface."""
        return WALLS[self.kind](self, u, v)

    def weathered(self, u: Tensor, v: Tensor, amount: float = 1.0) -> Tensor:
        """Tone (N,) of plaster, stone or paint: soiling, streaks, splash above ground."""
        tone = 0.06 * fractal(u, v, 7.0, self.seed) + 0.035 * fractal(v, u, 1.7, self.seed + 1)
        streak = 0.05 * fractal(u * 3, v * 0.2, 6.0, self.seed + 2)
        return amount * (tone + streak - 0.16 * torch.exp(-v / 0.35))


def _panes(wall: Wall, u: Tensor, v: Tensor, bay: float, floor: float) -> tuple[Tensor, Tensor]:
    """Colours of glass behind which rooms lie, and which of them are lit (N,)."""
    column, row = (u / bay).floor(), (v / floor).floor()
    dark = chance(column, row, wall.seed + 3)
    # A window mirrors sky in its upper part and the street in its lower.
    up = (v / floor - row).clamp(0, 1)
    tone = 0.9 * (dark - 0.5) + 0.7 * (up - 0.4) + 0.28 * fractal(u, v, 3.0, wall.seed + 4)
    glass = tinted(_GLASS, tone)
    curtain = (chance(column, row, wall.seed + 5) < 0.35) & (up > 0.35)
    glass = torch.where(curtain[:, None], tinted((0.6, 0.58, 0.53), 0.5 * tone - 0.2), glass)
    lit = chance(column, row, wall.seed + 6) < (0.3 if wall.glow else 0.0)
    shade = (0.65 + 0.3 * dark + 0.25 * fractal(u, v, 2.0, wall.seed + 7)).clamp(min=0.1)
    warm = torch.where((chance(column, row, wall.seed + 8) < 0.7)[:, None],
                       torch.tensor(_WARM), torch.tensor(_COOL))  # fmt: skip
    return torch.where(lit[:, None], wall.glow * shade[:, None] * warm, glass), lit


def _facade(wall: Wall, u: Tensor, v: Tensor) -> Tensor:
    """House front: plinth, shop windows or doors below, rows of windows with sills above."""
    bay, floor = 1.9 * wall.size, 3.1
    rgb = tinted(wall.colors[0], wall.weathered(u, v))
    if wall.seed % 3 == 0:  # bricks
        row = (v / 0.075).floor()
        shifted = u + 0.12 * (row % 2)
        joint = torch.maximum(line(shifted, 0.24, 0.008), line(v, 0.075, 0.008))
        tone = 0.22 * (chance((shifted / 0.24).round(), row, wall.seed) - 0.5)
        rgb = mixed(rgb * (1 + tone)[:, None], (0.6, 0.58, 0.55), 0.4 * joint)
    plinth = v < 0.45
    rgb = torch.where(plinth[:, None], tinted(wall.colors[1], wall.weathered(u, v, 1.4)), rgb)
    level = v - 3.3
    place, up = (u / bay) % 1, (level / floor) % 1
    window = (level > 0) & ((place - 0.5).abs() < 0.28) & (up > 0.3) & (up < 0.85)
    frame = window & (((place - 0.5).abs() > 0.25) | (up < 0.33) | (up > 0.82)
                      | ((place - 0.5).abs() < 0.015))  # fmt: skip
    glass, _ = _panes(wall, u, level, bay, floor)
    rgb = torch.where(window[:, None], glass, rgb)
    rgb = torch.where(frame[:, None], torch.tensor((0.78, 0.77, 0.74)), rgb)
    sill = (level > 0) & ((up - 0.285).abs() < 0.015) & ((place - 0.5).abs() < 0.31)
    rgb = torch.where((sill | ((v - 3.15).abs() < 0.07))[:, None], rgb * 0.72 + 0.1, rgb)
    return _street_floor(wall, u, v, bay, rgb)


def _street_floor(wall: Wall, u: Tensor, v: Tensor, bay: float, rgb: Tensor) -> Tensor:
    """Windows to a pavement, doors, and a fascia above."""
    column, place = (u / (1.4 * bay)).floor(), (u / (1.4 * bay)) % 1
    kind = chance(column, column * 0, wall.seed + 9)
    low = torch.where(kind < 0.45, 0.55, torch.where(kind < 0.62, 0.02, 9.0))
    opening = (v > low) & (v < 2.5) & ((place - 0.5).abs() < torch.where(kind < 0.45, 0.42, 0.2))
    glass, _ = _panes(wall, u + 40, v, 0.7 * bay, 2.9)
    door = tinted(wall.colors[2], 0.5 * wall.weathered(u, v))
    panel = torch.maximum(line(place - 0.5, 0.2, 0.01), line(v, 0.8, 0.02))
    door = mixed(door, torch.tensor(wall.colors[2]) * 0.55, panel)
    inside = torch.where((kind < 0.45)[:, None], glass, door)
    rgb = torch.where(opening[:, None], inside, rgb)
    frame = opening & ((place - 0.5).abs() > 0.395) & (kind < 0.45)
    rgb = torch.where(frame[:, None], torch.tensor(wall.colors[2]) * 0.6, rgb)
    fascia = (kind < 0.45) & (v > 2.58) & (v < 3.05)
    tone = 0.3 * (chance((u * 5).floor(), column, wall.seed + 10) > 0.6).float()
    board = tinted(wall.colors[2], tone + 0.3 * wall.weathered(u, v))
    return torch.where(fascia[:, None], board * (1 + 0.6 * wall.glow), rgb)


def _glazing(wall: Wall, u: Tensor, v: Tensor) -> Tensor:
    """Curtain wall of an office or a mall: posts, rails, doors; by day it mirrors the sky."""
    bay = 1.35 * wall.size
    glass, _ = _panes(wall, u, v, bay, 3.4)
    posts = torch.maximum(line(u, bay, 0.035), line(v - 2.4, 3.4, 0.05))
    rgb = mixed(glass, (0.42, 0.43, 0.45), posts)
    handle = (((u / bay) % 1 - 0.12).abs() < 0.02) & (v > 0.8) & (v < 1.4)
    band = (v - 1.45).abs() < 0.03
    rgb = torch.where(handle[:, None], torch.tensor((0.7, 0.7, 0.7)), rgb)
    return torch.where(band[:, None], rgb * 0.6 + 0.3, rgb)


def _hedge(wall: Wall, u: Tensor, v: Tensor) -> Tensor:
    """Bushes and trees: clumps, gaps between leaves, trunks."""
    clump = fractal(u, v, 9.0, wall.seed) + 0.7 * fractal(v, u, 2.1, wall.seed + 1)
    leaf = fractal(u, v, 0.8, wall.seed + 2)
    tone = 0.3 * clump + 0.28 * leaf
    rgb = mixed(tinted(wall.colors[0], tone), wall.colors[1], (0.3 * clump + 0.3).clamp(0, 0.8))
    gap = fractal(u, v, 3.3, wall.seed + 3) + 0.4 * leaf < -1.1
    rgb = torch.where(gap[:, None], rgb * 0.35, rgb)
    column = (u / 3.1).floor()
    middle = (column + 0.3 + 0.4 * chance(column, column * 0, wall.seed + 4)) * 3.1
    trunk = ((u - middle + 0.06 * torch.sin(2 * v)).abs() < 0.11) & (v < 2.6)
    return torch.where(trunk[:, None], tinted((0.3, 0.26, 0.22), tone), rgb)


def _concrete(wall: Wall, u: Tensor, v: Tensor) -> Tensor:
    """Cast concrete or plaster with panels, pipes, and at times paint up to a line."""
    rgb = tinted(wall.colors[0], 1.3 * wall.weathered(u, v))
    joint = torch.maximum(line(u, 2.5 * wall.size, 0.012), line(v, 2.7, 0.012))
    rgb = mixed(rgb, torch.tensor(wall.colors[0]) * 0.6, 0.6 * joint)
    if wall.seed % 2:
        painted = v < 1.25
        rgb = torch.where(painted[:, None], tinted(wall.colors[1], wall.weathered(u, v)), rgb)
    pipe = (((u / (5.3 * wall.size)) % 1) - 0.5).abs() * 5.3 < 0.05
    return torch.where(pipe[:, None], rgb * 0.75, rgb)


def _rooms(wall: Wall, u: Tensor, v: Tensor) -> Tensor:
    """Corridor: painted wall with skirting, doors with frames, boards with notices."""
    rgb = tinted(wall.colors[0], 0.7 * wall.weathered(u, v))
    dado = v < (1.05 if wall.seed % 3 else 0.12)
    rgb = torch.where(dado[:, None], tinted(wall.colors[1], 0.7 * wall.weathered(u, v)), rgb)
    column, place = (u / (2.7 * wall.size)).floor(), ((u / (2.7 * wall.size)) % 1 - 0.5) * 2.7
    kind = chance(column, column * 0, wall.seed + 3)
    door = (kind < 0.5) & (place.abs() < 0.45) & (v < 2.06)
    frame = (kind < 0.5) & (place.abs() < 0.53) & (v < 2.14) & ~door
    rgb = torch.where(door[:, None], tinted(wall.colors[2], 0.5 * wall.weathered(u, v)), rgb)
    rgb = torch.where(frame[:, None], torch.tensor(wall.colors[1]) * 0.7, rgb)
    pane = door & ((place - 0.1).abs() < 0.12) & (v > 1.1) & (v < 1.8) & (kind < 0.3)
    rgb = torch.where(pane[:, None], torch.tensor(_GLASS), rgb)
    knob = door & ((place - 0.36).abs() < 0.05) & ((v - 1.02).abs() < 0.02)
    rgb = torch.where(knob[:, None], torch.tensor((0.72, 0.72, 0.7)), rgb)
    board = (kind > 0.68) & (place.abs() < 0.55) & ((v - 1.5).abs() < 0.4)
    sheet = chance((u / 0.24).floor(), (v / 0.32).floor(), wall.seed + 4)
    paper = tinted((0.86, 0.85, 0.8), 0.4 * (sheet - 0.7))
    paper = torch.where((sheet < 0.4)[:, None], torch.tensor((0.5, 0.42, 0.32)), paper)
    rgb = torch.where(board[:, None], paper, rgb)
    return torch.where((v < 0.1)[:, None], rgb * 0.55, rgb)


def _shelves(wall: Wall, u: Tensor, v: Tensor) -> Tensor:
    """Shelves of a store: boards with price rails, rows of like packages, shade below boards."""
    step = 0.42 * wall.size
    shelf = (v / step).floor()
    up = v / step - shelf
    product = (u / 0.55 + 7 * chance(shelf, shelf * 0, wall.seed)).floor()
    tint = torch.stack([chance(product, shelf, wall.seed + k) for k in (1, 2, 3)], -1)
    grey = tint.mean(-1, keepdim=True)
    rgb = 0.2 + 0.6 * (grey + (0.35 + 0.4 * (tint[:, :1] > 0.75)) * (tint - grey))
    item = (u / (0.06 + 0.1 * tint[:, 0])).floor()
    height = 0.45 + 0.42 * chance(product, shelf, wall.seed + 4)
    label = (up > 0.2) & (up < 0.2 + 0.5 * height) & (chance(product, shelf, wall.seed + 5) < 0.6)
    rgb = torch.where(label[:, None], 1 - 0.75 * rgb, rgb)
    rgb = rgb * (0.9 + 0.25 * (chance(item, shelf, wall.seed + 6) - 0.5))[:, None]
    empty = (up > height) | (chance(item, shelf, wall.seed + 7) < 0.08)
    rgb = torch.where(empty[:, None], torch.tensor((0.13, 0.13, 0.13)), rgb)
    rgb = rgb * (1 - 0.45 * ((up - 0.4) / 0.5).clamp(0, 1))[:, None]
    rail = up < 0.1
    rgb = torch.where(rail[:, None], tinted(wall.colors[0], 0.2 * (tint[:, 0] - 0.5)), rgb)
    post = line(u, 1.25, 0.02)
    return torch.where(
        (v > 2.1)[:, None], torch.tensor(wall.colors[1]), mixed(rgb, (0.5,) * 3, post)
    )


def _tiled(wall: Wall, u: Tensor, v: Tensor) -> Tensor:
    """Underground station: glazed tiles, a coloured band, posters in frames."""
    tone = 0.4 * wall.weathered(u, v) + 0.08 * (
        chance((u / 0.2).floor(), (v / 0.1).floor(), wall.seed) - 0.5
    )
    rgb = tinted(wall.colors[0], tone)
    rgb = mixed(
        rgb, (0.5, 0.5, 0.48), 0.5 * torch.maximum(line(u, 0.2, 0.006), line(v, 0.1, 0.006))
    )
    rgb = torch.where(((v - 2.35).abs() < 0.22)[:, None], tinted(wall.colors[2], tone), rgb)
    column, place = (u / (2.9 * wall.size)).floor(), ((u / (2.9 * wall.size)) % 1 - 0.5) * 2.9
    poster = (
        (chance(column, column * 0, wall.seed + 3) < 0.55)
        & (place.abs() < 0.85)
        & ((v - 1.35).abs() < 0.62)
    )
    hue = torch.stack([chance(column, column * 0, wall.seed + k) for k in (4, 5, 6)], -1)
    picture = (0.25 + 0.5 * hue) * (1 + 0.4 * fractal(u, v, 1.9, wall.seed + 7))[:, None]
    block = (chance(column, (v * 4).floor(), wall.seed + 8) < 0.3) & (
        chance((u * 9).floor(), (v * 12).floor(), wall.seed + 9) < 0.7
    )
    picture = torch.where(block[:, None], 0.92 - 0.6 * hue, picture)
    rgb = torch.where(poster[:, None], picture, rgb)
    edge = poster & ((place.abs() > 0.8) | ((v - 1.35).abs() > 0.58))
    return torch.where(edge[:, None], torch.tensor((0.3, 0.31, 0.32)), rgb)


def _train(wall: Wall, u: Tensor, v: Tensor) -> Tensor:
    """Side of a train at a platform: body, band of windows, doors, gap below."""
    tone = 0.35 * wall.weathered(u, v)
    rgb = torch.where(
        (v < 0.95)[:, None], tinted(wall.colors[2], tone), tinted(wall.colors[0], tone)
    )
    along = u % 5.2
    door = (along < 1.4) & (v < 2.15)
    rgb = torch.where(door[:, None], tinted(wall.colors[1], tone), rgb)
    glass, _ = _panes(wall, u, v, 1.3, 9.0)
    window = (v > 1.0) & (v < 1.9) & (
        ((along > 1.7) & (along < 4.9) & (((along - 1.7) % 1.6) < 1.45))
        | ((along < 1.3) & (along > 0.1) & ((along - 0.7).abs() > 0.06))
    )  # fmt: skip
    rgb = torch.where(window[:, None], glass, rgb)
    seam = door & ((along - 0.7).abs() < 0.015)
    return torch.where((seam | (v < 0.06))[:, None], torch.tensor((0.08, 0.08, 0.08)), rgb)


#: Paints of walls by name.
WALLS: Mapping[str, Callable[[Wall, Tensor, Tensor], Tensor]] = {
    "facade": _facade, "glazing": _glazing, "hedge": _hedge, "concrete": _concrete,
    "rooms": _rooms, "shelves": _shelves, "tiled": _tiled, "train": _train,
}  # fmt: skip
