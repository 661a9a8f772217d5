"""Group "blur": motion of people during the exposure, and defocus."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..imaging.camera import Camera
from ..imaging.sensor import Frame
from ..rng import Rng
from ..settings import WorldSettings
from .sensor import with_stage

__all__ = ["blur"]


def blur(settings: WorldSettings) -> WorldSettings:
    """Light blurred along the walk."""
    return with_stage(settings, "blur", _blur)


def _blur(frame: Frame, camera: Camera, rng: Rng) -> Frame:
    length = 2 * rng.integer(0, 5) + 1
    if length == 1:
        return frame
    planes = frame.light.permute(2, 0, 1)[:, None]
    kernel = torch.full((1, 1, 1, length), 1 / length)
    padded = torch.nn.functional.pad(planes, (length // 2,) * 2 + (0, 0), mode="replicate")
    light = torch.nn.functional.conv2d(padded, kernel)[:, 0].permute(1, 2, 0)
    return replace(frame, light=light)
