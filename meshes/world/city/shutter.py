"""Group "shutter": rows exposed one after the other, and fields of interlaced video."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..imaging.camera import Camera, View
from ..imaging.sensor import Frame
from ..rng import Rng
from ..settings import WorldSettings
from .sensor import resized, with_stage

__all__ = ["combed", "shutter"]

_FIELD = 0.02  # seconds between the two fields of a frame at 50 fields a second
_TALL = 1.9  # metres that the height of an image shows, about


def shutter(settings: WorldSettings) -> WorldSettings:
    """The view of a rolling shutter, which shears what moves across; at times interlaced video.

    Sensors read a frame in 1/60 to 1/30 s. A walker 8 metres away crosses 0.16 of the distance a
    second: a shear of 0.3 to 0.8 %. Cameras on poles in wind and turning ones move everything, at
    5 to 40 degrees a second: up to 5 %. One camera in 25 is analogue: odd and even rows show a
    walker 1/50 s apart, 1 to 3 centimetres.
    """
    settings = with_stage(settings, "shutter", digital=_interlaced)
    return replace(settings, shutter=_rolling)


def _rolling(view: View, camera: Camera, rng: Rng) -> View:
    shaken = Rng.seeded("city shutter", camera.key).flag(0.15)
    return replace(view, skew=rng.normal(0, 0.02 if shaken and rng.flag(0.5) else 0.004))


def _interlaced(image: Tensor, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    analogue = Rng.seeded("city interlacing", camera.key).flag(0.04)
    height, width = image.shape[:2]
    if not analogue or height < 90:  # small images are of one field
        return image
    apart = rng.sign() * rng.uniform(0.5, 1.7) * _FIELD * height / _TALL
    return combed(image, resized(frame.own[..., None], (height, width)), apart)


def combed(image: Tensor, own: Tensor, apart: float) -> Tensor:
    """Two fields of a moving person in one frame, half of the way before and after the truth.

    Args:
        image: (h, w, C).
        own: (h, w, 1) fraction of each pixel that shows the person.
        apart: way of the person to the right between even and odd rows, pixels.
    """
    both = torch.cat([image, own], -1)
    result = image.clone()
    for first, way in ((0, -apart / 2), (1, apart / 2)):
        whole = math.floor(way)
        rows = both[first::2]
        moved = torch.lerp(rows.roll(whole, 1), rows.roll(whole + 1, 1), way - whole)
        near = torch.maximum(own[first::2], moved[..., -1:]) > 0.02
        result[first::2] = torch.where(near, moved[..., :-1], result[first::2])
    return result
