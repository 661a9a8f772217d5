"""Extent of a body in its image: what a detector's crop and a mask say about hidden parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Extents", "mask_at", "reach"]

# A detector's crop of a person is upright; other images say nothing about the person's place.
_UPRIGHT = 1.6  # rows per column
#: Usual place of the body in such a crop, image heights from the top: crown and soles.
CROWN, SOLES = 0.06, 0.95
_CELLS = 64  # rows of the grid on which masks are measured
_TAIL = 0.01  # of the mask's area left out at each border
_REACH = 0.02  # of the image's height: points so near to a mask are on it
_LEAST = 0.01  # of the image's area: smaller masks are no evidence


@dataclass(frozen=True, eq=False)
class Extents:
    """Expected and least extents of bodies, in image heights, y up.

    Attributes:
        crop: (B, 3) y of crown and soles and x of the middle of a body in a detector's crop.
        is_crop: (B,) 1 for upright crops, else 0.
        mask: (B, 4) least x, greatest x, least y, greatest y of the mask.
        has_mask: (B,) 1 with a mask, else 0.
    """

    crop: Tensor
    is_crop: Tensor
    mask: Tensor
    has_mask: Tensor

    @classmethod
    def measure(cls, size: Tensor, masks: Sequence[Tensor | None] | None) -> Extents:
        """Extents in images of the given sizes (B, 2), height and width in pixels."""
        height, width = size.unbind(1)
        crop = torch.stack(
            [torch.full_like(height, -CROWN), torch.full_like(height, -SOLES), width / height / 2],
            1,
        )
        is_crop = (height >= _UPRIGHT * width).to(size)
        mask, has_mask = size.new_zeros(len(size), 4), size.new_zeros(len(size))
        for row, each in enumerate(masks or ()):
            if each is None:
                continue
            cells = torch.nn.functional.adaptive_avg_pool2d(
                each.to(size)[None], (_CELLS, max(1, round(_CELLS * each.shape[1] / each.shape[0])))
            )[0]
            if float(cells.mean()) < _LEAST:
                continue
            low_x, high_x = _range(cells.sum(0))
            high_y, low_y = _range(cells.sum(1))
            aspect = float(width[row] / height[row])
            mask[row] = mask.new_tensor([low_x * aspect, high_x * aspect, -low_y, -high_y])
            has_mask[row] = 1
        return cls(crop, is_crop, mask, has_mask)

    def rows(self, rows: Tensor) -> Extents:
        """The extents of some people."""
        return Extents(self.crop[rows], self.is_crop[rows], self.mask[rows], self.has_mask[rows])


def _range(profile: Tensor) -> tuple[float, float]:
    """Where a profile begins and ends, as fractions of its length, without its tails."""
    total = profile.cumsum(0) / profile.sum()
    first = int((total < _TAIL).sum())
    last = int((total < 1 - _TAIL).sum())
    return first / len(profile), (last + 1) / len(profile)


def reach(height: float) -> int:
    """Pixels within which a point is on a mask, in an image of a height in pixels."""
    return max(1, round(_REACH * height))


def mask_at(mask: Tensor, place: Tensor, near: int) -> Tensor:
    """(K,) greatest value of a mask (H, W) within some pixels of places (K, 2), 0 outside."""
    wide = torch.nn.functional.max_pool2d(mask[None], 2 * near + 1, stride=1, padding=near)[0]
    height, width = mask.shape
    x, y = place.floor().long().unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = wide[y.clamp(0, height - 1), x.clamp(0, width - 1)]
    return torch.where(inside, found, torch.zeros_like(found))
