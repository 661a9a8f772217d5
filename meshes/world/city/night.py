"""Group "night": dusk and night under street lamps, shop windows and head lights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..imaging.camera import Camera, Lamp, Light
from ..imaging.conditions import Conditions
from ..rng import Rng
from ..settings import WorldSettings
from .daylight import blackbody
from .wrapping import with_conditions, with_light

__all__ = ["LampPool", "night"]

_CHEST = (0.0, 1.2, 0.0)


@dataclass(frozen=True, eq=False)
class LampPool:
    """Light of a lamp at points against that at a person's chest: inverse squares."""

    place: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """Factors (N,) at points (N, 3), metres."""
        here = (self.place - torch.tensor(_CHEST)).square().sum()
        return (here / (self.place - points).square().sum(-1).clamp(min=0.3)).clamp(max=4.0)


def night(settings: WorldSettings) -> WorldSettings:
    """A quarter of the images outside by lamps.

    Streets are lit to 3 to 25 lux on average (EN 13201, classes P4 to M3); lamps stand 4 to 9
    metres high and shine at 2000 K (sodium), 3000 to 4000 K (LED) or about 5000 K (metal halide).
    """
    return with_light(with_conditions(settings, "night", _hours), "night", _lamps)


def _hours(camera: Camera, conditions: Conditions, rng: Rng) -> Conditions:
    if conditions.indoor or not rng.flag(0.26):
        return conditions
    if rng.flag(0.35):
        return replace(conditions, hour=rng.uniform(17.5, 19.0), lux=10 ** rng.uniform(1.4, 2.2))
    return replace(conditions, hour=rng.uniform(19.0, 24.0), lux=10 ** rng.uniform(0.5, 1.4))


def _lamps(camera: Camera, conditions: Conditions, before: Light, rng: Rng) -> Light:
    if conditions.lux > 200 or conditions.indoor:
        return before
    kelvin = rng.pick((2000.0, 3200.0, 4000.0, 5200.0), (26, 26, 32, 16)) * rng.uniform(0.95, 1.05)
    color = blackbody(kelvin)
    bearing, away = rng.uniform(-math.pi, math.pi), rng.uniform(0.8, 7.0)
    place = torch.tensor(
        [away * math.sin(bearing), rng.uniform(4.0, 9.0), away * math.cos(bearing)]
    )
    dusk = conditions.hour < 19.0
    ambient = blackbody(rng.uniform(8000, 11000)) * rng.uniform(0.25, 0.6) if dusk else (
        (0.6 * color + 0.4) * rng.uniform(0.08, 0.2)
    )  # fmt: skip
    lamps = []
    if rng.flag(0.45):
        lamps.append(_shop(rng))
    if rng.flag(0.3):
        lamps.append(_head_light(rng))
    return replace(
        before,
        direction=normalize(place - torch.tensor(_CHEST), dim=0),
        sun=color * (rng.uniform(0.2, 0.6) if dusk else rng.uniform(0.5, 1.0)),
        sky=ambient,
        bounce=0.35 * ambient + 0.06 * color,
        lamps=tuple(lamps),
        cover=LampPool(place),
    )


def _shop(rng: Rng) -> Lamp:
    """Light from a window behind or beside the person."""
    bearing, away = rng.normal(math.pi, 0.9), rng.uniform(2.0, 5.0)
    return Lamp(
        place=torch.tensor([away * math.sin(bearing), 1.8, away * math.cos(bearing)]),
        color=blackbody(rng.pick((2900.0, 4000.0, 6000.0))) * rng.uniform(0.15, 0.7) * away**2,
    )


def _head_light(rng: Rng) -> Lamp:
    """A dipped beam along the street, 0.65 metres above it."""
    bearing, away = rng.uniform(-math.pi, math.pi), rng.uniform(7.0, 25.0)
    place = torch.tensor([away * math.sin(bearing), 0.65, away * math.cos(bearing)])
    return Lamp(
        place=place,
        color=blackbody(rng.pick((3200.0, 4300.0, 6000.0))) * rng.uniform(0.2, 1.1) * away**2,
        beam=normalize(torch.tensor([0.0, 0.4, 0.0]) - place, dim=0),
        focus=rng.uniform(20.0, 90.0),
    )
