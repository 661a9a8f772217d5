"""Views of a re-rendered person: a camera of the world, a given view, or the camera of a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fitting.camera import CropCamera
from ..fitting.fit import BodyFit
from ..rotation import axis_angle_to_matrix
from ..world.imaging.camera import Camera, View, take_view

__all__ = ["FitView", "choose_view", "fit_ground", "pitch_turn"]

_MARGIN = 0.06  # of the person's height, above and below
_FAR = 8.0  # metres: distance of a camera whose images have no perspective


@dataclass(frozen=True, eq=False)
class FitView(View):
    """View of the camera of a fit. Rays are those of a pinhole 8 m in front of the body.

    Attributes:
        crop: the camera, B = 1, in the frame of the fit.
        origin: (3,) metres, origin of the frame of the fit in the world.
    """

    crop: CropCamera | None = None
    origin: Tensor | None = None

    def project(self, points: Tensor) -> Tensor:
        """World points (N, 3) -> (N, 3) pixel x, pixel y, depth in metres."""
        if self.crop is None or self.origin is None:
            raise AssertionError("made by choose_view")
        placed = self.crop.project(((points - self.origin) @ self.turn.T)[None])[0]
        return placed + torch.tensor([0.0, 0.0, _FAR])

    def scaled(self, factor: float) -> FitView:
        """The same view at another resolution."""
        if self.crop is None or self.origin is None:
            raise AssertionError("made by choose_view")
        crop = CropCamera(
            self.crop.scale * factor, self.crop.shift * factor, self.crop.log_aspect,
            self.crop.kappa,
        )  # fmt: skip
        size = (round(self.height * factor), round(self.width * factor))
        return _fit_view(crop, self.turn, self.origin, size)


def choose_view(
    camera: Camera | View | BodyFit, points: Tensor, ground: float, size: tuple[int, int]
) -> View:
    """View of a person.

    Args:
        camera: a camera of the world looks at the person and crops it with a margin; a view is
            taken as it is, at its own size; a fit looks as its camera did.
        points: (N, 3) metres, surface of the person, standing at the origin.
        ground: height of the origin of the fit's frame over the ground, metres.
        size: height and width, pixels.
    """
    if isinstance(camera, View):
        return camera
    if isinstance(camera, BodyFit):
        turn = pitch_turn(camera)
        crop = camera.camera
        crop = crop if isinstance(crop, CropCamera) else crop.weak()
        return _fit_view(crop, turn, torch.tensor([0.0, ground, 0.0]), size)
    whole = take_view(camera, camera.distance, size)
    seen = whole.project(points)[:, :2]
    low, high = seen.amin(0), seen.amax(0)
    x, y = ((low + high) / 2).tolist()
    tall = float(high[1] - low[1]) * (1 + 2 * _MARGIN)
    wide = max(tall * size[1] / size[0], float(high[0] - low[0]) * (1 + 2 * _MARGIN))
    tall = max(tall, wide * size[0] / size[1])
    return whole.cropped((x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2))


def pitch_turn(fit: BodyFit) -> Tensor:
    """(3, 3) rotation from a level world to the frame of a fit, B = 1."""
    return axis_angle_to_matrix(torch.tensor([float(fit.pitch[0]), 0.0, 0.0]))


def fit_ground(fit: BodyFit) -> float:
    """Height of the origin of a fit's frame over the ground, metres, B = 1."""
    level = fit.vertices[0] @ pitch_turn(fit)
    return -float(level[:, 1].min())


def _fit_view(crop: CropCamera, turn: Tensor, origin: Tensor, size: tuple[int, int]) -> FitView:
    scale = float(crop.scale[0]) * _FAR
    return FitView(
        turn=turn,
        center=origin + torch.tensor([0.0, 0.0, _FAR]) @ turn,
        focal=(scale, scale * math.exp(float(crop.log_aspect[0]))),
        principal=(float(crop.shift[0, 0]), float(crop.shift[0, 1])),
        height=size[0],
        width=size[1],
        crop=crop,
        origin=origin,
    )
