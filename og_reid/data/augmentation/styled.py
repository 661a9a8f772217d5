"""Sets of clouds and images whose cameras were brought to one style of colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..clouds.source import point_order_of
from .cross_cloud import CameraStyles

__all__ = ["StyledSet", "measure_styles"]

_PIXELS = 64  # rows and columns of an image that are measured, at most


@dataclass(frozen=True, eq=False)
class StyledSet:
    """Set with the colours of each camera moved to one mean and spread.

    Takes the place of its items in `og_reid.inference.encoder.Encoder.embed` and in
    `og_reid.train.adaptation.adapt`. Of clouds, the visible colours are moved; of images, all
    pixels.

    Attributes:
        items: Set of n clouds or images: `CloudSet`, `ImageSet`, `PromptedSet`.
        styles: Styles of its cameras, of `measure_styles`.
        style: (3,) mean and (3,) spread to have; None for the average of ``styles``.
    """

    items: Any
    styles: CameraStyles
    style: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """Number of items."""
        return len(self.items)

    def __getattr__(self, name: str) -> Any:
        """Attributes of the items."""
        if name.startswith("__") or name == "items":
            raise AttributeError(name)
        return getattr(self.items, name)

    def batch(self, rows: Tensor | Sequence[int], *rest: Any) -> Any:
        """Batch of the items, restyled; arguments as for theirs."""
        batch = self.items.batch(rows, *rest)
        camids = self.items.camids[torch.as_tensor(rows)]
        if _is_cloud(self.items):
            moved = self.styles.to(batch.colors, camids, self.style).clamp(0, 1)
            return replace(batch, colors=moved)
        pixels = batch.images.permute(0, 2, 3, 1)
        moved = self.styles.to(pixels, camids, self.style).permute(0, 3, 1, 2)
        low, high = batch.images.amin(), batch.images.amax()
        return replace(batch, images=moved.clamp(low, high).contiguous())


def measure_styles(items: Any, *, per_camera: int = 64, least: int = 30) -> CameraStyles:
    """Mean and spread of the colours of each camera of a set, shrunk to the average of few images.

    Args:
        items: Set of clouds (their visible colours) or images (all pixels), at least one.
        per_camera: Largest number of items measured per camera.
        least: As for `CameraStyles.shrunk`.

    Raises:
        ValueError: The set is empty.
    """
    if not len(items):
        raise ValueError("items must hold at least one cloud or image; got none")
    if _is_cloud(items):
        found = CameraStyles.measure(items, per_camera=per_camera)
    else:
        found = _of_images(items, per_camera)
    counts = items.camids.unique(return_counts=True)[1]
    return found.shrunk(counts, least)


def _of_images(items: Any, per_camera: int) -> CameraStyles:
    camids = items.camids.unique()
    mean, spread = torch.zeros(len(camids), 3), torch.ones(len(camids), 3)
    for row, camid in enumerate(camids):
        rows = (items.camids == camid).nonzero()[:, 0]
        images = items.batch(rows[:: -(-len(rows) // per_camera)]).images
        step = max(1, -(-max(images.shape[2:]) // _PIXELS))
        pixels = images[:, :, ::step, ::step].permute(1, 0, 2, 3).flatten(1)
        mean[row], spread[row] = pixels.mean(dim=1), pixels.std(dim=1).clamp(min=1e-3)
    return CameraStyles(camids, mean, spread)


def _is_cloud(items: Any) -> bool:
    return point_order_of(items) is not None
