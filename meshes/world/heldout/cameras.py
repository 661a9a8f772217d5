"""Cameras of the held-out world: high, far, dark, coarse, compressed."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..imaging.camera import Camera
from ..imaging.sensor import Frame, apply_sensor
from ..rng import Rng

__all__ = ["COARSE", "DARK", "GALLERY", "QUERY", "compressed_sensor", "draw_held_out_camera"]

GALLERY = (1, 3)
"""First and last number of the cameras of galleries."""
QUERY = (4, 9)
"""First and last number of the cameras of queries."""
DARK = (10, 11)
"""First and last number of the dark cameras."""
COARSE = (12, 13)
"""First and last number of the cameras of low resolution."""
_STEEPEST = math.radians(48)
_ROWS = 256


def _is(index: int, role: tuple[int, int]) -> bool:
    return role[0] <= index <= role[1]


@plain_torch()
def draw_held_out_camera(seed: int, index: int) -> Camera:
    """Camera number ``index`` (from 1); its role follows from the number."""
    rng = Rng.seeded("held-out camera", seed, index)
    height = rng.uniform(2.0, 8.0)
    distance = max(rng.uniform(4.0, 13.0), (height - 0.95) / math.tan(_STEEPEST))
    warm = rng.normal(0, 0.1)
    dark, coarse = _is(index, DARK), _is(index, COARSE)
    dusk = dark or (_is(index, QUERY) and rng.flag(0.2))
    rows = rng.uniform(34, 70) if coarse else rng.uniform(56, 100) if dark else rng.uniform(80, 230)
    return Camera(
        index=index,
        height=height,
        pitch=math.atan2(height - 0.95, distance),
        distance=distance,
        heading=rng.uniform(-math.pi, math.pi),
        sun_azimuth=rng.uniform(-math.pi, math.pi),
        sun_height=math.radians(rng.uniform(12, 80)),
        sun=rng.uniform(0.05, 0.9) if dusk else rng.pick((0.0, 0.6, 2.3)) * rng.uniform(0.8, 1.2),
        sky=(rng.uniform(0.75, 1.0), 0.95, rng.uniform(0.8, 1.25)),
        gain=rng.uniform(0.16, 0.34) if dark else rng.uniform(0.4, 0.6) if dusk
        else rng.uniform(0.65, 1.6),
        gamma=rng.uniform(0.75, 1.35),
        white=(1.0 + warm + rng.normal(0, 0.04), 1.0, 1.0 - warm + rng.normal(0, 0.04)),
        saturation=rng.uniform(0.35, 0.8) if dark else rng.uniform(0.5, 1.35),
        haze=rng.uniform(0.0, 0.06) if dark else rng.uniform(0.0, 0.25),
        sharpness=rows / _ROWS,
        noise=rng.uniform(4.0, 9.0) if dark else rng.uniform(0.5, 6.0),
    )  # fmt: skip


def compressed_sensor(frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    """Image from linear light, at the camera's resolution, noisy, compressed, and enlarged.

    Args:
        frame: linear light.
        camera: response, resolution and noise.
        rng: source of randomness.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    light = frame.light
    height, width = light.shape[:2]
    factor = min(1.0, camera.sharpness * rng.uniform(0.8, 1.2))
    size = (max(32, round(height * factor)), max(16, round(width * factor)))
    planes = light.permute(2, 0, 1)[None]
    if rng.flag(0.2):
        planes = _blurred(planes, rng)
    small = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)
    quiet = replace(camera, sharpness=1.6)
    image = apply_sensor(small[0].permute(1, 2, 0), quiet, rng)
    image = _jpeg(image, rng.integer(28, 88))
    large = torch.nn.functional.interpolate(
        image.permute(2, 0, 1)[None].float(), (height, width), mode="bilinear"
    )
    return large[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)


def _blurred(planes: Tensor, rng: Rng) -> Tensor:
    """Motion blur along the walking direction."""
    length = rng.integer(2, 5) * 2 + 1
    kernel = torch.full((3, 1, 1, length), 1 / length)
    padded = torch.nn.functional.pad(planes, (length // 2,) * 2 + (0, 0), mode="replicate")
    return torch.nn.functional.conv2d(padded, kernel, groups=3)


def _jpeg(image: Tensor, quality: int) -> Tensor:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image.numpy()).save(buffer, "JPEG", quality=quality)
    buffer.seek(0)
    with Image.open(buffer) as read:
        pixels = bytearray(read.convert("RGB").tobytes())
    return torch.frombuffer(pixels, dtype=torch.uint8).reshape(image.shape)
