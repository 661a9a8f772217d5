"""Batches of labelled images with the truth of their cells."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ...models.local_features import BODY_PARTS

__all__ = ["CELL", "PART_CELL", "LabelledBatch"]

#: Pixels of a side of the cells of local features.
CELL = 16
#: Pixels of a side of the cells of part maps and prompts.
PART_CELL = 8


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """Batch of B labelled images of H x W pixels, L = H / 16 * W / 16 cells.

    Attributes:
        images: (B, 3, H, W) float32, red, green and blue in [0, 255].
        parts: (B, 7, H / 8, W / 8) float32, fractions of each cell with a sum of 1: everything but
            the person's own visible surface, then that surface by ``BODY_PARTS``.
        height: (B, L) float32, mean height on the body of the cell's own visible surface, 0 at the
            soles and 1 at the top of the head, in the body's rest pose; 0 without such surface.
        height_weight: (B, L) float32 in [0, 1], fraction of the cell that is own visible surface.
        prompt: (B, 2, H / 8, W / 8) float32 in [0, 1], evidence for the person and for others;
            zeros without a prompt.
        pids: (B,) int64 identities.
        camids: (B,) int64 cameras.
    """

    images: Tensor
    parts: Tensor
    height: Tensor
    height_weight: Tensor
    prompt: Tensor
    pids: Tensor
    camids: Tensor

    def __post_init__(self) -> None:
        """Checks the shapes."""
        if self.images.dim() != 4:
            raise ValueError(f"images must be (B, 3, H, W); got {tuple(self.images.shape)}")
        number, _, high, wide = self.images.shape
        maps = (high // PART_CELL, wide // PART_CELL)
        cells = (high // CELL) * (wide // CELL)
        shapes: dict[str, tuple[int, ...]] = {
            "images": (number, 3, high, wide),
            "parts": (number, 1 + len(BODY_PARTS), *maps),
            "height": (number, cells),
            "height_weight": (number, cells),
            "prompt": (number, 2, *maps),
            "pids": (number,),
            "camids": (number,),
        }
        for name, shape in shapes.items():
            got = tuple(getattr(self, name).shape)
            if got != shape:
                raise ValueError(f"{name} must be {shape}; got {got}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, rows: slice | Tensor) -> LabelledBatch:
        """Images of a slice, of indices or of a mask."""
        return LabelledBatch(*(getattr(self, each.name)[rows] for each in fields(self)))

    def to(self, device: torch.device | str) -> LabelledBatch:
        """The same batch on another device."""
        return LabelledBatch(*(getattr(self, each.name).to(device) for each in fields(self)))
