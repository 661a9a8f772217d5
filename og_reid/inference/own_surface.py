"""Masks of people's own visible surface by a dense model, as evidence for lifting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..data.images.prompted_set import resize_image
from ..models.dense_reid import DenseReID
from .dense_encoder import DenseEncoder

__all__ = ["own_surface"]

_BATCH = 32


@plain_torch()
@torch.no_grad()
def own_surface(images: Sequence[np.ndarray], model: DenseEncoder) -> list[Tensor]:
    """Probability that pixels show the own surface of the person at each image's centre.

    For ``mask`` of `meshes.lift_image` and ``masks`` of `meshes.lift_images`: coloured points and
    the fit then leave out what stands in front of the person, and other people.

    Args:
        images: (H, W, 3) uint8 RGB each.
        model: dense model with a part map, such as ``og_reid.load_model("default")``.

    Returns:
        (H, W) float32 in [0, 1] for each image, on the CPU.

    Raises:
        ValueError: the model has no part map.
    """
    network = model.model
    if not isinstance(network, DenseReID):
        raise ValueError(
            f"model must have a part map, such as 'default'; got {type(network).__name__}"
        )
    size = (model.preprocessing.height, model.preprocessing.width)
    device = next(network.parameters()).device
    masks: list[Tensor] = []
    for start in range(0, len(images), _BATCH):
        part = images[start : start + _BATCH]
        inputs = torch.stack([resize_image(image, size) for image in part])
        own = 1 - network(inputs.to(device)).logits.softmax(1)[:, :1]
        masks += [
            _resized(each[None], image.shape[:2])[0, 0].clamp(0, 1)
            for each, image in zip(own.float().cpu(), part, strict=True)
        ]
    return masks


def _resized(planes: Tensor, size: tuple[int, ...]) -> Tensor:
    return torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)
