"""Crops as detectors make them of visible people, and their sampling at a network's size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .draws import Draws
from .layers import LABEL_STRIDE, Box, Layers, resized, visible_box

__all__ = ["Frame", "Sampled", "detector_frame", "sample", "whole_frame"]

_LEAST_LEFT = 0.35  # fraction of the visible surface that stays inside of a crop
_LEAST_WHOLE = 0.08  # the same of the whole surface


@dataclass(frozen=True)
class Frame:
    """Box of an image, and its place in the network's image.

    Attributes:
        box: Top, left, bottom and right, pixels of the image.
        inner: The same of the box in the network's image, integers; the rest is padding.
        size: Height and width of the network's image.
        padding: Colour of the padding, RGB in [0, 255].
    """

    box: Box
    inner: tuple[int, int, int, int]
    size: tuple[int, int]
    padding: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Sampled:
    """Layers at a network's size.

    Attributes:
        image: (H, W, 3) float32 RGB in [0, 255].
        own: (H, W) float32 in [0, 1], the person's own visible surface.
        others: (H, W) float32 in [0, 1], other people's.
        part: (H, W) uint8, index into ``BODY_PARTS``.
        height: (H, W) uint8, height on the body.
        points: (K, 2) float32, visible keypoints, pixels.
    """

    image: np.ndarray
    own: np.ndarray
    others: np.ndarray
    part: np.ndarray
    height: np.ndarray
    points: np.ndarray


def whole_frame(shape: tuple[int, ...], size: tuple[int, int]) -> Frame:
    """Frame of the whole image."""
    return Frame((0.0, 0.0, float(shape[0]), float(shape[1])), (0, 0, *size), size)


def detector_frame(layers: Layers, draws: Draws, size: tuple[int, int]) -> Frame:
    """Frame as a detector gives it: of all or some of what is visible, loose, tight or shifted.

    A third of the crops of another aspect are padded, the others stretched.
    """
    shape = layers.own.shape
    visible = visible_box(layers.own)
    least = max(_LEAST_LEFT * float(layers.own.sum()), _LEAST_WHOLE * layers.whole)
    kinds = (_loose, _tight, _upper, _cut)
    for _ in range(4):
        drawn = draws.pick(kinds, (0.3, 0.3, 0.22, 0.18))(draws, visible)
        box = _clipped(_upright(drawn), shape)
        rows, columns = slice(int(box[0]), int(box[2])), slice(int(box[1]), int(box[3]))
        kept = layers.own[rows, columns]
        if kept.sum() >= least and kept.mean() >= 0.08:
            break
    else:
        return whole_frame(shape, size)
    if not draws.flag(0.3):
        return Frame(box, (0, 0, *size), size)
    return _padded(box, draws, size)


def sample(layers: Layers, frame: Frame) -> Sampled:
    """Layers in a frame; the padding belongs to none."""
    high, wide = frame.size
    top, left, bottom, right = frame.inner
    inner, inside = (bottom - top, right - left), (slice(top, bottom), slice(left, right))
    colors = np.clip(layers.image + 0.5, 0, 255).astype(np.uint8)
    image = np.empty((high, wide, 3), np.float32)
    if inner != frame.size:
        image[:] = np.asarray(frame.padding, np.float32)
    image[inside] = resized(colors, inner, box=frame.box)
    surfaces = []
    for layer in (layers.own, layers.others):
        surface = np.zeros((high, wide), np.float32)
        if layer.any():
            surface[inside] = resized(layer, inner, box=frame.box)
        surfaces.append(np.clip(surface, 0, 1))
    lines = [
        ((np.arange(side) + 0.5 - start) / count * (last - first) + first) / LABEL_STRIDE
        for side, start, count, first, last in (
            (high, top, inner[0], frame.box[0], frame.box[2]),
            (wide, left, inner[1], frame.box[1], frame.box[3]),
        )
    ]
    row = np.clip(lines[0].astype(np.int64), 0, len(layers.part) - 1)[:, None]
    column = np.clip(lines[1].astype(np.int64), 0, layers.part.shape[1] - 1)[None]
    points = _visible_points(layers)
    scale = (inner[1] / (frame.box[3] - frame.box[1]), inner[0] / (frame.box[2] - frame.box[0]))
    points = (points + 0.5 - (frame.box[1], frame.box[0])) * scale + (left, top) - 0.5
    within = (points >= 0).all(1) & (points < (wide, high)).all(1)
    return Sampled(
        image, surfaces[0], surfaces[1], layers.part[row, column], layers.height[row, column],
        points[within].astype(np.float32),
    )  # fmt: skip


def _visible_points(layers: Layers) -> np.ndarray:
    """Keypoints on the own surface that is still visible."""
    high, wide = layers.own.shape
    rows = np.clip(np.nan_to_num(layers.points[:, 1]).round(), 0, high - 1).astype(np.int64)
    columns = np.clip(np.nan_to_num(layers.points[:, 0]).round(), 0, wide - 1).astype(np.int64)
    found: np.ndarray = layers.points[layers.seen & (layers.own[rows, columns] > 0.5)]
    return found


def _clipped(box: Box, shape: tuple[int, ...]) -> Box:
    """Box inside of the image, of at least 8 x 8 pixels."""
    high, wide = shape[:2]
    top, left = min(max(0.0, box[0]), high - 8), min(max(0.0, box[1]), wide - 8)
    return top, left, min(max(top + 8, box[2]), high), min(max(left + 8, box[3]), wide)


def _upright(box: Box) -> Box:
    """Box grown on both sides to a height of 1 to 4 times its width."""
    rows, columns = box[2] - box[0], box[3] - box[1]
    down, along = max(0.0, columns - rows) / 2, max(0.0, rows / 4 - columns) / 2
    return box[0] - down, box[1] - along, box[2] + down, box[3] + along


def _loose(draws: Draws, box: Box) -> Box:
    """Margins of 2 to 25 % on each side."""
    return _grown(draws, box, 0.02, 0.25)


def _tight(draws: Draws, box: Box) -> Box:
    """Edges within 6 % of the visible surface's, inside or outside."""
    return _grown(draws, box, -0.06, 0.06)


def _upper(draws: Draws, box: Box) -> Box:
    """Upper body: the first 45 to 80 % of the height, zoomed up to 2.2 times."""
    grown = _grown(draws, box, -0.03, 0.1)
    bottom = grown[0] + (grown[2] - grown[0]) * draws.uniform(0.45, 0.8)
    return grown[0], grown[1], bottom, grown[3]


def _cut(draws: Draws, box: Box) -> Box:
    """Head, feet or a side cut off, up to a quarter."""
    top, left, bottom, right = _grown(draws, box, -0.02, 0.1)
    amount = draws.uniform(0.05, 0.25)
    high, wide = bottom - top, right - left
    side = draws.integer(0, 4)
    cuts = [0.0, 0.0, 0.0, 0.0]
    cuts[side] = amount
    top, bottom = top + cuts[0] * high, bottom - cuts[2] * high
    left, right = left + cuts[1] * wide, right - cuts[3] * wide
    if draws.flag(0.3):  # the same box, shifted instead of shrunk
        shift = amount * 0.5 * draws.pick((-1.0, 1.0))
        top, bottom = top + shift * high, bottom + shift * high
    return top, left, bottom, right


def _grown(draws: Draws, box: Box, low: float, high: float) -> Box:
    rows, columns = box[2] - box[0], box[3] - box[1]
    margins = [draws.uniform(low, high) for _ in range(4)]
    return (
        box[0] - margins[0] * rows * 0.5, box[1] - margins[1] * columns,
        box[2] + margins[2] * rows * 0.5, box[3] + margins[3] * columns,
    )  # fmt: skip


def _padded(box: Box, draws: Draws, size: tuple[int, int]) -> Frame:
    """Frame that keeps the aspect of its box, with padding on two sides."""
    rows, columns = box[2] - box[0], box[3] - box[1]
    scale = min(size[0] / rows, size[1] / columns)
    high = min(size[0], max(16, round(rows * scale)))
    wide = min(size[1], max(16, round(columns * scale)))
    top = draws.integer(0, size[0] - high + 1) if draws.flag(0.3) else (size[0] - high) // 2
    left = draws.integer(0, size[1] - wide + 1) if draws.flag(0.3) else (size[1] - wide) // 2
    grey = draws.pick((0.0, 114.0, 127.0, 255.0), (0.5, 0.2, 0.2, 0.1))
    return Frame(box, (top, left, top + high, left + wide), size, (grey, grey, grey))
