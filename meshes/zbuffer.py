"""Which face does each pixel see? An exact batched triangle rasteriser in plain torch.

One primitive serves visibility, colouring, silhouettes, part maps and the renderer of the
synthetic world, on any device, without a graphics library. Every pixel centre inside a projected
triangle becomes one candidate; the candidates compete by a packed integer key (depth, face), so
the result does not depend on the order of the faces or on threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Raster", "rasterize", "vertex_normals", "visible_in", "visible_vertices"]

# Candidates handled at once: bounds the peak memory to about 250 MB whatever the triangles' sizes.
_CHUNK = 1 << 21
_EMPTY = torch.iinfo(torch.int64).max


@dataclass(frozen=True, eq=False)
class Raster:
    """The nearest surface at every pixel centre.

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


def rasterize(
    projected: Tensor,
    faces: Tensor,
    height: int,
    width: int,
    *,
    perspective: bool = False,
    cull_backfaces: bool = False,
) -> Raster:
    """Rasterise triangles.

    Args:
        projected: (B, V, 3) pixel x (right), pixel y (down), depth (smaller is nearer). Pixel
            (i, j) has its centre at (i + 0.5, j + 0.5).
        faces: (F, 3) int64.
        height: H, pixels.
        width: W, pixels.
        perspective: depth is the camera's z; weights and depths are then perspective-correct and
            faces with a vertex at z <= 0.01 are dropped (no clipping).
        cull_backfaces: drop faces whose vertices, counter-clockwise seen from outside, turn away
            from the camera. Halves the cost for closed surfaces.

    Returns:
        The raster. Ties in depth go to the lowest face index.
    """
    _check(projected, faces, height, width)
    batch = len(projected)
    corners = projected[:, faces]  # (B, F, 3 corners, 3)
    keys = torch.full((batch * height * width,), _EMPTY, dtype=torch.int64, device=projected.device)
    scene, face = _candidate_faces(corners, height, width, perspective, cull_backfaces)
    triangles = corners[scene, face].double()
    for start, stop, pixel, owner in _candidate_pixels(triangles, height, width):
        chosen = triangles[start:stop][owner]
        x = (pixel % width).to(chosen.dtype) + 0.5
        y = torch.div(pixel, width, rounding_mode="floor").to(chosen.dtype) + 0.5
        weights = _weights(chosen, x, y)
        inside = (weights >= 0).all(-1)
        chosen, weights, owner, pixel = (
            chosen[inside], weights[inside], owner[inside], pixel[inside],
        )  # fmt: skip
        depth = _depth(chosen[..., 2], weights, perspective)
        key = (_ordered_bits(depth.float()) << 32) | face[start:stop][owner]
        flat = scene[start:stop][owner] * (height * width) + pixel
        keys.scatter_reduce_(0, flat, key, "amin")
    return _decode(keys.view(batch, height, width), corners, perspective)


def _check(projected: Tensor, faces: Tensor, height: int, width: int) -> None:
    if projected.ndim != 3 or projected.shape[-1] != 3:
        raise ValueError(f"projected must be (B, V, 3); got {tuple(projected.shape)}")
    if faces.ndim != 2 or faces.shape[-1] != 3:
        raise ValueError(f"faces must be (F, 3); got {tuple(faces.shape)}")
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1; got {height} x {width}")


def _candidate_faces(
    corners: Tensor, height: int, width: int, perspective: bool, cull_backfaces: bool
) -> tuple[Tensor, Tensor]:
    """(scene, face) of the triangles that may cover a pixel centre."""
    x, y, z = corners.unbind(-1)  # each (B, F, 3)
    area = (x[..., 1] - x[..., 0]) * (y[..., 2] - y[..., 0]) - (x[..., 2] - x[..., 0]) * (
        y[..., 1] - y[..., 0]
    )
    # Pixel y points down, so a counter-clockwise face that looks at the camera has area < 0.
    keep = (area < 0) if cull_backfaces else (area != 0)
    keep &= torch.isfinite(corners).flatten(2).all(-1)
    keep &= (x.amax(-1) >= 0.5) & (x.amin(-1) <= width - 0.5)
    keep &= (y.amax(-1) >= 0.5) & (y.amin(-1) <= height - 0.5)
    if perspective:
        keep &= z.amin(-1) > 0.01
    scene, face = keep.nonzero(as_tuple=True)
    return scene, face


def _candidate_pixels(
    triangles: Tensor, height: int, width: int
) -> list[tuple[int, int, Tensor, Tensor]]:
    """Chunks (start, stop, pixel, owner): pixel indices y * W + x inside each bounding box.

    ``owner`` counts from ``start``.
    """
    low = (triangles[..., :2].amin(1) - 0.5).ceil().long().clamp_min(0)
    high = (triangles[..., :2].amax(1) - 0.5).floor().long()
    high[:, 0].clamp_(max=width - 1)
    high[:, 1].clamp_(max=height - 1)
    size = (high - low + 1).clamp_min(0)
    count = size[:, 0] * size[:, 1]
    total = count.cumsum(0)
    chunks = []
    start = 0
    while start < len(count):
        done = int(total[start - 1]) if start else 0
        stop = int(torch.searchsorted(total, done + _CHUNK, right=True))
        stop = min(max(stop, start + 1), len(count))
        part = count[start:stop]
        owner = torch.repeat_interleave(torch.arange(stop - start, device=count.device), part)
        first = (part.cumsum(0) - part)[owner]
        offset = torch.arange(len(owner), device=count.device) - first
        columns = size[start:stop, 0][owner]
        row = torch.div(offset, columns, rounding_mode="floor")
        column = offset - row * columns
        pixel = (low[start:stop, 1][owner] + row) * width + low[start:stop, 0][owner] + column
        chunks.append((start, stop, pixel, owner))
        start = stop
    return chunks


def _weights(triangles: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Screen-space barycentric weights (..., 3) of points in triangles (..., 3, >=2)."""
    x0, x1, x2 = triangles[..., 0].unbind(-1)
    y0, y1, y2 = triangles[..., 1].unbind(-1)
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    first = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
    second = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
    return torch.stack([first, second, 1 - first - second], -1)


def _depth(z: Tensor, weights: Tensor, perspective: bool) -> Tensor:
    if perspective:
        return 1 / (weights / z).sum(-1)
    return (weights * z).sum(-1)


def _ordered_bits(depth: Tensor) -> Tensor:
    """int64 in [0, 2**31) ... that sorts like the float32 depth (negative depths included)."""
    bits = depth.contiguous().view(torch.int32).long()
    return torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _decode(keys: Tensor, corners: Tensor, perspective: bool) -> Raster:
    """Face, depth and weights of the winning keys (B, H, W)."""
    empty = keys == _EMPTY
    face = torch.where(empty, torch.full_like(keys, -1), keys & 0xFFFFFFFF)
    depth = torch.full(keys.shape, torch.inf, dtype=corners.dtype, device=keys.device)
    barycentric = torch.zeros((*keys.shape, 3), dtype=corners.dtype, device=keys.device)
    scene, row, column = (~empty).nonzero(as_tuple=True)
    chosen = corners[scene, face[scene, row, column]].double()
    weights = _weights(chosen, column.double() + 0.5, row.double() + 0.5)
    z = _depth(chosen[..., 2], weights, perspective)
    if perspective:
        weights = weights / chosen[..., 2] * z[:, None]
    depth[scene, row, column] = z.to(corners.dtype)
    barycentric[scene, row, column] = weights.to(corners.dtype)
    return Raster(face=face, depth=depth, barycentric=barycentric)


def visible_vertices(
    projected: Tensor, faces: Tensor, height: int, width: int, *, tolerance: float = 0.01
) -> Tensor:
    """Which vertices does the camera see, given only the mesh itself?

    A vertex is seen when no face lies more than ``tolerance`` in front of it, at any of the four
    pixel centres around it, measured against the plane of that face at the vertex (so slanted
    surfaces do not hide themselves). Vertices outside the image are not seen.

    Args:
        projected: (B, V, 3) as for ``rasterize``, without perspective.
        faces: (F, 3).
        height: H, pixels.
        width: W, pixels.
        tolerance: in the unit of depth (metres).

    Returns:
        (B, V) bool.
    """
    raster = rasterize(projected, faces, height, width)
    return visible_in(raster, projected, faces, tolerance=tolerance)


def visible_in(
    raster: Raster, projected: Tensor, faces: Tensor, *, tolerance: float = 0.01
) -> Tensor:
    """``visible_vertices`` for a mesh that is rasterised already: (B, V) bool."""
    batch, height, width = raster.face.shape
    x, y, depth = projected.unbind(-1)
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height) & torch.isfinite(depth)
    scene = torch.arange(batch, device=projected.device)[:, None]
    x, y = x.nan_to_num(), y.nan_to_num()
    left, top = (x - 0.5).floor().long(), (y - 0.5).floor().long()
    for dx in (0, 1):
        for dy in (0, 1):
            column = (left + dx).clamp(0, width - 1)
            row = (top + dy).clamp(0, height - 1)
            face = raster.face[scene, row, column]
            corners = projected[scene[..., None], faces[face.clamp_min(0)]]  # (B, V, 3, 3)
            weights = _weights(corners, x, y)
            plane = (weights * corners[..., 2]).sum(-1)
            # The plane of a grazing face runs away fast: stay within the face's own depths.
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
    corners = vertices[:, faces]
    face_normals = torch.linalg.cross(
        corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    )
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(1, faces[:, corner], face_normals)
    return normals / normals.norm(dim=-1, keepdim=True).clamp_min(1e-12)
