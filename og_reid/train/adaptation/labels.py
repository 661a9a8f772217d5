"""Pseudo labels of a round: distances, clusters, and the images that keep theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...adaptation import (
    add_source_distance,
    center_cameras,
    dbscan,
    eps_of_fraction,
    kmeans,
    nearest_to_center,
    self_paced,
    singletons,
    source_distance,
)
from ...config.adapt import AdaptConfig
from ...rerank import jaccard_neighbors

__all__ = ["RoundLabels", "label_round"]

_MOST = 0.5  # fraction of the images that one cluster may hold


@dataclass(frozen=True, eq=False)
class RoundLabels:
    """Pseudo labels of a round.

    Attributes:
        labels: (N,) int64 clusters in [0, C), -1 for images that are left out.
        eps: Largest distance of neighbours; None without distances.
        threshold: That of self-paced clusters; None without.
    """

    labels: Tensor
    eps: float | None = None
    threshold: float | None = None


def label_round(
    config: AdaptConfig,
    features: Tensor,
    cameras: Tensor | None,
    *,
    source: Tensor | None = None,
    before: RoundLabels | None = None,
) -> RoundLabels:
    """Pseudo labels of the target images.

    Args:
        config: All settings of the run.
        features: (N, D) unit embeddings.
        cameras: (N,) int64; None where unknown.
        source: (M, D) embeddings of the source, for ``source_weight``.
        before: Labels of round 0, whose limits are kept.

    Raises:
        ValueError: There is no cluster, or one holds more than half of the images.
    """
    if config.cluster == "none":
        return RoundLabels(torch.arange(len(features)))
    unit = center_cameras(features, cameras) if config.center_cameras else features
    if config.cluster == "kmeans":
        found = _by_centers(config, unit)
    else:
        distances = jaccard_neighbors(unit, k1=config.k1, k2=config.k2)
        if config.source_weight and source is not None:
            apart = source_distance(features, source)
            distances = add_source_distance(distances, apart, config.source_weight)
        found = _by_density(config, distances, before)
        _check_clusters(found, distances)
    if config.outliers == "singletons":
        return RoundLabels(singletons(found.labels), found.eps, found.threshold)
    return found


def _by_centers(config: AdaptConfig, unit: Tensor) -> RoundLabels:
    found = kmeans(unit, min(config.num_clusters, len(unit)), seed=config.seed)
    labels = found.labels
    if config.keep == "center":
        labels = nearest_to_center(unit, found, threshold=config.center_cosine)
    result = RoundLabels(_numbered(labels))
    if not (labels >= 0).any():
        raise ValueError(
            f"no image is near a central image by a cosine of {config.center_cosine}: lower "
            "center_cosine"
        )
    return result


def _by_density(config: AdaptConfig, distances: Any, before: RoundLabels | None) -> RoundLabels:
    eps = config.eps
    if config.rho is not None:
        kept = None if before is None else before.eps
        eps = eps_of_fraction(distances, config.rho) if kept is None else kept
    labels = dbscan(distances, eps=eps, min_samples=config.min_samples)
    if config.keep != "self-paced":
        return RoundLabels(_numbered(labels), eps)
    tight, loose = (
        dbscan(distances, eps=eps + shift, min_samples=config.min_samples)
        for shift in (-config.gap, config.gap)
    )
    threshold = None if before is None else before.threshold
    found = self_paced(labels, tight, loose, threshold=threshold)
    return RoundLabels(_numbered(found.labels), eps, found.threshold)


def _numbered(labels: Tensor) -> Tensor:
    """Labels in [0, C) without gaps; -1 stays."""
    known = labels >= 0
    result = labels.clone()
    result[known] = labels[known].unique(return_inverse=True)[1]
    return result


def _check_clusters(found: RoundLabels, distances: Any) -> None:
    """Refuses labels without a cluster, and with one that holds most images."""
    sizes = found.labels[found.labels >= 0].bincount()
    count = len(found.labels)
    if len(sizes) and int(sizes.max()) <= _MOST * count:
        return
    matrix = distances.copy()
    matrix.setdiag(1)
    nearest = torch.ones(count)
    ends = matrix.indptr
    for row in range(count):
        some = matrix.data[ends[row] : ends[row + 1]]
        if len(some):
            nearest[row] = float(some.min())
    low, middle, high = nearest.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
    what = (
        "no image has a cluster"
        if not len(sizes)
        else (f"one cluster holds {int(sizes.max())} of {count} images")
    )
    how = "raise eps or lower min_samples" if not len(sizes) else "lower eps or k1"
    raise ValueError(
        f"{what} at eps {found.eps:.3f}; distances of the images to their nearest are {low:.2f} "
        f"(10 %), {middle:.2f} (median) and {high:.2f} (90 %): {how}"
    )
