"""CMC, mAP and mINP of a search, from features or distances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..ops.rank_counts import RankThresholds
from ..retrieval.distance_blocks import check_rereadable, distance_rows
from ..retrieval.features import Features, FeatureSource, group_rows
from ..retrieval.labels import ImageLabels, LabelKeywords, Labels
from ..retrieval.matches import LabelIndex, Matches, find_matches, gallery_digest
from ..retrieval.progress import Progress, subprogress
from ..retrieval.reranked import LazyDistances
from ..retrieval.search import open_search
from ..retrieval.similarity_warning import warn_of_similarities
from .metrics import AveragePrecision, Metrics
from .protocols import Protocol, ProtocolName, average_groups, shot_ranks
from .rank_counts import count_features, count_rows

__all__ = ["evaluate", "evaluate_distances", "evaluate_pairs"]


@plain_torch()
def evaluate(
    query: Features | None = None,
    gallery: Features | None = None,
    labels: Labels | None = None,
    *,
    distance: Any = None,
    protocol: ProtocolName | Protocol = "market",
    ap: AveragePrecision = "step",
    progress: Progress | None = None,
    **keywords: Unpack[LabelKeywords],
) -> Metrics:
    """CMC, mAP and mINP of a search by features or by distances.

    Features are compared by cosine, or by commonly visible parts where they have parts. Distances
    are computed in blocks of a few MiB and only the matches are sorted: beside the given features,
    memory is one copy of the query features and some buffers.

    Args:
        query: `Embedding`, or (Q, D) tensor or array; need not be normalised.
        gallery: Likewise, of G images; or a memory-mapped array, or a re-iterable of blocks of
            rows.
        labels: Identities and cameras of both sides, as ``Labels.of(query_set, gallery_set)``.
            Gallery images of identity -1 are junk and never ranked; distractors (0 in Market-1501)
            are wrong answers. Without cameras no camera is masked.
        distance: In place of features: (Q, G) tensor or array, smaller = closer, or an iterable of
            blocks of its rows, such as from `og_reid.rerank`. Negative values are allowed (negated
            similarities); similarities cause an `InputWarning` where matches are farther than
            by chance.
        protocol: Evaluation protocol, see `Protocol`.
        ap: Convention of ``Metrics.mAP``; both are computed.
        progress: Called with (done, total) over all passes: gallery rows, or queries for
            distances.
        **keywords: `LabelKeywords` in place of ``labels``: ``query_pids``, ``gallery_pids``,
            ``query_camids``, ``gallery_camids``.

    Returns:
        Metrics of every query, and their means.

    Example:
        >>> import torch
        >>> query, gallery = torch.eye(2), torch.tensor([[0.0, 1.0], [0.1, 1.0]])
        >>> found = evaluate(query, gallery, query_pids=[7, 8], gallery_pids=[7, 8])
        >>> found.mAP, found.rank(1)
        (0.5, 0.0)

    Raises:
        TypeError: Labels are missing, or a keyword has another name.
        ValueError: Wrong shapes; NaN, infinite or zero feature rows (listed by number; junk rows
            are not read); an empty side; no query has a match.
    """
    if ap not in ("step", "trapezoid"):
        raise ValueError(f"ap must be 'step' or 'trapezoid'; got {ap!r}")
    protocol = protocol if isinstance(protocol, Protocol) else Protocol(protocol)
    sides, labels = open_search(query, gallery, distance, labels, keywords)
    if sides is None:
        return _score_distances(distance, LabelIndex.of(labels), protocol, ap, progress)
    (query_side, gallery_side), labels = _grouped(sides, labels, protocol)
    index = LabelIndex.of(labels)
    matches = find_matches(index, cameras=protocol.cameras)
    shows = _passes(progress, protocol)
    counted = count_features(query_side, gallery_side, index, matches, shows[0])
    shots = None
    if protocol.name == "single-gallery-shot":
        source = query_side, gallery_side
        shots = shot_ranks(source, index, matches, counted, protocol, shows[1])
    return _metrics(counted, index, matches, protocol, ap, shots)


def evaluate_distances(
    distances: Any,
    labels: Labels | None = None,
    *,
    ap: AveragePrecision = "step",
    **keywords: Unpack[LabelKeywords],
) -> Metrics:
    """CMC, mAP and mINP of distances: `evaluate` with the distances first.

    Args:
        distances: (Q, G), as for `evaluate`; smaller = closer.
        labels: As for `evaluate`.
        ap: As for `evaluate`.
        **keywords: `LabelKeywords` in place of ``labels``.

    Returns:
        Metrics of every query, and their means.

    Raises:
        TypeError: See `evaluate`.
        ValueError: See `evaluate`.
    """
    return evaluate(None, None, labels, distance=distances, ap=ap, **keywords)


@plain_torch()
def evaluate_pairs(
    query: Features | None,
    gallery: Features | None,
    labels: Labels,
    wanted: Callable[[Tensor, Tensor], Tensor],
    *,
    distance: Any = None,
    cameras: bool = True,
    ap: AveragePrecision = "step",
    progress: Progress | None = None,
) -> Metrics | None:
    """`evaluate` with some of each query's matches; the others are left out of its ranking.

    Args:
        query: As for `evaluate`.
        gallery: As for `evaluate`.
        labels: As for `evaluate`.
        wanted: Function of query rows (M,) and gallery rows (M,) of the matches to (M,) bool.
        distance: As for `evaluate`.
        cameras: Leave out matches of the query's own camera.
        ap: As for `evaluate`.
        progress: As for `evaluate`.

    Returns:
        Metrics of every query; None if no match is wanted.

    Raises:
        TypeError: See `evaluate`.
        ValueError: See `evaluate`.
    """
    sides, labels = open_search(query, gallery, distance, labels, {})
    index = LabelIndex.of(labels)
    matches = find_matches(index, cameras=cameras)
    owner = matches.query
    chosen = wanted(owner, index.kept[matches.item].long())
    if not bool(chosen.any()):
        return None
    count = torch.bincount(owner[chosen], minlength=len(matches.ptr) - 1)
    ptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
    some = Matches(ptr, matches.item[chosen], matches.same_camera)
    if sides is None:
        shape = len(index.query_pids), len(index.gallery_pids)
        counted = count_rows(distance_rows(distance, shape), index, some, progress)
    else:
        counted = count_features(*sides, index, some, progress)
    name: ProtocolName = "market" if cameras else "unfiltered"
    return _metrics(counted, index, some, Protocol(name), ap, None)


def _score_distances(
    distance: Any,
    labels: LabelIndex,
    protocol: Protocol,
    ap: AveragePrecision,
    progress: Progress | None,
) -> Metrics:
    shape = len(labels.query_pids), len(labels.gallery_pids)
    if protocol.name in ("multi-query", "mars"):
        raise ValueError(f"protocol {protocol.name} averages features; give them, not distances")
    if protocol.name == "single-gallery-shot":
        check_rereadable(distance)
    matches = find_matches(labels, cameras=protocol.cameras)
    shows = _passes(progress, protocol)
    counted = count_rows(distance_rows(distance, shape), labels, matches, shows[0])
    warn_of_similarities(distance, counted, labels, matches)
    shots = None
    if protocol.name == "single-gallery-shot":
        rows = distance_rows(distance, shape)
        shots = shot_ranks(rows, labels, matches, counted, protocol, shows[1])
    metrics = _metrics(counted, labels, matches, protocol, ap, shots)
    return (
        replace(metrics, reranking=str(distance))
        if isinstance(distance, LazyDistances)
        else metrics
    )


def _passes(
    progress: Progress | None, protocol: Protocol
) -> tuple[Progress | None, Progress | None]:
    """Progress of the whole gallery, and of random galleries, if any."""
    if protocol.name != "single-gallery-shot":
        return progress, None
    return subprogress(progress, 0, 2), subprogress(progress, 1, 2)


def _grouped(
    sides: tuple[FeatureSource, FeatureSource], labels: Labels, protocol: Protocol
) -> tuple[tuple[FeatureSource, FeatureSource], Labels]:
    """Queries and gallery of the protocol: single images, or means of groups."""
    query, gallery = sides
    asked, kept = labels.query, torch.arange(query.length, device="cpu")
    if protocol.name == "multi-query":
        group, first = group_rows(asked.identities, asked.cameras)
        return (_averaged(query, group, kept), gallery), Labels(asked[first], labels.gallery)
    if protocol.name != "mars":
        return sides, labels
    tracks = protocol.tracks(labels)
    group, first = _tracks(tracks[0], asked)
    query = _averaged(query, group, kept)
    items = (labels.gallery.identities != -1).nonzero().squeeze(1)
    group, second = _tracks(tracks[1], labels.gallery)
    gallery = _averaged(gallery, group, items)
    return (query, gallery), Labels(asked[first], labels.gallery[second])


def _tracks(tracks: Any, labels: ImageLabels) -> tuple[Tensor, Tensor]:
    """Tracklet of each row, numbered from 0, and the first row of each tracklet."""
    tracks = np.asarray(tracks)
    if tracks.shape != (len(labels),):
        raise ValueError(f"tracks must be ({len(labels)},), one for each row; got {tracks.shape}")
    group, first = group_rows(torch.from_numpy(np.unique(tracks, return_inverse=True)[1]))
    for name, values in (("identity", labels.identities), ("camera", labels.cameras)):
        if values is not None and (values[first][group] != values).any():
            row = int((values[first][group] != values).nonzero()[0])
            raise ValueError(
                f"tracks must be of one {name} each; track {tracks[row]} is not (row {row})"
            )
    return group, first


def _averaged(side: FeatureSource, group: Tensor, rows: Tensor) -> FeatureSource:
    count = int(group.max()) + 1
    return FeatureSource(side.name, average_groups(side, group, count, rows), count)


def _metrics(
    counted: RankThresholds,
    labels: LabelIndex,
    matches: Matches,
    protocol: Protocol,
    ap: AveragePrecision,
    shots: Tensor | None,
) -> Metrics:
    ptr, owner = matches.ptr, matches.query
    queries, count = len(ptr) - 1, ptr.diff()
    sums = torch.cat([ptr.new_zeros(1), counted.landed.cumsum(0)])
    wrong = sums[1:] - sums[ptr[owner]]
    order = torch.arange(len(owner), device="cpu") - ptr[owner] + 1
    rank = order + wrong
    tied = _equal_to_wrong(counted, owner)
    step = order.double() / rank
    before = torch.where(rank == 1, 1.0, (order - 1).double() / (rank - 1).clamp(min=1))
    valid = count > 0
    first = torch.zeros(queries, dtype=torch.int64, device="cpu")
    first[valid] = rank[ptr[:-1][valid]]
    penalty = torch.full((queries,), torch.nan, dtype=torch.float64, device="cpu")
    penalty[valid] = count[valid].double() / rank[ptr[1:][valid] - 1]

    def mean(values: Tensor) -> Tensor:
        # Sequential sum in float64: independent of block size and threads.
        total = np.bincount(owner.numpy(), weights=values.numpy(), minlength=queries)
        return torch.from_numpy(total) / count

    return Metrics(
        ap=ap,
        protocol=protocol.name,
        query_pids=labels.query_pids.clone(),
        first_match=first,
        step=mean(step),
        trapezoid=mean((step + before) / 2),
        inverse_penalty=penalty,
        ties=torch.bincount(owner[tied], minlength=queries),
        same_camera=matches.same_camera,
        num_items=len(labels.gallery_pids),
        num_junk=len(labels.gallery_pids) - len(labels.kept),
        gallery=gallery_digest(labels),
        shot_ranks=shots,
    )


def _equal_to_wrong(counted: RankThresholds, owner: Tensor) -> Tensor:
    """(M,) bool; wrong answers, counted at the first of equal thresholds, tie with all of them."""
    if not len(owner):
        return torch.zeros(0, dtype=torch.bool, device="cpu")
    new = torch.ones(len(owner), dtype=torch.bool, device="cpu")
    new[1:] = (counted.values[1:] != counted.values[:-1]) | (owner[1:] != owner[:-1])
    group = new.cumsum(0) - 1
    return (counted.equal[new] > 0)[group]
