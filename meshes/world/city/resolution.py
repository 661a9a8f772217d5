"""Group "resolution": height of people in pixels of the camera."""

from __future__ import annotations

import math

from torch import Tensor

from ..imaging.camera import Camera
from ..imaging.sensor import Frame
from ..rng import Rng
from ..settings import WorldSettings
from .sensor import resized, with_stage

__all__ = ["resolution"]

_LOWEST = 30


def resolution(settings: WorldSettings) -> WorldSettings:
    """Crops of 30 pixels and more, enlarged.

    EN 62676-4 asks for 62 pixels a metre to observe and 125 to recognise people, 110 and 220 rows a
    person; wide views give less than half of that. Here the median is 120 rows, one crop in ten has
    less than 62.
    """
    return with_stage(settings, "resolution", digital=_captured)


def _captured(image: Tensor, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    own = Rng.seeded("city resolution", camera.key)
    rows = 120.0 * math.exp(own.normal(0, 0.42) + rng.normal(0, 0.22))
    height, width = image.shape[:2]
    rows = max(_LOWEST, min(height, rows))
    return resized(image, (round(rows), max(12, round(rows * width / height))))
