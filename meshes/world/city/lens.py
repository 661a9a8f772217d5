"""Group "lens": wide lenses with people near the edges, vignetting, glare."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn.functional import avg_pool2d, interpolate

from ..imaging.camera import Camera, View
from ..imaging.sensor import Frame
from ..rng import Rng
from ..settings import WorldSettings
from .sensor import with_stage
from .wrapping import with_camera

__all__ = ["lens"]


@dataclass(frozen=True)
class _Optics:
    """Attributes: falloff: exponent of the vignette; glare: fraction of light spread far."""

    falloff: float
    glare: float


def lens(settings: WorldSettings) -> WorldSettings:
    """A quarter of the cameras have wide lenses.

    A 2.8 mm lens on a 1/2.8" sensor sees about 105 degrees across with a distortion of 20 to 30 %
    at the edge (division model -0.15 to -0.4), 6 to 12 mm ones 20 to 50 degrees with 1 to 5 %.
    Wide cameras see people nearer, and up to 35 degrees off their axis. Light falls off towards
    the edge with the fourth power of the cosine or less; lenses and dirty domes spread 1 to 6 %.
    """
    settings = with_stage(with_camera(settings, "lens", _fitted), "lens", optical=_optical)
    return replace(settings, stand=_off_axis)


def _fitted(camera: Camera, rng: Rng) -> Camera:
    low, high = rng.pick(((0.0, 0.03), (0.03, 0.12), (0.15, 0.4)), (45, 30, 25))
    bent, tilt, nearer = rng.uniform(low, high), rng.normal(0, 0.14), rng.uniform(0.45, 0.75)
    if bent < 0.15:
        return replace(camera, distortion=-bent)
    height = min(camera.height, 4.5)
    distance = max(2.4, camera.distance * nearer, 1.15 * (height - 0.95))
    return replace(
        camera, distortion=-bent, height=height, distance=distance, pitch=camera.pitch + tilt
    )


def _off_axis(camera: Camera, rng: Rng) -> tuple[float, float]:
    distance = camera.distance * rng.uniform(0.8, 1.3)
    spread = 0.16 + 1.6 * max(0.0, -camera.distortion - 0.03)
    return distance, rng.uniform(-spread, spread) * distance


def _of(camera: Camera) -> _Optics:
    rng = Rng.seeded("city optics", camera.key)
    return _Optics(falloff=rng.uniform(0.3, 2.0), glare=rng.pick((0.01, 0.03, 0.07), (50, 35, 15)))


def _optical(frame: Frame, camera: Camera, rng: Rng) -> Frame:
    optics = _of(camera)
    light = frame.light * _vignette(frame.view, optics.falloff)
    planes = light.permute(2, 0, 1)[None]
    small = avg_pool2d(planes, 16)
    spread = avg_pool2d(small, 3, 1, 1, count_include_pad=False)
    wide = 0.5 * spread + 0.5 * spread.mean((2, 3), keepdim=True)
    veil = interpolate(wide, light.shape[:2], mode="bilinear")[0].permute(1, 2, 0)
    return replace(frame, light=torch.lerp(light, veil, optics.glare * rng.uniform(0.6, 1.4)))


def _vignette(view: View, falloff: float) -> torch.Tensor:
    """(H, W, 1) factors, 1 on the lens's axis."""
    x = (torch.arange(view.width) + 0.5 - view.principal[0]) / view.focal[0]
    y = (torch.arange(view.height) + 0.5 - view.principal[1]) / view.focal[1]
    square = x.square()[None] + y.square()[:, None]
    return (1 + square).pow(-falloff)[..., None]
