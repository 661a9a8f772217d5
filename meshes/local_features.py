"""Local features of an image at the points of its lifted cloud."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from pose.runtime.defaults import plain_torch

from .lift import Lift

__all__ = ["sample_features"]


@plain_torch()
def sample_features(lift: Lift, features: Tensor, size: tuple[int, int]) -> Lift:
    """The lift with local features of its image at the points of its cloud.

    Features are interpolated bilinearly between the cells of the map around the pixel of each
    point's projection; beyond the centres of its outer cells, and outside the image, those of the
    nearest cell are taken. Points that are not visible have features of zeros.

    Args:
        lift: lift of an image.
        features: (C, h, w) map of the whole image, such as the local features of
            `og_reid.models.DenseReID` with cells at a stride of 16; cell (i, j) is centred at pixel
            ``x = (j + 0.5) W / w``, ``y = (i + 0.5) H / h``. May be of any float type.
        size: height H and width W of the lifted image in pixels; the network's input may have
            another size.

    Returns:
        The lift; its cloud has ``features (N, C)``, which are not normalised.

    Raises:
        ValueError: ``features`` is no such map or not finite, or ``size`` is not positive.
    """
    if features.ndim != 3 or not features.numel() or not features.is_floating_point():
        raise ValueError(
            "features must be a map (C, h, w) of floats, each length above 0; got "
            f"{tuple(features.shape)} {features.dtype}"
        )
    if not bool(features.isfinite().all()):
        raise ValueError("features must be finite; got NaN or infinity")
    if min(size) < 1:
        raise ValueError(f"size must be the positive height and width of the image; got {size}")
    cloud = lift.cloud
    pixels = lift.fit.camera.project(cloud.points[None])[0, :, :2]
    # To [-1, 1] between the outer edges of the map, as `grid_sample` takes it.
    place = pixels / pixels.new_tensor([size[1], size[0]]) * 2 - 1
    sampled = functional.grid_sample(
        features.detach().to(pixels)[None],
        place[None, None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )[0, :, 0].T
    visible = torch.where(cloud.visible[:, None], sampled, 0.0)
    return replace(lift, cloud=replace(cloud, features=visible.contiguous()))
