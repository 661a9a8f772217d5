"""Places of the city world: ground, up to three walls, a ceiling or the sky."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..imaging.conditions import Conditions
from ..rng import Rng
from .grounds import Ground, draw_strips
from .textures import Color, fractal, line, tinted
from .walls import Wall

__all__ = ["INDOORS", "OUTDOORS", "Site", "draw_site"]

_FAR = 70.0
#: Kinds of places outside, with their frequencies.
OUTDOORS = {"pavement": 34, "road": 14, "square": 16, "park": 14, "car park": 10, "entrance": 12}
#: Kinds of places inside, with their frequencies.
INDOORS = {"corridor": 24, "aisle": 16, "platform": 18, "mall": 24, "garage": 18}
_MATERIALS: dict[str, tuple[str, ...]] = {
    "pavement": ("slabs", "setts", "asphalt", "brick", "slabs"),
    "road": ("asphalt", "slabs", "asphalt", "lawn"),
    "square": ("setts", "slabs", "stone", "brick"),
    "park": ("gravel", "lawn", "asphalt", "lawn"),
    "car park": ("asphalt", "concrete", "lawn"),
    "entrance": ("slabs", "stone", "brick", "concrete"),
    "corridor": ("vinyl", "carpet", "stone"),
    "aisle": ("vinyl", "stone"),
    "platform": ("stone", "slabs", "concrete"),
    "mall": ("stone", "vinyl", "wood"),
    "garage": ("concrete", "asphalt"),
}
_MARKS: dict[str, tuple[str, ...]] = {
    "road": ("dashes", "edge", "zebra"),
    "car park": ("bays",),
    "pavement": ("none", "none", "tactile"),
    "platform": ("tactile", "edge"),
    "garage": ("bays", "edge"),
}
_PLASTERS: tuple[Color, ...] = (
    (0.72, 0.68, 0.6), (0.63, 0.6, 0.56), (0.55, 0.42, 0.35), (0.78, 0.75, 0.7),
    (0.5, 0.49, 0.48), (0.66, 0.57, 0.43), (0.47, 0.35, 0.3), (0.6, 0.62, 0.62),
)  # fmt: skip
_ACCENTS: tuple[Color, ...] = (
    (0.2, 0.24, 0.32), (0.34, 0.16, 0.15), (0.16, 0.27, 0.22), (0.25, 0.25, 0.26),
    (0.5, 0.42, 0.3), (0.62, 0.62, 0.6), (0.2, 0.33, 0.48), (0.6, 0.2, 0.14), (0.68, 0.55, 0.2),
)  # fmt: skip
_LEAVES: tuple[Color, ...] = (
    (0.24, 0.3, 0.16),
    (0.3, 0.34, 0.2),
    (0.36, 0.33, 0.2),
    (0.42, 0.36, 0.25),
    (0.2, 0.25, 0.17),
)
_PALE: tuple[Color, ...] = (
    (0.8, 0.79, 0.75),
    (0.7, 0.72, 0.72),
    (0.78, 0.74, 0.64),
    (0.66, 0.68, 0.62),
    (0.84, 0.84, 0.84),
)


@dataclass(frozen=True)
class Site:
    """A place.

    Attributes:
        kind: one of ``OUTDOORS`` or ``INDOORS``.
        ground: strips of materials.
        walls: upright planes.
        ceiling: height of the ceiling, metres; 0: none.
        sky: sRGB above and beyond; the ceiling's colour inside.
        lamps: brightness of ceiling lamps against a white surface in the ambient light.
    """

    kind: str
    ground: Ground
    walls: tuple[Wall, ...]
    ceiling: float
    sky: Color
    lamps: float

    def look(self, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Colours, points and normals seen along rays; see `Backdrop.look`.

        Colours exceed 1 where a lamp or a lit window is brighter than a white surface.
        """
        points, hit = self._hits(origin, rays)
        normals = torch.tensor([0.0, 1.0, 0.0]).repeat(len(rays), 1)
        colors = torch.empty(len(rays), 3)
        floor = (hit == 0).nonzero()[:, 0]
        colors[floor] = self.ground.colors(points[floor, 0], points[floor, 2])
        for number, wall in enumerate(self.walls, 1):
            mine = (hit == number).nonzero()[:, 0]
            if len(mine):
                along = torch.tensor([math.cos(wall.turn), 0.0, -math.sin(wall.turn)])
                colors[mine] = wall.paint(points[mine] @ along, points[mine, 1])
                normals[mine] = torch.tensor([math.sin(wall.turn), 0.0, math.cos(wall.turn)])
        above = (hit < 0).nonzero()[:, 0]
        colors[above] = self._above(points[above])
        return colors.clamp(min=0), points, normals

    def trace(self, origin: Tensor, rays: Tensor) -> Tensor:
        """Points (N, 3) seen along rays, without their colours."""
        return self._hits(origin, rays)[0]

    def _hits(self, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
        """Points (N, 3) along rays, and their surfaces (N,).

        Surfaces are 0 for the ground, from 1 for the walls, -1 for the sky, -2 for the ceiling.
        """
        up = rays[:, 1]
        far = torch.full_like(up, _FAR)
        reach = torch.where(up < -1e-3, -origin[1] / up.clamp(max=-1e-3), far)
        # Below a mirror the eye lies under the ground and looks up.
        reach = torch.where(reach > 1e-3, reach, far).clamp(max=_FAR)
        hit = torch.where(reach < _FAR, 0, -1)
        if self.ceiling:
            rise = torch.where(up > 1e-3, (self.ceiling - origin[1]) / up.clamp(min=1e-3), far)
            hit = torch.where(rise < reach, -2, hit)
            reach = torch.minimum(reach, rise)
        for number, wall in enumerate(self.walls, 1):
            normal = torch.tensor([math.sin(wall.turn), 0.0, math.cos(wall.turn)])
            approach = -(rays @ normal)
            gap = float(origin @ normal) + wall.distance
            away = torch.where(approach > 1e-3, gap / approach.clamp(min=1e-3), far)
            top = origin[1] + up * away
            nearer = (away > 1e-3) & (away < reach) & (top < wall.height) & (top > -1e-3)
            hit = torch.where(nearer, number, hit)
            reach = torch.where(nearer, away, reach)
        points = origin + rays * reach[:, None]
        floor = (hit == 0).nonzero()[:, 0]
        points[floor, 1] = 0.0
        return points, hit

    def _above(self, points: Tensor) -> Tensor:
        x, z = points[:, 0], points[:, 2]
        if not self.ceiling:
            return tinted(self.sky, 0.12 * fractal(x, points[:, 1], 60.0, self.ground.seed))
        rgb = tinted(self.sky, -0.1 * torch.maximum(line(x, 0.6, 0.02), line(z, 0.6, 0.02)))
        tube = ((x % 2.4) < 0.16) & ((z % 3.0) < 1.5)
        return torch.where(tube[:, None], torch.tensor((1.0, 0.98, 0.94)) * self.lamps, rgb)


def _wall(rng: Rng, kind: str, turn: float, distance: float, height: float, glow: float) -> Wall:
    main = rng.pick(_PLASTERS)
    second = tuple(0.72 * value for value in main)
    if kind == "hedge":
        main, second = rng.pick(_LEAVES), rng.pick(_LEAVES)
    elif kind in ("rooms", "tiled", "train", "shelves"):
        main, second = rng.pick(_PALE), rng.pick(_PALE + _ACCENTS)
    return Wall(
        kind=kind,
        turn=turn,
        distance=distance,
        height=height,
        colors=(rng.around(main, 0.03), rng.around(second, 0.03), rng.around(rng.pick(_ACCENTS))),
        size=rng.uniform(0.75, 1.35),
        glow=glow,
        seed=rng.integer(0, 1 << 30),
    )


def _outdoor_walls(rng: Rng, kind: str, glow: float) -> tuple[Wall, ...]:
    turn = rng.normal(0, 0.4)
    if kind == "entrance":
        return (
            _wall(rng, rng.pick(("glazing", "facade")), turn, rng.uniform(1.0, 4.0), 9.0, glow),
        )
    if kind == "park":
        if rng.flag(0.2):
            return ()
        height = rng.pick((1.3, 2.2, 7.0)) * rng.uniform(0.8, 1.2)
        hedge = _wall(rng, "hedge", turn, rng.uniform(2.0, 12.0), height, 0.0)
        return (hedge, _wall(rng, "hedge", turn + rng.normal(0, 0.3), 20.0, 9.0, 0.0))
    if kind == "car park":
        low = rng.pick(("concrete", "hedge"))
        edge = _wall(rng, low, turn, rng.uniform(4.0, 12.0), rng.uniform(0.8, 2.6), 0.0)
        return (edge, _wall(rng, rng.pick(("facade", "hedge")), turn, 24.0, 12.0, glow))
    near = rng.uniform(1.2, 4.5) if kind == "pavement" else rng.uniform(5.0, 18.0)
    front = _wall(
        rng, rng.pick(("facade", "glazing", "concrete"), (66, 18, 16)), turn, near, 14.0, glow
    )
    if rng.flag(0.4):
        side = turn + rng.sign() * rng.uniform(1.2, 1.7)
        return (
            front,
            _wall(rng, rng.pick(("facade", "hedge")), side, rng.uniform(6, 16), 14.0, glow),
        )
    return (front,)


def _indoor_walls(rng: Rng, kind: str, glow: float) -> tuple[Wall, ...]:
    turn = rng.normal(0, 0.25)
    if kind in ("corridor", "aisle"):
        paint = "rooms" if kind == "corridor" else "shelves"
        height = 9.0 if kind == "corridor" else rng.uniform(1.7, 2.3)
        half = rng.uniform(1.0, 2.2)
        ends = _wall(
            rng, rng.pick((paint, "glazing"), (75, 25)), turn, rng.uniform(3, 14), 9.0, glow
        )
        left = _wall(rng, paint, turn + math.pi / 2, half, height, 0.0)
        right = _wall(rng, paint, turn - math.pi / 2, rng.uniform(0.9, 2.5), height, 0.0)
        return (ends, left, right)
    if kind == "platform":
        back = rng.pick(("tiled", "train", "concrete"), (50, 34, 16))
        far = rng.uniform(1.6, 6.0)
        side = turn + rng.sign() * math.pi / 2
        return (
            _wall(rng, back, turn, far, 3.4, glow),
            _wall(rng, "tiled", side, rng.uniform(4, 12), 9.0, 0.0),
        )
    if kind == "garage":
        return (_wall(rng, "concrete", turn, rng.uniform(3.0, 14.0), 9.0, 0.0),)
    near = _wall(
        rng,
        rng.pick(("glazing", "rooms", "tiled"), (60, 25, 15)),
        turn,
        rng.uniform(2, 9),
        9.0,
        glow,
    )
    side = turn + rng.sign() * rng.uniform(1.3, 1.7)
    return (near, _wall(rng, "glazing", side, rng.uniform(3, 10), 9.0, glow))


def draw_site(conditions: Conditions, rng: Rng) -> Site:
    """A random place for the conditions: inside or outside, by day or with lit windows."""
    night = not conditions.indoor and conditions.lux < 200
    kinds = INDOORS if conditions.indoor else OUTDOORS
    kind = rng.pick(tuple(kinds), tuple(kinds.values()))
    bright, lit, dim = rng.uniform(1.2, 1.9), rng.uniform(3.0, 5.0), rng.flag(0.5)
    ground = draw_strips(rng, _MATERIALS[kind], _MARKS.get(kind, ("none",)))
    if conditions.indoor:
        by_day = 7.5 < conditions.hour < 18
        walls = _indoor_walls(rng, kind, bright if by_day and not dim else 0.7)
        ceiling = rng.uniform(2.6, 3.6) if kind != "mall" else rng.uniform(3.5, 6.0)
        sky, lamps = rng.around(rng.pick(_PALE), 0.05), rng.uniform(1.8, 2.6)
        return Site(kind, ground, walls, ceiling, sky, lamps)
    walls = _outdoor_walls(rng, kind, lit if night else 0.0)
    sky = rng.pick(((0.83, 0.86, 0.9), (0.9, 0.91, 0.92), (0.66, 0.76, 0.88)))
    return Site(kind, ground, walls, 0.0, (0.35, 0.37, 0.45) if night else sky, 0.0)
