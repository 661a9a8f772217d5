"""Camera verification and re-ranking by metadata, complete: eleven steps of AI City 2020.

After the code of the winning entry of AI City 2020, vehicles (Zheng et al., "Going beyond real
data", CVPRW 2020), with its constants; for people camera, tracklet and direction come from the
cameras themselves, a tracker and the fitted body (`og_reid.rerank.body_yaw`).

=====  ============================================================================================
step   rule (s: cosine of query and gallery image)
=====  ============================================================================================
1      features of several models at length 1, concatenated (`join_features`)
2      clusters of queries (`og_reid.rerank.cluster`, eps 0.5 ** 0.5, 2 samples)
3      gallery features plus half their tracklet's mean (`add_track_means`)
4      queries of a cluster replaced by its mean (`cluster_means`)
5      clusters of camera features (`cluster`, the defaults)
6      unknown camera clusters of a tracklet or query cluster take its only known one
       (`complete_labels`)
7      pairs of one camera - 0.3; of a query of unknown camera and a similar direction - 0.1; of one
       camera cluster - 0.2
8      the first 99 answers in turn: other tracklets of the answer's camera - 0.3 / (1 + j), or of
       similar direction - 0.1 / (1 + j); of its camera cluster - 0.1 / (1 + j)
9      pairs of queries of clusters: own + 0.1, others - 0.1; not of one cluster: step 7; pairs of
       gallery images: own tracklet 1, others step 7
10     k-reciprocal re-ranking, k1 = 70, k2 = 10, lambda = 0.2
11     step 7 once more, on the distances
=====  ============================================================================================

Two properties of the published code are kept: images without a tracklet (and queries without a
cluster) count as one in steps 8 and 9; and a pair above 1 counts as one below 1 in step 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from pose.runtime.defaults import plain_torch

from ..retrieval.clustering import cluster, cluster_means, normalized_rows
from ..retrieval.features import Features
from ..retrieval.inputs import as_count, as_number, as_tensor, group_labels
from .k_reciprocal import k_reciprocal_distances
from .metadata import add_track_means

__all__ = [
    "STEPS",
    "MetadataStep",
    "Seen",
    "complete_labels",
    "join_features",
    "rerank_by_metadata",
    "verify_cameras",
    "verify_pairs",
]

#: Steps of `rerank_by_metadata` that can be left out.
MetadataStep = Literal["track-means", "query-clusters", "cameras", "answers", "pairs", "rerank"]
#: All of them, in their order.
STEPS: tuple[MetadataStep, ...] = get_args(MetadataStep)
_SAME_CAMERA, _SAME_DIRECTION, _SAME_CLUSTER = 0.3, 0.1, 0.2
_ANSWER_CLUSTER = 0.1
_PAIR = 0.1  # bonus of pairs of queries in one cluster, penalty of others
_ALIKE = 0.25  # least cosine of similar directions
_EPS = 1e-5
_BLOCK = 1 << 24  # pairs of a block of queries


@dataclass(frozen=True, eq=False)
class Seen:
    """Metadata of n images.

    Attributes:
        camera: (n,) whole numbers; negative: unknown.
        camera_cluster: (n,) clusters of camera features, likewise; None: none.
        direction: (n,) heading, radians, or (n, D) features whose cosine is the similarity of
            directions; NaN: unknown. None: unknown for all.
        track: (n,) tracklets of a gallery, clusters of queries; negative: none. None: none for all.
    """

    camera: Any
    camera_cluster: Any = None
    direction: Any = None
    track: Any = None

    def __post_init__(self) -> None:
        """Checks the values, and brings all to tensors."""
        camera = as_tensor(self.camera, "camera")
        if camera.dim() != 1:
            raise ValueError(f"camera must be (n,); got {tuple(camera.shape)}")
        count = len(camera)
        object.__setattr__(self, "camera", _labels("camera", camera, count))
        for name in ("camera_cluster", "track"):
            value = getattr(self, name)
            given = torch.full((count,), -1) if value is None else value
            object.__setattr__(self, name, _labels(name, given, count))
        if self.direction is None:
            direction = torch.full((count, 2), torch.nan)
        else:
            direction = as_tensor(self.direction, "direction").double()
            if direction.dim() == 1:
                direction = torch.stack([direction.cos(), direction.sin()], 1)
            if direction.dim() != 2 or len(direction) != count:
                raise ValueError(
                    f"direction must be ({count},) or ({count}, D); got {tuple(direction.shape)}"
                )
        unit = functional.normalize(direction.double().cpu(), dim=1)
        object.__setattr__(self, "direction", unit)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.camera)

    def __getitem__(self, rows: slice) -> Seen:
        """The images of a slice."""
        return Seen(
            self.camera[rows], self.camera_cluster[rows], self.direction[rows], self.track[rows]
        )


@plain_torch()
def join_features(features: Sequence[Features]) -> Tensor:
    """Features of several models as one: each at length 1, concatenated, at length 1 (step 1).

    Args:
        features: (n, D) of each model, without parts.

    Returns:
        (n, sum of D) unit features; rows of zeros stay.

    Raises:
        ValueError: No features, or of other numbers of images.
    """
    if isinstance(features, Tensor) or not features:
        raise ValueError("features must be a sequence with those of each model; got one or none")
    rows = [normalized_rows(each) for each in features]
    if len({len(each) for each in rows}) != 1:
        raise ValueError(
            "features must be of the same images; got "
            f"{' and '.join(str(len(each)) for each in rows)} rows"
        )
    return functional.normalize(torch.cat(rows, 1), dim=1, eps=_EPS)


@plain_torch()
def complete_labels(labels: Any, groups: Any) -> Tensor:
    """Unknown labels of a group, such as a tracklet, take its known one (step 6).

    Args:
        labels: (n,) whole numbers, such as cameras; negative: unknown.
        groups: (n,) groups, negative: none.

    Returns:
        (n,) int64; a group of several known labels is unchanged.

    Raises:
        ValueError: On other shapes or types.
    """
    labels = as_tensor(labels, "labels")
    labels = _labels("labels", labels, len(labels) if labels.dim() else 0)
    groups = _labels("groups", groups, len(labels))
    result = labels.clone()
    inside = groups >= 0
    if not inside.any():
        return result
    numbers, group = groups[inside].unique(return_inverse=True)
    known = labels[inside] >= 0
    low = torch.full((len(numbers),), torch.iinfo(torch.int64).max)
    high = torch.full((len(numbers),), -1)
    low = low.scatter_reduce(0, group[known], labels[inside][known], "amin")
    high = high.scatter_reduce(0, group[known], labels[inside][known], "amax")
    fill = (high[group] >= 0) & (low[group] == high[group]) & ~known
    result[inside] = torch.where(fill, high[group], labels[inside])
    return result


@plain_torch()
def verify_cameras(scores: Any, query: Seen, gallery: Seen, top: int = 99) -> Tensor:
    """Camera verification of a ranking: steps 7 and 8 of this module.

    Two tracklets of one camera are rarely of one identity: what is near a good answer, but of its
    camera, moves back.

    Args:
        scores: (Q, G) cosines; higher = more alike.
        query: Metadata of the queries.
        gallery: Metadata of the gallery.
        top: Answers of step 8; 0 leaves it out.

    Returns:
        (Q, G) new scores.

    Raises:
        ValueError: Metadata of other numbers of images, or ``top`` below 0.
    """
    scores = _scores(scores, query, gallery)
    top = min(as_count(top, "top", None), scores.shape[1])
    if top < 0:
        raise ValueError(f"top must be at least 0; got {top}")
    result = scores - _penalties(query, gallery).to(scores)
    size = max(1, _BLOCK // max(1, scores.shape[1]))
    for start in range(0, len(result), size):
        _traverse(result[start : start + size], gallery, top)
    return result


@plain_torch()
def verify_pairs(scores: Any, seen: Seen, kind: Literal["queries", "gallery"]) -> Tensor:
    """Scores among queries, or among gallery images, by their metadata: step 9 of this module.

    Args:
        scores: (n, n) cosines.
        seen: Metadata; ``track`` are the clusters of queries, or the tracklets.
        kind: Rule of pairs of one cluster or tracklet.

    Returns:
        (n, n) new scores; not symmetric: the camera of the row decides between the rules.

    Raises:
        ValueError: Metadata of another number of images, or an unknown kind.
    """
    if kind not in ("queries", "gallery"):
        raise ValueError(f"kind must be 'queries' or 'gallery'; got {kind!r}")
    scores = _scores(scores, seen, seen)
    own = (seen.track[:, None] == seen.track).to(scores.device)
    changed = scores - _penalties(seen, seen).to(scores)
    grouped = (seen.track >= 0).to(scores.device)
    if kind == "gallery":
        return torch.where(own, torch.where(grouped, 1.0, scores), changed)
    amount = _PAIR * (grouped[:, None] & grouped).to(scores)
    return torch.where(own, scores + amount, changed - amount)


@plain_torch()
def rerank_by_metadata(
    query: Features,
    gallery: Features,
    query_seen: Seen,
    gallery_seen: Seen,
    *,
    counted: Any = None,
    query_counted: Any = None,
    steps: Sequence[MetadataStep] = STEPS,
    k1: int = 70,
    k2: int = 10,
    lambda_value: float = 0.2,
    top: int = 99,
) -> Tensor:
    """Distances re-ranked by metadata: the eleven steps of this module.

    Args:
        query: (Q, D) features without parts; of several models: `join_features`.
        gallery: (G, D), likewise.
        query_seen: Metadata of the queries. Without ``track`` their clusters are found here.
        gallery_seen: Metadata of the gallery.
        counted: (G,) bool, gallery images that enter the means of tracklets; None: all. The
            published code left out images of fewer than 15,000 pixels.
        query_counted: (Q,) bool, likewise for the means of query clusters.
        steps: Steps to apply, out of `STEPS`: ``track-means`` (3), ``query-clusters`` (2 and 4),
            ``cameras`` (6, 7 and 11), ``answers`` (8), ``pairs`` (9), ``rerank`` (10).
        k1: Neighbours of step 10.
        k2: Neighbours of its query expansion.
        lambda_value: Weight of the original distance in it.
        top: Answers of step 8.

    Returns:
        (Q, G) distances, smaller = closer.

    Raises:
        ValueError: Invalid features, metadata of other numbers of images, or an unknown step.
    """
    unknown = [each for each in steps if each not in STEPS]
    if unknown:
        raise ValueError(f"steps must be out of {', '.join(STEPS)}; got {unknown[0]!r}")
    first, second = normalized_rows(query), normalized_rows(gallery)
    _scores(torch.zeros(len(first), len(second)), query_seen, gallery_seen)
    if "query-clusters" in steps and bool((query_seen.track < 0).all()) and len(first):
        found = cluster(first, eps=0.5**0.5, min_samples=2)
        query_seen = replace(query_seen, track=found)
    if "track-means" in steps:
        second = add_track_means(second, gallery_seen.track, counted=counted)
    if "query-clusters" in steps:
        first = cluster_means(first, query_seen.track, counted=query_counted)
    if "cameras" in steps:
        query_seen, gallery_seen = (_completed(each) for each in (query_seen, gallery_seen))
    scores, device = first @ second.T, first.device
    penalties = torch.zeros_like(scores)
    if "cameras" in steps:
        penalties = _penalties(query_seen, gallery_seen).to(scores)
        scores = scores - penalties
    if "answers" in steps:
        _traverse(scores, gallery_seen, min(top, scores.shape[1]))
    if "rerank" not in steps:
        return 1 - scores
    among = first @ first.T, second @ second.T
    if "pairs" in steps:
        among = (
            verify_pairs(among[0], query_seen, "queries"),
            verify_pairs(among[1], gallery_seen, "gallery"),
        )
    # Both blocks are read by columns there, as their scores are not symmetric.
    blocks = ((1 - each).abs() for each in (scores, among[0].T, among[1].T))
    ranked = k_reciprocal_distances(
        *blocks, k1=k1, k2=k2, lambda_value=as_number(lambda_value, "lambda_value"), directed=True
    ).dense()
    return ranked.to(device) + penalties


def _labels(name: str, value: Any, count: int) -> Tensor:
    given = as_tensor(value, name)
    if given.shape != (count,) or given.is_floating_point() or given.dtype == torch.bool:
        raise ValueError(
            f"{name} must be ({count},) whole numbers; got {tuple(given.shape)} {given.dtype}"
        )
    return group_labels(given.long().cpu(), count)


def _completed(seen: Seen) -> Seen:
    return replace(seen, camera_cluster=complete_labels(seen.camera_cluster, seen.track))


def _scores(scores: Any, query: Seen, gallery: Seen) -> Tensor:
    scores = as_tensor(scores, "scores")
    if scores.shape != (len(query), len(gallery)):
        raise ValueError(
            f"scores must be ({len(query)}, {len(gallery)}), of the images of the metadata; got "
            f"{tuple(scores.shape)}"
        )
    if scores.numel() and not bool(torch.isfinite(scores).all()):
        raise ValueError("scores must be finite; got NaN or infinity")
    return scores if scores.is_floating_point() else scores.float()


def _penalties(first: Seen, second: Seen) -> Tensor:
    """(n, m) penalties of step 7, on the CPU."""
    known = first.camera[:, None] >= 0
    same = known & (first.camera[:, None] == second.camera)
    alike = ~known & (first.direction @ second.direction.T >= _ALIKE)  # False for NaN
    place = (first.camera_cluster[:, None] >= 0) & (
        first.camera_cluster[:, None] == second.camera_cluster
    )
    return _SAME_CAMERA * same.double() + _SAME_DIRECTION * alike + _SAME_CLUSTER * place


def _traverse(scores: Tensor, gallery: Seen, top: int) -> None:
    """Step 8 in place: (Q, G) scores, the answers of all queries side by side."""
    camera, group, track = (
        each.to(scores.device) for each in (gallery.camera, gallery.camera_cluster, gallery.track)
    )
    direction = gallery.direction.to(scores.device)
    for turn in range(top):
        answer = _answers(scores, turn)
        other = track[answer][:, None] != track
        known = camera[answer][:, None] >= 0
        same = known & (camera[answer][:, None] == camera)
        alike = ~known & (direction[answer] @ direction.T >= _ALIKE)
        near = (group[answer][:, None] >= 0) & (group[answer][:, None] == group)
        amount = _SAME_CAMERA * same.to(scores) + _SAME_DIRECTION * alike + _ANSWER_CLUSTER * near
        scores -= other * amount / (1 + turn)


def _answers(scores: Tensor, turn: int) -> Tensor:
    """(Q,) index of the answer of rank ``turn``, from 0; of equal scores the first is first."""
    count = scores.shape[1]
    value = scores.kthvalue(count - turn, dim=1, keepdim=True).values
    before = (scores > value).sum(1, keepdim=True)
    place = (scores == value).cumsum(1)
    return ((scores == value) & (place == turn - before + 1)).int().argmax(1)
