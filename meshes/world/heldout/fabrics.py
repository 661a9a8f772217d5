"""Cloth of the held-out world: patterns and colours that the default world does not draw."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..rng import Rng
from ..surfaces.fabric import Fabric, grain, noise, unroll

__all__ = ["HeldOutFabric", "draw_color", "draw_fabric"]

Color = tuple[float, float, float]
_PATTERNS = (
    "plain", "tartan", "shade", "motif", "argyle", "chevron", "tie-dye", "patchwork", "leopard",
    "bands",
)  # fmt: skip
_REFLECTIVE = (0.82, 0.83, 0.8)


@dataclass(frozen=True)
class HeldOutFabric(Fabric):
    """A cloth of the held-out world; see `Fabric`."""

    patterns: ClassVar[tuple[str, ...]] = _PATTERNS

    def __call__(self, coords: Tensor) -> Tensor:
        """Colours (N, 3) in [0, 1] at T-pose coordinates (N, 3) in metres."""
        along, across, sleeve = unroll(coords)
        draw = {
            "tartan": self._tartan, "shade": self._shade, "motif": self._motif,
            "argyle": self._argyle, "chevron": self._chevron, "tie-dye": self._tie_dye,
            "patchwork": self._patchwork, "leopard": self._leopard, "bands": self._bands,
        }.get(self.pattern)  # fmt: skip
        rgb = self._table[0].expand(len(coords), 3)
        if draw is not None:
            rgb = draw(coords, along, across, sleeve)
        weave = grain(70 * along + 25 * coords[:, 2], 55 * across, self.seed + 1)
        worn = noise(coords, 3.5, self.seed + 2, 5)
        return (rgb * (1 + 0.03 * weave + 0.03 * worn)[:, None]).clamp(0, 1)

    def _tartan(self, coords: Tensor, along: Tensor, across: Tensor, sleeve: Tensor) -> Tensor:
        table = self._table
        around = across + 0.6 * coords[:, 2]
        sett = ((0.0, 0.34, 1), (0.42, 0.05, 2), (0.62, 0.2, 1), (0.7, 0.04, 2), (0.9, 0.03, 2))
        rgb = table[0].expand(len(along), 3)
        for value in (along / self.scale, around / self.scale):
            for start, width, index in sett:
                on = (((value - start) % 1) < width)[:, None]
                rgb = torch.where(on, 0.45 * rgb + 0.55 * table[index], rgb)
        return rgb

    def _shade(self, coords: Tensor, along: Tensor, across: Tensor, sleeve: Tensor) -> Tensor:
        slope = Rng.seeded("shade", self.seed).uniform(-0.8, 0.8)
        mix = ((self.level - along + slope * coords[:, 0]) / 0.7 + 0.5).clamp(0, 1)[:, None]
        first, second, third = self._table
        low = torch.lerp(second, third, (2 * mix - 1).clamp(0, 1))
        return torch.where(mix < 0.5, torch.lerp(first, second, (2 * mix).clamp(0, 1)), low)

    def _motif(self, coords: Tensor, along: Tensor, across: Tensor, sleeve: Tensor) -> Tensor:
        """Large shapes that run over the whole garment."""
        field = noise(coords * torch.tensor([1.0, 1.0, 0.5]), 1.6, self.seed, 7)
        fine = noise(coords, 4.2, self.seed + 5, 7)
        zone = (field > 0.1).long() + ((field > 0.55) & (fine > -0.4)).long()
        return self._table[zone]

    def _argyle(self, coords: Tensor, along: Tensor, across: Tensor, sleeve: Tensor) -> Tensor:
        u, v = across / self.scale, along / (1.7 * self.scale)
        first, second = u + v, u - v
        checks = (first.floor() + second.floor()) % 2 == 0
        odd = first.floor() % 2 == 0
        zone = torch.where(checks, torch.where(odd, 1, 2), 0)
        thin = (((first + 0.5) % 1 - 0.5).abs() < 0.03) | (((second + 0.5) % 1 - 0.5).abs() < 0.03)
        return torch.where(thin[:, None], self._table[2] * 0.7, self._table[zone])

    def _chevron(self, coords: Tensor, along: Tensor, across: Tensor, sleeve: Tensor) -> Tensor:
        wave = ((across / (1.6 * self.scale)) % 1 - 0.5).abs()
        row = (along / self.scale + 1.6 * wave) % 3
        return self._table[row.floor().long().clamp(0, 2)]

    def _tie_dye(self, coords: Tensor, along: Tensor, across: Tensor, sleeve: Tensor) -> Tensor:
        rng = Rng.seeded("tie-dye", self.seed)
        x, y = coords[:, 0] - rng.uniform(-0.1, 0.1), coords[:, 1] - self.level
        radius = (x.square() + y.square()).sqrt() + 0.03 * noise(coords, 9.0, self.seed, 6)
        angle = torch.atan2(y, x)
        place = 3 * (radius / (2.5 * self.scale) + 0.8 * angle / 3.1416) % 3
        lower = place.floor().long() % 3
        mix = (2 * (place % 1) - 0.5).clamp(0, 1)[:, None]
        return torch.lerp(self._table[lower], self._table[(lower + 1) % 3], mix)

    def _patchwork(self, coords: Tensor, along: Tensor, across: Tensor, sleeve: Tensor) -> Tensor:
        side = 1.8 * self.scale
        cell = torch.sin((across / side).floor() * 12.99 + (along / side).floor() * 78.23
                         + self.seed % 97 + 5.0 * sleeve) * 43758.55  # fmt: skip
        return self._table[((cell - cell.floor()) * 3).long().clamp(0, 2)]

    def _leopard(self, coords: Tensor, along: Tensor, across: Tensor, sleeve: Tensor) -> Tensor:
        spots = noise(coords, 1.1 / self.scale, self.seed, 9)
        zone = torch.where(spots > 0.9, 2, torch.where(spots > 0.35, 1, 0))
        return self._table[zone]

    def _bands(self, coords: Tensor, along: Tensor, across: Tensor, sleeve: Tensor) -> Tensor:
        """Work clothes: reflective bands around trunk, sleeves and legs, and braces."""
        band = torch.zeros_like(sleeve)
        for height in (self.level, self.level - 0.17, -0.5, -0.62):
            band = band | ((along - height).abs() < 0.026)
        brace = ((coords[:, 0].abs() - 0.09).abs() < 0.024) & (along > self.level) & ~sleeve
        rgb = torch.where(
            (along < self.level - 0.22)[:, None] & ~sleeve[:, None], self._table[1], self._table[0]
        )
        return torch.where((band | brace)[:, None], torch.tensor(_REFLECTIVE), rgb)


def draw_color(rng: Rng, mood: str = "any") -> Color:
    """Colour of a mood: "dark", "earth", "pastel", "strong", "pale" or "any"."""
    if mood == "any":
        mood = rng.pick(("dark", "earth", "pastel", "strong", "pale"), (34, 22, 14, 16, 14))
    hue = rng.uniform(0, 1)
    if mood == "dark":
        return colorsys.hsv_to_rgb(hue, rng.uniform(0.0, 0.45), rng.uniform(0.05, 0.22))
    if mood == "earth":
        hue = rng.uniform(0.03, 0.2)
        return colorsys.hsv_to_rgb(hue, rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.62))
    if mood == "pastel":
        return colorsys.hsv_to_rgb(hue, rng.uniform(0.12, 0.35), rng.uniform(0.72, 0.95))
    if mood == "strong":
        return colorsys.hsv_to_rgb(hue, rng.uniform(0.65, 0.98), rng.uniform(0.4, 0.95))
    return colorsys.hsv_to_rgb(hue, rng.uniform(0.0, 0.08), rng.uniform(0.55, 0.95))


def draw_fabric(rng: Rng, *, plain: float = 0.5, mood: str = "any") -> HeldOutFabric:
    """A random cloth; ``plain`` is the probability of no pattern."""
    ground, second, third = draw_color(rng, mood), draw_color(rng), draw_color(rng)
    if sum(abs(a - b) for a, b in zip(ground, second, strict=True)) < 0.3:
        second = (0.9, 0.88, 0.82) if sum(ground) < 1.4 else (0.1, 0.1, 0.13)
    pattern = rng.pick(
        ("tartan", "shade", "motif", "argyle", "chevron", "tie-dye", "patchwork", "leopard"),
        (22, 14, 22, 8, 10, 6, 10, 8),
    )
    scale = rng.uniform(0.09, 0.2) if pattern != "leopard" else rng.uniform(0.05, 0.09)
    return HeldOutFabric(
        "plain" if rng.flag(plain) else pattern,
        (ground, second, third),
        scale=scale,
        level=rng.uniform(0.1, 0.35),
        seed=rng.integer(0, 1 << 30),
    )
