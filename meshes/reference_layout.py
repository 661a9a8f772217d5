"""Layout of the OG-Net authors' clouds: one point for each pixel of a small image.

After the authors' code for Zheng et al., TNNLS 2022 (section III): every pixel is assigned to its
nearest vertex, or without one to a point of a background plane. An image of 128 x 64 pixels gives
8192 points, whatever the body.

Their files have y down and z away from the camera. Clouds and vertices here have y up and z towards
the camera; ``write_reference_obj`` turns them on writing, which changes signs only. The camera
parameters are the authors'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .fitting.fit import BodyFit
from .pointcloud import BACKGROUND, HIDDEN_GREY, PointCloud

__all__ = [
    "REFERENCE_SIZE",
    "WeakPerspective",
    "reference_cloud",
    "reference_layout",
    "reference_view",
]

REFERENCE_SIZE = (128, 64)
"""Rows and columns of the authors' resized images."""

_GAP = 0.05  # metres: a surface this far behind its neighbour shows through a hole in front of it


@dataclass(frozen=True)
class WeakPerspective:
    """Weak-perspective camera of the authors, from HMR (Kanazawa et al., CVPR 2018).

    A point (x, y, z) projects to ``column = (scale (x + shift_x) + 1) S/2 - (S - C)/2``
    and ``row = (scale (shift_y - y) + 1) S/2 - (S - R)/2`` of an image with R rows and C columns,
    S the larger of both. Whole numbers are the centres of pixels.

    Attributes:
        scale: s, half images per metre, positive.
        shift: (tx, ty) metres; ty is positive downwards, as in the authors' frame.
    """

    scale: float
    shift: tuple[float, float]

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (self.scale > 0 and all(map(math.isfinite, (self.scale, *self.shift)))):
            raise ValueError(
                "scale must be positive, and scale and shift finite; "
                f"got {self.scale} and {self.shift}"
            )

    def pixels(self, points: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Row and column (N,) int64 of points (N, 3), clamped to the image."""
        side = max(rows, columns)
        found = []
        # Two roundings in the authors' precisions give their pixels.
        for place, shift, length in (
            (-points[:, 1], self.shift[1], rows),
            (points[:, 0], self.shift[0], columns),
        ):
            whole = _rounded((((place + shift) * self.scale).double() + 1) * 0.5 * side)
            found.append(_rounded(whole + (length - side) / 2).clamp(0, length - 1).long())
        return found[0], found[1]

    def place(self, row: Tensor, column: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """x, y (N,) metres, float64, of the points that project to these pixel centres."""
        side = max(rows, columns)
        right = ((column.double() + (side - columns) / 2) * 2 / side - 1) / self.scale
        down = ((row.double() + (side - rows) / 2) * 2 / side - 1) / self.scale
        return right - self.shift[0], self.shift[1] - down


def reference_layout(
    vertices: Tensor,
    camera: WeakPerspective,
    image: Tensor,
    *,
    part: Tensor | None = None,
    background: bool = True,
) -> PointCloud:
    """Cloud of a body and its image in the authors' layout.

    1. A pixel belongs to its nearest vertex, among equally near ones to that of lowest index.
       Vertices outside the image count for the adjacent border pixel.
    2. A pixel is released when the pixel below or to the right, unless on the border, belongs to a
       vertex nearer by more than 0.05 m: the back of the body does not show through gaps between
       vertices of its front.
    3. Body points are the vertices with a pixel, by index, in the pixel's colour.
    4. Background points are the pixels without a vertex, row by row, on the plane at the mean depth
       of all vertices.

    Args:
        vertices: (V, 3) metres; x right, y up, z towards the camera; at least one.
        camera: the authors' (s, tx, ty).
        image: (R, C, 3) uint8 RGB.
        part: (V,) body joint of each vertex for ``PointCloud.part``; None writes 0.
        background: False gives the authors' older layout instead, without steps 2 to 4: all V
            vertices by index, those without a pixel not ``visible`` (grey here, white in files).

    Returns:
        R C points, or V without background; without normals, on the device of ``vertices``.

    Raises:
        ValueError: shapes are wrong, or vertices are not finite.
    """
    _check(vertices, image)
    rows, columns = image.shape[:2]
    row, column = camera.pixels(vertices, rows, columns)
    pixel = row * columns + column
    depth = -vertices[:, 2].double()
    owner = _nearest(pixel, depth, rows * columns)
    colors = image.to(vertices.device).reshape(-1, 3).float() / 255
    part = torch.zeros_like(pixel) if part is None else part
    if not background:
        seen = torch.zeros_like(pixel, dtype=torch.bool)
        seen[owner[owner >= 0]] = True
        shown = torch.where(seen[:, None], colors[pixel], HIDDEN_GREY)
        return PointCloud(vertices, shown, visible=seen, part=part)
    owner = _without_gaps(owner.view(rows, columns), depth).flatten()
    winners = owner[owner >= 0].sort().values
    empty = (owner < 0).nonzero()[:, 0]
    across = torch.div(empty, columns, rounding_mode="floor")
    x, y = camera.place(across, empty % columns, rows, columns)
    behind = torch.stack([x, y, vertices[:, 2].double().mean().expand_as(x)], 1)
    return PointCloud(
        torch.cat([vertices[winners], behind.to(vertices.dtype)]),
        torch.cat([colors[pixel[winners]], colors[empty]]),
        part=torch.cat([part[winners], torch.full_like(empty, BACKGROUND)]),
    )


def reference_view(
    fit: BodyFit, size: tuple[int, int], resized: tuple[int, int] = REFERENCE_SIZE
) -> tuple[Tensor, WeakPerspective]:
    """Body of a fit for a weak-perspective camera of the resized image.

    That camera has one scale for both axes; ``CropCamera`` also has the crop's stretch, resizing to
    a fixed shape stretches once more, and ``kappa`` enlarges upper parts. The authors' regressor
    takes the resized image and gives a body in its proportions. Likewise here: x and y of each
    vertex move to its pixel, z stays. The scale is the vertical one, which keeps the body's
    height. Positions from 0 to W become pixel centres at whole numbers (a shift by -0.5), so that
    rounding gives the pixel of the vertex under ``CropCamera``.

    Args:
        fit: one body (B = 1).
        size: (height, width) of the image, pixels.
        resized: (rows, columns) of the resized one.

    Returns:
        vertices (V, 3) float32 metres, y up, z towards the camera; and the camera.
    """
    if len(fit) != 1:
        raise ValueError(f"fit must hold one body; got {len(fit)}: index it first")
    down, right = resized[0] / size[0], resized[1] / size[1]
    projected = fit.camera.project(fit.vertices)[0].double()
    column, row = projected[:, 0] * right - 0.5, projected[:, 1] * down - 0.5
    origin_column = float(fit.camera.shift[0, 0]) * right - 0.5
    origin_row = float(fit.camera.shift[0, 1]) * down - 0.5
    per_metre = float(fit.camera.scale[0]) * math.exp(float(fit.camera.log_aspect[0])) * down
    vertices = torch.stack(
        [
            (column - origin_column) / per_metre,
            (origin_row - row) / per_metre,
            fit.vertices[0, :, 2].double(),
        ],
        1,
    )
    camera = WeakPerspective(
        2 * per_metre / max(resized),
        ((origin_column - resized[1] / 2) / per_metre, (origin_row - resized[0] / 2) / per_metre),
    )
    return vertices.float(), camera


def reference_cloud(image: Tensor, fit: BodyFit, *, background: bool = True) -> PointCloud:
    """Cloud of an image, resized to 128 x 64, and its fitted body in the authors' layout.

    Args:
        image: (H, W, 3) uint8 RGB; resized bilinearly, with smoothing where it shrinks.
        fit: the body in it (B = 1).
        background: see ``reference_layout``.

    Returns:
        8192 points; V without background. The same person's points differ from those of the
        surface layout in x and y: see ``reference_view``.
    """
    vertices, camera = reference_view(fit, (image.shape[0], image.shape[1]))
    return reference_layout(
        vertices, camera, _resized(image), part=fit.body.part, background=background
    )


def _resized(image: Tensor) -> Tensor:
    if tuple(image.shape[:2]) == REFERENCE_SIZE:
        return image
    planes = image.permute(2, 0, 1)[None].float()
    small = functional.interpolate(planes, REFERENCE_SIZE, mode="bilinear", antialias=True)
    return small[0].permute(1, 2, 0).round().clamp(0, 255).byte()


def _check(vertices: Tensor, image: Tensor) -> None:
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices):
        raise ValueError(
            f"vertices must be (V, 3) with at least one row; got {tuple(vertices.shape)}"
        )
    if not bool(torch.isfinite(vertices).all()):
        raise ValueError("vertices must be finite; got NaN or infinite values")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != torch.uint8 or not image.numel():
        raise ValueError(
            f"image must be (R, C, 3) uint8 RGB; got {tuple(image.shape)} {image.dtype}"
        )


def _rounded(value: Tensor) -> Tensor:
    """Nearest whole number, halves upwards; torch.round rounds halves to even."""
    down = value.floor()
    return down + (value - down >= 0.5)


def _nearest(pixel: Tensor, depth: Tensor, count: int) -> Tensor:
    """(count,) int64: vertex of least depth, then least index, in each pixel; or -1."""
    order = depth.argsort(stable=True)
    order = order[pixel[order].argsort(stable=True)]
    place = pixel[order]
    first = torch.ones_like(place, dtype=torch.bool)
    first[1:] = place[1:] != place[:-1]
    owner = torch.full((count,), -1, dtype=torch.int64, device=pixel.device)
    owner[place[first]] = order[first]
    return owner


def _without_gaps(owner: Tensor, depth: Tensor) -> Tensor:
    """``owner`` (R, C) without the pixels that lie behind their neighbours; see step 2.

    The authors release pixels in place, row by row, in ten passes. A pixel depends only on the two
    after it, so one pass can process all at once, as here; further passes change nothing, since
    released neighbours count as infinitely far.
    """
    far = torch.where(owner < 0, torch.inf, depth[owner.clamp_min(0)])
    nearer = far[1:-1, 1:-1] + _GAP
    behind = torch.zeros_like(owner, dtype=torch.bool)
    behind[:-2, 1:-1] |= far[:-2, 1:-1] > nearer
    behind[1:-1, :-2] |= far[1:-1, :-2] > nearer
    return owner.masked_fill(behind, -1)
