"""Cameras: geometry, light and colour response.

A camera keeps its geometry, its light and its colour response over all images. Grounds and walls
belong to the image, not to the camera, so that a network cannot learn the camera from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..rng import Rng

__all__ = [
    "Camera",
    "Lamp",
    "Light",
    "View",
    "draw_camera",
    "draw_light",
    "dusk_camera",
    "take_view",
]

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
        distortion: of the lens, see ``View``.
        indoor: hangs under a roof.
        key: seed of what else belongs to the camera.
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
    distortion: float = 0.0
    indoor: bool = False
    key: int = 0


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


@plain_torch()
def dusk_camera(camera: Camera, seed: int) -> Camera:
    """The camera at dusk: overcast, dim, bluish, hazy and noisy, with a strong white balance error.

    Args:
        camera: camera by day, whose geometry stays.
        seed: seed of its world.
    """
    rng = Rng.seeded("dusk", seed, camera.index)
    return replace(
        camera,
        sun=0.15 * rng.uniform(0.8, 1.2),
        sky=(rng.uniform(0.75, 0.95), 1.0, rng.uniform(1.05, 1.3)),
        gain=rng.uniform(0.45, 0.8),
        gamma=rng.uniform(1.1, 1.6),
        white=(
            math.exp(rng.normal(0, 0.3)), math.exp(rng.normal(0, 0.3)), math.exp(rng.normal(0, 0.3))
        ),
        saturation=rng.uniform(0.4, 0.8),
        haze=rng.uniform(0.1, 0.3),
        sharpness=rng.uniform(0.35, 0.7),
        noise=rng.uniform(3.0, 9.0),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Lamp:
    """A lamp near by, without shadows of its own.

    Attributes:
        place: (3,) metres, world frame.
        color: (3,) linear light on a surface that faces the lamp at one metre.
        beam: (3,) unit direction of its beam, world frame; None: to all sides.
        focus: exponent of the beam's cosine.
    """

    place: Tensor
    color: Tensor
    beam: Tensor | None = None
    focus: float = 1.0

    def on(self, points: Tensor, normals: Tensor) -> Tensor:
        """Light (N, 3) that reaches surfaces at points (N, 3) with unit normals (N, 3)."""
        away = self.place - points
        square = away.square().sum(-1).clamp(min=0.05)
        strength = (normals * away).sum(-1).clamp(min=0) * square.pow(-1.5)
        if self.beam is not None:
            along = -(away @ self.beam) * square.rsqrt()
            strength = strength * along.clamp(min=0).pow(self.focus)
        return strength[:, None] * self.color


@dataclass(frozen=True, eq=False)
class Light:
    """Light of one image.

    Attributes:
        direction: (3,) unit, towards the sun, world frame.
        sun: (3,) strength per channel.
        sky: (3,) ambient from above.
        bounce: (3,) ambient from below.
        lamps: lamps near by.
        cover: fraction (N,) of the sun's light that unseen things let through to points (N, 3).
        fog: extinction of the air, per metre.
        airlight: (3,) light of the fog itself.
    """

    direction: Tensor
    sun: Tensor
    sky: Tensor
    bounce: Tensor
    lamps: tuple[Lamp, ...] = ()
    cover: Callable[[Tensor], Tensor] | None = None
    fog: float = 0.0
    airlight: Tensor | None = None

    def lamplight(self, points: Tensor, normals: Tensor) -> Tensor:
        """Light (N, 3) of all lamps at points with unit normals; there must be a lamp."""
        return torch.stack([lamp.on(points, normals) for lamp in self.lamps]).sum(0)

    def through_air(self, light: Tensor, distance: Tensor) -> Tensor:
        """Light (N, 3) after distances (N,) in metres of air, with the air's own light."""
        if self.airlight is None or self.fog == 0:
            return light
        return torch.lerp(self.airlight, light, torch.exp(-self.fog * distance)[:, None])


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
    """A view of the world: a pinhole, bent by the lens, skewed by the shutter.

    With (x, y) the pinhole's image at depth 1, x right and y up, a lens moves a point at radius r
    to radius s with r = s / (1 + distortion s^2) (division model: Fitzgibbon, CVPR 2001), negative
    for wide lenses; a shutter that exposes row by row moves it by ``skew`` y to the right. The axis
    is at x = y = 0, wherever the crop lies.

    Attributes:
        turn: (3, 3) world -> camera frame (x right, y up, z towards the camera).
        center: (3,) camera in the world, metres.
        focal: (2,) pixels, horizontal and vertical (a crop may be stretched).
        principal: (2,) pixels; may lie outside the image.
        height, width: of the image, pixels.
        distortion: of the lens, at most 0; 0: none.
        skew: of the shutter, 0: none.
    """

    turn: Tensor
    center: Tensor
    focal: tuple[float, float]
    principal: tuple[float, float]
    height: int
    width: int
    distortion: float = 0.0
    skew: float = 0.0

    def __post_init__(self) -> None:
        """Check the distortion."""
        if not self.distortion <= 0:
            raise ValueError(f"distortion must be at most 0; got {self.distortion}")

    def to_camera(self, points: Tensor) -> Tensor:
        """World points (N, 3) in the camera frame, origin at the camera."""
        return (points - self.center) @ self.turn.T

    def project(self, points: Tensor) -> Tensor:
        """World points (N, 3) -> (N, 3) pixel x, pixel y, depth in metres."""
        local = self.to_camera(points)
        depth = -local[:, 2]
        safe = depth.clamp(min=1e-3)
        if self.distortion or self.skew:
            across, up = _bent(local[:, 0] / safe, local[:, 1] / safe, self.distortion)
            across = across + self.skew * up
            x = self.principal[0] + self.focal[0] * across
            return torch.stack([x, self.principal[1] - self.focal[1] * up, depth], -1)
        x = self.principal[0] + self.focal[0] * local[:, 0] / safe
        y = self.principal[1] - self.focal[1] * local[:, 1] / safe
        return torch.stack([x, y, depth], -1)

    def rays(self, pixels: Tensor) -> Tensor:
        """World directions (N, 3) of unit depth through pixel points (N, 2)."""
        x = (pixels[:, 0] - self.principal[0]) / self.focal[0]
        y = (self.principal[1] - pixels[:, 1]) / self.focal[1]
        if self.distortion or self.skew:
            x = x - self.skew * y
            # Beyond the image circle of the lens (1 + k s^2 = 0) there is no ray: the last one.
            scale = 1 / (1 + self.distortion * (x.square() + y.square())).clamp(min=0.02)
            x, y = x * scale, y * scale
        return torch.stack([x, y, -torch.ones_like(x)], -1) @ self.turn

    def scaled(self, factor: float) -> View:
        """The same view at another resolution."""
        return replace(
            self,
            focal=(self.focal[0] * factor, self.focal[1] * factor),
            principal=(self.principal[0] * factor, self.principal[1] * factor),
            height=round(self.height * factor),
            width=round(self.width * factor),
        )

    def cropped(self, box: tuple[float, float, float, float]) -> View:
        """The part (left, top, right, bottom) in pixels, stretched to the full image."""
        left, top, right, bottom = box
        across, down = self.width / (right - left), self.height / (bottom - top)
        return replace(
            self,
            focal=(self.focal[0] * across, self.focal[1] * down),
            principal=((self.principal[0] - left) * across, (self.principal[1] - top) * down),
        )

    def mirrored(self) -> View:
        """The view of the mirror images that the ground y = 0 shows.

        Of any point it has the pixel at which this view has the point's mirror image; faces turn
        the other way round.
        """
        flip = torch.tensor([1.0, -1.0, 1.0])
        return replace(self, turn=self.turn * flip, center=self.center * flip)


def _bent(x: Tensor, y: Tensor, distortion: float) -> tuple[Tensor, Tensor]:
    """Image of a lens of points (x, y) of a pinhole's at depth 1."""
    square = x.square() + y.square()
    # The root of k r s^2 - s + r = 0 that is r at k = 0, in a form without cancellation.
    scale = 2 / (1 + (1 - 4 * distortion * square).sqrt())
    return x * scale, y * scale


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
        distortion=camera.distortion,
    )
