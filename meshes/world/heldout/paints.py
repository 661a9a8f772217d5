"""Paints of objects of the held-out world."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..surfaces.fabric import grain, noise

__all__ = ["FoliagePaint", "GoodsPaint", "NetPaint", "StripePaint"]

Color = tuple[float, float, float]


def cells(u: Tensor, v: Tensor, seed: int) -> Tensor:
    """A random number in [0, 1) for each unit cell of a grid."""
    key = torch.sin(u.floor() * 12.9898 + v.floor() * 78.233 + (seed % 983)) * 43758.5453
    return key - key.floor()


@dataclass(frozen=True, eq=False)
class StripePaint:
    """Slanted or upright stripes of two colours; ``upright`` stacks them."""

    colors: tuple[Color, Color]
    period: float
    slope: float = 1.0
    upright: bool = False

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1]."""
        place = coords[:, 1] if self.upright else coords[:, 0] + self.slope * coords[:, 1]
        rgb = torch.tensor(self.colors)[((place / self.period) % 1 < 0.5).long()]
        return rgb * (1 + 0.05 * noise(coords, 6.0, 3, 5))[:, None]


@dataclass(frozen=True, eq=False)
class GoodsPaint:
    """Cells of packages, labels and fruit; ``plain`` of them keep the first colour."""

    colors: tuple[Color, Color, Color]
    size: float
    seed: int
    plain: float = 0.25

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1]."""
        u, v = (coords[:, 0] + 0.5 * coords[:, 2]) / self.size, coords[:, 1] / self.size
        draw = cells(u, v, self.seed)
        zone = torch.where(draw < self.plain, 0, torch.where(draw < (1 + self.plain) / 2, 1, 2))
        rgb = torch.tensor(self.colors)[zone]
        inner = torch.maximum((u % 1 - 0.5).abs(), (v % 1 - 0.5).abs())
        label = (inner < 0.28) & (cells(u, v, self.seed + 1) < 0.5)
        rgb = torch.where(label[:, None], 1 - 0.6 * rgb, rgb)
        rgb = torch.where((inner > 0.47)[:, None], 0.6 * rgb, rgb)
        tone = 0.16 * grain(coords[:, 0] * 25, coords[:, 1] * 25, self.seed)
        return (rgb * (1 + tone)[:, None]).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class NetPaint:
    """Debris net or tarpaulin with folds."""

    color: Color
    seed: int

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1]."""
        stretched = coords * torch.tensor([1.0, 0.25, 1.0])
        fold = 0.16 * noise(stretched, 2.5, self.seed, 6)
        mesh = 0.08 * torch.sin(coords[:, 0] * 2 * math.pi / 0.03)
        rgb = torch.tensor(self.color) * (1 + fold + mesh)[:, None]
        return rgb.clamp(0, 1)


@dataclass(frozen=True, eq=False)
class FoliagePaint:
    """Leaves of one hue with light and dark sides."""

    color: Color
    seed: int

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1]."""
        leaf = grain(coords[:, 0] * 34 + coords[:, 2] * 21, coords[:, 1] * 34, self.seed)
        tone = 0.34 * leaf + 0.18 * noise(coords, 2.0, self.seed + 1, 5)
        return (torch.tensor(self.color) * (1 + tone)[:, None]).clamp(0, 1)
