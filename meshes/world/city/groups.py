"""Table of the groups of settings of the city world."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

from ..imaging.camera import Camera
from ..rng import Rng
from ..settings import DEFAULT, WorldSettings
from .belongings import belongings
from .blur import blur
from .boxes import boxes
from .cameras import cameras
from .clothes import colors
from .compression import compression
from .crowd import crowd
from .daylight import daylight
from .exposure import exposure
from .indoor import indoor
from .lens import lens
from .night import night
from .noise import noise
from .occluders import things
from .places import places
from .postures import poses
from .resolution import resolution
from .sensor import CITY_SENSOR
from .shadows import shadows
from .sharpening import sharpening
from .shutter import shutter
from .uniforms import uniforms
from .wardrobe import layers
from .weather import weather
from .wrapping import with_camera

__all__ = ["CITY_GROUPS", "city_settings"]

#: Groups by name: settings without the group to settings with it, in the order of application. A
#: group draws from streams of its own (``rng.branch(name)``, or those of the parts of a scene that
#: it replaces), so that turning it off leaves the draws of all others as they are.
_GROUPS: Mapping[str, Callable[[WorldSettings], WorldSettings]] = {
    "cameras": cameras,
    "indoor": indoor,
    "lens": lens,
    "shutter": shutter,
    "boxes": boxes,
    "places": places,
    "daylight": daylight,
    "night": night,
    "weather": weather,
    "shadows": shadows,
    "blur": blur,
    "things": things,
    "layers": layers,
    "colors": colors,
    "uniforms": uniforms,
    "exposure": exposure,
    "resolution": resolution,
    "noise": noise,
    "sharpening": sharpening,
    "compression": compression,
    "poses": poses,
    "belongings": belongings,
    "crowd": crowd,
}
#: Names of the groups of settings of the city world, each of which can be turned off.
CITY_GROUPS = tuple(_GROUPS)


def _numbered(camera: Camera, rng: Rng) -> Camera:
    return replace(camera, key=rng.integer(0, 1 << 62))


@lru_cache(maxsize=64)
def city_settings(without: tuple[str, ...] = ()) -> WorldSettings:
    """Settings of the city world without the named groups.

    Raises:
        ValueError: unknown group.
    """
    unknown = [name for name in without if name not in _GROUPS]
    if unknown:
        raise ValueError(f"without must be out of {CITY_GROUPS}; got {unknown[0]!r}")
    on = tuple(name for name in CITY_GROUPS if name not in without)
    settings = replace(DEFAULT, name="city", sensor=CITY_SENSOR, branches=True, groups=on)
    settings = with_camera(settings, "key", _numbered)
    for name in on:
        settings = _GROUPS[name](settings)
    return settings
