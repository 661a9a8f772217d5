"""Prompts: maps of evidence for the person and against others, from points, masks or the centre."""

from __future__ import annotations

import numpy as np

from .batch import PART_CELL
from .crops import Sampled
from .draws import Draws

__all__ = ["draw_prompt", "point_map"]

#: Standard deviation of a point's blob, as a fraction of the image's height.
SIGMA = 0.06


def point_map(points: np.ndarray, size: tuple[int, int], sigma: float = SIGMA) -> np.ndarray:
    """(H / 8, W / 8) float32 in [0, 1]: maximum of Gaussians at points.

    Args:
        points: (K, 2) column and row, pixels.
        size: H and W.
        sigma: Standard deviation as a fraction of H.
    """
    rows, columns = size[0] // PART_CELL, size[1] // PART_CELL
    found = np.zeros((rows, columns), np.float32)
    y = (np.arange(rows, dtype=np.float32) + 0.5) * PART_CELL - 0.5
    x = (np.arange(columns, dtype=np.float32) + 0.5) * PART_CELL - 0.5
    for column, row in points:
        far = (y[:, None] - row) ** 2 + (x[None] - column) ** 2
        found = np.maximum(found, np.exp(-far / (2 * (sigma * size[0]) ** 2)))
    return found


def draw_prompt(sampled: Sampled, draws: Draws) -> np.ndarray:
    """(2, H / 8, W / 8) float32 in [0, 1]: points, a coarse mask, or the centre of the image."""
    kind = draws.pick((_points, _mask, _centre), (0.5, 0.35, 0.15))
    return kind(sampled, draws)


def _points(sampled: Sampled, draws: Draws) -> np.ndarray:
    """One to six visible keypoints with noise; in half of the cases points on others."""
    size = sampled.own.shape[0], sampled.own.shape[1]
    own = _chosen(sampled.points, draws)
    if not len(own):
        own = _on(sampled.own, draws)
    negative = _on(sampled.others, draws) if draws.flag(0.5) else np.zeros((0, 2))
    noise = draws.log_uniform(0.003, 0.03) * size[0]
    maps = [
        point_map(points + noise * draws.normals(len(points), 2), size)
        for points in (own, negative)
    ]
    return np.stack(maps)


def _chosen(points: np.ndarray, draws: Draws) -> np.ndarray:
    number = min(len(points), draws.integer(1, 7))
    return points[draws.generator.permutation(len(points))[:number]]


def _on(surface: np.ndarray, draws: Draws) -> np.ndarray:
    """(K, 2) column and row of up to four random points on a surface."""
    found = np.flatnonzero(surface.ravel() > 0.5)
    if not len(found):
        return np.zeros((0, 2))
    picked = found[[draws.integer(0, len(found)) for _ in range(draws.integer(1, 5))]]
    return np.stack([picked % surface.shape[1], picked // surface.shape[1]], 1).astype(np.float32)


def _mask(sampled: Sampled, draws: Draws) -> np.ndarray:
    """Own surface as a poor segmentation gives it, and others' in half of the cases."""
    positive = _coarse(sampled.own, draws)
    negative = _coarse(sampled.others, draws) if draws.flag(0.5) else np.zeros_like(positive)
    return np.stack([positive, negative])


def _coarse(surface: np.ndarray, draws: Draws) -> np.ndarray:
    """Surface by cells, dilated or eroded, shifted, blurred, at a random level."""
    high, wide = surface.shape
    shape = (high // PART_CELL, PART_CELL, wide // PART_CELL, PART_CELL)
    cells = surface.reshape(shape).mean((1, 3))
    padded = np.pad(cells, 1)
    rows, columns = draws.integer(0, 3), draws.integer(0, 3)
    if draws.flag(0.5):  # a shift of up to one cell
        cells = padded[rows : rows + len(cells), columns : columns + cells.shape[1]]
        padded = np.pad(cells, 1)
    around = np.stack([
        padded[i : i + len(cells), j : j + cells.shape[1]] for i in range(3) for j in range(3)
    ])  # fmt: skip
    change = draws.pick((None, "max", "mean", "min"), (0.25, 0.3, 0.3, 0.15))
    if change is not None:
        changed = getattr(around, change)(0)
        cells = changed if changed.max() > 0.3 else cells  # an erosion can remove a thin surface
    return np.clip(cells * draws.uniform(0.7, 1.3), 0, 1).astype(np.float32)


def _centre(sampled: Sampled, draws: Draws) -> np.ndarray:
    """Blob in the middle of the image, where detectors centre people."""
    size = sampled.own.shape[0], sampled.own.shape[1]
    middle = np.array([[size[1] / 2, size[0] * draws.uniform(0.35, 0.55)]])
    positive = point_map(middle, size, draws.uniform(0.06, 0.15))
    return np.stack([positive, np.zeros_like(positive)])
