"""Group "shutter": rows exposed one after the other."""

from __future__ import annotations

from dataclasses import replace

from ..imaging.camera import Camera, View
from ..rng import Rng
from ..settings import WorldSettings

__all__ = ["shutter"]


def shutter(settings: WorldSettings) -> WorldSettings:
    """The view of a rolling shutter, which shears what moves across.

    Sensors read a frame in 1/60 to 1/30 s. A walker 8 metres away crosses 0.16 of the distance a
    second: a shear of 0.3 to 0.8 %. Cameras on poles in wind and turning ones move everything, at
    5 to 40 degrees a second: up to 5 %.
    """
    return replace(settings, shutter=_rolling)


def _rolling(view: View, camera: Camera, rng: Rng) -> View:
    shaken = Rng.seeded("city shutter", camera.key).flag(0.15)
    return replace(view, skew=rng.normal(0, 0.02 if shaken and rng.flag(0.5) else 0.004))
