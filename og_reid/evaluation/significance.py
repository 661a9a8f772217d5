"""Confidence intervals of means over queries: cluster bootstrap over identities.

Queries of one identity are correlated, so single queries are no independent draws.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pose.deprecation import deprecated_getattr

from ..retrieval.inputs import as_count, as_number, as_tensor

__all__ = ["bootstrap_interval", "bootstrap_means", "score_interval"]

_DRAWS = 1 << 22


def bootstrap_interval(
    values: Tensor, clusters: Tensor, *, level: float = 0.95, repeats: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the mean of values, drawn by cluster with replacement.

    Args:
        values: (n,), n >= 1.
        clusters: (n,) whole numbers; values of one cluster are drawn together.
        level: Fraction of the draws inside, between 0 and 1.
        repeats: Number of draws.
        seed: Seed of the draws.

    Raises:
        ValueError: Numbers out of range.
    """
    values, clusters = as_tensor(values, "values"), as_tensor(clusters, "clusters")
    if values.dim() != 1 or clusters.shape != values.shape or not len(values):
        raise ValueError(
            "values and clusters must be (n,), of at least one; got "
            f"{tuple(values.shape)} and {tuple(clusters.shape)}"
        )
    level, repeats = as_number(level, "level"), as_count(repeats, "repeats", None)
    if not 0 < level < 1 or repeats < 1:
        raise ValueError(
            f"level must be between 0 and 1 and repeats at least 1; got {level} and {repeats}"
        )
    means = bootstrap_means(values, clusters, repeats, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def score_interval(mean: float, count: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval, which does not shrink to a point where all values are equal.

    Asymptotically exact for a fraction of ``count`` independent draws, and conservative for a mean
    of other values in [0, 1], which have a smaller variance.

    Args:
        mean: In [0, 1].
        count: Number of independent draws, at least 1.
        level: Confidence level, between 0 and 1.

    Raises:
        ValueError: Numbers out of range.
    """
    if not 0 < level < 1 or not 0 <= mean <= 1 or count < 1:
        raise ValueError(
            "level must be between 0 and 1, mean in [0, 1] and count at least 1; got "
            f"{level}, {mean} and {count}"
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    scale = 1 + z * z / count
    center = (mean + z * z / (2 * count)) / scale
    half = z * math.sqrt(mean * (1 - mean) / count + (z / (2 * count)) ** 2) / scale
    return max(0.0, center - half), min(1.0, center + half)


def bootstrap_means(values: Tensor, clusters: Tensor, repeats: int, seed: int) -> np.ndarray:
    """Means of bootstrap draws of whole clusters.

    Args:
        values: (n,).
        clusters: (n,) whole numbers.
        repeats: Number of draws.
        seed: Seed of the draws.

    Returns:
        (repeats,) float64.
    """
    numbers = clusters.unique(return_inverse=True)[1].cpu().numpy()
    size = np.bincount(numbers)
    total = np.bincount(numbers, weights=values.detach().cpu().numpy())
    generator, chance = np.random.default_rng(seed), np.full(len(size), 1 / len(size))
    step = max(1, _DRAWS // len(size))
    means = []
    for start in range(0, repeats, step):
        drawn = generator.multinomial(len(size), chance, size=min(step, repeats - start))
        means.append((drawn @ total) / (drawn @ size))
    return np.concatenate(means)


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
