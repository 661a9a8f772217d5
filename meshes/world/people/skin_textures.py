"""Colours of skin, faces, hair and shoes per point of the T-pose."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pose.deprecation import deprecated_members

from ..surfaces.fabric import noise
from .identity import Garment, Identity

__all__ = ["ClothPaint", "HairPaint", "PlainPaint", "ShoePaint", "SkinPaint"]


def _color(color: tuple[float, float, float]) -> Tensor:
    return torch.tensor(color)


def _blend(rgb: Tensor, color: Tensor, weight: Tensor) -> Tensor:
    return rgb + weight.clamp(0, 1)[:, None] * (color - rgb)


def _soft(distance: Tensor, width: float) -> Tensor:
    """1 inside (distance < 0), 0 outside, with an edge of the given width in metres."""
    return (0.5 - distance / width).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class PlainPaint:
    """One colour with a little grain."""

    color: tuple[float, float, float]
    grain: float = 0.04
    frequency: float = 30.0

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1]."""
        gain = 1 + self.grain * noise(coords, self.frequency, 5, 5)
        return _color(self.color) * gain[:, None]


@deprecated_members
@dataclass(frozen=True, eq=False)
class SkinPaint:
    """Bare skin with a painted face, socks and stubble."""

    identity: Identity

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1]."""
        identity = self.identity
        skin = _color(identity.skin)
        rgb = skin * (1 + 0.02 * noise(coords, 18.0, 11, 5))[:, None]
        x, y, _ = coords.unbind(-1)
        if identity.tights is not None:
            legs = ((y < 0.1) & (x.abs() < 0.4)).float()
            rgb = _blend(rgb, _color(identity.tights), legs)
        rgb = _blend(rgb, _color(identity.sock), ((y < -0.76) & (x.abs() < 0.4)).float())
        head = (y > 0.54) & (x.abs() < 0.12)
        if bool(head.any()):
            rgb[head] = self._face(coords[head], rgb[head])
        return rgb

    def _face(self, coords: Tensor, rgb: Tensor) -> Tensor:
        identity = self.identity
        x, y, z = coords[:, 0].abs(), coords[:, 1], coords[:, 2]
        skin = _color(identity.skin)
        front = ((z - 0.085) / 0.02).clamp(0, 1)
        cheek = ((x - 0.045) / 0.028).square() + ((y - 0.64) / 0.03).square()
        rgb = _blend(
            rgb, skin * torch.tensor([1.0, 0.82, 0.8]), 0.45 * (1 - cheek).clamp(0, 1) * front
        )
        socket = ((x - 0.034) / 0.026).square() + ((y - 0.685) / 0.018).square()
        rgb = _blend(rgb, skin * 0.6, 0.55 * (1.3 - socket).clamp(0, 1) * front)
        if identity.hair_style == "buzz":
            rgb = _blend(rgb, _color(identity.hair), 0.75 * _scalp(coords))
        if identity.beard > 0:
            jaw = _soft(torch.maximum(y - 0.618 - 0.25 * (0.1 - z).clamp(min=0), 0.01 - z), 0.02)
            rgb = _blend(rgb, _color(identity.hair), 0.8 * identity.beard * jaw)
        mouth = torch.maximum((y - 0.6).abs() - 0.008, x - 0.025)
        rgb = _blend(rgb, _color(identity.lips), _soft(mouth, 0.004) * front)
        rgb = _blend(
            rgb,
            skin * 0.35,
            0.6 * _soft(torch.maximum((y - 0.6).abs() - 0.0016, x - 0.022), 0.002) * front,
        )
        nostril = ((x - 0.009) / 0.006).square() + ((y - 0.63) / 0.005).square()
        rgb = _blend(rgb, skin * 0.4, 0.7 * (1.2 - nostril).clamp(0, 1) * front)
        white = ((x - 0.034) / 0.014).square() + ((y - 0.685) / 0.0058).square()
        rgb = _blend(rgb, torch.tensor([0.85, 0.83, 0.8]), 2 * (1 - white) * front)
        iris = ((x - 0.034).square() + (y - 0.685).square()).sqrt() - 0.0056
        rgb = _blend(rgb, torch.tensor([0.12, 0.08, 0.06]), _soft(iris, 0.003) * front)
        brow = torch.maximum(
            (y - 0.706 + 0.9 * (x - 0.036).square() / 0.02).abs() - 0.0035, (x - 0.036).abs() - 0.02
        )
        rgb = _blend(rgb, _color(identity.hair) * 0.8, 0.65 * _soft(brow, 0.005) * front)
        return self._glasses(rgb, x, y, z)

    def _glasses(self, rgb: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        kind = self.identity.glasses
        if kind == "none":
            return rgb
        lens = torch.maximum((x - 0.036).abs() / 0.027, (y - 0.683).abs() / 0.02)
        frame = (lens < 1) if kind == "dark" else (lens < 1) & (lens > 0.8)
        bridge = (x < 0.012) & ((y - 0.69).abs() < 0.003)
        temple = (z < 0.1) & (z > 0.02) & ((y - 0.69).abs() < 0.004)
        drawn = ((frame | bridge) & (z > 0.07)) | temple
        return torch.where(drawn[:, None], torch.tensor([0.05, 0.05, 0.055]), rgb)


def _scalp(coords: Tensor) -> Tensor:
    """1 where a head has hair, 0 on the face, with a soft edge; same line as cut hair."""
    from .hair import hairline

    return (hairline(coords) / 0.012 + 0.5).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class HairPaint:
    """Strands: streaks along the fall of the hair, lighter on top."""

    color: tuple[float, float, float]
    seed: int

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1]."""
        stretched = coords * torch.tensor([1.0, 0.16, 1.0])
        streak = noise(stretched, 110.0, self.seed, 7) + 0.6 * noise(
            stretched, 45.0, self.seed + 1, 5
        )
        return _color(self.color) * (1 + 0.16 * streak)[:, None] + 0.012


@deprecated_members
@dataclass(frozen=True, eq=False)
class ShoePaint:
    """Upper and sole."""

    identity: Identity

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1]."""
        x, y, z = coords.unbind(-1)
        rgb = _color(self.identity.shoe).expand(len(coords), 3)
        lace = (
            (z > 0.03)
            & (z < 0.1)
            & (((z / 0.014) % 1) < 0.35)
            & (y > -0.87)
            & ((x.abs() - 0.157).abs() < 0.02)
        )
        rgb = torch.where(lace[:, None], 0.6 * rgb + 0.4 * _color(self.identity.sole), rgb)
        return torch.where((y < -0.896)[:, None], _color(self.identity.sole), rgb)


@dataclass(frozen=True, eq=False)
class ClothPaint:
    """A garment's fabric with trim, zip, belt, pockets and the straps of a carried bag."""

    garment: Garment
    belt: tuple[float, float, float] | None = None
    strap: str = "none"
    strap_color: tuple[float, float, float] = (0.1, 0.1, 0.1)
    strap_side: float = 1.0

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1]."""
        garment, fabric = self.garment, self.garment.fabric
        rgb = fabric(coords)
        x, y, z = coords.unbind(-1)
        if fabric.trim is not None:
            edge = ((y - garment.hem).abs() < 0.02) | ((x.abs() - garment.sleeve).abs() < 0.02)
            rgb = torch.where(edge[:, None], _color(fabric.trim), rgb)
        if garment.kind in ("trousers", "shorts"):
            rgb = self._seams(rgb, x, y, z)
        elif garment.neck in ("collar", "hood") and garment.opening == 0:
            placket = (x.abs() < 0.006) & (z > 0) & (y < 0.5)
            rgb = torch.where(placket[:, None], 0.75 * rgb, rgb)
        if self.strap != "none":
            rgb = torch.where(self._strapped(x, y, z)[:, None], _color(self.strap_color), rgb)
        return rgb

    def _seams(self, rgb: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        pocket = (y < 0.0) & (y > -0.09) & (z < -0.02) & ((x.abs() - 0.085).abs() < 0.05)
        border = pocket & (
            ((y + 0.005).abs() < 0.006) | (((x.abs() - 0.085).abs() - 0.047).abs() < 0.004)
        )
        rgb = torch.where(border[:, None], 0.8 * rgb, rgb)
        if self.belt is not None:
            rgb = torch.where(((y > 0.062) & (y < 0.1))[:, None], _color(self.belt), rgb)
        return rgb

    def _strapped(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        trunk = (x.abs() < 0.2) & (y > 0.05)
        if self.strap == "backpack":
            front = (x.abs() - 0.115).abs() < 0.024
            return trunk & front & (y > 0.2) & ((z > 0) | (y > 0.36))
        # One strap from the far shoulder to the bag's hip.
        line = x * self.strap_side + 0.1 - 0.24 * (0.5 - y) / 0.4
        return trunk & (line.abs() < 0.022)
