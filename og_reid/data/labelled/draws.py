"""Scalar random numbers of one image, with a stream of its own for each group of changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

__all__ = ["Draws"]

Item = TypeVar("Item")


class Draws:
    """Random numbers that depend on the key and the order of the calls alone.

    Scalars of NumPy cost a tenth of torch's, and an image needs some hundred.

    Args:
        key: Key of the image, any integer.
        group: Number of the stream; streams of other groups are independent, so that a group can
            be turned off without changing the others.
    """

    def __init__(self, key: int, group: int = 0) -> None:
        self.key = key
        # Unsigned: a list of plain numbers would become float64, and near keys equal.
        both = np.array([key % 2**64, group], np.uint64)
        self.generator = np.random.Generator(np.random.Philox(key=both))

    def group(self, number: int) -> Draws:
        """Stream of another group of changes of the same image."""
        return Draws(self.key, number)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number in [low, high)."""
        return low + (high - low) * self.generator.random()

    def log_uniform(self, low: float, high: float) -> float:
        """One number in [low, high) with a uniform logarithm."""
        return float(low * (high / low) ** self.generator.random())

    def normal(self, deviation: float = 1.0) -> float:
        """One normal number, cut at 2.5 deviations."""
        return deviation * float(np.clip(self.generator.standard_normal(), -2.5, 2.5))

    def flag(self, probability: float) -> bool:
        """True with the given probability."""
        return self.generator.random() < probability

    def integer(self, low: int, high: int) -> int:
        """One integer in [low, high)."""
        return min(high - 1, low + int((high - low) * self.generator.random()))

    def pick(self, options: Sequence[Item], weights: Sequence[float] | None = None) -> Item:
        """One of the options; ``weights`` need not sum to one."""
        if weights is None:
            return options[self.integer(0, len(options))]
        mark = self.uniform(0.0, float(sum(weights)))
        for option, weight in zip(options, weights, strict=True):
            mark -= weight
            if mark < 0:
                return option
        return options[-1]

    def uniforms(self, *shape: int) -> np.ndarray:
        """Array of float32 in [0, 1)."""
        return self.generator.random(shape, dtype=np.float32)

    def normals(self, *shape: int) -> np.ndarray:
        """Array of float32, standard normal."""
        return self.generator.standard_normal(shape, dtype=np.float32)
