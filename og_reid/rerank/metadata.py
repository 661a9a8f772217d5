"""Re-ranking by metadata: camera, tracklet, direction, clusters (Zheng et al., 2020).

The winning entry of AI City 2020 for vehicles combined these steps with k-reciprocal re-ranking
(k1 = 70, k2 = 10, lambda = 0.2): gallery features plus half their tracklet's mean
(`add_track_means`), means of query clusters (`cluster`, `cluster_means`), penalties on the
distances of queries to the gallery (`penalise_same_camera`, `penalise_same_direction`), and
`k_reciprocal_distances` of the result; `rerank_by_metadata` has all eleven steps
(`og_reid.rerank.cameras`). All amounts are in units of the cosine, for distances 1 - cosine. The
direction of a pedestrian is that of the fitted body (`body_yaw`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from pose.deprecation import deprecated_getattr
from pose.runtime.defaults import plain_torch

from ..retrieval.clustering import group_means, mean_members, normalized_rows
from ..retrieval.features import Features, group_rows
from ..retrieval.inputs import as_number, as_tensor, group_labels

__all__ = [
    "add_track_means",
    "body_yaw",
    "penalise_same_camera",
    "penalise_same_direction",
]


@plain_torch()
def penalise_same_camera(
    distance: Any, query_labels: Any, gallery_labels: Any, amount: float = 0.3
) -> Tensor:
    """Penalty on pairs of one camera, whose equal background is no evidence of an equal identity.

    Zheng et al. used 0.3 for equal predicted cameras and 0.2 for equal clusters of camera features,
    in units of the cosine.

    Args:
        distance: (Q, G) tensor or array, smaller = closer: 1 - cosine. For 2 - 2 cosine the
            equivalent penalty is twice the amount; for Euclidean distances there is none.
        query_labels: (Q,) whole numbers; negative ones are unknown and match no other.
        gallery_labels: (G,).
        amount: Added to the distance.

    Returns:
        (Q, G) new distances.

    Raises:
        ValueError: Labels of other lengths, or no whole numbers.
    """
    distance, first, second = _pairs(distance, query_labels, gallery_labels)
    if first.is_floating_point() or second.is_floating_point():
        raise ValueError(f"labels must be whole numbers; got {first.dtype} and {second.dtype}")
    amount = as_number(amount, "amount")
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
    """Penalty on pairs of similar direction, which are similar for any identity.

    Zheng et al. applied it to queries of unknown camera only (``where=query_camera < 0``), and
    `penalise_same_camera` to all others; their directions were features of another network.

    Args:
        distance: As for `penalise_same_camera`.
        query_yaw: (Q,) radians.
        gallery_yaw: (G,) radians; NaN (either side) is unknown.
        amount: Added to the distance.
        threshold: Smallest cosine of the angle between similar directions.
        where: (Q,) or (Q, G) bool mask of queries or pairs to penalise; None for all.

    Returns:
        (Q, G) new distances.

    Raises:
        ValueError: Yaws of other lengths, or ``where`` of another shape or type.
    """
    distance, first, second = _pairs(distance, query_yaw, gallery_yaw)
    amount, threshold = as_number(amount, "amount"), as_number(threshold, "threshold")
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
    """Heading of a fitted body.

    Args:
        rotations: (..., J, 3, 3) of `meshes.fitting.fit.BodyFit`, the root first; its z axis is the
            front of the body, in a frame with z towards the camera.

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
    """Embeddings plus a weighted mean of their tracklet; unchanged without a tracklet (-1).

    Args:
        features: (n, D) features without parts, see `og_reid.evaluate`.
        tracks: (n,) tracklet numbers; negative: no tracklet.
        weight: Weight of the mean.
        counted: (n,) bool, images that enter a mean; None, and for tracklets without any, all.
            Zheng et al. left out images of fewer than 15,000 pixels.

    Returns:
        (n, D) unit features.

    Raises:
        ValueError: Invalid features (see `evaluate`), or tracks of another length.
    """
    unit = normalized_rows(features)
    weight = as_number(weight, "weight")
    tracks, kept = group_labels(tracks, len(unit)), mean_members(counted, len(unit))
    inside = tracks >= 0
    if not inside.any():
        return unit
    group, first = group_rows(tracks[inside])
    means = group_means(unit[inside], group, len(first), kept[inside])
    result = unit.clone()
    result[inside] = functional.normalize(unit[inside] + weight * means[group], dim=1)
    return result


def _pairs(distance: Any, first: Any, second: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Distances, and the checked labels of queries and gallery images."""
    distance = as_tensor(distance, "distance")
    distance = distance if distance.is_floating_point() else distance.float()
    first, second = (as_tensor(each, "labels").to(distance.device) for each in (first, second))
    if (*first.shape, *second.shape) != tuple(distance.shape):
        raise ValueError(
            f"labels must be of the {tuple(distance.shape)} queries and gallery images; "
            f"got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    return distance, first, second


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
