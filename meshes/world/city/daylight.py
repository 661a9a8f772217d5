"""Group "daylight": sun and sky over the hours of the day, under clouds and without."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import torch
from torch import Tensor

from ..imaging.camera import Camera, Light
from ..imaging.conditions import Conditions
from ..rng import Rng
from ..settings import WorldSettings
from .wrapping import with_conditions, with_light

__all__ = ["blackbody", "daylight", "sun_elevation"]

#: Linear sRGB of light of a correlated colour temperature (kelvin), green = 1; Planckian locus.
_LOCUS = (
    (1900.0, 2.55, 0.05), (2700.0, 1.72, 0.3), (3500.0, 1.4, 0.54), (4500.0, 1.17, 0.78),
    (5500.0, 1.05, 0.96), (6500.0, 0.97, 1.1), (8000.0, 0.88, 1.28), (11000.0, 0.79, 1.5),
)  # fmt: skip


def blackbody(kelvin: float) -> Tensor:
    """(3,) linear sRGB of a colour temperature, green = 1, linear in the reciprocal temperature."""
    mired = 1e6 / kelvin
    table = [(1e6 / k, red, blue) for k, red, blue in _LOCUS]
    for (high, red, blue), (low, red_next, blue_next) in itertools.pairwise(table):
        if mired >= low or low == table[-1][0]:
            mix = min(1.0, max(0.0, (high - mired) / (high - low)))
            return torch.tensor(
                [red + mix * (red_next - red), 1.0, blue + mix * (blue_next - blue)]
            )
    raise AssertionError("the table ends the loop")


def sun_elevation(hour: float, season: float) -> float:
    """Elevation of the sun, radians, at 45 degrees north.

    Args:
        hour: solar time.
        season: declination of the sun over 23.4 degrees, in [-1, 1].
    """
    latitude, declination = math.radians(45), math.radians(23.4) * season
    angle = math.radians(15 * (hour - 12))
    sine = math.sin(latitude) * math.sin(declination)
    return math.asin(sine + math.cos(latitude) * math.cos(declination) * math.cos(angle))


def daylight(settings: WorldSettings) -> WorldSettings:
    """Outside from half past seven to half past five, over the year, three kinds of sky."""
    return with_light(with_conditions(settings, "daylight", _hours), "daylight", _sun)


def _hours(camera: Camera, conditions: Conditions, rng: Rng) -> Conditions:
    if conditions.indoor:
        return conditions
    return replace(conditions, hour=rng.uniform(7.5, 17.5), lux=rng.uniform(8e3, 2e4))


def _sun(camera: Camera, conditions: Conditions, before: Light, rng: Rng) -> Light:
    """Sun against sky by the kind of sky.

    Direct light is about 4 to 6 times the sky's at noon in clear air (CIE clear sky), 0 when
    overcast, when the sky is brightest overhead. Low sun is warm (2500 to 5500 K), clear sky blue
    (7500 to 11000 K), clouds 6500 K.
    """
    if conditions.indoor:
        return before
    elevation = max(math.radians(4), sun_elevation(conditions.hour, rng.uniform(-0.9, 1.0)))
    azimuth = camera.sun_azimuth + math.radians(15 * (conditions.hour - 12)) * 1.2
    kind = rng.pick(("clear", "veiled", "overcast"), (34, 24, 42))
    if kind == "overcast":  # brightest overhead (CIE overcast sky: three times the horizon)
        elevation = max(elevation, math.radians(62))
    direction = torch.tensor([
        math.sin(azimuth) * math.cos(elevation),
        math.sin(elevation),
        math.cos(azimuth) * math.cos(elevation),
    ])  # fmt: skip
    high = math.sin(elevation)
    sun = {
        "clear": rng.uniform(1.3, 2.3),
        "veiled": rng.uniform(0.4, 1.0),
        "overcast": rng.uniform(0.12, 0.3),
    }[kind]
    sun *= min(1.0, high / 0.35) ** 0.5
    kelvin = 6300.0 if kind == "overcast" else 5600 - 2900 * math.exp(-high / 0.14)
    sky = {"clear": rng.uniform(7200, 10000), "veiled": 6800, "overcast": rng.uniform(6000, 7000)}
    ambient = blackbody(sky[kind]) * rng.uniform(0.42, 0.6)
    # Under clouds more light comes from above; sunlit ground throws light back.
    bounce = ambient * 0.3 + 0.16 * sun * high * blackbody(kelvin)
    return replace(
        before, direction=direction, sun=sun * blackbody(kelvin), sky=ambient, bounce=bounce
    )
