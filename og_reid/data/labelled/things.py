"""Outlines of things in front of people: poles, fences, counters, leaves, umbrellas, cars."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .draws import Draws
from .layers import Box
from .textures import noise_field

__all__ = ["outline"]

Shape = tuple[int, int]


def outline(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    """(H, W) float32 coverage in [0, 1] of a thing that hides some of a box.

    Args:
        draws: Random numbers.
        shape: H and W.
        box: Visible part of the person.
    """
    kinds, weights = zip(*_KINDS, strict=True)
    kind: Callable[[Draws, Shape, Box], np.ndarray] = draws.pick(kinds, weights)
    return kind(draws, shape, box)


def _grid(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Rows (H, 1) and columns (1, W)."""
    return (
        np.arange(shape[0], dtype=np.float32)[:, None],
        np.arange(shape[1], dtype=np.float32)[None],
    )


def _inside(distance: np.ndarray, softness: float) -> np.ndarray:
    """Coverage of a signed distance in pixels, positive inside."""
    found: np.ndarray = np.clip(distance / softness + 0.5, 0, 1)
    return np.ascontiguousarray(found, np.float32)


def _point(draws: Draws, box: Box) -> tuple[float, float]:
    return draws.uniform(box[0], box[2]), draws.uniform(box[1], box[3])


def _drawn(shape: Shape, corners: np.ndarray) -> np.ndarray:
    """Filled polygon of (N, 2) corners, row and column, drawn at twice the size."""
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (2 * shape[1], 2 * shape[0]))
    flat = [(2 * float(column), 2 * float(row)) for row, column in corners]
    ImageDraw.Draw(canvas).polygon(flat, fill=255)
    return np.asarray(canvas.reduce(2)).astype(np.float32) / 255


def _polygon(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    row, column = _point(draws, box)
    number = draws.integer(3, 9)
    size = draws.uniform(0.15, 0.5) * (box[2] - box[0])
    turns = np.sort(draws.uniforms(number)) * 2 * np.pi
    reach = size * (0.5 + draws.uniforms(number))
    return _drawn(shape, np.stack([row + reach * np.sin(turns), column + reach * np.cos(turns)], 1))


def _ellipse(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    rows, columns = _grid(shape)
    row, column = _point(draws, box)
    size = draws.uniform(0.12, 0.4) * (box[2] - box[0])
    aspect, turn = draws.log_uniform(0.4, 2.5), draws.uniform(0, np.pi)
    down, along = rows - row, columns - column
    major = (along * np.cos(turn) + down * np.sin(turn)) / (size * aspect**0.5)
    minor = (down * np.cos(turn) - along * np.sin(turn)) / (size / aspect**0.5)
    return _inside((1 - np.hypot(major, minor)) * size, draws.uniform(1, 4))


def _box(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    row, column = _point(draws, box)
    high = draws.uniform(0.1, 0.45) * (box[2] - box[0])
    wide = high * draws.log_uniform(0.4, 2.5)
    lean = draws.normal(0.08)
    corners = np.array([[-high, -wide], [-high, wide], [high, wide], [high, -wide]], np.float32)
    turn = np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])
    return _drawn(shape, corners @ turn.T + (row, column))


def _blob(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    rows, columns = _grid(shape)
    row, column = _point(draws, box)
    size = draws.uniform(0.2, 0.5) * (box[2] - box[0])
    far = np.hypot(rows - row, columns - column) / size
    field = noise_field(draws, shape, draws.integer(2, 6), 2) * 0.5
    return _inside((1 - far + field) * size * 0.5, draws.uniform(2, 8))


def _leaves(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    """Foliage from below or from one side: fine noise under a smooth envelope."""
    rows, columns = _grid(shape)
    wavy = noise_field(draws, shape, 3, 1) * 12
    if draws.flag(0.7):
        deep = rows - draws.uniform(box[0] + 0.25 * (box[2] - box[0]), box[2])
    else:
        line = draws.uniform(box[1], box[3])
        deep = (columns - line) * draws.pick((-1.0, 1.0)) + 0 * rows
    leaf = noise_field(draws, shape, draws.integer(9, 26), 2)
    return _inside(np.clip(deep + wavy, -25, 40) * 0.1 + leaf * 2.2, 1.5)


def _poles(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    rows, columns = _grid(shape)
    total = np.zeros(shape, np.float32)
    for _ in range(draws.integer(1, 3)):
        middle = draws.uniform(box[1], box[3]) + draws.normal(0.06) * (rows - shape[0] / 2)
        wide = draws.log_uniform(3, 0.35 * (box[3] - box[1]) + 4)
        inside = wide / 2 - np.abs(columns - middle)
        if draws.flag(0.3):  # its top is in the image
            inside = np.minimum(inside, rows - draws.uniform(0, box[2] * 0.6))
        total = np.maximum(total, _inside(inside, 1.5))
    return total


def _fence(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    """Bars, upright, level or both, from below or all over."""
    rows, columns = _grid(shape)
    top = draws.uniform(box[0] - 5, box[0] + 0.7 * (box[2] - box[0]))
    period, part = draws.uniform(10, 34), draws.uniform(0.2, 0.5)
    which = draws.pick(("upright", "level", "both"), (0.55, 0.2, 0.25))
    slant = draws.normal(0.05)
    bars = np.full(shape, -100, np.float32)
    if which != "level":
        phase = np.mod(columns + slant * rows + draws.uniform(0, period), period)
        bars = np.maximum(bars, part * period / 2 - np.abs(phase - period / 2))
    if which != "upright":
        gap = period * draws.uniform(1, 2.5)
        phase = np.mod(rows - slant * columns + draws.uniform(0, gap), gap)
        bars = np.maximum(bars, part * period / 2 - np.abs(phase - gap / 2))
    rail = draws.uniform(2, 8) / 2 - np.abs(rows - top)
    return _inside(np.maximum(np.minimum(bars, rows - top), rail), 1.5)


def _counter(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    """Board, wall, counter, table: all or some of the width, from below or across."""
    rows, columns = _grid(shape)
    top = draws.uniform(box[0] + 0.25 * (box[2] - box[0]), box[2] - 0.05 * (box[2] - box[0]))
    inside = rows - (top + draws.normal(0.08) * (columns - shape[1] / 2))
    if draws.flag(0.35):  # a board with its lower edge in the image
        inside = np.minimum(inside, draws.uniform(0.12, 0.5) * (box[2] - box[0]) - (rows - top))
    if draws.flag(0.4):  # an end within the image
        end = draws.uniform(box[1], box[3])
        inside = np.minimum(inside, (columns - end) * draws.pick((-1.0, 1.0)))
    return _inside(inside, draws.uniform(1, 3))


def _umbrella(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    """Dome with a scalloped rim, turned by any small angle, around the head or the shoulders."""
    rows, columns = _grid(shape)
    row = draws.uniform(box[0], box[0] + 0.5 * (box[2] - box[0]))
    column = draws.uniform(box[1] - 10, box[3] + 10)
    size, lean = draws.uniform(0.2, 0.45) * (box[2] - box[0]), draws.normal(0.5)
    down, along = rows - row, columns - column
    across = along * np.cos(lean) + down * np.sin(lean)
    up = along * np.sin(lean) - down * np.cos(lean)
    dome = (1 - np.hypot(across / size, up / (size * draws.uniform(0.45, 0.8)))) * size
    rim = up - size * 0.09 * np.abs(np.sin(across / size * 4.7))
    shaft = np.minimum(1.5 - np.abs(across), np.minimum(-up, up + 1.6 * size))
    return _inside(np.maximum(np.minimum(dome, rim), shaft), 1.5)


def _car(draws: Draws, shape: Shape, box: Box) -> np.ndarray:
    """Side or corner of a car: body, cabin with slanted pillars, from one side and below."""
    tall = box[2] - box[0]
    ground = box[2] + draws.uniform(0.0, 0.2) * tall
    size = tall * draws.uniform(0.35, 0.7)
    long = size * draws.uniform(1.6, 2.6)
    nose = draws.uniform(box[1] - 0.5 * long, box[3])
    profile = np.array([
        (0.08, 0.0), (0.42, 0.0), (0.52, 0.06), (0.6, 0.3), (1.0, 0.5), (1.0, 0.85), (0.62, 1.0),
        (0.1, 1.0),
    ])  # fmt: skip
    side = draws.pick((-1.0, 1.0))
    if side < 0:
        nose = box[1] + box[3] - nose
    corners = np.stack([ground - size * profile[:, 0], nose + side * long * profile[:, 1]], 1)
    found = _drawn(shape, corners)
    rows, columns = _grid(shape)
    for place in (0.18, 0.8):
        wheel = np.hypot(rows - (ground - 0.08 * size), columns - (nose + side * long * place))
        found = np.maximum(found, _inside(0.17 * size - wheel, 1.5))
    return found


_KINDS = (
    (_polygon, 0.08), (_ellipse, 0.06), (_box, 0.12), (_blob, 0.1), (_leaves, 0.14), (_poles, 0.1),
    (_fence, 0.1), (_counter, 0.14), (_umbrella, 0.08), (_car, 0.08),
)  # fmt: skip
