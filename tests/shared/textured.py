"""A standing body with a fitted camera, and images of it with known colours."""

from __future__ import annotations

import numpy as np
import torch

from meshes import BodyFit, CropCamera
from meshes.body.model import BodyModel
from meshes.color import project_body
from meshes.rasterizer import rasterize
from meshes.rotation import axis_angle_to_matrix

__all__ = ["PALETTE", "part_image", "standing_fit"]

PALETTE = torch.rand(24, 3, generator=torch.Generator().manual_seed(3)) * 0.8 + 0.1
"""(24, 3) sRGB colour of each joint's part."""


def standing_fit(body: BodyModel, *, yaw: float = 0.0, height: int = 256) -> BodyFit:
    """A fit, B = 1, of a person as tall as nine tenths of an image of shape (H, H / 2)."""
    vectors = torch.zeros(24, 3)
    for side, sign in (("left", 1.0), ("right", -1.0)):  # hanging arms
        vectors[body.joint(f"{side}_shoulder"), 2] = -1.2 * sign
        vectors[body.joint(f"{side}_elbow"), 1] = -0.3 * sign
        vectors[body.joint(f"{side}_knee"), 0] = 0.2
    vectors[0, 1] = yaw
    rotations = axis_angle_to_matrix(vectors)
    scale = 0.9 * height / 1.75
    return BodyFit(
        body=body,
        rotations=rotations[None],
        betas=torch.zeros(1, 10),
        camera=CropCamera(
            torch.tensor([scale]), torch.tensor([[height / 4, 0.48 * height]]),
            torch.zeros(1), torch.zeros(1),
        ),
        pitch=torch.zeros(1),
        error=torch.zeros(1),
    )  # fmt: skip


def part_image(fit: BodyFit, height: int = 256) -> tuple[np.ndarray, torch.Tensor]:
    """Image (H, H / 2, 3) uint8 of the body in the colours of its parts, and its mask."""
    width = height // 2
    projected = project_body(fit, height, width).projected
    raster = rasterize(projected, fit.body.faces, height, width)
    face = raster.face[0]
    largest = fit.body.faces[face.clamp_min(0)].gather(
        2, raster.barycentric[0].argmax(2, keepdim=True)
    )[..., 0]
    mask = face >= 0
    image = torch.where(mask[..., None], PALETTE[fit.body.part[largest]], 0.5)
    return (image * 255).round().to(torch.uint8).numpy(), mask
