"""Group "cameras": heights and distances of cameras on houses, poles and ceilings."""

from __future__ import annotations

import math
from dataclasses import replace

from ..imaging.camera import Camera
from ..rng import Rng
from ..settings import WorldSettings
from .wrapping import with_camera

__all__ = ["cameras"]

_STEEPEST = math.radians(42)


def cameras(settings: WorldSettings) -> WorldSettings:
    """Cameras 2 to 8 metres high, most of them 2.5 to 5, people 4 to 16 metres away.

    Entrances have cameras at 2.2 to 2.5 metres, house walls at 3 to 5 (out of reach of vandals),
    poles at 4 to 8.
    """
    return with_camera(settings, "cameras", _mounted)


def _mounted(camera: Camera, rng: Rng) -> Camera:
    low, high = rng.pick(((2.0, 2.6), (2.6, 5.0), (5.0, 8.0)), (22, 53, 25))
    height = rng.uniform(low, high)
    distance = max(4.0 + 12.0 * rng.uniform(0, 1) ** 1.4, (height - 0.95) / math.tan(_STEEPEST))
    pitch = math.atan2(height - 0.95, distance)
    return replace(camera, height=height, distance=distance, pitch=pitch)
