"""Result of the rasteriser."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Raster", "check_indices", "screen_weights"]


@dataclass(frozen=True, eq=False)
class Raster:
    """Nearest surface at every pixel centre.

    Attributes:
        face: (B, H, W) int64, ``face[b, y, x] = f`` means face ``f`` is nearest at the centre of
            pixel (x, y); -1 where no face is.
        depth: (B, H, W) depth there, in the unit of the input; inf where empty.
        barycentric: (B, H, W, 3) weights of the face's three vertices there; zero where empty.
    """

    face: Tensor
    depth: Tensor
    barycentric: Tensor

    def interpolate(self, values: Tensor, faces: Tensor) -> Tensor:
        """Interpolate per-vertex values.

        Args:
            values: (V, C) or (B, V, C).
            faces: (F, 3) the rasterised faces.

        Returns:
            (B, H, W, C); zero where empty.
        """
        corners = faces[self.face.clamp_min(0)]  # (B, H, W, 3)
        if values.ndim == 3:
            batch = torch.arange(len(values), device=values.device)[:, None, None, None]
            picked = values[batch, corners]
        else:
            picked = values[corners]
        return (picked * self.barycentric[..., None]).sum(-2)


def screen_weights(triangles: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Screen-space barycentric weights (..., 3) of points in triangles (..., 3, >= 2)."""
    x0, x1, x2 = triangles[..., 0].unbind(-1)
    y0, y1, y2 = triangles[..., 1].unbind(-1)
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    first = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
    second = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
    return torch.stack([first, second, 1 - first - second], -1)


def check_indices(projected: Tensor, faces: Tensor) -> None:
    """Raises ValueError when faces (F, 3) are not indices of the vertices (B, V, 3)."""
    low, high = (int(bound) for bound in faces.aminmax()) if len(faces) else (0, -1)
    if low < 0 or high >= projected.shape[1]:
        raise ValueError(
            f"faces must be indices of the {projected.shape[1]} vertices of projected; got {low} "
            f"to {high}"
        )
