"""Preprocessing of images for image networks: size, range, mirroring."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["IMAGE_SIZE", "mirror_images", "preprocess_image"]

IMAGE_SIZE = (384, 128)
"""Height and width in pixels of the input images of PGFA and most part-based networks."""
#: Mean and standard deviation of ImageNet's colours in [0, 1], red, green and blue.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocess_image(image: np.ndarray, size: tuple[int, int] = IMAGE_SIZE) -> Tensor:
    """Resize by Pillow's bicubic filter and normalise by ImageNet's colours.

    Args:
        image: (H, W, 3) uint8 RGB, such as from `pose.read_image`.
        size: height and width of the result.

    Returns:
        (3, height, width) float32. Keypoints stay in pixels of `image`: `pose.heatmaps` and
        `pose.part_visibility` take its size.

    Raises:
        ValueError: `image` has another shape or type.
        ImportError: Pillow is missing.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"image must be (H, W, 3) uint8 RGB; got {image.shape} {image.dtype}: use "
            "pose.read_image"
        )
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Pillow is needed to resize images; install it with: pip install pillow"
        ) from error
    small = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def mirror_images(images: Tensor, heatmaps: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Swap left and right in some images of a batch and in their heat maps.

    The maps of left and right joints do not trade places: PGFA takes the maximum over joints.

    Args:
        images: (B, C, H, W).
        heatmaps: (B, K, h, w).
        chosen: (B,) bool.

    Returns:
        New images and heat maps.
    """
    pick = chosen[:, None, None, None]
    return (
        torch.where(pick, images.flip(-1), images),
        torch.where(pick, heatmaps.flip(-1), heatmaps),
    )
