"""Quality of pseudo labels: sizes, pairs within a camera, and with truth precision and recall."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .reliability import singletons

__all__ = ["LabelQuality", "label_quality", "rand_index"]


@dataclass(frozen=True)
class LabelQuality:
    """Quality of the pseudo labels of a set of images.

    Attributes:
        images: Number of images.
        clusters: Number of clusters.
        outliers: Fraction of the images without a cluster.
        mean_size: Mean number of images of a cluster; 0 without clusters.
        largest: Fraction of the images in the largest cluster.
        same_camera: Fraction of the pairs of a cluster within one camera; None without pairs or
            cameras.
        same_camera_by_chance: That fraction for all pairs of images.
        agreement: Adjusted Rand index to the labels before; None without.
        precision: Fraction of the pairs of a cluster that show one person; None without truth.
        recall: Fraction of the pairs of one person that are in one cluster; None without truth.
    """

    images: int
    clusters: int
    outliers: float
    mean_size: float
    largest: float
    same_camera: float | None = None
    same_camera_by_chance: float | None = None
    agreement: float | None = None
    precision: float | None = None
    recall: float | None = None

    def __str__(self) -> str:
        """One line for a log."""
        parts = [
            f"{self.clusters} clusters of {self.mean_size:.1f} images",
            f"{100 * self.outliers:.0f} % outliers",
        ]
        if self.same_camera is not None and self.same_camera_by_chance is not None:
            chance = 100 * self.same_camera_by_chance
            parts.append(
                f"{100 * self.same_camera:.0f} % of pairs in one camera ({chance:.0f} % by chance)"
            )
        if self.agreement is not None:
            parts.append(f"agreement with the last round {self.agreement:.2f}")
        if self.precision is not None and self.recall is not None:
            parts.append(f"pair precision {self.precision:.2f}, recall {self.recall:.2f}")
        return ", ".join(parts)


def label_quality(
    labels: Tensor,
    cameras: Tensor | None = None,
    *,
    before: Tensor | None = None,
    truth: Tensor | None = None,
) -> LabelQuality:
    """Quality of pseudo labels.

    Args:
        labels: (N,) int64 clusters, -1 = outlier, which forms no pair.
        cameras: (N,) int64; None where unknown.
        before: (N,) int64 labels of the round before.
        truth: (N,) int64 identities, -1 = unknown, which forms no true pair.

    Raises:
        ValueError: Wrong shapes.
    """
    for name, each in (("cameras", cameras), ("before", before), ("truth", truth)):
        if each is not None and each.shape != labels.shape:
            raise ValueError(
                f"{name} must be as long as labels, {tuple(labels.shape)}; got {tuple(each.shape)}"
            )
    count, known = len(labels), labels >= 0
    sizes = labels[known].unique(return_counts=True)[1]
    pairs = _pairs(labels[known])
    same = chance = precision = recall = None
    if cameras is not None and count > 1:
        chance = _pairs(cameras) / _all_pairs(count)
        if pairs:
            same = _pairs(labels[known], cameras[known]) / pairs
    if truth is not None:
        both = known & (truth >= 0)
        right = _pairs(labels[both], truth[both])
        true = _pairs(truth[truth >= 0])
        precision = right / pairs if pairs else 0.0
        recall = right / true if true else 0.0
    return LabelQuality(
        images=count,
        clusters=len(sizes),
        outliers=1 - int(known.sum()) / count if count else 0.0,
        mean_size=float(sizes.float().mean()) if len(sizes) else 0.0,
        largest=int(sizes.max()) / count if len(sizes) else 0.0,
        same_camera=same,
        same_camera_by_chance=chance,
        agreement=None if before is None else rand_index(before, labels),
        precision=precision,
        recall=recall,
    )


def rand_index(one: Tensor, other: Tensor) -> float:
    """Adjusted Rand index of two clusterings (Hubert and Arabie, 1985); -1 are clusters of one.

    Returns:
        1 for equal clusterings, about 0 for independent ones.
    """
    if one.shape != other.shape or one.dim() != 1:
        raise ValueError(
            f"one and other must be (N,) both; got {tuple(one.shape)} and {tuple(other.shape)}"
        )
    one, other = singletons(one), singletons(other)
    both, first, second = _pairs(one, other), _pairs(one), _pairs(other)
    total = _all_pairs(len(one))
    expected = first * second / total if total else 0.0
    most = (first + second) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def _pairs(*groups: Tensor) -> int:
    """Number of pairs of items that agree in every group."""
    if not len(groups[0]):
        return 0
    sizes = torch.stack(groups).unique(dim=1, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def _all_pairs(count: int) -> int:
    return count * (count - 1) // 2
