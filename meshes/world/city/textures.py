"""Random fields and periodic marks of grounds and walls."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..rng import Rng

__all__ = ["Color", "chance", "fractal", "line", "mixed", "tinted"]

#: sRGB in [0, 1].
Color = tuple[float, float, float]
_SIZE = 256


@lru_cache(maxsize=1)
def _tile() -> Tensor:
    """(256 * 256,) periodic noise of zero mean and unit variance, amplitude 1 / frequency.

    Natural images have that spectrum on average (Field, JOSA A 1987: slope of amplitude about -1).
    """
    rows = torch.fft.fftfreq(_SIZE)[:, None]
    columns = torch.fft.rfftfreq(_SIZE)[None]
    radius = (rows.square() + columns.square()).sqrt().clamp(min=1 / _SIZE)
    white = Rng.seeded("city fractal").normals(_SIZE, _SIZE)
    plane = torch.fft.irfft2(torch.fft.rfft2(white) / radius, s=(_SIZE, _SIZE))
    return ((plane - plane.mean()) / plane.std()).flatten()


def fractal(u: Tensor, v: Tensor, period: float, seed: int) -> Tensor:
    """Noise (N,) with the 1 / f spectrum of natural images.

    Args:
        u: (N,) metres.
        v: (N,) metres.
        period: metres after which it repeats; details are 1 / 256 of it.
        seed: shifts the field.
    """
    tile = _tile()
    column = u * (_SIZE / period) + 37 * (seed % 251)
    row = v * (_SIZE / period) + 91 * (seed % 241)
    left, top = column.floor(), row.floor()
    mix_u, mix_v = column - left, row - top
    i, j = top.long(), left.long()
    upper, lower = (i & 255) << 8, ((i + 1) & 255) << 8
    near, far = j & 255, (j + 1) & 255
    above = torch.lerp(tile[upper | near], tile[upper | far], mix_u)
    below = torch.lerp(tile[lower | near], tile[lower | far], mix_u)
    return torch.lerp(above, below, mix_v)


def chance(u: Tensor, v: Tensor, seed: int) -> Tensor:
    """A random number (N,) in [0, 1) for the cell of each pair of whole numbers."""
    key = torch.sin(u * 12.9898 + v * 78.233 + 3.1 * (seed % 1013)) * 43758.5453
    return key - key.floor()


def line(value: Tensor, period: float, width: float) -> Tensor:
    """1 on lines of a width, both in metres, at multiples of a period; soft at the edges."""
    away = ((value / period + 0.5) % 1 - 0.5).abs() * period
    return (1.5 - away / max(width, 1e-3) * 1.5).clamp(0, 1)


def mixed(first: Tensor, second: Color | Tensor, amount: Tensor) -> Tensor:
    """Colours (N, 3) between two, by amounts (N,) in [0, 1]."""
    other = torch.tensor(second) if isinstance(second, tuple) else second
    return first + (other - first) * amount[:, None].to(first.dtype)


def tinted(color: Color, tone: Tensor) -> Tensor:
    """Colours (N, 3): one colour, brighter by the fraction ``tone`` (N,)."""
    return torch.tensor(color) * (1 + tone)[:, None]
