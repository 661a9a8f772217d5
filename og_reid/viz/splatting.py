"""Rendering of point clouds: orthographic surface splatting with a depth buffer, in torch."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

__all__ = ["Frame", "fit_frame", "render_cloud", "splat_radius"]

_SUPERSAMPLING = 2  # rendered this much larger, then averaged: smooth outlines
_LAYER = 0.03  # metres; points this far behind the nearest one still blend into its surface
_FACING = 0.3  # least cosine to the viewer: discs are wide, and those of an outline overhang it
_LIGHT = (-0.35, 0.5, 0.8)  # to the light, in the viewer's frame: from the upper left


@dataclasses.dataclass(frozen=True)
class Frame:
    """Frame of an orthographic rendering.

    Attributes:
        center: (x, y, z) in metres, the point in the middle of the rendering.
        pixels_per_metre: scale.
    """

    center: tuple[float, float, float]
    pixels_per_metre: float

    def __post_init__(self) -> None:
        """Check the values."""
        if len(self.center) != 3 or not all(math.isfinite(c) for c in self.center):
            raise ValueError(f"center must be three finite numbers; got {self.center}")
        if not 0 < self.pixels_per_metre < math.inf:
            raise ValueError(f"pixels_per_metre must be positive; got {self.pixels_per_metre}")


@plain_torch()
def fit_frame(points: Tensor, height: int, width: int, *, margin: float = 0.04) -> Frame:
    """Largest frame that holds all points from every side.

    Args:
        points: (N, 3) metres, N >= 1.
        height: height of the rendering, pixels.
        width: width of the rendering, pixels.
        margin: free fraction of height and width on each side.

    Raises:
        ValueError: no point, or a rendering without pixels.
    """
    points = _check_points(points)
    if not len(points):
        raise ValueError("points must hold at least one point to frame; got an empty cloud")
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1; got {height} x {width}")
    low, high = points.amin(0), points.amax(0)
    center = (low + high) / 2
    # The largest distance from the vertical axis bounds the width from every side.
    reach = float((points - center)[:, [0, 2]].norm(dim=-1).max())
    tall = float(high[1] - low[1]) / 2
    free = 0.5 - margin
    scale = min(free * height / max(tall, 0.01), free * width / max(reach, 0.01))
    x, y, z = center.tolist()
    return Frame((x, y, z), scale)


@plain_torch()
def splat_radius(points: Tensor, *, neighbours: int = 4) -> Tensor:
    """Radius of each point for a closed surface.

    Args:
        points: (N, 3) metres.
        neighbours: k of the radius, 0.8 times the distance to the k-th neighbour, at most three
            times the median, so that a stray point stays small.

    Returns:
        (N,) metres; 0.02 for fewer than two points.
    """
    from scipy.spatial import cKDTree

    points = _check_points(points)
    rank = min(neighbours, len(points) - 1)
    if rank < 1:
        return torch.full_like(points[:, 0], 0.02)
    distance, _ = cKDTree(points.numpy()).query(points.numpy(), k=[rank + 1])
    radius = 0.8 * torch.from_numpy(distance[:, 0]).float()
    return radius.clamp(max=3 * float(radius.median())).clamp(min=1e-4)


@plain_torch()
def render_cloud(
    points: Tensor,
    colors: Tensor,
    *,
    yaw: float = 0.0,
    height: int = 480,
    width: int = 240,
    frame: Frame | None = None,
    radius: Tensor | float | None = None,
    normals: Tensor | None = None,
    paper: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Orthographic rendering of a cloud at eye level.

    Each point is a disc; at each pixel the nearest surface is visible, and the discs of one surface
    blend with Gaussian weights (Zwicker et al., "Surface splatting", 2001).

    Args:
        points: (N, 3) metres, y up.
        colors: (N, 3) in [0, 1].
        yaw: viewing direction about the vertical, degrees: 0 from +z (as the image's camera, x to
            the right), 90 from +x, 180 from behind.
        height: H, pixels.
        width: W, pixels.
        frame: frame of the rendering; None: the whole cloud.
        radius: metres, one for all or (N,); by default `splat_radius`.
        normals: (N, 3) unit or zero. When given, points that face away are left out and the rest
            is lightly shaded; a zero normal faces everywhere and is not shaded.
        paper: RGB in [0, 1] of pixels without a point.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: a shape is wrong, a value not finite, or colours are not in [0, 1].
    """
    points, colors = _check_points(points), _check_colors(colors, len(points))
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1; got {height} x {width}")
    ground = torch.tensor(paper, dtype=torch.float32, device="cpu")
    if not len(points):
        empty = (ground * 255).round().to(torch.uint8).numpy()
        return np.broadcast_to(empty, (height, width, 3)).copy()
    frame = fit_frame(points, height, width) if frame is None else frame
    radius = splat_radius(points) if radius is None else _on_cpu(radius)
    if (radius.ndim and radius.shape != (len(points),)) or not bool((radius > 0).all()):
        raise ValueError(f"radius must be positive, one number or ({len(points)},); got {radius}")
    view = _view_axes(yaw)
    seen = _multiply(
        points - points.new_tensor(frame.center), view.T
    )  # right, up, towards the viewer
    radius = radius.expand(len(points))
    if normals is not None:
        normals = _check_points(normals, "normals")
        if len(normals) != len(points):
            raise ValueError(
                f"normals must have one row for each of the {len(points)} points; got "
                f"{len(normals)}"
            )
        turned = _multiply(normals, view.T)
        front = (turned[:, 2] > _FACING) | (turned.norm(dim=-1) < 0.5)
        colors = (colors * _shade(turned))[front]
        seen, radius = seen[front], radius[front]
    scale = frame.pixels_per_metre * _SUPERSAMPLING
    tall, wide = height * _SUPERSAMPLING, width * _SUPERSAMPLING
    pixel, point, weight = _discs(seen, radius, scale, tall, wide)
    drawn = _blend(pixel, seen[point, 2], colors[point], weight, ground, tall * wide)
    drawn = drawn.view(height, _SUPERSAMPLING, width, _SUPERSAMPLING, 3).mean((1, 3))
    return (drawn * 255).round().to(torch.uint8).numpy()


def _view_axes(yaw: float) -> Tensor:
    """(3, 3): rows are the viewer's right, up, and the direction towards the viewer."""
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    rows = [[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]]
    return torch.tensor(rows, dtype=torch.float32, device="cpu")


def _shade(turned: Tensor) -> Tensor:
    """(N, 1) factor in [0.7, 1] from normals in the viewer's frame."""
    light = torch.nn.functional.normalize(turned.new_tensor(_LIGHT), dim=0)
    factor = 0.7 + 0.3 * _multiply(turned, light[:, None])[:, 0].clamp(0, 1)
    return torch.where(turned.norm(dim=-1) < 0.5, turned.new_ones(()), factor)[:, None]


def _discs(
    seen: Tensor, radius: Tensor, scale: float, tall: int, wide: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(pixel, point, Gaussian weight) triples of discs over pixel centres.

    Points are handled in classes of similar size, so that a few large ones do not make the small
    ones expensive.
    """
    x = wide / 2 + seen[:, 0] * scale
    y = tall / 2 - seen[:, 1] * scale
    size = (radius * scale).clamp(min=0.75)  # under that a disc could miss every pixel centre
    inside = (x > -size) & (x < wide + size) & (y > -size) & (y < tall + size)
    size_class = size.log2().ceil().long()
    parts = []
    for level in size_class[inside].unique().tolist():
        member = ((size_class == level) & inside).nonzero()[:, 0]
        half = math.ceil(float(size[member].max()))
        step = torch.arange(-half, half + 1, device="cpu")
        first_column, first_row = x[member].floor(), y[member].floor()
        # Offsets of pixel centres along each axis, in radii: only sums of them are of all pixels.
        across = (step + 0.5 + (first_column - x[member])[:, None]) / size[member, None]
        down = (step + 0.5 + (first_row - y[member])[:, None]) / size[member, None]
        column = first_column.long()[:, None] + step
        row = first_row.long()[:, None] + step
        squared = down.square()[:, :, None] + across.square()[:, None]
        keep = squared <= 1
        keep &= ((column >= 0) & (column < wide))[:, None]
        keep &= ((row >= 0) & (row < tall))[:, :, None]
        inner = ((row * wide)[:, :, None] + column[:, None])[keep]
        owner = member[:, None, None].expand_as(keep)[keep]
        parts.append((inner, owner, squared[keep].mul_(-3).exp_()))
    if not parts:
        none = torch.zeros(0, dtype=torch.int64, device="cpu")
        return none, none, seen.new_zeros(0)
    pixel, point, weight = (torch.cat(column) for column in zip(*parts, strict=True))
    return pixel, point, weight


def _blend(
    pixel: Tensor, nearness: Tensor, colors: Tensor, weight: Tensor, ground: Tensor, count: int
) -> Tensor:
    """(count, 3) in [0, 1]: weighted mean colour of each pixel's nearest layer, else the ground."""
    nearest = colors.new_full((count,), -math.inf).scatter_reduce_(0, pixel, nearness, "amax")
    top = nearness >= nearest[pixel] - _LAYER
    total = colors.new_zeros(count).index_add_(0, pixel[top], weight[top])
    mixed = colors.new_zeros(count, 3).index_add_(0, pixel[top], colors[top] * weight[top, None])
    covered = total > 0
    return torch.where(covered[:, None], mixed / total.clamp(min=1e-12)[:, None], ground)


def _on_cpu(values: Any) -> Tensor:
    """Float32 CPU tensor of an array-like, independent of torch's defaults."""
    given = values if isinstance(values, Tensor) else torch.as_tensor(values, device="cpu")
    return given.detach().float().cpu()


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product in the operands' precision: autocast does not apply to ``out=``."""
    return torch.mm(left, right, out=left.new_empty(len(left), right.shape[1]))


def _check_points(points: Tensor, name: str = "points") -> Tensor:
    points = _on_cpu(points)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"{name} must have shape (N, 3); got {tuple(points.shape)}")
    if not bool(torch.isfinite(points).all()):
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return points


def _check_colors(colors: Tensor, count: int) -> Tensor:
    colors = _check_points(colors, "colors")
    if len(colors) != count:
        raise ValueError(
            f"colors must have one row for each of the {count} points; got {len(colors)}"
        )
    if count and not (0 <= float(colors.min()) and float(colors.max()) <= 1):
        raise ValueError(
            f"colors must be in [0, 1]; got values up to {float(colors.max()):g}: divide by 255"
        )
    return colors
