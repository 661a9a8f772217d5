"""Group "indoor": halls, corridors, stores and platforms lit by several lamps and windows."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from ..imaging.camera import Camera, Lamp, Light
from ..imaging.conditions import Conditions
from ..rng import Rng
from ..settings import WorldSettings
from .daylight import blackbody
from .wrapping import with_camera, with_conditions, with_light

__all__ = ["indoor"]


def indoor(settings: WorldSettings) -> WorldSettings:
    """Two of five cameras hang inside, 2.3 to 4.5 metres high.

    EN 12464-1 asks for 75 to 100 lux in garages and corridors, 150 to 300 on platforms and in
    halls, 300 to 500 in stores. Lamps of 2700 to 6500 K are mixed in old installations; daylight
    comes in from one side.
    """
    settings = with_camera(settings, "indoor", _hung)
    settings = with_conditions(settings, "indoor", _inside)
    return with_light(settings, "indoor", _lamps)


def _hung(camera: Camera, rng: Rng) -> Camera:
    height, distance = rng.uniform(2.3, 4.5), rng.uniform(3.0, 10.0)
    if not rng.flag(0.4):
        return camera
    distance = max(distance, (height - 0.95) / math.tan(math.radians(40)))
    pitch = math.atan2(height - 0.95, distance)
    return replace(camera, indoor=True, height=height, distance=distance, pitch=pitch)


def _inside(camera: Camera, conditions: Conditions, rng: Rng) -> Conditions:
    lux, gloss = 10 ** rng.uniform(1.85, 2.75), rng.uniform(0.0, 0.75) ** 1.5
    hour = rng.uniform(6.0, 23.0)
    if not camera.indoor:
        return conditions
    return replace(conditions, indoor=True, hour=hour, lux=lux, gloss=gloss)


def _lamps(camera: Camera, conditions: Conditions, before: Light, rng: Rng) -> Light:
    if not conditions.indoor:
        return before
    # The lamps of a place are of one kind, a few of another.
    mine = Rng.seeded("city lamps", camera.key)
    kelvin = mine.pick((2800.0, 3500.0, 4000.0, 5000.0, 6500.0), (14, 18, 34, 20, 14))
    color = blackbody(kelvin * rng.uniform(0.97, 1.03))
    ambient = color * rng.uniform(0.32, 0.62)
    lamps = []
    for _ in range(rng.integer(1, 4)):
        bearing, away = rng.uniform(-math.pi, math.pi), rng.uniform(0.3, 3.0)
        height = rng.uniform(2.6, 4.2)
        tint = blackbody(rng.uniform(2700, 6500)) if rng.flag(0.25) else color
        square = away**2 + (height - 1.2) ** 2
        place = torch.tensor([away * math.sin(bearing), height, away * math.cos(bearing)])
        lamps.append(Lamp(place, tint * rng.uniform(0.12, 0.5) * square))
    if 7.5 < conditions.hour < 18 and rng.flag(0.4):
        bearing, away = rng.uniform(-math.pi, math.pi), rng.uniform(3.0, 6.0)
        place = torch.tensor([away * math.sin(bearing), 1.7, away * math.cos(bearing)])
        window = blackbody(rng.uniform(6000, 9000)) * rng.uniform(0.15, 0.9)
        lamps.append(Lamp(place, window * away**2))
    tilt, bearing = rng.uniform(0.0, 0.6), rng.uniform(-math.pi, math.pi)
    across = math.sin(tilt)
    return replace(
        before,
        direction=torch.tensor(
            [across * math.sin(bearing), math.cos(tilt), across * math.cos(bearing)]
        ),
        sun=color * rng.uniform(0.1, 0.45),
        sky=ambient,
        bounce=ambient * rng.uniform(0.4, 0.75) * torch.tensor([1.04, 1.0, 0.93]),
        lamps=tuple(lamps),
        cover=None,
    )
