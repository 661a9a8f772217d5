"""Sensor model, light to pixels: exposure, white balance, tone, haze, sharpness, noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..rng import Rng
from .camera import Camera, Light, View
from .conditions import Conditions

__all__ = [
    "Frame",
    "Sensor",
    "apply_sensor",
    "plain_sensor",
    "respond",
    "soften",
    "speckle",
]


@dataclass(frozen=True, eq=False)
class Frame:
    """Light that reaches the sensor.

    Attributes:
        light: (H, W, 3) linear light.
        own: (H, W) fraction of each pixel that shows the person, in [0, 1].
        view: the view.
        source: what lit the scene.
        conditions: time, weather and place of the image.
    """

    light: Tensor
    own: Tensor
    view: View
    source: Light
    conditions: Conditions


#: Light to sRGB (H, W, 3) uint8, of a camera.
Sensor = Callable[[Frame, Camera, Rng], Tensor]

_LUMA = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float32, device="cpu")


def apply_sensor(light: Tensor, camera: Camera, rng: Rng) -> Tensor:
    """Image from linear light.

    Args:
        light: (H, W, 3) linear light.
        camera: response, sharpness and noise; each image varies a little around them.
        rng: source of randomness.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    image = speckle(soften(respond(light, camera, rng), camera, rng), camera, rng)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def respond(light: Tensor, camera: Camera, rng: Rng) -> Tensor:
    """Exposure, white balance, tone, saturation and haze: sRGB (H, W, 3) of linear light."""
    mean = float((light @ _LUMA).mean().clamp(min=1e-4))
    # Exposure adapts to the scene, but not fully.
    exposure = (0.2 / mean) ** 0.6 * camera.gain * (1 + rng.normal(0, 0.1))
    white = torch.tensor([c * (1 + rng.normal(0, 0.015)) for c in camera.white])
    linear = light * exposure * white
    # A soft shoulder keeps bright cloth from clipping flat.
    linear = torch.where(linear > 0.7, 0.7 + 0.3 * (1 - torch.exp(-(linear - 0.7) / 0.3)), linear)
    image = linear.clamp(min=0).pow(camera.gamma * (1 + rng.normal(0, 0.05)) / 2.2)
    grey = (image @ _LUMA)[..., None]
    image = grey + (image - grey) * camera.saturation * (1 + rng.normal(0, 0.05))
    haze = camera.haze * rng.uniform(0.5, 1.4)
    return image * (1 - haze) + 0.72 * haze


def soften(image: Tensor, camera: Camera, rng: Rng) -> Tensor:
    """An sRGB image (H, W, 3) at the camera's sharpness."""
    return _resample(image, max(0.3, min(1.0, camera.sharpness * rng.uniform(0.75, 1.15))))


def speckle(image: Tensor, camera: Camera, rng: Rng) -> Tensor:
    """An sRGB image (H, W, 3) with the camera's noise."""
    noise = camera.noise * rng.uniform(0.6, 1.5) / 255
    return image + noise * rng.normals(*image.shape)


def plain_sensor(frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    """Sensor of the default world."""
    return apply_sensor(frame.light, camera, rng)


def _resample(image: Tensor, factor: float) -> Tensor:
    """Loss of detail by down- and upsampling."""
    if factor > 0.97:
        return image
    height, width = image.shape[:2]
    planes = image.permute(2, 0, 1)[None]
    size = (max(8, round(height * factor)), max(8, round(width * factor)))
    small = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)
    large = torch.nn.functional.interpolate(small, (height, width), mode="bicubic")
    return large[0].permute(1, 2, 0)
