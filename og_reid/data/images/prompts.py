"""Prompts of dense networks: evidence for the person meant, and for other people in the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pose import Keypoints
from pose.person_selection import lies_outside
from pose.runtime.defaults import plain_torch

__all__ = ["keypoint_prompt", "mask_prompt"]

#: Standard deviation of the Gaussian of a joint, fraction of the height of the resized image.
SIGMA = 0.06
#: Joints of a lower visibility are no evidence.
LEAST_VISIBILITY = 0.2


@plain_torch()
def keypoint_prompt(people: Keypoints, size: tuple[int, int], cells: tuple[int, int]) -> Tensor:
    """Gaussians at the visible joints: of the first person, and of all others.

    People with joints that cannot be pixels of the image are left out.

    Args:
        people: one person, or (P,) people of the image, the one meant first.
        size: height and width of the image in pixels.
        cells: rows and columns of the result.

    Returns:
        (2, rows, columns) float32 in [0, 1]: the person meant, and others. Zero without evidence.
    """
    people = people if people.shape else Keypoints.stack([people])
    height, width = size
    edge = people.xy.new_tensor([width, height])
    shown = ((people.xy >= 0) & (people.xy <= edge)).all(-1) & (people.score > 0)
    shown &= (people.visibility > LEAST_VISIBILITY) & ~lies_outside(people, size)[:, None]
    # Distances in cells, which are squares of the resized image.
    place = people.xy.detach().float().cpu() / edge.float().cpu() * torch.tensor(cells[::-1])
    across, down = (torch.arange(count) + 0.5 for count in cells[::-1])
    spread = 2 * (SIGMA * cells[0]) ** 2
    columns = (-(across - place[..., 0, None]).square() / spread).exp()  # (P, K, columns)
    rows = (-(down - place[..., 1, None]).square() / spread).exp() * shown.cpu()[..., None]
    result = torch.zeros(2, *cells)
    for channel, some in enumerate((slice(0, 1), slice(1, None))):
        blobs = rows[some, :, :, None] * columns[some, :, None]
        if len(blobs):
            result[channel] = blobs.flatten(0, 1).amax(0)
    return result


@plain_torch()
def mask_prompt(mask: Any, size: tuple[int, int], cells: tuple[int, int]) -> Tensor:
    """Masks, averaged over cells.

    Args:
        mask: (H, W) of the person meant, or (2, H, W) with that of others; numbers in [0, 1] or
            bool, an array or a tensor of the image's size.
        size: height and width of the image in pixels.
        cells: rows and columns of the result.

    Returns:
        (2, rows, columns) float32 in [0, 1]: the person meant, and others.

    Raises:
        ValueError: the mask has another shape, or values outside [0, 1].
    """
    values = mask.detach().cpu() if isinstance(mask, Tensor) else torch.from_numpy(np.array(mask))
    if values.is_complex() or values.shape not in (size, (1, *size), (2, *size)):
        raise ValueError(
            f"mask must be {size} real numbers, as the image, or (2, height, width); got "
            f"{tuple(values.shape)} {values.dtype}"
        )
    values = values.float()
    if values.dim() == 2:
        values = values[None]
    if not ((values >= 0) & (values <= 1)).all():  # so that NaN fails, too
        raise ValueError("mask must be in [0, 1]; got other values or NaN: divide by its maximum")
    result = torch.zeros(2, *cells)
    result[: len(values)] = functional.adaptive_avg_pool2d(values, cells)
    return result
