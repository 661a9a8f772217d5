"""Places of the held-out world: halls, shop windows, stairs, night streets, noise panoramas."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..imaging.conditions import Conditions
from ..rng import Rng
from ..surfaces.fabric import grain, noise
from .fabrics import draw_color
from .paints import cells

__all__ = ["Place", "any_held_out_place"]

Color = tuple[float, float, float]
_KINDS = ("hall", "shops", "stairs", "night", "panorama")
_SIZE = 256
_FAR = 40.0


@lru_cache(maxsize=16)
def _texture(seed: int) -> Tensor:
    """(256, 256, 3) periodic colour noise with the 1/f spectrum of natural images, in [0, 1]."""
    rng = Rng.seeded("panorama", seed)
    rows = torch.fft.fftfreq(_SIZE)[:, None]
    columns = torch.fft.rfftfreq(_SIZE)[None]
    radius = (rows.square() + columns.square()).sqrt().clamp(min=1 / _SIZE)
    planes = []
    for _ in range(3):
        spectrum = torch.fft.rfft2(rng.normals(_SIZE, _SIZE)) / radius ** rng.uniform(1.0, 1.35)
        plane = torch.fft.irfft2(spectrum, s=(_SIZE, _SIZE))
        planes.append((plane - plane.mean()) / plane.std())
    light, warm, green = planes
    # Natural images vary more in lightness than in colour.
    rgb = torch.stack([light + 0.35 * warm, light + 0.25 * green, light - 0.4 * warm], -1)
    return (0.45 + 0.2 * rgb).clamp(0.02, 0.98)


def _sample(texture: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """(N, 3) values at (u, v) in periods."""
    column, row = u * _SIZE, v * _SIZE
    left, top = column.floor(), row.floor()
    mix_u, mix_v = (column - left)[:, None], (row - top)[:, None]
    i, j = top.long() % _SIZE, left.long() % _SIZE
    below, right = (i + 1) % _SIZE, (j + 1) % _SIZE
    upper = torch.lerp(texture[i, j], texture[i, right], mix_u)
    lower = torch.lerp(texture[below, j], texture[below, right], mix_u)
    return torch.lerp(upper, lower, mix_v)


@dataclass(frozen=True, eq=False)
class Place:
    """Ground, back wall, and ceiling or sky of one kind of place.

    Attributes:
        kind: "hall", "shops", "stairs", "night" or "panorama".
        colors: four sRGB colours: ground, wall, trim, light.
        turn: of the wall about the vertical, radians.
        distance: of the wall behind the person, metres.
        height: of the ceiling or the wall, metres.
        scale: factor on the size of tiles, panes and steps.
        seed: seed of all noise.
    """

    kind: str
    colors: tuple[Color, Color, Color, Color]
    turn: float
    distance: float
    height: float
    scale: float
    seed: int

    def look(self, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Colours, points and normals seen along rays; see `Backdrop.look`."""
        points, on_wall, on_ground = self._hits(origin, rays)
        side = torch.tensor([math.cos(self.turn), 0.0, -math.sin(self.turn)])
        along = points @ side
        normals = torch.tensor([0.0, 1.0, 0.0]).repeat(len(rays), 1)
        normals[on_wall] = self._facing
        colors = self._sky(along, points)
        colors[on_ground] = self._ground(points[on_ground], along[on_ground])
        colors[on_wall] = self._wall(along[on_wall], points[on_wall, 1])
        return colors.clamp(0, 1), points, normals

    def trace(self, origin: Tensor, rays: Tensor) -> Tensor:
        """Points (N, 3) seen along rays, without their colours."""
        return self._hits(origin, rays)[0]

    @property
    def _facing(self) -> Tensor:
        return torch.tensor([math.sin(self.turn), 0.0, math.cos(self.turn)])

    def _hits(self, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (N, 3) along rays, those (N,) on the wall, and those on the ground."""
        facing = self._facing
        to_ground = _reach(-origin[1].expand(len(rays)), rays[:, 1])
        approach = -(rays @ facing)
        gap = float(origin @ facing) + self.distance
        to_wall = _reach(torch.full_like(approach, gap), approach)
        to_top = _reach((self.height - origin[1]).expand(len(rays)), rays[:, 1])
        roofed = self.kind == "hall"
        reach = torch.minimum(to_ground, to_wall)
        if roofed:
            reach = torch.minimum(reach, to_top)
        reach = reach.clamp(max=_FAR)
        points = origin + rays * reach[:, None]
        on_wall = (to_wall <= reach) & (to_wall < _FAR)
        on_ground = (to_ground <= reach) & ~on_wall & (to_ground < _FAR)
        return points, on_wall, on_ground

    def _sky(self, along: Tensor, points: Tensor) -> Tensor:
        if self.kind == "hall":
            panel = ((along % 1.6) < 0.5) & ((points[:, 2] % 2.4) < 1.2)
            rgb = torch.tensor(self.colors[1]).expand(len(along), 3) * 0.8
            return torch.where(panel[:, None], torch.tensor([1.0, 0.98, 0.92]), rgb).clone()
        if self.kind == "panorama":
            return _sample(_texture(self.seed % 12), along / 24 + 0.3, -points[:, 1] / 18)
        return torch.tensor(self.colors[3]).repeat(len(along), 1)

    def _ground(self, points: Tensor, along: Tensor) -> Tensor:
        depth = points[:, 2]
        base = torch.tensor(self.colors[0]).expand(len(points), 3)
        rough = 0.12 * grain(along * 14, depth * 14, self.seed) + 0.1 * grain(
            along * 1.1, depth * 1.1, self.seed + 1
        )
        if self.kind == "panorama":
            return _sample(_texture((self.seed + 5) % 12), along / 6, depth / 6)
        if self.kind == "stairs":
            step = depth / (0.32 * self.scale)
            tread = torch.where(step % 1 < 0.45, 0.62, 1.0)
            edge = (step % 1 > 0.9)[:, None]
            rgb = base * tread[:, None]
            return torch.where(edge, torch.tensor(self.colors[2]), rgb) * (1 + rough)[:, None]
        if self.kind in ("hall", "shops"):
            speck = cells(along * 60, depth * 60, self.seed)[:, None]
            rgb = torch.where(speck > 0.86, 0.7 * base + 0.3 * torch.tensor(self.colors[2]), base)
            diamond = ((along + depth) / self.scale).floor() + (
                (along - depth) / self.scale
            ).floor()
            rgb = rgb * torch.where(diamond % 2 == 0, 1.0, 0.82)[:, None]
            return rgb * (1 + 0.5 * rough)[:, None]
        wet = 0.35 * (noise(torch.stack([along, depth, depth * 0], 1), 0.8, self.seed, 6) > 0.5)
        return base * (1 + rough + wet)[:, None]

    def _wall(self, u: Tensor, v: Tensor) -> Tensor:
        if self.kind == "panorama":
            return _sample(_texture(self.seed % 12), u / (7 * self.scale), -v / (7 * self.scale))
        rgb = torch.tensor(self.colors[1]).expand(len(u), 3)
        trim = torch.tensor(self.colors[2])
        rough = 0.06 * grain(u * 4, v * 4, self.seed + 3)
        if self.kind == "stairs":
            steps = (v / (0.17 * self.scale)) % 1
            rgb = rgb * torch.where(steps < 0.25, 0.55, 1.0)[:, None]
            rail = ((u % 2.1) < 0.06) & (v < 3.0)
            return torch.where(rail[:, None], trim, rgb) * (1 + rough)[:, None]
        if self.kind == "hall":
            pillar = (u % (2.6 * self.scale)) < 0.5
            band = (v - 2.2).abs() < 0.2
            rgb = torch.where(pillar[:, None], trim, rgb)
            sign = band & (cells(u * 1.3, v * 0, self.seed) > 0.4)
            return (
                torch.where(sign[:, None], torch.tensor(self.colors[3]), rgb) * (1 + rough)[:, None]
            )
        return self._shops(u, v, rgb * (1 + rough)[:, None])

    def _shops(self, u: Tensor, v: Tensor, rgb: Tensor) -> Tensor:
        """Windows full of goods under a sign; at night their light is all there is."""
        period = 2.2 * self.scale
        inside = ((u % period) > 0.15) & (v > 0.45) & (v < 2.5)
        goods = _sample(_texture((self.seed + 3) % 12), u / 2.3, -v / 2.3)
        dressed = cells(u * 3.1, v * 2.3, self.seed)[:, None]
        goods = torch.where(dressed > 0.72, 0.5 * goods + 0.5 * torch.tensor(self.colors[2]), goods)
        if self.kind == "night":
            glow = (cells(u / period, v * 0, self.seed + 9) > 0.45)[:, None]
            goods = torch.where(glow, (1.4 * goods + 0.25).clamp(0, 1), 0.12 * goods)
            rgb = rgb * 0.25
        else:
            goods = 0.75 * goods
        rgb = torch.where(inside[:, None], goods, rgb)
        sign = (v > 2.65) & (v < 3.15) & ((u % period) > 0.3)
        letters = cells(u * 6, v * 4, self.seed + 4) > 0.5
        board = torch.where(letters[:, None], torch.tensor(self.colors[3]),
                            torch.tensor(self.colors[2]))  # fmt: skip
        return torch.where(sign[:, None], board, rgb)


def _reach(gap: Tensor, speed: Tensor) -> Tensor:
    """Distances (N,) at which a gap is closed; infinite where it never is."""
    distance = gap / torch.where(speed.abs() < 1e-4, torch.full_like(speed, 1e-4), speed)
    return torch.where(distance > 1e-3, distance, torch.full_like(distance, math.inf))


def any_held_out_place(conditions: Conditions, rng: Rng) -> Place:
    """A random place, whatever the conditions."""
    kind = rng.pick(_KINDS, (26, 22, 14, 14, 24))
    night = kind == "night"
    sky = (0.05, 0.06, 0.1) if night else rng.pick(((0.9, 0.92, 0.95), (0.5, 0.62, 0.8)))
    return Place(
        kind=kind,
        colors=(
            draw_color(rng, "dark" if night else rng.pick(("pale", "earth"))),
            draw_color(rng, rng.pick(("pale", "earth", "pastel"))),
            draw_color(rng, rng.pick(("strong", "dark"))),
            sky if kind != "hall" else draw_color(rng, "strong"),
        ),
        turn=rng.normal(0, 0.5),
        distance=rng.uniform(0.9, 7.0),
        height=rng.uniform(2.7, 4.8),
        scale=rng.uniform(0.6, 1.6),
        seed=rng.integer(0, 1 << 30),
    )
