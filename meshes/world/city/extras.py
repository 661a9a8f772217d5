"""Small things over clothes: scarves, belts, bibs, collars, shirt tails, and things on the head."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...body.model import SMPL_JOINTS
from ..people.skin_textures import PlainPaint
from ..people.wearables import Overlay, Rigid
from ..rng import Rng
from ..surfaces.fabric import Fabric, noise
from ..surfaces.primitives import Mesh, ellipsoid, grid_faces, join, tube
from .fabrics import CityFabric
from .palette import street_color

__all__ = [
    "belt", "bib", "bobble", "collar", "headphones", "helmet", "neck_scarf", "necktie",
    "shirt_tail",
]  # fmt: skip

_HEAD = SMPL_JOINTS.index("head")


def _all(*fields: Tensor) -> Tensor:
    return torch.stack(fields).amin(0)


def neck_scarf(rng: Rng) -> Overlay:
    """A scarf wound around the neck; its ends, if any, hang over the chest."""
    side = rng.sign()
    low = rng.uniform(0.1, 0.36)
    ends, thick = rng.flag(0.6), rng.uniform(0.02, 0.034)
    seed = rng.integer(0, 1 << 30)
    paint = CityFabric(
        rng.pick(("flat", "knit", "melange", "breton", "windowpane"), (35, 25, 15, 12, 13)),
        (street_color(rng, "accent"), street_color(rng, "accent"), street_color(rng, "accent")),
        scale=rng.uniform(0.04, 0.08), seed=seed,
    )  # fmt: skip

    def ring(coords: Tensor) -> Tensor:
        x, y, z = coords.unbind(-1)
        upper = 0.575 - 0.22 * (z - 0.03).clamp(min=0) - y
        lower = y - 0.472 + 0.28 * z - 0.25 * (x.abs() - 0.06).clamp(min=0)
        return _all(upper, lower, 0.12 - x.abs())

    def field(coords: Tensor) -> Tensor:
        x, y, z = coords.unbind(-1)
        if not ends:
            return ring(coords)
        middle = side * (0.045 + 0.06 * (0.46 - y).clamp(min=0))
        tail = _all(0.042 - (x - middle).abs(), y - low, 0.52 - y, z - 0.02)
        return torch.maximum(ring(coords), tail)

    def thickness(coords: Tensor) -> Tensor:
        around = (ring(coords) / 0.03).clamp(0, 1)
        fold = 1 + 0.25 * noise(coords, 16.0, seed, 5)
        return 0.011 + thick * (around * (2 - around)) * fold

    return Overlay("scarf", field, thickness, paint, 0.5)


def belt(rng: Rng, color: tuple[float, float, float]) -> Overlay:
    """A belt around the waist of a coat or dress."""
    middle, half = rng.uniform(0.09, 0.14), rng.uniform(0.016, 0.028)

    def field(coords: Tensor) -> Tensor:
        return _all(half - (coords[:, 1] - middle).abs(), 0.3 - coords[:, 0].abs())

    def thickness(coords: Tensor) -> Tensor:
        return torch.full((len(coords),), 0.012)

    return Overlay("belt", field, thickness, PlainPaint(color), 0.1)


def bib(cloth: Fabric) -> Overlay:
    """The bib and the braces of dungarees, over the top."""

    def field(coords: Tensor) -> Tensor:
        x, y, z = coords.unbind(-1)
        front = _all(0.115 - x.abs(), 0.36 - y, y - 0.05, z)
        waist = _all(0.15 - y, y - 0.06, 0.25 - x.abs())
        brace = _all(0.022 - (x.abs() - 0.085).abs(), y - 0.3)
        back = _all(0.022 - (x.abs() - 0.05 - 0.1 * (y - 0.2)).abs(), y - 0.1, -z)
        return torch.stack([front, waist, brace, back]).amax(0)

    def thickness(coords: Tensor) -> Tensor:
        return torch.full((len(coords),), 0.008)

    return Overlay("bib", field, thickness, cloth, 0.2, 2)


def collar(cloth: Fabric) -> Overlay:
    """The collar of a shirt over the neckline of a jumper."""

    def field(coords: Tensor) -> Tensor:
        x, y, z = coords.unbind(-1)
        line = 0.503 - 0.3 * z + 1.3 * (x.abs() - 0.055).clamp(min=0)
        point = 0.03 + 0.022 * (z / 0.08).clamp(0, 1)
        gap = x.abs() - 0.012 - 0.35 * (line - y).clamp(min=0) + 5 * (0.02 - z).clamp(min=0)
        return _all(y - line + point, line + 0.03 - y, 0.115 - x.abs(), gap)

    def thickness(coords: Tensor) -> Tensor:
        _x, y, z = coords.unbind(-1)
        line = 0.503 - 0.3 * z
        return 0.006 + 0.12 * (line + 0.012 - y).abs().clamp(max=0.06)

    return Overlay("collar", field, thickness, cloth, 0.1, 2)


def shirt_tail(rng: Rng, cloth: Fabric, hem: float) -> Overlay:
    """The lower edge of a shirt below that of a jumper."""
    low = hem - rng.uniform(0.025, 0.065)

    def field(coords: Tensor) -> Tensor:
        x, y, _ = coords.unbind(-1)
        curve = 0.03 * (x.abs() / 0.15).square()
        return _all(y - low - curve, hem + 0.05 - y, 0.3 - x.abs())

    def thickness(coords: Tensor) -> Tensor:
        return torch.full((len(coords),), -0.004)

    return Overlay("shirt tail", field, thickness, cloth, 0.2, 2)


def necktie(cloth: Fabric) -> Overlay:
    """A tie over a shirt."""

    def field(coords: Tensor) -> Tensor:
        x, y, z = coords.unbind(-1)
        half = 0.014 + 0.07 * (0.44 - y).clamp(min=0)
        return _all(half.clamp(max=0.03) - x.abs(), 0.485 - y, y - 0.1, z - 0.02)

    def thickness(coords: Tensor) -> Tensor:
        return torch.full((len(coords),), 0.005)

    return Overlay("tie", field, thickness, cloth, 0.1, 2)


def bobble(rng: Rng) -> Rigid:
    """The bobble of a beanie."""
    radius = rng.uniform(0.03, 0.05)
    mesh = ellipsoid((0.0, 0.832 + 0.5 * radius, -0.005), (radius, radius, radius), segments=12)
    return Rigid("bobble", _HEAD, mesh, PlainPaint(street_color(rng, "accent"), 0.3, 60.0), 0.0)


def headphones(rng: Rng) -> Rigid:
    """Head phones with a band over the crown."""
    angle = torch.linspace(-1.9, 1.9, 15)
    path = torch.stack([0.102 * angle.sin(), 0.695 + 0.125 * angle.cos().clamp(min=-0.1),
                        torch.full((15,), 0.03)], 1)  # fmt: skip
    cups = [
        ellipsoid((s * 0.096, 0.675, 0.03), (0.022, 0.042, 0.036), segments=12) for s in (-1, 1)
    ]
    return Rigid("head phones", _HEAD, join([tube(path, 0.009, 6), *cups]),
                 PlainPaint(street_color(rng, "shoes")), 0.3)  # fmt: skip


def helmet(rng: Rng) -> Rigid:
    """A bicycle helmet."""
    rings, segments = 6, 18
    polar = torch.linspace(0.02, 1.62, rings)[:, None]
    around = torch.arange(segments)[None] * (2 * math.pi / segments)
    ridge = 1 + 0.04 * torch.cos(6 * around) * polar.sin()
    points = torch.stack(
        [
            0.108 * ridge * polar.sin() * around.sin(),
            (0.715 + 0.11 * polar.cos()) + 0.0 * around,
            0.03 + 0.132 * ridge * polar.sin() * around.cos(),
        ],
        -1,
    )
    mesh = Mesh(points.reshape(-1, 3), grid_faces(rings, segments, wrap=True))
    return Rigid("helmet", _HEAD, mesh, PlainPaint(street_color(rng, "accent"), 0.02), 0.5)
