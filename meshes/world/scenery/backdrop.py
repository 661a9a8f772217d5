"""Ground and walls behind the people, new for every image; evaluated per pixel ray."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..rng import Rng
from ..surfaces.fabric import grain, noise
from ..surfaces.palette import dimmed, vivid_color

__all__ = ["Backdrop", "Surroundings", "draw_backdrop"]

Color = tuple[float, float, float]
_GROUNDS = ("asphalt", "tiles", "pavers", "grass", "slabs", "planks", "lines")
_WALLS = ("plaster", "brick", "panels", "foliage", "shutter", "glass", "none")


class Surroundings(Protocol):
    """Ground, walls and sky, for rays that hit no piece."""

    def look(self, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Colours, points and normals seen along rays; see `Backdrop.look`."""
        ...

    def trace(self, origin: Tensor, rays: Tensor) -> Tensor:
        """Points (N, 3) seen along rays, those of `look`, without their colours."""
        ...


@dataclass(frozen=True, eq=False)
class Backdrop:
    """Background of a scene: ground and walls, for rays that hit no piece.

    Attributes:
        ground, wall: names of their patterns.
        ground_colors, wall_colors: two sRGB colours each.
        ground_turn, wall_turn: angles about the vertical, radians.
        wall_distance: metres behind the person; wall_height in metres.
        scale: size of tiles and bricks, factor.
        far: sRGB colour above and beyond.
        panes: (P, 4) rectangles (left, bottom, right, top) in wall metres; pane_colors (P, 3).
        seed: seed of all noise.
    """

    ground: str
    wall: str
    ground_colors: tuple[Color, Color]
    wall_colors: tuple[Color, Color]
    ground_turn: float
    wall_turn: float
    wall_distance: float
    wall_height: float
    scale: float
    far: Color
    panes: Tensor
    pane_colors: Tensor
    seed: int

    def look(self, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Colours, points and normals seen along rays.

        Args:
            origin: (3,) camera, metres.
            rays: (N, 3) world directions.

        Returns:
            sRGB colours (N, 3), world points (N, 3) and unit normals (N, 3).
        """
        points, on_wall, far = self._hits(origin, rays)
        facing = self._facing
        colors = torch.empty(len(rays), 3)
        normals = torch.tensor([0.0, 1.0, 0.0]).repeat(len(rays), 1)
        floor = ~on_wall & ~far
        colors[floor] = self._ground(points[floor])
        along = torch.stack([points @ torch.tensor([facing[2], 0.0, -facing[0]]), points[:, 1]], -1)
        colors[on_wall] = self._wall(along[on_wall])
        normals[on_wall] = facing
        colors[far] = self._beyond(along[far])
        return colors.clamp(0, 1), points, normals

    def trace(self, origin: Tensor, rays: Tensor) -> Tensor:
        """Points (N, 3) seen along rays, without their colours."""
        return self._hits(origin, rays)[0]

    @property
    def _facing(self) -> Tensor:
        return torch.tensor([math.sin(self.wall_turn), 0.0, math.cos(self.wall_turn)])

    def _hits(self, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (N, 3) along rays, those (N,) on the wall, and those beyond."""
        down = rays[:, 1] < -1e-3
        reach = torch.where(
            down, -origin[1] / rays[:, 1].clamp(max=-1e-3), torch.full_like(rays[:, 1], 1e3)
        )
        facing = self._facing
        approach = -(rays @ facing)
        gap = float(origin @ facing) + self.wall_distance
        to_wall = torch.where(
            approach > 1e-3, gap / approach.clamp(min=1e-3), torch.full_like(approach, 1e3)
        )
        on_wall = (to_wall < reach) & (to_wall < 60)
        distance = torch.where(on_wall, to_wall, reach).clamp(max=60.0)
        points = origin + rays * distance[:, None]
        if self.wall == "none":
            on_wall &= False
        else:
            on_wall &= points[:, 1] < self.wall_height
        return points, on_wall, ~on_wall & ((to_wall < reach) | (reach > 60))

    def _beyond(self, place: Tensor) -> Tensor:
        flat = torch.cat([place, torch.zeros(len(place), 1)], 1)
        blur = 0.12 * noise(flat, 0.35, self.seed + 7) + 0.06 * noise(flat, 1.4, self.seed + 8)
        return torch.tensor(self.far) * (1 + blur)[:, None]

    def _ground(self, points: Tensor) -> Tensor:
        c, s = math.cos(self.ground_turn), math.sin(self.ground_turn)
        u = points[:, 0] * c - points[:, 2] * s
        v = points[:, 0] * s + points[:, 2] * c
        rough = 0.7 * grain(u * 60, v * 60, self.seed) + 0.6 * grain(u * 9, v * 9, self.seed + 1)
        rough = rough + 0.7 * grain(u * 1.3, v * 1.3, self.seed + 2)
        first, second = (torch.tensor(color) for color in self.ground_colors)
        mix = torch.zeros_like(u)
        if self.ground in ("tiles", "slabs"):
            side = (0.3 if self.ground == "tiles" else 0.9) * self.scale
            mix = _joint(u, side, 0.03) + _joint(v, side, 0.03)
            rough = 0.4 * rough + 0.8 * _cell(u / side, v / side, self.seed)
        elif self.ground == "pavers":
            row = (v / (0.12 * self.scale)).floor()
            shifted = u + 0.12 * self.scale * (row % 2)
            mix = _joint(shifted, 0.24 * self.scale, 0.04) + _joint(v, 0.12 * self.scale, 0.08)
            rough = 0.4 * rough + _cell(shifted / (0.24 * self.scale), row, self.seed)
        elif self.ground == "planks":
            mix = _joint(u, 0.14 * self.scale, 0.08)
            rough = 0.5 * rough + _cell(u / (0.14 * self.scale), torch.zeros_like(u), self.seed)
        elif self.ground == "grass":
            rough = 1.6 * rough + 1.2 * grain(u * 90, v * 30, self.seed + 3)
        elif self.ground == "lines":
            mix = ((u % (2.2 * self.scale)) < 0.16).float() * 2
        mix = mix.clamp(0, 1)[:, None]
        return (first * (1 - mix) + second * mix) * (1 + 0.09 * rough)[:, None]

    def _wall(self, place: Tensor) -> Tensor:
        u, v = place.unbind(-1)
        rough = 0.7 * grain(u, v, self.seed + 4) + 0.4 * grain(u * 30, v * 30, self.seed + 5)
        first, second = (torch.tensor(color) for color in self.wall_colors)
        mix = torch.zeros_like(u)
        if self.wall == "brick":
            row = (v / (0.09 * self.scale)).floor()
            shifted = u + 0.13 * self.scale * (row % 2)
            mix = _joint(shifted, 0.26 * self.scale, 0.05) + _joint(v, 0.09 * self.scale, 0.14)
            rough = rough + _cell(shifted / (0.26 * self.scale), row, self.seed)
        elif self.wall == "panels":
            mix = _joint(u, 1.2 * self.scale, 0.02) + _joint(v, 1.0 * self.scale, 0.02)
        elif self.wall == "shutter":
            mix = 0.5 + 0.5 * torch.sin(v * 2 * math.pi / (0.1 * self.scale))
        elif self.wall == "foliage":
            rough = 2.0 * grain(u * 6, v * 6, self.seed + 6) + 2.6 * grain(
                u * 24, v * 24, self.seed + 7
            )
        elif self.wall == "glass":
            mix = _joint(u, 1.5 * self.scale, 0.04) + _joint(v, 2.3, 0.03)
        mix = mix.clamp(0, 1)[:, None]
        colors = first * (1 - mix) + second * mix
        for pane, color in zip(self.panes, self.pane_colors, strict=True):
            inside = (u > pane[0]) & (u < pane[2]) & (v > pane[1]) & (v < pane[3])
            colors = torch.where(inside[:, None], color, colors)
        return colors * (1 + 0.1 * rough)[:, None]


def _joint(value: Tensor, period: float, width: float) -> Tensor:
    """1 on the joints of a periodic pattern, soft at the edge; ``width`` in periods."""
    place = ((value / period) % 1 - 0.5).abs()
    return ((place - 0.5 + width) / width).clamp(0, 1)


def _cell(u: Tensor, v: Tensor, seed: int) -> Tensor:
    """A random number in [-1, 1] for each unit cell."""
    key = torch.sin(u.floor() * 12.9898 + v.floor() * 78.233 + (seed % 997)) * 43758.5453
    return 2 * (key - key.floor()) - 1


def draw_backdrop(rng: Rng) -> Backdrop:
    """A random place."""
    ground = rng.pick(_GROUNDS, (30, 14, 14, 9, 15, 6, 12))
    wall = rng.pick(_WALLS, (24, 14, 16, 15, 7, 12, 12))
    base = rng.uniform(0.3, 0.7)
    grounds = {
        "grass": ((0.3, 0.38, 0.18), (0.36, 0.33, 0.22)),
        "planks": ((0.5, 0.38, 0.27), (0.25, 0.18, 0.13)),
        "lines": ((0.33, 0.33, 0.34), (0.85, 0.84, 0.8)),
    }
    first, second = grounds.get(
        ground, (rng.around((base, base * 0.98, base * 0.94), 0.03), (base * 0.7,) * 3)
    )
    light = vivid_color(rng) if rng.flag(0.3) else rng.around(
        rng.pick(((0.75, 0.72, 0.66), (0.6, 0.6, 0.6), (0.55, 0.35, 0.28), (0.85, 0.83, 0.8),
                     (0.4, 0.42, 0.45))), 0.08)  # fmt: skip
    if wall == "foliage":
        light = rng.around((0.2, 0.28, 0.13), 0.05)
    if wall == "glass":
        light = rng.around((0.25, 0.3, 0.34), 0.06)
    count = rng.integer(0, 7) if wall != "foliage" else 0
    left = 8 * rng.uniforms(count) - 4
    low = torch.where(rng.uniforms(count) < 0.5, torch.zeros(count), 0.4 + rng.uniforms(count))
    panes = torch.stack(
        [
            left,
            low,
            left + 0.3 + 1.6 * rng.uniforms(count),
            low + 0.5 + 1.7 * rng.uniforms(count),
        ],
        1,
    )
    colors = torch.tensor([vivid_color(rng) for _ in range(count)]).reshape(count, 3)
    return Backdrop(
        ground=ground,
        wall=wall,
        ground_colors=(rng.around(first, 0.03), second),
        wall_colors=(light, dimmed(light, 0.65)),
        ground_turn=rng.uniform(-math.pi, math.pi),
        wall_turn=rng.normal(0, 0.35),
        wall_distance=rng.uniform(1.2, 9.0),
        wall_height=rng.uniform(2.2, 7.0),
        scale=rng.uniform(0.75, 1.5),
        far=rng.around(
            rng.pick(((0.75, 0.8, 0.86), (0.55, 0.57, 0.55), (0.35, 0.4, 0.3), (0.6, 0.55, 0.5))),
            0.08,
        ),
        panes=panes,
        pane_colors=colors * 0.85,
        seed=rng.integer(0, 1 << 30),
    )
