"""Draft of a scene: its image at low resolution, one ray a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from .imaging.camera import View
from .imaging.sensor import Frame
from .imaging.shading import cast_layers, light_of
from .rendering import backdrop_light, scene_shadow
from .rng import Rng
from .scene import Scene

__all__ = ["Draft", "draw_draft"]


@dataclass(frozen=True, eq=False)
class Draft:
    """Draft of a scene; N = h * w pixels, row by row.

    Attributes:
        colors: (N, 3) sRGB in [0, 1].
        own_depth: (N,) depth of the person, occluded or not, metres; inf elsewhere.
        mine: (N,) bool, the person is nearest.
    """

    colors: Tensor
    own_depth: Tensor
    mine: Tensor


@plain_torch()
def draw_draft(scene: Scene, view: View) -> Draft:
    """Draft of a scene in a view, by the scene's sensor."""
    others = (*scene.front, *scene.behind)
    layers = cast_layers(scene.figure.pieces, others, view)
    shadow = scene_shadow(scene)
    covered = layers.hit.face >= 0
    light = torch.empty(len(covered), 3)
    index, free = covered.nonzero()[:, 0], (~covered).nonzero()[:, 0]
    light[index] = light_of(layers.hit, index, view, scene.light, shadow)
    light[free] = backdrop_light(scene, view, shadow, free)
    shape = (view.height, view.width)
    frame = Frame(
        light.reshape(*shape, 3),
        layers.mine.float().reshape(shape),
        view,
        scene.light,
        scene.conditions,
    )
    image = scene.sensor(frame, scene.camera, Rng.seeded("sensor", scene.seed))
    return Draft(image.reshape(-1, 3).float() / 255, layers.own_depth, layers.mine)
