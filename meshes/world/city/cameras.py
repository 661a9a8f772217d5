"""Group "cameras": heights and distances of cameras on poles, houses and ceilings."""

from __future__ import annotations

import math
from dataclasses import replace

from ..imaging.camera import Camera
from ..rng import Rng
from ..settings import WorldSettings
from .camera_stage import with_camera

__all__ = ["cameras"]


def cameras(settings: WorldSettings) -> WorldSettings:
    """Cameras 2 to 8 metres above the ground."""
    return with_camera(settings, "cameras", _mount)


def _mount(camera: Camera, rng: Rng) -> Camera:
    height = rng.uniform(2.0, 8.0)
    distance = max(rng.uniform(4.0, 14.0), (height - 0.95) / math.tan(math.radians(42)))
    return replace(
        camera, height=height, distance=distance, pitch=math.atan2(height - 0.95, distance)
    )
