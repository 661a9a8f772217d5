"""Cameras: geometry, light and colour response.

A camera keeps its geometry, its light and its colour response over all images. Grounds and walls
belong to the image, not to the camera, so that a network cannot learn the camera from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..rng import Rng

__all__ = ["Camera", "Light", "View", "draw_camera", "draw_light", "take_view"]

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A fixed camera.

    Attributes:
        index: number of the camera, from 1.
        height: metres over the ground.
        pitch: downward tilt, radians.
        distance: mean ground distance of people, metres.
        heading: main walking direction in view, radians (0 = towards the camera).
        sun_azimuth, sun_height: radians; azimuth 0 shines from behind the camera.
        sun: strength of the sun against the sky, 0 (overcast, indoors) to 2.5.
        sky: tint of the ambient light.
        gain, gamma, white, saturation, haze: colour response.
        sharpness: image resolution against the output's, in (0, 1].
        noise: standard deviation of sensor noise, in units of 255.
    """

    index: int
    height: float
    pitch: float
    distance: float
    heading: float
    sun_azimuth: float
    sun_height: float
    sun: float
    sky: Color
    gain: float
    gamma: float
    white: Color
    saturation: float
    haze: float
    sharpness: float
    noise: float


@plain_torch()
def draw_camera(seed: int, index: int) -> Camera:
    """Camera number ``index`` (from 1) of the world with the given seed."""
    rng = Rng.seeded("camera", seed, index)
    height = rng.uniform(1.8, 4.5)
    distance = rng.uniform(4.5, 10.0)
    pitch = min(math.radians(25), math.atan2(height - 0.95, distance))
    warm = rng.normal(0, 0.055)
    return Camera(
        index=index,
        height=height,
        pitch=pitch,
        distance=max(distance, (height - 0.95) / math.tan(math.radians(25))),
        heading=rng.uniform(-math.pi, math.pi),
        sun_azimuth=rng.uniform(-math.pi, math.pi),
        sun_height=math.radians(rng.uniform(28, 65)),
        sun=rng.pick((0.15, 0.8, 1.6), (35, 30, 35)) * rng.uniform(0.8, 1.2),
        sky=(1.0 - rng.uniform(0, 0.1), 1.0, 1.0 + rng.uniform(-0.05, 0.12)),
        gain=rng.uniform(0.72, 1.25),
        gamma=rng.uniform(0.85, 1.2),
        white=(1.0 + warm + rng.normal(0, 0.015), 1.0, 1.0 - warm + rng.normal(0, 0.015)),
        saturation=rng.uniform(0.7, 1.2),
        haze=rng.uniform(0.0, 0.13),
        sharpness=rng.uniform(0.45, 1.0),
        noise=rng.uniform(0.8, 4.0),
    )


@dataclass(frozen=True, eq=False)
class Light:
    """Light of one image.

    Attributes:
        direction: (3,) unit, towards the sun, world frame.
        sun: (3,) strength per channel.
        sky: (3,) ambient from above.
        bounce: (3,) ambient from below.
    """

    direction: Tensor
    sun: Tensor
    sky: Tensor
    bounce: Tensor


def draw_light(camera: Camera, rng: Rng) -> Light:
    """The camera's light with the weather of one image."""
    azimuth = camera.sun_azimuth + rng.normal(0, 0.25)
    height = camera.sun_height + rng.normal(0, 0.08)
    direction = torch.tensor(
        [
            math.sin(azimuth) * math.cos(height),
            math.sin(height),
            math.cos(azimuth) * math.cos(height),
        ]
    )
    cloud = rng.uniform(0.6, 1.15)
    sky = torch.tensor(camera.sky) * rng.uniform(0.85, 1.15)
    return Light(
        direction=direction,
        sun=torch.tensor([1.05, 1.0, 0.92]) * camera.sun * cloud * 0.75,
        sky=sky * 0.62,
        bounce=sky * 0.3,
    )


@dataclass(frozen=True, eq=False)
class View:
    """A pinhole view of the world.

    Attributes:
        turn: (3, 3) world -> camera frame (x right, y up, z towards the camera).
        center: (3,) camera in the world, metres.
        focal: (2,) pixels, horizontal and vertical (a crop may be stretched).
        principal: (2,) pixels; may lie outside the image.
        height, width: of the image, pixels.
    """

    turn: Tensor
    center: Tensor
    focal: tuple[float, float]
    principal: tuple[float, float]
    height: int
    width: int

    def to_camera(self, points: Tensor) -> Tensor:
        """World points (N, 3) in the camera frame, origin at the camera."""
        return (points - self.center) @ self.turn.T

    def project(self, points: Tensor) -> Tensor:
        """World points (N, 3) -> (N, 3) pixel x, pixel y, depth in metres."""
        local = self.to_camera(points)
        depth = -local[:, 2]
        safe = depth.clamp(min=1e-3)
        x = self.principal[0] + self.focal[0] * local[:, 0] / safe
        y = self.principal[1] - self.focal[1] * local[:, 1] / safe
        return torch.stack([x, y, depth], -1)

    def rays(self, pixels: Tensor) -> Tensor:
        """World directions (N, 3) of unit depth through pixel points (N, 2)."""
        x = (pixels[:, 0] - self.principal[0]) / self.focal[0]
        y = (self.principal[1] - pixels[:, 1]) / self.focal[1]
        return torch.stack([x, y, -torch.ones_like(x)], -1) @ self.turn

    def scaled(self, factor: float) -> View:
        """The same view at another resolution."""
        return View(
            self.turn,
            self.center,
            (self.focal[0] * factor, self.focal[1] * factor),
            (self.principal[0] * factor, self.principal[1] * factor),
            round(self.height * factor),
            round(self.width * factor),
        )

    def cropped(self, box: tuple[float, float, float, float]) -> View:
        """The part (left, top, right, bottom) in pixels, stretched to the full image."""
        left, top, right, bottom = box
        across, down = self.width / (right - left), self.height / (bottom - top)
        return View(
            self.turn,
            self.center,
            (self.focal[0] * across, self.focal[1] * down),
            ((self.principal[0] - left) * across, (self.principal[1] - top) * down),
            self.height,
            self.width,
        )


def take_view(camera: Camera, distance: float, size: tuple[int, int]) -> View:
    """The camera's view when a person stands at the origin, ``distance`` metres away.

    The focal length is one image height per unit: crop it to a person.
    """
    cosine, sine = math.cos(camera.pitch), math.sin(camera.pitch)
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
    height, width = size
    return View(
        turn=turn,
        center=torch.tensor([0.0, camera.height, distance]),
        focal=(float(height), float(height)),
        principal=(width / 2, height / 2),
        height=height,
        width=width,
    )
