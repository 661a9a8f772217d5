"""Reliability of pseudo labels: which images keep their cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .pseudo_labels import Centers

__all__ = [
    "SelfPaced",
    "common_groups",
    "near_centers",
    "nearest_to_center",
    "self_paced",
    "singletons",
]


def singletons(labels: Tensor) -> Tensor:
    """Labels with a class of its own for every outlier (-1), numbered after the clusters."""
    outlier = labels < 0
    result = labels.clone()
    start = int(labels.max()) + 1 if len(labels) else 0
    result[outlier] = torch.arange(int(outlier.sum())) + max(0, start)
    return result


@dataclass(frozen=True, eq=False)
class SelfPaced:
    """Reliability of clusters (SpCL: Ge et al., NeurIPS 2020).

    Attributes:
        labels: (N,) int64 clusters of the reliable images, numbered as before; -1 for the others.
        compactness: (N,) 1 - overlap of an image's cluster with its cluster at the smaller limit.
        independence: (N,) 1 - overlap with its cluster at the larger limit.
        threshold: Largest independence score of a reliable cluster.
    """

    labels: Tensor
    compactness: Tensor
    independence: Tensor
    threshold: float


def self_paced(
    labels: Tensor, tight: Tensor, loose: Tensor, *, threshold: float | None = None
) -> SelfPaced:
    """Images whose cluster stays the same under a smaller and a larger limit of distance.

    An image keeps its cluster if the best independence score in the cluster is at most the
    threshold, and its own compactness score is the best in the cluster.

    Args:
        labels: (N,) int64 clusters, -1 = outlier, which counts as a cluster of one.
        tight: (N,) clusters at a smaller limit.
        loose: (N,) clusters at a larger limit.
        threshold: That of the first round, kept for later ones; None: the 90th percentile of the
            independence scores of clusters with at least two images; infinite without such.

    Raises:
        ValueError: Labels of different lengths.
    """
    if labels.dim() != 1 or tight.shape != labels.shape or loose.shape != labels.shape:
        raise ValueError(
            "labels, tight and loose must be (N,) each; got "
            f"{tuple(labels.shape)}, {tuple(tight.shape)} and {tuple(loose.shape)}"
        )
    compactness = _disagreement(labels, tight)
    independence = _disagreement(labels, loose)
    cluster = singletons(labels)
    count = int(cluster.max()) + 1 if len(cluster) else 0
    best = compactness.new_full((2, count), torch.inf)
    for row, scores in zip(best, (compactness, independence), strict=True):
        row.scatter_reduce_(0, cluster, scores, "amin")
    sizes = cluster.bincount(minlength=count)
    if threshold is None:
        several = best[1][sizes > 1].sort().values
        place = min(len(several) - 1, round(0.9 * len(several)))
        threshold = float(several[place]) if len(several) else float("inf")
    kept = (best[1][cluster] <= threshold) & (compactness <= best[0][cluster])
    return SelfPaced(labels.masked_fill(~kept, -1), compactness, independence, threshold)


def _disagreement(one: Tensor, other: Tensor) -> Tensor:
    """(N,) float32 1 - intersection over union of the clusters of each image in two clusterings."""
    pairs, pair = torch.stack([singletons(one), singletons(other)]).unique(
        dim=1, return_inverse=True
    )
    both = pair.bincount(minlength=pairs.shape[1])[pair]
    first, second = (
        torch.zeros(int(rows.max()) + 1, dtype=torch.int64).index_add_(
            0, rows, torch.ones_like(rows)
        )[rows]
        if len(rows)
        else rows
        for rows in (pairs[0][pair], pairs[1][pair])
    )
    return 1 - both / (first + second - both).float()


def nearest_to_center(
    features: Tensor, found: Centers, *, threshold: float = 0.85, any_center: bool = False
) -> Tensor:
    """Clusters of the images that are similar to a central image (PUL: Fan et al., TOMM 2018).

    The central image of a cluster is the image nearest to its centre by Euclidean distance.

    Args:
        features: (N, D), not normalised.
        found: Clusters, as from `og_reid.adaptation.kmeans`.
        threshold: Least cosine, exclusive.
        any_center: Whether similarity to any central image counts, as in the authors' code; by
            default to that of the own cluster, as in the paper.

    Returns:
        (N,) int64, -1 for images that are not similar enough.
    """
    if features.dim() != 2 or found.labels.shape != features.shape[:1]:
        raise ValueError(
            "features must be (N, D) with a label each; got "
            f"{tuple(features.shape)} and {tuple(found.labels.shape)}"
        )
    unit = functional.normalize(features, dim=1)
    central = found.distances.argmin(dim=0)
    cosine = unit @ unit[central].T
    own = cosine.gather(1, found.labels[:, None])[:, 0]
    best = cosine.amax(dim=1) if any_center else own
    return found.labels.masked_fill(best <= threshold, -1)


def near_centers(found: Centers, *, threshold: float = 0.05, min_per_class: int = 3) -> Tensor:
    """Clusters of the images near their centre, in clusters with enough of them (CAN).

    Args:
        found: Clusters, as from `og_reid.adaptation.spherical_kmeans`.
        threshold: Largest distance, exclusive.
        min_per_class: Fewest images of a cluster that is kept.

    Returns:
        (N,) int64, -1 for the others.
    """
    near = found.distances.gather(1, found.labels[:, None])[:, 0] < threshold
    labels = found.labels.masked_fill(~near, -1)
    sizes = labels[near].bincount(minlength=found.distances.shape[1])
    few = sizes[labels.clamp(min=0)] < min_per_class
    return labels.masked_fill(few, -1)


def common_groups(
    labels: Sequence[Tensor], visible: Sequence[Tensor] | None = None
) -> tuple[Tensor, ...]:
    """Clusters of the images that have one in every part (SSG: Fu et al., ICCV 2019).

    Args:
        labels: (N,) int64 clusters by part, -1 = outlier.
        visible: (N,) bool by part; a hidden part takes no part. None: all are visible.

    Returns:
        (N,) int64 by part, -1 where the part is hidden or the image is left out: it is an outlier
        in a visible part, or shows none.
    """
    if not labels or (visible is not None and len(visible) != len(labels)):
        raise ValueError(
            "labels must hold one tensor per part, and visible as many; got "
            f"{len(labels)} and {None if visible is None else len(visible)}"
        )
    table = torch.stack(list(labels))
    shown = torch.ones_like(table, dtype=torch.bool)
    if visible is not None:
        shown = torch.stack(list(visible))
    kept = ((table >= 0) | ~shown).all(dim=0) & shown.any(dim=0)
    return tuple(table.masked_fill(~(kept & shown), -1))
