"""Chain from light to pixels, of stages that groups of settings put in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..imaging.camera import Camera
from ..imaging.conditions import Conditions
from ..imaging.sensor import Frame, respond, soften, speckle
from ..rng import Rng
from ..settings import WorldSettings

__all__ = [
    "CITY_SENSOR",
    "DIGITAL",
    "OPTICAL",
    "CitySensor",
    "Digital",
    "Optical",
    "gain",
    "resized",
    "shutter_time",
    "with_stage",
]

#: Change of the light of a frame by one group.
Optical = Callable[[Frame, Camera, Rng], Frame]
#: Change of an image (h, w, 3) by one group: image, frame it was made of, camera, randomness. The
#: image is linear light until "exposure".
Digital = Callable[[Tensor, Frame, Camera, Rng], Tensor]
#: Stages before the sensor, in the order of application.
OPTICAL = ("weather", "blur", "lens")
#: Stages on the sensor, in the order of application.
DIGITAL = ("resolution", "shutter", "exposure", "noise", "sharpening", "compression")
_OFFICE = 300.0  # lux at which the exposure takes 1/60 s


def shutter_time(conditions: Conditions, camera: Camera) -> float:
    """Time of exposure, seconds: 1/400 under clouds, 1/60 in an office, 1/12 to 1/50 at night."""
    slowest = 0.04 * 2 ** Rng.seeded("city shutter time", camera.key).uniform(-1.0, 0.9)
    return max(1e-3, min(slowest, (_OFFICE / conditions.lux) ** 0.55 / 60))


def gain(conditions: Conditions, camera: Camera) -> float:
    """Amplification, decibels (20 for a factor of 10): 0 by day, 10 in an office, 30 at night."""
    needed = _OFFICE / 60 / (conditions.lux * shutter_time(conditions, camera))
    own = Rng.seeded("city gain", camera.key).uniform(4.0, 12.0)
    return max(0.0, min(38.0, 20 * math.log10(needed) + own))


def resized(image: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Image (h, w, C) at another size, smoothed where it gets smaller."""
    if image.shape[:2] == size:
        return image
    planes = image.permute(2, 0, 1)[None]
    smaller = size[0] < image.shape[0]
    made = torch.nn.functional.interpolate(planes, size, mode=mode, antialias=smaller)
    return made[0].permute(1, 2, 0)


@dataclass(frozen=True)
class CitySensor:
    """Stages of the groups; the default world's response, sharpness and noise where one is off.

    Attributes:
        optical: stages before the sensor by name, out of ``OPTICAL``.
        digital: stages on the sensor by name, out of ``DIGITAL``.
    """

    optical: Mapping[str, Optical] = field(default_factory=dict)
    digital: Mapping[str, Digital] = field(default_factory=dict)

    def __call__(self, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
        """Image (H, W, 3) uint8 sRGB of a frame."""
        for name in OPTICAL:
            if name in self.optical:
                frame = self.optical[name](frame, camera, rng.branch(name))
        image = frame.light
        stages = {**_PLAIN, **self.digital}
        for name in DIGITAL:
            if name in stages:
                image = stages[name](image, frame, camera, rng.branch(name))
        mode = rng.branch("size").pick(("bilinear", "bicubic"))
        image = resized(image, (frame.own.shape[0], frame.own.shape[1]), mode)
        return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def _respond(image: Tensor, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    return respond(image, camera, rng)


def _soften(image: Tensor, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    return soften(image, camera, rng)


def _speckle(image: Tensor, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    return speckle(image, camera, rng)


_PLAIN: Mapping[str, Digital] = {"exposure": _respond, "resolution": _soften, "noise": _speckle}
#: Sensor without groups.
CITY_SENSOR = CitySensor()


def with_stage(
    settings: WorldSettings,
    name: str,
    *,
    optical: Optical | None = None,
    digital: Digital | None = None,
) -> WorldSettings:
    """Settings whose sensor has one stage more, of one of the two kinds."""
    sensor = settings.sensor
    if not isinstance(sensor, CitySensor):
        raise TypeError(f"settings must have a CitySensor; got {type(sensor).__name__}")
    if optical is not None:
        sensor = replace(sensor, optical={**sensor.optical, name: optical})
    if digital is not None:
        sensor = replace(sensor, digital={**sensor.digital, name: digital})
    return replace(settings, sensor=sensor)
