"""Clusters of embeddings, and means over clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pose.runtime.defaults import plain_torch

from .distance_blocks import BlockDistance, block_size
from .features import Features, as_feature_source, group_rows
from .inputs import as_count, as_number, as_tensor, group_labels
from .progress import Progress

__all__ = [
    "cluster",
    "cluster_means",
    "density_labels",
    "group_means",
    "mean_members",
    "normalized_rows",
]


@plain_torch()
def cluster_means(features: Features, clusters: Any, *, counted: Any = None) -> Tensor:
    """Embeddings replaced by their cluster's mean; images without a cluster (-1) are unchanged.

    Zheng et al. (AI City 2020) applied this to queries, with clusters of ``eps = 0.5 ** 0.5`` and
    ``min_samples = 2``.

    Args:
        features: (n, D), without parts; as for `og_reid.evaluate`.
        clusters: (n,) int64, as from `cluster`.
        counted: As for `add_track_means`.

    Returns:
        (n, D) unit features.

    Raises:
        ValueError: Invalid features (see `evaluate`), or clusters of another length.
    """
    unit = normalized_rows(features)
    clusters, kept = group_labels(clusters, len(unit)), mean_members(counted, len(unit))
    inside = clusters >= 0
    if not inside.any():
        return unit
    group, first = group_rows(clusters[inside])
    means = group_means(unit[inside], group, len(first), kept[inside])
    result = unit.clone()
    result[inside] = functional.normalize(means, dim=1)[group]
    return result


@plain_torch()
def cluster(
    features: Features,
    *,
    eps: float = 0.3**0.5,
    min_samples: int = 50,
    progress: Progress | None = None,
) -> Tensor:
    """Density clusters (DBSCAN; Ester et al., 1996) by Euclidean distance of unit features.

    Args:
        features: (n, D).
        eps: Largest Euclidean distance of neighbours. The 0.3 (camera features, 50 samples; the
            default) and 0.5 (queries, 2 samples) of Zheng et al. are *squared* distances: give
            their roots, 0.548 and 0.707.
        min_samples: Fewest neighbours of a core image, itself counted.
        progress: Called with (images searched, images in all).

    Returns:
        (n,) int64 cluster of each image, numbered in the order of their first core images; -1 =
        none. An image at the border of several clusters is in the first.
    """
    eps, min_samples = as_number(eps, "eps"), as_count(min_samples, "min_samples", None)
    if eps <= 0 or min_samples < 1:
        raise ValueError(
            f"eps must be above 0 and min_samples at least 1; got {eps} and {min_samples}"
        )
    unit = as_feature_source(features, "features").normalized()
    count, product = len(unit), BlockDistance()
    rows, items = block_size(unit.rows.shape[1])
    pairs = [np.zeros((0, 2), np.int64)]
    for first in range(0, count, items):
        for start in range(0, count, rows):
            block = product(unit[start : start + rows], unit[first : first + items])
            near = (2 + 2 * block <= eps * eps).nonzero().cpu().numpy()
            pairs.append(near + np.array([start, first]))
        if progress is not None:
            progress(min(first + items, count), count)
    left, right = np.concatenate(pairs).T
    return torch.from_numpy(density_labels(left, right, count, min_samples))


def density_labels(left: np.ndarray, right: np.ndarray, count: int, min_samples: int) -> np.ndarray:
    """Labels of DBSCAN, from the pairs of neighbours.

    Args:
        left: (p,) image of each pair; every image with itself, every other pair in both directions.
        right: (p,) its neighbour.
        count: Number of images.
        min_samples: Fewest neighbours of a core image, itself counted.

    Returns:
        (count,) int64, as for `cluster`.
    """
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    core = np.bincount(left, minlength=count) >= min_samples
    linked = core[left] & core[right]
    graph = sparse.coo_matrix(
        (np.ones(linked.sum(), bool), (left[linked], right[linked])), (count, count)
    )
    label = connected_components(graph, directed=False)[1]
    _, where, label = np.unique(label[core], return_index=True, return_inverse=True)
    result = np.full(count, -1)
    result[core] = where.argsort().argsort()[label]
    border = core[right] & ~core[left]
    reached = np.full(count, count)
    np.minimum.at(reached, left[border], result[right[border]])
    result[reached < count] = reached[reached < count]
    return result


def normalized_rows(features: Features) -> Tensor:
    """(n, D) rows at length 1, checked."""
    unit = as_feature_source(features, "features").normalized()
    if unit.visibility is not None:
        raise ValueError("features must be global features only: the mean of parts is not defined")
    return unit.rows


def group_means(unit: Tensor, group: Tensor, count: int, counted: Tensor) -> Tensor:
    """Means of groups of rows.

    Args:
        unit: (n, D).
        group: (n,) int64 group of each row.
        count: Number of groups.
        counted: (n,) bool, rows that enter a mean; for a group without any, all rows.

    Returns:
        (count, D).
    """
    known = torch.bincount(group[counted], minlength=count) > 0
    use = (counted.to(group.device) | ~known[group]).to(unit.device)
    group = group.to(unit.device)
    sums = unit.new_zeros(count, unit.shape[1]).index_add_(0, group[use], unit[use])
    return sums / torch.bincount(group[use], minlength=count)[:, None].clamp(min=1)


def mean_members(counted: Any, count: int) -> Tensor:
    """(n,) bool of the rows that enter a mean; all for None.

    Raises:
        ValueError: On another shape or type.
    """
    if counted is None:
        return torch.ones(count, dtype=torch.bool, device="cpu")
    counted = as_tensor(counted, "counted").cpu()
    if counted.shape != (count,) or counted.dtype != torch.bool:
        raise ValueError(
            f"counted must be ({count},) bool; got {tuple(counted.shape)} {counted.dtype}"
        )
    return counted
