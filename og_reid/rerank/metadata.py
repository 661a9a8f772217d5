"""What else is known about images: camera, tracklet, direction, clusters (Zheng et al., 2020).

The winners of AI City 2020 used steps like these with k-reciprocal re-ranking (k1 = 70, k2 = 10,
lambda = 0.2) to find vehicles: gallery features plus half their tracklet's mean
(`add_track_means`), queries by the means of their clusters (`cluster`, `cluster_means`), penalties
on the distances of queries to the gallery (`penalise_same_camera`, `penalise_same_direction`), and
these into `k_reciprocal_distances`. It is not their whole pipeline: the ensemble, the completion of
camera labels, the walk along the first 99 answers and the penalties among queries and among gallery
images are not here. All amounts are in units of the cosine, for distances 1 - cosine. The direction
of a person is that of the fitted body (`body_yaw`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pose.runtime.defaults import plain_torch

from ..evaluation.protocols import group_rows
from ..evaluation.rank_counts import Progress
from ..retrieval.distance_blocks import BlockDistance, plan
from ..retrieval.features import Features, open_side
from ..retrieval.inputs import as_tensor, given_count, given_number

__all__ = [
    "add_track_means",
    "body_yaw",
    "cluster",
    "cluster_means",
    "penalise_same_camera",
    "penalise_same_direction",
]


@plain_torch()
def penalise_same_camera(
    distance: Any, query_labels: Any, gallery_labels: Any, amount: float = 0.3
) -> Tensor:
    """Moves pairs with equal labels apart: the same place is no evidence of the same person.

    The winners used 0.3 for equal predicted cameras and 0.2 for equal clusters of camera features,
    of cosines.

    Args:
        distance: (Q, G) tensor or array, smaller = closer: 1 - cosine. For 2 - 2 cosine the same
            penalty is twice the amount; of Euclidean distances there is none.
        query_labels: (Q,) whole numbers; negative ones are unknown and equal to nothing.
        gallery_labels: (G,).
        amount: Added to the distance.

    Returns:
        (Q, G) new distances.

    Raises:
        ValueError: On labels of other lengths, or that are no whole numbers.
    """
    distance, first, second = _pairs(distance, query_labels, gallery_labels)
    if first.is_floating_point() or second.is_floating_point():
        raise ValueError(f"labels must be whole numbers; got {first.dtype} and {second.dtype}")
    amount = given_number(amount, "amount")
    equal = (first[:, None] == second) & (first[:, None] >= 0)
    return distance + amount * equal.to(distance.dtype)


@plain_torch()
def penalise_same_direction(
    distance: Any,
    query_yaw: Any,
    gallery_yaw: Any,
    amount: float = 0.1,
    threshold: float = 0.25,
    *,
    where: Any = None,
) -> Tensor:
    """Moves pairs seen from like directions apart: they look alike whoever they are.

    The winners did this to queries of unknown camera only (``where=query_camera < 0``), to all
    others `penalise_same_camera` by camera; their directions are features of a network of their
    own.

    Args:
        distance: (Q, G) tensor or array, smaller = closer: 1 - cosine, as for
            `penalise_same_camera`.
        query_yaw: (Q,) radians.
        gallery_yaw: (G,) radians; NaN (either side) is unknown.
        amount: Added to the distance.
        threshold: Least cosine of the angle between two directions that are alike.
        where: (Q,) or (Q, G) bool, the queries or pairs that are meant; None for all.

    Returns:
        (Q, G) new distances.

    Raises:
        ValueError: On yaws of other lengths, and on ``where`` of another shape or type.
    """
    distance, first, second = _pairs(distance, query_yaw, gallery_yaw)
    amount, threshold = given_number(amount, "amount"), given_number(threshold, "threshold")
    alike = (first[:, None] - second).cos() >= threshold
    if where is not None:
        meant = as_tensor(where, "where").to(distance.device)
        shapes = tuple(distance.shape[:1]), tuple(distance.shape)
        if tuple(meant.shape) not in shapes or meant.dtype != torch.bool:
            raise ValueError(
                f"where must be ({len(first)},) or {shapes[1]} bool; got {tuple(meant.shape)} "
                f"{meant.dtype}"
            )
        alike &= meant if meant.dim() == 2 else meant[:, None]
    return distance + amount * alike.to(distance.dtype)


@plain_torch()
def body_yaw(rotations: Any) -> Tensor:
    """Direction that a fitted body faces.

    Args:
        rotations: (..., J, 3, 3) of `meshes.fitting.fit.BodyFit`, the root first; its z axis is the
            body's front, in a frame with z towards the camera.

    Returns:
        (...,) radians: 0 towards the camera, positive to the right of the image.

    Raises:
        ValueError: On other shapes.
    """
    rotations = as_tensor(rotations, "rotations")
    if rotations.dim() < 3 or tuple(rotations.shape[-2:]) != (3, 3) or not rotations.shape[-3]:
        raise ValueError(f"rotations must be (..., J, 3, 3); got {tuple(rotations.shape)}")
    front = rotations[..., 0, :, 2]
    return torch.atan2(front[..., 0], front[..., 2])


@plain_torch()
def add_track_means(
    features: Features, tracks: Any, weight: float = 0.5, *, counted: Any = None
) -> Tensor:
    """Adds to each image the mean of its tracklet; images of none (-1) stay.

    Args:
        features: (n, D), without parts; as for `og_reid.evaluate`.
        tracks: (n,) tracklet numbers; negative ones are of no tracklet.
        weight: Of the mean.
        counted: (n,) bool, images that enter a mean, or None for all; where a tracklet has none of
            them, all of it do. The winners left out images of fewer than 15,000 pixels.

    Returns:
        (n, D) unit features.

    Raises:
        ValueError: As `evaluate`, of features, and on tracks of another length.
    """
    unit = _unit(features)
    weight = given_number(weight, "weight")
    tracks, kept = _whole(tracks, len(unit)), _counted(counted, len(unit))
    inside = tracks >= 0
    if not inside.any():
        return unit
    group, first = group_rows(tracks[inside])
    means = _means(unit[inside], group, len(first), kept[inside])
    result = unit.clone()
    result[inside] = functional.normalize(unit[inside] + weight * means[group], dim=1)
    return result


@plain_torch()
def cluster_means(features: Features, clusters: Any, *, counted: Any = None) -> Tensor:
    """Replaces each image of a cluster by the cluster's mean; those of none (-1) stay.

    The winners did this to queries, with clusters of ``eps = 0.5 ** 0.5`` and ``min_samples = 2``.

    Args:
        features: (n, D), without parts; as for `og_reid.evaluate`.
        clusters: (n,) as `cluster` gives them.
        counted: As for `add_track_means`.

    Returns:
        (n, D) unit features.

    Raises:
        ValueError: As `evaluate`, of features, and on clusters of another length.
    """
    unit = _unit(features)
    clusters, kept = _whole(clusters, len(unit)), _counted(counted, len(unit))
    inside = clusters >= 0
    if not inside.any():
        return unit
    group, first = group_rows(clusters[inside])
    means = _means(unit[inside], group, len(first), kept[inside])
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
        eps: Images at most this far apart are neighbours. The winners' 0.3 (of camera features, 50
            samples; the default) and 0.5 (of queries, 2 samples) are *squared* distances: of them
            the root is to be given, 0.548 and 0.707.
        min_samples: An image with so many neighbours, itself counted, is in the core of a cluster.
        progress: Called with the images searched and all.

    Returns:
        (n,) int64 cluster of each image in the order of their first core image, -1 = none. An
        image at the border of several clusters goes to the first.
    """
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    eps, min_samples = given_number(eps, "eps"), given_count(min_samples, "min_samples", None)
    if eps <= 0 or min_samples < 1:
        raise ValueError(
            f"eps must be above 0 and min_samples at least 1; got {eps} and {min_samples}"
        )
    unit = open_side(features, "features").unit()
    count, product = len(unit), BlockDistance()
    rows, items = plan(unit.rows.shape[1])
    pairs = [np.zeros((0, 2), np.int64)]
    for first in range(0, count, items):
        for start in range(0, count, rows):
            block = product(unit[start : start + rows], unit[first : first + items])
            near = (2 + 2 * block <= eps * eps).nonzero().cpu().numpy()
            pairs.append(near + np.array([start, first]))
        if progress is not None:
            progress(min(first + items, count), count)
    left, right = np.concatenate(pairs).T
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
    return torch.from_numpy(result)


def _unit(features: Features) -> Tensor:
    """(n, D) rows at length 1, checked."""
    unit = open_side(features, "features").unit()
    if unit.visibility is not None:
        raise ValueError("features must be global features only: parts have no agreed mean")
    return unit.rows


def _means(unit: Tensor, group: Tensor, count: int, counted: Tensor) -> Tensor:
    """(count, D) means over the counted rows of each group, over all of a group without any."""
    known = torch.bincount(group[counted], minlength=count) > 0
    use = (counted.to(group.device) | ~known[group]).to(unit.device)
    group = group.to(unit.device)
    sums = unit.new_zeros(count, unit.shape[1]).index_add_(0, group[use], unit[use])
    return sums / torch.bincount(group[use], minlength=count)[:, None].clamp(min=1)


def _counted(counted: Any, count: int) -> Tensor:
    if counted is None:
        return torch.ones(count, dtype=torch.bool, device="cpu")
    counted = as_tensor(counted, "counted").cpu()
    if counted.shape != (count,) or counted.dtype != torch.bool:
        raise ValueError(
            f"counted must be ({count},) bool; got {tuple(counted.shape)} {counted.dtype}"
        )
    return counted


def _whole(labels: Any, count: int) -> Tensor:
    labels = as_tensor(labels, "labels")
    if labels.shape != (count,) or labels.is_floating_point():
        raise ValueError(
            f"labels must be ({count},) whole numbers, one for each image; "
            f"got {tuple(labels.shape)} {labels.dtype}"
        )
    return labels.long()


def _pairs(distance: Any, first: Any, second: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Distances, and what is known of queries and gallery images."""
    distance = as_tensor(distance, "distance")
    distance = distance if distance.is_floating_point() else distance.float()
    first, second = (as_tensor(each, "labels").to(distance.device) for each in (first, second))
    if (*first.shape, *second.shape) != tuple(distance.shape):
        raise ValueError(
            f"labels must be of the {tuple(distance.shape)} queries and gallery images; "
            f"got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    return distance, first, second
