"""Image settings, and random flips and erasing of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from pose.visibility import Mode

from .image_set import ImageBatch

__all__ = ["ImageConfig", "augment_images"]


@dataclass(frozen=True)
class ImageConfig:
    """Size and augmentation of images for image networks."""

    height: int = 384  # pixels of the network's image, a multiple of 16
    width: int = 128  # likewise
    mode: Mode = "corrected"  # of heat maps and visible stripes; reference = the PGFA authors'
    flip: float = 0.5  # fraction of images that are mirrored in training
    erase: float = 0.0  # fraction of images that lose a rectangle in training

    def __post_init__(self) -> None:
        """Checks the ranges."""
        sides = (self.height, self.width)
        if any(side < 16 or side % 16 for side in sides):
            raise ValueError(
                f"image.height and image.width must be multiples of 16 from 16; got {sides}"
            )
        for name in ("flip", "erase"):
            fraction = getattr(self, name)
            if not 0 <= fraction <= 1:
                raise ValueError(f"image.{name} must be in [0, 1]; got {fraction}")


def augment_images(batch: ImageBatch, config: ImageConfig, draws: Tensor) -> ImageBatch:
    """Random flips of images with their heat maps, and random erasing.

    All randomness is in the argument, so that a batch, or a part of it, can be made twice, in any
    thread. torchvision's random transforms (v2, too) draw from torch's global generator instead.

    Erasing is that of Zhong et al. ("Random Erasing Data Augmentation", AAAI 2020): 2 % to 40 % of
    the area, aspect ratio 0.3 to 3.3, filled with the mean colour (0 after normalisation).
    Heat maps and visibility stay as they are.

    Args:
        batch: B images.
        config: Probabilities of the changes.
        draws: (B, 6) uniform in [0, 1).
    """
    batch = batch.mirrored(draws[:, 0] < config.flip)
    chosen = (draws[:, 1] < config.erase).nonzero()[:, 0].tolist()
    if not chosen:
        return batch
    images = batch.images.clone()
    height, width = images.shape[2:]
    for i in chosen:
        area = (0.02 + 0.38 * float(draws[i, 2])) * height * width
        aspect = math.exp(math.log(0.3) + math.log(3.3 / 0.3) * float(draws[i, 3]))
        tall = min(height, max(1, round(math.sqrt(area * aspect))))
        wide = min(width, max(1, round(math.sqrt(area / aspect))))
        top = int(draws[i, 4] * (height - tall + 1))
        left = int(draws[i, 5] * (width - wide + 1))
        images[i, :, top : top + tall, left : left + wide] = 0
    return ImageBatch(images, batch.heatmaps, batch.visibility, batch.pids, batch.camids)
