"""Hair and headwear: hairline, shells on the head, hanging hair, brims.

All points are T-pose coordinates of the mean body: its head joint is near (0, 0.64, 0.03), the
eyes at y 0.685, the crown at 0.79, the back of the head at z -0.06.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..rng import Rng
from ..surfaces.fabric import noise
from ..surfaces.primitives import Mesh, ellipsoid, grid_faces, join, tube

__all__ = ["brim", "hair_thickness", "hairline", "hanging_hair", "hat_field", "hat_thickness"]

# Height of the hairline over depth z: nape, ear, sideburn, temple, forehead.
_LINE_Z = (-0.08, -0.04, -0.01, 0.004, 0.016, 0.046, 0.052, 0.064, 0.075, 0.095, 0.15)
_LINE_Y = (0.575, 0.582, 0.595, 0.655, 0.697, 0.7, 0.668, 0.672, 0.712, 0.738, 0.745)


def _smooth(value: Tensor) -> Tensor:
    value = value.clamp(0, 1)
    return value * value * (3 - 2 * value)


def hairline(coords: Tensor) -> Tensor:
    """Signed distance (N,) in metres from the hairline at T-pose points (N, 3): > 0 has hair."""
    x, y, z = coords.unbind(-1)
    line = torch.from_numpy(np.interp(z.numpy(), _LINE_Z, _LINE_Y)).to(y.dtype)
    field = y - line + 0.004 * noise(coords, 40.0, 3, 6)
    return torch.where((x.abs() < 0.13) & (y > 0.56), field, -torch.ones_like(y))


def hair_thickness(coords: Tensor, style: str, volume: float, seed: int) -> Tensor:
    """Thickness (N,) in metres of hair at T-pose points (N, 3)."""
    side, top = {
        "short": (0.007, 0.02), "side": (0.01, 0.028), "bob": (0.02, 0.024),
        "long": (0.018, 0.022), "ponytail": (0.006, 0.011), "bun": (0.006, 0.011),
    }[style]  # fmt: skip
    up = _smooth((coords[:, 1] - 0.69) / 0.07)
    field = hairline(coords)
    thickness = (side + (top - side) * up) * volume * _smooth(field / 0.03 + 0.12)
    if style == "side":
        thickness = thickness * (1 + 0.35 * _smooth(coords[:, 0] / 0.08 + 0.5))
    return thickness * (1 + 0.18 * noise(coords, 26.0, seed, 7))


def hanging_hair(style: str, volume: float, seed: int) -> Mesh | None:
    """Hair below the head's shell in T-pose coordinates, or None for short styles."""
    rng = Rng.seeded("hair", seed)
    if style == "bun":
        radius = rng.uniform(0.034, 0.048)
        height = rng.uniform(0.69, 0.77)
        return ellipsoid((0, height, -0.055), (radius * 1.1, radius, radius))
    if style == "ponytail":
        length = rng.uniform(0.12, 0.3)
        start = rng.uniform(0.67, 0.74)
        sway = rng.uniform(-0.02, 0.02)
        heights = (0.0, 0.015, -0.03, -0.45 * length, -0.8 * length, -length)
        path = torch.tensor(
            [[sway * i / 3, start + h, -z] for i, (h, z) in enumerate(
                zip(heights, (0.06, 0.085, 0.11, 0.12, 0.118, 0.112), strict=True))]
        )  # fmt: skip
        radii = torch.tensor([0.012, 0.022, 0.03, 0.03, 0.022, 0.004]) * volume
        return tube(path, radii, 9)
    if style not in ("bob", "long"):
        return None
    end = rng.uniform(0.545, 0.575) if style == "bob" else rng.uniform(0.26, 0.46)
    return _curtain(end, volume, rng)


def _curtain(end: float, volume: float, rng: Rng) -> Mesh:
    """Open sheet round the back of the head from ear height down to ``end``."""
    rows, columns = 12, 21
    fall = torch.linspace(0, 1, rows)[:, None]
    y = 0.725 + (end - 0.725) * fall
    # The gap for the face grows below the chin: long hair lies behind the shoulders.
    gap = 66 + 46 * _smooth((0.57 - y) / 0.07)
    angle = torch.deg2rad(gap + (360 - 2 * gap) * torch.linspace(0, 1, columns)[None])
    thick = 0.012 + 0.008 * volume
    inset = 0.012 * (1 - _smooth(fall / 0.15))
    wide = 0.083 + thick - inset - 0.012 * _smooth((0.62 - y) / 0.06)
    deep = 0.092 + thick - inset + 0.052 * _smooth((0.57 - y) / 0.1)
    wave = 1 + 0.05 * torch.sin(9 * angle + 6.3 * rng.uniform(0, 1)) * _smooth(fall)
    ragged = 0.012 * torch.sin(23 * angle + 6.3 * rng.uniform(0, 1)) * fall
    points = torch.stack(
        [wide * wave * angle.sin(), y + ragged, 0.034 + deep * wave * angle.cos()], -1
    )
    return Mesh(points.reshape(-1, 3), grid_faces(rows, columns, wrap=False))


def hat_field(coords: Tensor, kind: str) -> Tensor:
    """Signed distance (N,) in metres from a hat's edge at T-pose points (N, 3): > 0 is covered."""
    x, y, z = coords.unbind(-1)
    if kind in ("cap", "sunhat"):
        return y - (0.712 + 0.14 * (z - 0.04))
    if kind == "beanie":
        return y - (0.692 + 0.22 * (z - 0.04))
    oval = ((x / 0.066).square() + ((y - 0.655) / 0.088).square()).sqrt()
    face = torch.where(z > 0.05, (oval - 1) * 0.07, torch.full_like(y, 0.05))
    face = torch.where((z <= 0.05) & (z > 0.03), torch.minimum(face, (oval - 0.7) * 0.07), face)
    low = y - (0.47 if kind == "scarf" else 0.5)
    return torch.minimum(torch.minimum(face, low), 0.17 - x.abs())


def hat_thickness(coords: Tensor, kind: str) -> Tensor:
    """Thickness (N,) in metres of headwear over the bare head."""
    y, z = coords[:, 1], coords[:, 2]
    if kind in ("cap", "sunhat"):
        return 0.016 + 0.008 * _smooth((y - 0.74) / 0.04)
    if kind == "beanie":
        return 0.02 + 0.03 * _smooth((y - 0.75) / 0.05) * _smooth((0.06 - z) / 0.1 + 0.3)
    return 0.016 + 0.014 * _smooth((0.02 - z) / 0.06) + 0.01 * _smooth((y - 0.72) / 0.05)


def brim(kind: str) -> Mesh | None:
    """Peak of a cap or brim of a sun hat in T-pose coordinates, else None."""
    if kind not in ("cap", "sunhat"):
        return None
    reach = math.radians(62) if kind == "cap" else math.pi
    width = 0.075 if kind == "cap" else 0.09
    columns = 15 if kind == "cap" else 24
    angle = torch.linspace(-reach, reach, columns)[None]
    out = torch.linspace(-0.01, width, 4)[:, None]
    if kind == "cap":
        out = out * (1 - (angle / (reach * 1.05)).square()).clamp(min=0).sqrt()
    radius_x, radius_z = 0.083 + out * 0.85, 0.104 + out
    height = (
        0.726 + 0.08 * angle.cos() * 0.14 - 0.22 * out - 0.1 * (angle.sin() * radius_x).square()
    )
    points = torch.stack([radius_x * angle.sin(), height.expand_as(radius_x + angle),
                          0.036 + radius_z * angle.cos()], -1)  # fmt: skip
    upper = Mesh(points.reshape(-1, 3), grid_faces(4, columns, wrap=False))
    lower = Mesh(upper.vertices - torch.tensor([0.0, 0.004, 0.0]), upper.faces.flip(1))
    return join([upper, lower])
