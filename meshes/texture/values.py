"""Texture of one person, and the merging of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

__all__ = ["MIRRORED", "NEARBY", "SEEN", "UNKNOWN", "Texture", "merge_textures"]

UNKNOWN = 0
"""``Texture.source`` of texels without a colour, those between the charts among them."""
SEEN = 1
"""``Texture.source`` of texels whose colour comes from an image."""
MIRRORED = 2
"""``Texture.source`` of texels with the colour of the opposite side of the body."""
NEARBY = 3
"""``Texture.source`` of texels with a mean colour of the surface around them."""

_COMMON = 100  # least number of texels seen twice from which two exposures are matched
_GAIN = (0.5, 2.0)
_DARK = 0.02  # keeps the ratio of dark colours from noise


@dataclass(frozen=True, eq=False)
class Texture:
    """Surface of a person in the texture space of the embedded body (``meshes.body.atlas``).

    Attributes:
        color: (S, S, 3) float32 sRGB in [0, 1]; zero where ``source`` is ``UNKNOWN``.
        visibility: (S, S) float32 in [0, 1]: 0 for texels that no image shows, 1 for those seen
            at a right angle with at least one pixel a texel.
        source: (S, S) uint8, origin of the colour: ``UNKNOWN``, ``SEEN``, ``MIRRORED`` or
            ``NEARBY``.
        betas: (K,) shape coefficients of the body.
        offset: (V,) metres from the bare body to the surface, along the normals of the rest pose:
            clothes and hair.
    """

    color: Tensor
    visibility: Tensor
    source: Tensor
    betas: Tensor
    offset: Tensor

    def __post_init__(self) -> None:
        """Check shapes and ranges."""
        size = len(self.color)
        if self.color.shape != (size, size, 3) or not size:
            raise ValueError(f"color must be (S, S, 3); got {tuple(self.color.shape)}")
        for name in ("visibility", "source"):
            shape = tuple(getattr(self, name).shape)
            if shape != (size, size):
                raise ValueError(f"{name} must be {(size, size)} as color; got {shape}")
        if self.betas.ndim != 1 or self.offset.ndim != 1:
            raise ValueError(
                "betas and offset must be (K,) and (V,); got "
                f"{tuple(self.betas.shape)}, {tuple(self.offset.shape)}"
            )
        low, high = float(self.visibility.min()), float(self.visibility.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"visibility must be in [0, 1]; got {low} to {high}")

    @property
    def size(self) -> int:
        """S, texels of a side."""
        return len(self.color)

    @property
    def image(self) -> Tensor:
        """(S, S, 3) uint8 sRGB."""
        return (self.color.clamp(0, 1) * 255).round().to(torch.uint8)


@plain_torch()
def merge_textures(textures: Sequence[Texture]) -> Texture:
    """One texture from several of a person, as from several images.

    Colours are means weighted by visibility; exposure and white balance of each texture are matched
    to those before it where both are seen. Completed texels (``MIRRORED``, ``NEARBY``) do not
    count: complete the result. Shape and offsets are means weighted by the visible area.

    Raises:
        ValueError: no texture, or textures of different sizes.
    """
    if not textures:
        raise ValueError("textures must hold at least one; got none")
    sizes = {(texture.size, len(texture.betas), len(texture.offset)) for texture in textures}
    if len(sizes) > 1:
        raise ValueError(f"textures must have one size and body; got {sorted(sizes)}")
    first = textures[0]
    total = torch.zeros_like(first.color)
    weights = torch.zeros_like(first.visibility)
    best = torch.zeros_like(first.visibility)
    for texture in textures:
        weight = torch.where(texture.source == SEEN, texture.visibility, 0.0)
        color = texture.color * _gain(texture.color, weight, total, weights)
        total = total + weight[..., None] * color
        weights = weights + weight
        best = torch.maximum(best, weight)
    seen = weights > 0
    color = total / weights.clamp_min(1e-9)[..., None]
    area = torch.stack([texture.visibility.sum() for texture in textures]) + 1e-6
    fraction = (area / area.sum())[:, None]
    return Texture(
        color=torch.where(seen[..., None], color.clamp(0, 1), 0.0),
        visibility=best,
        source=seen.to(torch.uint8) * SEEN,
        betas=(fraction * torch.stack([texture.betas for texture in textures])).sum(0),
        offset=(fraction * torch.stack([texture.offset for texture in textures])).sum(0),
    )


def _gain(color: Tensor, weight: Tensor, total: Tensor, weights: Tensor) -> Tensor:
    """(3,) factor that matches a texture to the weighted sum of those before it."""
    both = (weight > 0) & (weights > 0)
    if int(both.sum()) < _COMMON:
        return torch.ones(3)
    before = total[both] / weights[both][:, None]
    ratio = (before + _DARK) / (color[both] + _DARK)
    return ratio.median(0).values.clamp(*_GAIN)
