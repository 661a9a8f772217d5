"""Triangle rasteriser: nearest face of each pixel; exact, batched, in plain torch.

One primitive serves visibility, colouring, silhouettes, part maps and the renderer of the
synthetic world, on any device, without a graphics library. Every pixel centre inside a projected
triangle becomes one candidate; the candidates compete by a packed integer key (depth, face), so
the result does not depend on the order of the faces or on threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Raster", "rasterize", "vertex_normals", "visible_in"]

# Candidates handled at once: bounds the peak memory for triangles of any size.
_CHUNK = 1 << 20
_EMPTY = torch.iinfo(torch.int64).max


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


def rasterize(
    projected: Tensor,
    faces: Tensor,
    height: int,
    width: int,
    *,
    perspective: bool = False,
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

    Returns:
        The raster. Ties in depth go to the lowest face index.
    """
    _check(projected, faces, height, width)
    batch = len(projected)
    keys = torch.full((batch * height * width,), _EMPTY, dtype=torch.int64, device=projected.device)
    boxes = _boxes(projected, faces, height, width, perspective)
    for wide, tall, members in _buckets(boxes):
        _draw(keys, boxes, members, wide, tall, width, perspective)
    return _decode(keys.view(batch, height, width), projected, faces, perspective)


def _check(projected: Tensor, faces: Tensor, height: int, width: int) -> None:
    if projected.ndim != 3 or projected.shape[-1] != 3:
        raise ValueError(f"projected must be (B, V, 3); got {tuple(projected.shape)}")
    if faces.ndim != 2 or faces.shape[-1] != 3:
        raise ValueError(f"faces must be (F, 3); got {tuple(faces.shape)}")
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1; got {height} x {width}")


@dataclass(frozen=True, eq=False)
class _Boxes:
    """T triangles with a pixel centre in their bounding boxes.

    Attributes:
        face: (T,) index of the face.
        base: (T,) flat index scene * H * W + y * W + x of the box's first pixel.
        columns: (T,) pixels from left to right.
        rows: (T,) pixels from top to bottom.
        weights: (3, T, 3) float64; weight k at box pixel (i, j) is
            ``weights[k] @ (i, j, 1)``.
        plane: (T, 3) float64, depth (or 1 / depth in perspective) in the same form.
    """

    face: Tensor
    base: Tensor
    columns: Tensor
    rows: Tensor
    weights: Tensor
    plane: Tensor


def _boxes(projected: Tensor, faces: Tensor, height: int, width: int, perspective: bool) -> _Boxes:
    batch, count = projected.shape[:2]
    offset = torch.arange(batch, device=projected.device)[:, None] * count
    corners = [(faces[:, k] + offset).reshape(-1) for k in range(3)]
    # Columns one by one: reductions over a dimension of length 3 are many times slower.
    table = projected.reshape(-1, 3).unbind(1)
    x, y, z = ([column.index_select(0, corner) for corner in corners] for column in table)
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    left = (_least(x) - 0.5).ceil().clamp_min(0)
    right = (_most(x) - 0.5).floor().clamp_max(width - 1)
    top = (_least(y) - 0.5).ceil().clamp_min(0)
    bottom = (_most(y) - 0.5).floor().clamp_max(height - 1)
    keep = (area != 0) & torch.isfinite(area + z[0] + z[1] + z[2])
    keep &= (left <= right) & (top <= bottom)
    if perspective:
        keep &= _least(z) > 0.01
    kept = keep.nonzero()[:, 0]
    left, right, top, bottom = (side[kept] for side in (left, right, top, bottom))
    scene = torch.div(kept, max(len(faces), 1), rounding_mode="floor")
    # From the box's first pixel centre: small numbers keep the products exact.
    px = [corner[kept].double() - (left.double() + 0.5) for corner in x]
    py = [corner[kept].double() - (top.double() + 0.5) for corner in y]
    pz = [corner[kept].double() for corner in z]
    first, second = _edge(px, py, 1, 2), _edge(px, py, 2, 0)
    double_area = (px[1] - px[0]) * (py[2] - py[0]) - (px[2] - px[0]) * (py[1] - py[0])
    first, second = first / double_area[:, None], second / double_area[:, None]
    third = -first - second
    third[:, 2] += 1
    weights = torch.stack([first, second, third])
    depth = torch.stack([1 / each if perspective else each for each in pz])
    return _Boxes(
        face=kept % max(len(faces), 1),
        base=(scene * height + top.long()) * width + left.long(),
        columns=(right - left + 1).long(),
        rows=(bottom - top + 1).long(),
        weights=weights,
        plane=(weights * depth[..., None]).sum(0),
    )


def _least(corners: list[Tensor]) -> Tensor:
    return torch.minimum(torch.minimum(corners[0], corners[1]), corners[2])


def _most(corners: list[Tensor]) -> Tensor:
    return torch.maximum(torch.maximum(corners[0], corners[1]), corners[2])


def _edge(x: list[Tensor], y: list[Tensor], a: int, b: int) -> Tensor:
    """(T, 3) edge function of corners a, b as coefficients of (x, y, 1)."""
    return torch.stack([y[a] - y[b], x[b] - x[a], x[a] * y[b] - x[b] * y[a]], 1)


def _buckets(boxes: _Boxes) -> Iterator[tuple[int, int, Tensor]]:
    """Boxes of like size, rounded up to powers of two: (wide, tall, members), in bounded parts."""
    across = (boxes.columns.clamp_min(2) - 1).float().frexp()[1]
    down = (boxes.rows.clamp_min(2) - 1).float().frexp()[1]
    code = across * 32 + down
    for value in torch.unique(code).tolist():
        wide, tall = 1 << (value // 32), 1 << (value % 32)
        members = (code == value).nonzero()[:, 0]
        for part in members.split(max(1, _CHUNK // (wide * tall))):
            yield wide, tall, part


def _draw(
    keys: Tensor,
    boxes: _Boxes,
    members: Tensor,
    wide: int,
    tall: int,
    width: int,
    perspective: bool,
) -> None:
    """Least key of each pixel over some triangles, into ``keys`` in place."""
    row, column = torch.meshgrid(torch.arange(tall), torch.arange(wide), indexing="ij")
    cells = torch.stack([column.flatten(), row.flatten(), torch.ones(tall * wide).long()])
    cells = cells.to(boxes.weights)
    inside = boxes.weights[0, members] @ cells >= 0
    for weight in boxes.weights[1:]:
        inside &= weight[members] @ cells >= 0
    owner, cell = inside.nonzero(as_tuple=True)
    owner = members[owner]
    i, j = cell % wide, torch.div(cell, wide, rounding_mode="floor")
    # The rounded box may be larger than the true one, or than the image.
    fits = ((i < boxes.columns[owner]) & (j < boxes.rows[owner])).nonzero()[:, 0]
    owner, i, j = owner[fits], i[fits], j[fits]
    plane = boxes.plane[owner]
    depth = plane[:, 0] * i + plane[:, 1] * j + plane[:, 2]
    if perspective:
        depth = 1 / depth
    key = (_ordered_bits(depth.float()) << 32) | boxes.face[owner]
    keys.scatter_reduce_(0, boxes.base[owner] + j * width + i, key, "amin")


def _ordered_bits(depth: Tensor) -> Tensor:
    """int64 that sorts like the float32 depth, negative depths included."""
    bits = depth.contiguous().view(torch.int32).long()
    return torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _decode(keys: Tensor, projected: Tensor, faces: Tensor, perspective: bool) -> Raster:
    """Face, depth and weights of the winning keys (B, H, W)."""
    _, height, width = keys.shape
    flat = keys.reshape(-1)
    hit = (flat != _EMPTY).nonzero()[:, 0]
    face = torch.full_like(flat, -1)
    face[hit] = flat[hit] & 0xFFFFFFFF
    scene = torch.div(hit, height * width, rounding_mode="floor")
    pixel = hit % (height * width)
    corners = faces[face[hit]] + (scene * projected.shape[1])[:, None]
    chosen = projected.reshape(-1, 3)[corners].double()
    x = (pixel % width).double() + 0.5
    y = torch.div(pixel, width, rounding_mode="floor").double() + 0.5
    weights = _weights(chosen, x, y)
    if perspective:
        weights = weights / chosen[..., 2]
        value = 1 / weights.sum(-1)
        weights = weights * value[:, None]
    else:
        value = (weights * chosen[..., 2]).sum(-1)
    depth = torch.full(flat.shape, torch.inf, dtype=projected.dtype, device=flat.device)
    depth[hit] = value.to(depth.dtype)
    barycentric = torch.zeros((*flat.shape, 3), dtype=projected.dtype, device=flat.device)
    barycentric[hit] = weights.to(depth.dtype)
    return Raster(
        face=face.view(keys.shape),
        depth=depth.view(keys.shape),
        barycentric=barycentric.view(*keys.shape, 3),
    )


def _weights(triangles: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Screen-space barycentric weights (..., 3) of points in triangles (..., 3, >= 2)."""
    x0, x1, x2 = triangles[..., 0].unbind(-1)
    y0, y1, y2 = triangles[..., 1].unbind(-1)
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    first = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
    second = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
    return torch.stack([first, second, 1 - first - second], -1)


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
    """
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
    corners = vertices[:, faces]
    face_normals = torch.linalg.cross(
        corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    )
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(1, faces[:, corner], face_normals)
    return normals / normals.norm(dim=-1, keepdim=True).clamp_min(1e-12)
