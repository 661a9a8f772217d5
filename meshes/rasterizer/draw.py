"""Nearest surfaces and coverage of projected triangles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from .native import Scenes, coverage_native, rasterize_native, usable
from .raster import Raster
from .twin import rasterize_torch

__all__ = ["coverage", "rasterize", "rasterize_layers"]


def rasterize(
    projected: Tensor,
    faces: Tensor,
    height: int,
    width: int,
    *,
    perspective: bool = False,
    one_sided: Tensor | None = None,
) -> Raster:
    """Rasterise triangles.

    Args:
        projected: (B, V, 3) pixel x (right), pixel y (down), depth (smaller is nearer). Pixel
            (i, j) has its centre at (i + 0.5, j + 0.5).
        faces: (F, 3) int64, indices of vertices in [0, V).
        height: H, pixels.
        width: W, pixels.
        perspective: depth is the camera's z; weights and depths are then perspective-correct and
            faces with a vertex at z <= 0.01 are dropped (no clipping).
        one_sided: (F,) bool, True for faces that are seen from their front only: those whose
            corners do not turn clockwise on the screen (area >= 0) are dropped. None: all faces are
            seen from both sides.

    Returns:
        The raster. Ties in depth go to the lowest face index. Faces without area, or with a vertex
        that is not finite, are dropped.

    Raises:
        ValueError: an argument has another shape, type or range.
    """
    _check(projected, faces, height, width, one_sided)
    if usable(projected, faces, height, width):
        starts, size = (0, len(faces)), (height, width)
        return rasterize_native(Scenes(projected, faces, starts, size, perspective, one_sided))[0]
    return rasterize_torch(
        projected, faces, height, width, perspective=perspective, one_sided=one_sided
    )


def rasterize_layers(
    projected: Tensor,
    faces: Tensor,
    counts: Sequence[int],
    height: int,
    width: int,
    *,
    perspective: bool = False,
    one_sided: Tensor | None = None,
) -> list[Raster]:
    """Rasterise groups of faces of one mesh, each by itself, in one pass.

    Args:
        projected: as in `rasterize`, and so are the further arguments.
        faces: (F, 3), layer after layer.
        counts: number of faces of each layer; their sum is F.
        height: H, pixels.
        width: W, pixels.
        perspective: see `rasterize`.
        one_sided: see `rasterize`.

    Returns:
        The raster of each layer, as if the others were not there; ``face`` indexes ``faces``.

    Raises:
        ValueError: an argument has another shape, type or range.
    """
    _check(projected, faces, height, width, one_sided)
    if any(count < 0 for count in counts) or sum(counts) != len(faces):
        raise ValueError(
            f"counts must not be negative, with the sum {len(faces)} of faces; got {list(counts)}"
        )
    starts = (0, *accumulate(counts))
    if usable(projected, faces, height, width):
        return rasterize_native(
            Scenes(projected, faces, starts, (height, width), perspective, one_sided)
        )
    rasters = []
    for start, end in pairwise(starts):
        sides = None if one_sided is None else one_sided[start:end]
        raster = rasterize_torch(
            projected, faces[start:end], height, width, perspective=perspective, one_sided=sides
        )
        face = torch.where(raster.face < 0, raster.face, raster.face + start)
        rasters.append(Raster(face, raster.depth, raster.barycentric))
    return rasters


def coverage(
    projected: Tensor,
    faces: Tensor,
    height: int,
    width: int,
    *,
    perspective: bool = False,
    one_sided: Tensor | None = None,
) -> Tensor:
    """Pixels that a mesh covers, its silhouette, without depths and weights.

    Args:
        projected: as in `rasterize`, and so are the further arguments.
        faces: (F, 3).
        height: H, pixels.
        width: W, pixels.
        perspective: see `rasterize`.
        one_sided: see `rasterize`.

    Returns:
        (B, H, W) bool, where `rasterize` finds a face.

    Raises:
        ValueError: an argument has another shape, type or range.
    """
    _check(projected, faces, height, width, one_sided)
    projected = projected.detach()
    if usable(projected, faces, height, width):
        starts, size = (0, len(faces)), (height, width)
        return coverage_native(Scenes(projected, faces, starts, size, perspective, one_sided))
    return (
        rasterize_torch(
            projected, faces, height, width, perspective=perspective, one_sided=one_sided
        ).face
        >= 0
    )


def _check(
    projected: Tensor, faces: Tensor, height: int, width: int, one_sided: Tensor | None
) -> None:
    if projected.ndim != 3 or projected.shape[-1] != 3 or not projected.is_floating_point():
        raise ValueError(
            f"projected must be (B, V, 3) floats; got {tuple(projected.shape)} {projected.dtype}"
        )
    if faces.ndim != 2 or faces.shape[-1] != 3 or faces.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"faces must be (F, 3) int64; got {tuple(faces.shape)} {faces.dtype}")
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1; got {height} x {width}")
    if one_sided is not None and one_sided.device != projected.device:
        raise ValueError(
            f"one_sided must be on the device of projected, {projected.device}; got "
            f"{one_sided.device}"
        )
    if one_sided is not None and (
        one_sided.shape != faces.shape[:1] or one_sided.dtype != torch.bool
    ):
        raise ValueError(
            f"one_sided must be ({len(faces)},) bool, one for each face; got "
            f"{tuple(one_sided.shape)} {one_sided.dtype}"
        )
