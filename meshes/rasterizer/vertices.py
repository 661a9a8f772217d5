"""Visibility and normals of the vertices of a mesh."""

from __future__ import annotations

import torch
from torch import Tensor

from .native import usable, visible_native
from .raster import Raster, check_indices, screen_weights

__all__ = ["vertex_normals", "visible_in", "visible_in_torch"]


def visible_in(
    raster: Raster, projected: Tensor, faces: Tensor, *, tolerance: float = 0.01
) -> Tensor:
    """Visibility of vertices, with occlusion by the mesh itself alone.

    A vertex is seen when no face lies more than ``tolerance`` in front of it, at any of the four
    pixel centres around it, measured against the plane of that face at the vertex (so slanted
    surfaces do not hide themselves). Vertices outside the image are not seen.

    Args:
        raster: raster of the same mesh, without perspective.
        projected: (B, V, 3) as given to ``rasterize``.
        faces: (F, 3) as given to ``rasterize``.
        tolerance: depth tolerance, in the unit of depth (metres).

    Returns:
        (B, V) bool.

    Raises:
        ValueError: the raster, or the faces, do not belong to these vertices.
    """
    batch, height, width = raster.face.shape
    if projected.ndim != 3 or len(projected) != batch or projected.shape[2] != 3:
        raise ValueError(
            f"projected must be ({batch}, V, 3), as given to rasterize; got "
            f"{tuple(projected.shape)}"
        )
    on_cpu = raster.face.device == projected.device == torch.device("cpu")
    if on_cpu and usable(projected, faces, height, width):
        return visible_native(raster.face, projected, faces, tolerance)
    return visible_in_torch(raster, projected, faces, tolerance=tolerance)


def visible_in_torch(
    raster: Raster, projected: Tensor, faces: Tensor, *, tolerance: float = 0.01
) -> Tensor:
    """`visible_in` in plain torch, the specification of the native one."""
    check_indices(projected, faces)
    batch, height, width = raster.face.shape
    if raster.face.numel() and int(raster.face.max()) >= len(faces):
        raise ValueError(
            f"raster must be of these {len(faces)} faces; its largest index is "
            f"{int(raster.face.max())}"
        )
    x, y, depth = projected.unbind(-1)
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height) & torch.isfinite(depth)
    if not len(faces):
        return seen
    scene = torch.arange(batch, device=projected.device)[:, None]
    x, y = x.nan_to_num(), y.nan_to_num()
    left, top = (x - 0.5).floor().long(), (y - 0.5).floor().long()
    for dx in (0, 1):
        for dy in (0, 1):
            column = (left + dx).clamp(0, width - 1)
            row = (top + dy).clamp(0, height - 1)
            face = raster.face[scene, row, column]
            corners = projected[scene[..., None], faces[face.clamp_min(0)]]  # (B, V, 3, 3)
            weights = screen_weights(corners, x, y)
            plane = (weights * corners[..., 2]).sum(-1)
            # The plane of a grazing face is steep: clamp to the face's own depths.
            plane = plane.clamp(corners[..., 2].amin(-1), corners[..., 2].amax(-1))
            seen &= (face < 0) | (depth <= plane + tolerance)
    return seen


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (B, V, 3), area-weighted means over the faces around each vertex.

    Args:
        vertices: (B, V, 3).
        faces: (F, 3), counter-clockwise seen from outside.

    Returns:
        (B, V, 3); zero at a vertex of no face.
    """
    corners = faces.unbind(1)
    normals = []
    for each in vertices:  # one by one: adding rows of a matrix is ten times faster than of a stack
        a, b, c = (each.index_select(0, corner) for corner in corners)
        face_normals = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(each)
        for corner in corners:
            total = total.index_add(0, corner, face_normals)
        normals.append(total)
    stack = torch.stack(normals) if normals else torch.zeros_like(vertices)
    return stack / stack.norm(dim=-1, keepdim=True).clamp_min(1e-12)
