"""Truth of the cells of a network: body parts and heights of the own visible surface."""

from __future__ import annotations

import numpy as np

from ...models.local_features import BODY_PARTS
from .batch import CELL, PART_CELL
from .crops import Sampled

__all__ = ["body_heights", "part_fractions"]


def part_fractions(sampled: Sampled) -> np.ndarray:
    """(7, H / 8, W / 8) float32, fractions of each cell: not the person, then each body part."""
    high, wide = sampled.own.shape
    rows, columns = high // PART_CELL, wide // PART_CELL
    parts = len(BODY_PARTS)
    keys = _cells(high, wide, PART_CELL) * parts + sampled.part
    sums = np.bincount(keys.ravel(), sampled.own.ravel(), rows * columns * parts)
    fractions = sums.reshape(rows, columns, parts).transpose(2, 0, 1) / PART_CELL**2
    rest = np.clip(1 - fractions.sum(0, keepdims=True), 0, 1)
    return np.concatenate([rest, fractions]).astype(np.float32)


def body_heights(sampled: Sampled) -> tuple[np.ndarray, np.ndarray]:
    """(L,) mean height on the body of each cell's own surface, and (L,) its fraction."""
    high, wide = sampled.own.shape
    count = (high // CELL) * (wide // CELL)
    cells = _cells(high, wide, CELL).ravel()
    own = sampled.own.ravel().astype(np.float64)
    mass = np.bincount(cells, own, count)
    total = np.bincount(cells, own * sampled.height.ravel(), count)
    mean = np.where(mass > 0, total / np.maximum(mass, 1e-12) / 255, 0)
    return mean.astype(np.float32), (mass / CELL**2).clip(0, 1).astype(np.float32)


def _cells(high: int, wide: int, side: int) -> np.ndarray:
    """(H, W) int64 number of the cell of each pixel."""
    rows, columns = np.arange(high) // side, np.arange(wide) // side
    return rows[:, None] * (wide // side) + columns[None]
