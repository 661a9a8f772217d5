"""Images of clouds and bodies side by side, and turntables, without a display or a GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshes.body.parts import BODY_PARTS
from pose.runtime.defaults import plain_torch

from . import coloring
from .coloring import contribution_range, point_colors
from .items import ViewItem
from .looks import Look
from .splatting import Frame, fit_frame, render_cloud, splat_radius
from .style import DARK, DIVERGING, LIGHT, SEQUENTIAL, rgb

__all__ = ["scene_image", "turntable"]

_PAPER = (LIGHT.paper, DARK.paper)
_INK = (LIGHT.ink, DARK.ink)
_BONE = "#d55e00"
_BONE_RADIUS = 0.009  # metres
_MARKED = 1.6  # factor of the radius of marked points
_MOST_PIXELS = 64e6
_HEIGHT_OF_TEXT = 0.026  # of the height of the image


@dataclasses.dataclass(frozen=True, eq=False)
class _Prepared:
    """What is drawn of an item: points with colours, radii and normals, from any side."""

    name: str
    points: Tensor
    colors: Tensor
    radius: Tensor
    normals: Tensor | None
    frame: Frame
    width: int


def scene_image(items: Sequence[ViewItem], look: Look | None = None) -> np.ndarray:
    """Image of items side by side, to one scale, with their names and a legend.

    Args:
        items: at least one item.
        look: colouring, direction and size.

    Returns:
        (H, W, 3) uint8 RGB; H is `Look.height`.

    Raises:
        ValueError: no item, so many that the image exceeds 64 megapixels, or a colouring that an
            item does not support.
    """
    look = look or Look()
    return next(_images(items, look, [look.yaw]))


def turntable(
    items: Sequence[ViewItem], look: Look | None = None, *, frames: int = 36
) -> Iterator[np.ndarray]:
    """Images of `scene_image` from all sides, one turn from `Look.yaw` on.

    Args:
        items: at least one item.
        look: colouring, first direction and size.
        frames: number of images, at least 1.

    Raises:
        ValueError: as for `scene_image`, or no frame.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1; got {frames}")
    look = look or Look()
    return _images(items, look, [look.yaw + 360 * i / frames for i in range(frames)])


@plain_torch()
def _images(items: Sequence[ViewItem], look: Look, yaws: Sequence[float]) -> Iterator[np.ndarray]:
    """One image for each direction."""
    if not items:
        raise ValueError("items must hold at least one item to view; got none")
    dark = bool(look.dark)
    values = contribution_range(items)
    unit = max(10, round(_HEIGHT_OF_TEXT * look.height))
    named = any(item.name for item in items)
    legend = _legend(items, look, values)
    inner = look.height - (2 * unit if named else 0) - (2 * unit if legend else 0)
    cells = _prepare(items, look, values, inner)
    gap = unit // 2
    width = max(sum(cell.width for cell in cells) + gap * (len(cells) - 1), 14 * unit)
    if width * look.height > _MOST_PIXELS:
        raise ValueError(
            f"an image of {len(items):,} items would have {width:,} x {look.height:,} pixels: "
            "give fewer items, a smaller height, or write an interactive page (html)"
        )
    labels = _labels(cells, look, unit, inner, width, legend)
    return (_compose(cells, look, yaw, inner, labels.copy(), dark) for yaw in yaws)


def _compose(
    cells: Sequence[_Prepared],
    look: Look,
    yaw: float,
    inner: int,
    image: np.ndarray,
    dark: bool,
) -> np.ndarray:
    """Draws the cells into an image with labels and legend."""
    paper = tuple(_rgb(_PAPER[dark]).tolist())
    for cell, left in zip(cells, _lefts(cells, look, image.shape[1]), strict=True):
        drawn = render_cloud(
            cell.points, cell.colors, yaw=yaw, height=inner, width=cell.width, frame=cell.frame,
            radius=cell.radius, normals=cell.normals, paper=paper,
        )  # fmt: skip
        image[:inner, left : left + cell.width] = drawn
    return image


def _lefts(cells: Sequence[_Prepared], look: Look, width: int) -> list[int]:
    """First columns of the cells, which are centred in the image."""
    gap = max(10, round(_HEIGHT_OF_TEXT * look.height)) // 2
    left = (width - sum(cell.width for cell in cells) - gap * (len(cells) - 1)) // 2
    found = []
    for cell in cells:
        found.append(left)
        left += cell.width + gap
    return found


def _prepare(
    items: Sequence[ViewItem], look: Look, values: tuple[float, float], height: int
) -> list[_Prepared]:
    bounds = []
    for item in items:
        kept = ~item.cloud.is_background
        points = item.cloud.points[kept] if bool(kept.any()) else item.cloud.points
        low, high = points.amin(0), points.amax(0)
        reach = float((points - (low + high) / 2)[:, [0, 2]].norm(dim=-1).max())
        bounds.append((points, max(float(high[1] - low[1]), 0.02), max(reach, 0.01)))
    tallest = max(tall for _, tall, _ in bounds)
    cells = []
    for item, (points, _, reach) in zip(items, bounds, strict=True):
        width = round(height * min(max(1.08 * 2 * reach / tallest, 0.36), 1.2))
        cells.append((item, fit_frame(points, height, width), width))
    scale = min(frame.pixels_per_metre for _, frame, _ in cells)  # one for all
    return [
        _prepared(item, look, values, Frame(frame.center, scale), width)
        for item, frame, width in cells
    ]


def _prepared(
    item: ViewItem, look: Look, values: tuple[float, float], frame: Frame, width: int
) -> _Prepared:
    colors, marked = point_colors(item, look, values)
    points, normals = item.cloud.points, item.normals
    radius = splat_radius(points)
    radius = torch.where(marked, _MARKED * radius, radius)
    shown = torch.ones(len(points), dtype=torch.bool)
    if not look.background and not bool(item.cloud.is_background.all()):
        shown = ~item.cloud.is_background
    points, colors, radius = points[shown], colors[shown], radius[shown]
    normals = None if normals is None else normals[shown]
    if item.bones is not None and item.faces is None:
        along = torch.linspace(0, 1, 60)[:, None]
        line = torch.lerp(item.bones[:, None, 0], item.bones[:, None, 1], along).reshape(-1, 3)
        points = torch.cat([points, line])
        colors = torch.cat([colors, _rgb(_BONE).expand(len(line), 3)])
        joints = torch.full_like(radius, 2 * _BONE_RADIUS)
        radius = torch.cat([joints, torch.full((len(line),), _BONE_RADIUS)])
        normals = None
    return _Prepared(item.name, points, colors, radius, normals, frame, width)


def _rgb(color: str) -> Tensor:
    return torch.tensor(rgb(color)) / 255


#: Entries (colour, text) of a legend, or (low text, colours, high text) of a scale.
_Legend = list[tuple[str, str]] | tuple[str, Sequence[str], str]


def _legend(items: Sequence[ViewItem], look: Look, values: tuple[float, float]) -> _Legend:
    behind = look.background and any(bool(item.cloud.is_background.any()) for item in items)
    grey = [(coloring.BEHIND, "background")] if behind else []
    if look.color == "image":
        hidden = any(not bool(item.cloud.visible.all()) for item in items)
        return [(coloring.NEUTRAL[bool(look.dark)], "not in the image")] if hidden else []
    if look.color == "visibility":
        return [(coloring.VISIBLE, "visible"), (coloring.OCCLUDED, "occluded"), *grey]
    if look.color == "part":
        return [*zip(coloring.PART_COLORS, BODY_PARTS, strict=True), *grey]
    if look.color == "contribution":
        low, high = values
        return f"{low:.3g}", DIVERGING if low < 0 else SEQUENTIAL, f"{high:.3g}"
    if look.color == "neighbors":
        return "nearest", coloring.RANKS, "farthest"
    return "first", coloring.RANKS, "last"


def _labels(
    cells: Sequence[_Prepared], look: Look, unit: int, inner: int, width: int, legend: _Legend
) -> np.ndarray:
    """Image without the cells: names under them, and the legend at the bottom."""
    from PIL import Image, ImageDraw, ImageFont

    dark = bool(look.dark)
    page = Image.new("RGB", (width, look.height), _PAPER[dark])
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(unit)
    ink = _INK[dark]

    def text(x: float, y: float, words: str, anchor: str) -> None:
        pen.text((x, y), words, fill=ink, font=font, anchor=anchor)

    if any(cell.name for cell in cells):
        for cell, left in zip(cells, _lefts(cells, look, width), strict=True):
            name = _shortened(cell.name, cell.width, font.getlength)
            text(left + cell.width / 2, inner + unit, name, "mm")
    y = look.height - unit
    if isinstance(legend, tuple):
        low, stops, high = legend
        long = min(14 * unit, width // 3)
        ramp = Image.new("RGB", (len(stops), 1))
        ramp.putdata([rgb(stop) for stop in stops])
        left = (width - long) // 2
        page.paste(ramp.resize((long, unit), Image.Resampling.BILINEAR), (left, y - unit // 2))
        text(left - unit / 2, y, low, "rm")
        text(left + long + unit / 2, y, high, "lm")
        return np.array(page)
    lengths = [font.getlength(words) + 2.4 * unit for _, words in legend]
    if sum(lengths) > width:  # a narrow image: swatches and texts closer together
        font = ImageFont.load_default(max(6, int(unit * width / sum(lengths))))
        lengths = [length * width / sum(lengths) for length in lengths]
    x = (width - sum(lengths)) / 2
    for (color, words), length in zip(legend, lengths, strict=True):
        size = font.size * 0.8  # type: ignore[union-attr]
        pen.rounded_rectangle(
            (x, y - size / 2, x + size, y + size / 2), radius=size / 4, fill=color
        )
        text(x + 1.4 * size, y, words, "lm")
        x += length
    return np.array(page)


def _shortened(name: str, width: float, length: Callable[[str], Any]) -> str:
    """The name, with an ellipsis in its middle if it is wider than its cell."""
    name = "".join(each if each.isprintable() else "\ufffd" for each in name[:400])
    if length(name) <= width:
        return name
    kept = len(name)
    while kept > 1 and length(f"{name[: kept // 2]}…{name[len(name) - kept // 2 :]}") > width:
        kept -= 1
    return f"{name[: kept // 2]}…{name[len(name) - kept // 2 :]}" if kept > 1 else "…"
