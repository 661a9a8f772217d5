"""Pseudo labels: clusters of unlabelled images by distance or around centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..retrieval.clustering import density_labels
from ..retrieval.inputs import as_count, as_number

__all__ = [
    "Centers",
    "add_source_distance",
    "dbscan",
    "eps_of_fraction",
    "kmeans",
    "source_distance",
    "spherical_kmeans",
]

_ROUNDS = 100
_ROWS = 1024


def dbscan(distances: Any, *, eps: float, min_samples: int = 4) -> Tensor:
    """Density clusters (DBSCAN; Ester et al., 1996) of sparse distances.

    Args:
        distances: (N, N) scipy CSR matrix of `og_reid.rerank.jaccard_neighbors`: symmetric, with
            the zeros of the diagonal stored, and all distances up to ``eps``.
        eps: Largest distance of neighbours, at least 0 and below the distance of pairs left out.
        min_samples: Fewest neighbours of a core image, itself counted.

    Returns:
        (N,) int64 cluster of each image, numbered in the order of their first core images; -1 =
        outlier. An image at the border of several clusters is in the first.

    Raises:
        ValueError: Numbers out of range.
    """
    eps, min_samples = as_number(eps, "eps"), as_count(min_samples, "min_samples")
    if not 0 <= eps < 1:
        raise ValueError(
            f"eps must be in [0, 1), as pairs without a common neighbour are at 1; got {eps}"
        )
    count = distances.shape[0]
    left = np.repeat(np.arange(count), np.diff(distances.indptr))
    # The limit in the precision of the distances: 0.6 in float32 is above 0.6.
    near = distances.data <= distances.dtype.type(eps)
    labels = density_labels(left[near], distances.indices[near], count, min_samples)
    return torch.from_numpy(labels)


def eps_of_fraction(distances: Any, fraction: float) -> float:
    """Mean of the smallest distances of pairs: a limit for `dbscan` by the fraction of close pairs.

    SSG and MMT give 1.6e-3 for 12,936 images with about 17 images of each person. The fraction of
    true pairs, (images per person - 1) / (N - 1), scales to other sets. Pairs at distance 0 are
    left out.

    Args:
        distances: (N, N) scipy CSR matrix, symmetric; pairs that are not stored are farther.
        fraction: Fraction of all pairs, in (0, 1].

    Raises:
        ValueError: ``fraction`` out of range, or it holds no pair, or more than are stored.
    """
    if not 0 < as_number(fraction, "fraction") <= 1:
        raise ValueError(f"fraction must be in (0, 1]; got {fraction}")
    count = distances.shape[0]
    left = np.repeat(np.arange(count), np.diff(distances.indptr))
    upper = distances.indices > left
    values = distances.data[upper]
    apart = np.sort(values[values > 0])
    pairs = count * (count - 1) // 2 - int((values <= 0).sum())
    wanted = round(fraction * pairs)
    if not 1 <= wanted <= len(apart):
        raise ValueError(
            f"fraction must hold between 1 and {len(apart)} of {pairs} pairs, those with a common "
            f"neighbour; got {fraction}, which is {wanted}: give images_per_person, or eps in "
            "its place"
        )
    return float(apart[:wanted].mean())


def source_distance(target: Tensor, source: Tensor) -> Tensor:
    """Distance of target images from the source domain (SSG: Fu et al., ICCV 2019).

    ``1 - exp(-squared distance)`` to the nearest source image, over its largest value.

    Args:
        target: (N, D) features, normalised here.
        source: (M, D) features, at least one.

    Returns:
        (N,) in [0, 1].
    """
    if target.dim() != 2 or source.dim() != 2 or target.shape[1] != source.shape[1]:
        raise ValueError(
            "target and source must be (N, D) and (M, D); got "
            f"{tuple(target.shape)} and {tuple(source.shape)}"
        )
    if not len(source) or not len(target):
        raise ValueError(
            f"target and source must not be empty; got {len(target)} and {len(source)} images"
        )
    one, two = (functional.normalize(each.float(), dim=1) for each in (target, source))
    nearest = torch.cat([(2 - 2 * some @ two.T).amin(dim=1) for some in one.split(_ROWS)])
    value = 1 - (-nearest.clamp(min=0)).exp()
    return value / value.max().clamp(min=1e-12)


def add_source_distance(distances: Any, apart: Tensor, weight: float = 0.1) -> Any:
    """Distances mixed with those from the source: ``(1 - weight) d + weight (s_i + s_j)`` (SSG).

    Pairs that are not stored are at ``1 - weight`` or more; the diagonal stays 0.

    Args:
        distances: (N, N) scipy CSR matrix.
        apart: (N,) distances of `source_distance`.
        weight: In [0, 1).
    """
    if not 0 <= as_number(weight, "weight") < 1:
        raise ValueError(f"weight must be in [0, 1); got {weight}")
    if apart.shape != (distances.shape[0],):
        raise ValueError(f"apart must be ({distances.shape[0]},); got {tuple(apart.shape)}")
    result, values = distances.copy(), apart.cpu().numpy()
    left = np.repeat(np.arange(distances.shape[0]), np.diff(distances.indptr))
    mixed = (1 - weight) * distances.data + weight * (values[left] + values[distances.indices])
    result.data = np.where(left == distances.indices, 0, mixed).astype(distances.dtype)
    return result


@dataclass(frozen=True, eq=False)
class Centers:
    """Clusters around centres.

    Attributes:
        labels: (N,) int64 nearest centre of each image.
        centers: (K, D) centres.
        distances: (N, K) distances of the images from the centres.
    """

    labels: Tensor
    centers: Tensor
    distances: Tensor


def kmeans(features: Tensor, count: int, *, seed: int = 0) -> Centers:
    """k-means by Euclidean distance, started by k-means++ (Arthur and Vassilvitskii, 2007).

    A centre without an image moves to the image farthest from its own centre.

    Args:
        features: (N, D), finite.
        count: K, in [1, N].
        seed: Seed of the start.

    Raises:
        ValueError: ``count`` is out of range, or features are not finite.
    """
    _check_features(features)
    count = as_count(count, "count")
    if count > len(features):
        raise ValueError(
            f"count must be at most the number of images, {len(features)}; got {count}"
        )
    generator = torch.Generator().manual_seed(seed)
    rows = features.double().cpu()
    centers = _spread_start(rows, count, generator)
    labels = torch.full((len(rows),), -1)
    for _ in range(_ROUNDS):
        distance = torch.cdist(rows, centers)
        nearest, new = distance.min(dim=1)
        if torch.equal(new, labels):
            break
        labels = new
        sizes = labels.bincount(minlength=count)
        sums = torch.zeros_like(centers).index_add_(0, labels, rows)
        centers = sums / sizes[:, None].clamp(min=1)
        empty = (sizes == 0).nonzero()[:, 0]
        if len(empty):
            centers[empty] = rows[nearest.topk(len(empty)).indices]
    distance = torch.cdist(rows, centers)
    return Centers(distance.argmin(dim=1), centers.to(features), distance.to(features))


def spherical_kmeans(features: Tensor, centers: Tensor, *, tolerance: float = 0.005) -> Centers:
    """k-means by cosine from given centres (CAN: Kang et al., CVPR 2019).

    Distances are half of 1 - cosine; centres are sums of features, so longer ones count more. Ends
    once the mean movement of the centres is below ``tolerance``. A centre without an image stays
    where it is.

    Args:
        features: (N, D), finite.
        centers: (K, D) start, such as the means of source classes.
        tolerance: Movement, above 0.
    """
    _check_features(features)
    if centers.dim() != 2 or centers.shape[1] != features.shape[1] or not len(centers):
        raise ValueError(
            f"centers must be (K, {features.shape[1]}), at least one; got {tuple(centers.shape)}"
        )
    if not as_number(tolerance, "tolerance") > 0:
        raise ValueError(f"tolerance must be above 0; got {tolerance}")
    unit = functional.normalize(features, dim=1)
    for _ in range(_ROUNDS):
        here = functional.normalize(centers, dim=1)
        labels = (unit @ here.T).argmax(dim=1)
        sums = torch.zeros_like(centers).index_add_(0, labels, features)
        there = torch.where(labels.bincount(minlength=len(centers))[:, None] > 0, sums, centers)
        moved = (1 - functional.cosine_similarity(here, there, dim=1)) / 2
        centers = there
        if float(moved.mean()) < tolerance:
            break
    distance = (1 - unit @ functional.normalize(centers, dim=1).T) / 2
    return Centers(distance.argmin(dim=1), centers, distance)


def _spread_start(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(K, D) images as first centres, each drawn by its squared distance from those before."""
    first = int(torch.randint(len(rows), (1,), generator=generator))
    chosen, nearest = [first], (rows - rows[first]).square().sum(dim=1)
    for _ in range(1, count):
        # Copies of chosen images are drawn only when nothing else is left.
        weight = nearest if bool((nearest > 0).any()) else torch.ones_like(nearest)
        new = int(torch.multinomial(weight, 1, generator=generator))
        chosen.append(new)
        nearest = nearest.minimum((rows - rows[new]).square().sum(dim=1))
    return rows[chosen]


def _check_features(features: Tensor) -> None:
    if features.dim() != 2 or not len(features):
        raise ValueError(f"features must be (N, D), at least one row; got {tuple(features.shape)}")
    bad = ~torch.isfinite(features).all(dim=1)
    if bad.any():
        raise ValueError(
            f"features must be finite; got NaN or infinity in {int(bad.sum())} of {len(features)} "
            "rows"
        )
