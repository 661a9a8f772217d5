"""Group "blur": motion of people during the exposure, and defocus."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..imaging.camera import Camera
from ..imaging.sensor import Frame
from ..rng import Rng
from ..settings import WorldSettings
from .sensor import shutter_time, with_stage

__all__ = ["blur", "smeared"]

_TALL = 1.9  # metres that the height of an image shows, about
_MOST = 13  # positions along the way of a point


def blur(settings: WorldSettings) -> WorldSettings:
    """Motion blur of walking people over the exposure, its middle at the pose; defocus.

    People walk at 0.8 to 1.8 m/s: 1 to 2 mm at 1/400 s, 3 cm at 1/50 s, 7 cm at 1/20 s, which is
    0.2, 4 and 9 rows of 256. Lenses fixed at the hyperfocal distance and dirty domes blur by 0 to
    1.5 pixels.
    """
    return with_stage(settings, "blur", optical=_blurred)


def _blurred(frame: Frame, camera: Camera, rng: Rng) -> Frame:
    height = frame.own.shape[0]
    speed, angle = rng.uniform(0.8, 1.8), rng.normal(0, 0.35)
    across = rng.uniform(0, 1) if rng.flag(0.85) else 0.0  # the walk's part across the view
    length = speed * across * shutter_time(frame.conditions, camera) * height / _TALL
    light = frame.light
    if length > 0.7:
        step = (length * math.cos(angle), length * math.sin(angle))
        both = torch.cat([light, frame.own[..., None]], -1)
        moved = smeared(both, step)
        light = torch.lerp(light, moved[..., :3], moved[..., 3:].clamp(0, 1))
    own = Rng.seeded("city focus", camera.key)
    radius = own.pick((0.0, 0.6, 1.2), (60, 28, 12)) * own.uniform(0.7, 1.3) * rng.uniform(0.7, 1.3)
    if radius > 0.3:
        light = _gaussian(light, radius)
    return replace(frame, light=light)


def smeared(image: Tensor, step: tuple[float, float]) -> Tensor:
    """Mean of an image (H, W, C) moved along a way of (right, down) pixels about its place."""
    count = min(_MOST, 2 * math.ceil(max(abs(step[0]), abs(step[1])) / 2) + 1)
    margin = math.ceil(max(abs(step[0]), abs(step[1])) / 2) + 1
    planes = image.permute(2, 0, 1)[None]
    padded = torch.nn.functional.pad(planes, (margin,) * 4, mode="replicate")[0]
    height, width = image.shape[:2]
    total = torch.zeros_like(planes[0])
    for number in range(count):
        part = (number + 0.5) / count - 0.5
        x, y = part * step[0], part * step[1]
        left, top = math.floor(x), math.floor(y)
        a, b = x - left, y - top
        corners = (
            (0, 0, (1 - a) * (1 - b)),
            (1, 0, a * (1 - b)),
            (0, 1, (1 - a) * b),
            (1, 1, a * b),
        )
        for right, down, weight in corners:
            if weight > 0.005:
                r, c = margin + top + down, margin + left + right
                total.add_(padded[:, r : r + height, c : c + width], alpha=weight / count)
    return total.permute(1, 2, 0)


def _gaussian(image: Tensor, sigma: float) -> Tensor:
    """Image (H, W, C) blurred by a Gaussian, pixels."""
    reach = max(1, math.ceil(2.2 * sigma))
    places = torch.arange(-reach, reach + 1).float()
    kernel = torch.exp(-places.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    planes = image.permute(2, 0, 1)[:, None]
    pad = torch.nn.functional.pad(planes, (reach,) * 4, mode="replicate")
    rows = torch.nn.functional.conv2d(pad, kernel.view(1, 1, -1, 1))
    return torch.nn.functional.conv2d(rows, kernel.view(1, 1, 1, -1))[:, 0].permute(1, 2, 0)
