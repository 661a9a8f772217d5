"""Circumstances of an image: time of day, weather, place."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["NOON", "Conditions"]


@dataclass(frozen=True)
class Conditions:
    """Circumstances of an image.

    Attributes:
        hour: local time, hours in [0, 24).
        indoor: under a roof.
        lux: illuminance of the place, lux: about 100,000 in the sun, 10,000 under clouds, 300 in
            an office, 10 under street lamps.
        rain: intensity, 0 (none) to 1 (heavy, about 20 mm an hour).
        wet: wetness of the ground, 0 (dry) to 1 (standing water).
        gloss: mirror on the ground, 0 (dull) to 1 (water, polished stone).
        fog: extinction of haze or fog, per metre; 3.9 / fog is the visibility.
    """

    hour: float = 12.0
    indoor: bool = False
    lux: float = 10_000.0
    rain: float = 0.0
    wet: float = 0.0
    gloss: float = 0.0
    fog: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.hour < 24:
            raise ValueError(f"hour must be in [0, 24); got {self.hour}")
        if not (self.lux > 0 and math.isfinite(self.lux)):
            raise ValueError(f"lux must be positive; got {self.lux}")
        for name in ("rain", "wet", "gloss"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1]; got {getattr(self, name)}")
        if not 0 <= self.fog < 1:
            raise ValueError(f"fog must be in [0, 1); got {self.fog}")


#: A cloudy day.
NOON = Conditions()
