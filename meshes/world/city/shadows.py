"""Group "shadows": shadows of things outside the image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..imaging.camera import Camera, Light
from ..imaging.conditions import Conditions
from ..rng import Rng
from ..settings import WorldSettings
from .textures import fractal
from .wrapping import with_light

__all__ = ["Blind", "shadows"]

_KINDS = ("edge", "leaves", "bars", "all")


@dataclass(frozen=True, eq=False)
class Blind:
    """Things between the sun and the person, as a mask across the sun's rays.

    Attributes:
        kind: "edge" of a house, "leaves", "bars" of poles or a railing, "all" in the shade.
        side, up: (3,) unit, across the rays.
        turn: of the mask, radians.
        offset: of its edge or bars from the person's axis, metres.
        soft: half width of the penumbra, metres: the sun's 0.5 degrees are 9 mm a metre of way.
        period: of bars or leaves, metres.
        seed: seed of leaves.
        before: another cover, or None.
    """

    kind: str
    side: Tensor
    up: Tensor
    turn: float
    offset: float
    soft: float
    period: float
    seed: int
    before: Callable[[Tensor], Tensor] | None

    def __call__(self, points: Tensor) -> Tensor:
        """Fraction (N,) of the sun's light at points (N, 3)."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        x, y = points @ self.side, points @ self.up
        u, v = x * c - y * s, x * s + y * c
        if self.kind == "edge":
            open_ = ((u - self.offset) / (2 * self.soft) + 0.5).clamp(0, 1)
        elif self.kind == "bars":
            near = ((u - self.offset + self.period / 2) % self.period - self.period / 2).abs()
            open_ = ((near - 0.15 * self.period) / (2 * self.soft) + 0.5).clamp(0, 1)
        elif self.kind == "leaves":
            open_ = (0.55 + fractal(u, v, 6 * self.period, self.seed) / (8 * self.soft)).clamp(0, 1)
        else:
            open_ = torch.zeros(len(points))
        return open_ if self.before is None else open_ * self.before(points)


def shadows(settings: WorldSettings) -> WorldSettings:
    """Half of the images with direct light lie in part in the shade of houses, trees, poles."""
    return with_light(settings, "shadows", _covered)


def _covered(camera: Camera, conditions: Conditions, before: Light, rng: Rng) -> Light:
    faint = float(before.sun.mean()) < 0.35
    if not rng.flag(0.55) or conditions.indoor or faint:
        return before
    kind = rng.pick(_KINDS, (40, 26, 18, 16))
    side = normalize(torch.linalg.cross(before.direction, torch.tensor([0.0, 1.0, 0.0])), dim=0)
    blind = Blind(
        kind=kind,
        side=side,
        up=torch.linalg.cross(side, before.direction),
        turn=rng.uniform(-math.pi, math.pi) if kind == "leaves" else rng.normal(0, 0.35)
        + (math.pi if rng.flag(0.5) else 0.0) + (math.pi / 2 if rng.flag(0.3) else 0.0),
        offset=rng.normal(0, 0.6),
        soft=rng.uniform(0.03, 0.14),
        period=rng.uniform(0.8, 2.6),
        seed=rng.integer(0, 1 << 30),
        before=before.cover,
    )  # fmt: skip
    return replace(before, cover=blind)
