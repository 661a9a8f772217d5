"""The rasteriser in plain torch: specification of the native one, and used on other devices.

Every pixel centre inside a projected triangle becomes one candidate; the candidates compete by a
packed integer key (depth, face), so the result does not depend on the order of the faces or on
threads. Every operation is elementwise and rounded on its own: a matrix product would give other
bits on another processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .raster import Raster, check_indices, screen_weights

__all__ = ["rasterize_torch"]

# Candidates handled at once: bounds the peak memory for triangles of any size.
_CHUNK = 1 << 20
_EMPTY = torch.iinfo(torch.int64).max


def rasterize_torch(
    projected: Tensor,
    faces: Tensor,
    height: int,
    width: int,
    *,
    perspective: bool = False,
    one_sided: Tensor | None = None,
) -> Raster:
    """`rasterize` in plain torch; gradients flow from depths and weights to the vertices."""
    check_indices(projected, faces)
    batch = len(projected)
    keys = torch.full((batch * height * width,), _EMPTY, dtype=torch.int64, device=projected.device)
    boxes = _boxes(projected, faces, (height, width), perspective, one_sided)
    for wide, tall, members in _buckets(boxes):
        _draw(keys, boxes, members, wide, tall, width, perspective)
    return _decode(keys.view(batch, height, width), projected, faces, perspective)


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


def _boxes(
    projected: Tensor,
    faces: Tensor,
    size: tuple[int, int],
    perspective: bool,
    one_sided: Tensor | None,
) -> _Boxes:
    height, width = size
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
    if one_sided is not None:
        keep &= ~one_sided.repeat(batch) | (area < 0)
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
    across = torch.arange(wide, dtype=torch.float64, device=keys.device)
    down = torch.arange(tall, dtype=torch.float64, device=keys.device)[:, None]
    inside = torch.ones((), dtype=torch.bool, device=keys.device)
    for weight in boxes.weights:
        slope, slant, start = weight[members, :, None, None].unbind(1)
        inside = inside & ((slope * across + slant * down).add_(start) >= 0)
    inside = inside.flatten(1)
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
    weights = screen_weights(chosen, x, y)
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
