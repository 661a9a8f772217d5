"""Nearest neighbours: the gallery items closest to each query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from ..ops.rank_counts import RankThresholds
from ..ops.topk import TopK, merge_topk
from .distance_blocks import distance_rows, iter_blocks
from .features import Features, FeatureSource, as_feature_source
from .inputs import as_count
from .labels import LabelKeywords, Labels, as_labels, check_labels
from .match_distances import count_block, empty_values
from .matches import LabelIndex, find_matches, has_matches
from .progress import Progress
from .result import RetrievalResult
from .similarity_warning import warn_of_similarities

__all__ = [
    "as_feature_sources",
    "nearest_block",
    "nearest_features",
    "nearest_rows",
    "open_search",
    "rank",
    "rank_distances",
]


def open_search(
    query: Features | None,
    gallery: Features | None,
    distance: Any,
    labels: Labels | None,
    keywords: LabelKeywords,
) -> tuple[tuple[FeatureSource, FeatureSource] | None, Labels]:
    """`as_feature_sources`, or distances in their place; their shape is not checked here.

    Args:
        query: As for `as_feature_sources`, or None.
        gallery: Likewise.
        distance: Distances, or None.
        labels: Labels of both sides, or None.
        keywords: Labels as keywords.

    Returns:
        The features of both sides, or None for distances, and the labels.

    Raises:
        TypeError: See `as_labels`.
        ValueError: See `as_feature_sources`; or both or neither are given.
    """
    if distance is not None:
        if query is not None or gallery is not None:
            raise ValueError("distance must be given instead of query and gallery; got both")
        return None, as_labels(labels, keywords)
    if query is None or gallery is None:
        raise ValueError("query and gallery, or distance, must be given; got neither")
    return as_feature_sources(query, gallery, labels, keywords)


def as_feature_sources(
    query: Features, gallery: Features, labels: Labels | None, keywords: LabelKeywords
) -> tuple[tuple[FeatureSource, FeatureSource], Labels]:
    """Features of both sides, and their labels, of equal number.

    Args:
        query: As for `og_reid.evaluation.evaluate`.
        gallery: As ``query``, or in blocks.
        labels: Labels of both sides, or None.
        keywords: Labels as keywords.

    Raises:
        TypeError: See `as_labels`.
        ValueError: See `as_feature_source` and `as_labels`.
    """
    if isinstance(labels, Labels):
        count = len(labels.gallery)
    else:
        shape = np.shape(keywords.get("gallery_pids", ()))
        count = shape[0] if shape else 0
    sides = as_feature_source(query, "query"), as_feature_source(gallery, "gallery", count)
    lengths = sides[0].length, sides[1].length
    return sides, as_labels(labels, keywords, queries=lengths[0], items=lengths[1])


def rank(
    query: Features,
    gallery: Features,
    labels: Labels | None = None,
    *,
    k: int = 10,
    progress: Progress | None = None,
    **keywords: Unpack[LabelKeywords],
) -> RetrievalResult:
    """The k nearest gallery items of each query, without junk and matches of its own camera.

    Args:
        query: Q images: `Embedding`, or (Q, D) tensor or array; need not be normalised.
        gallery: Likewise, of G images, or blocks of rows, see `og_reid.evaluation.evaluate`.
        labels: Labels of both sides. Without labels all items are ranked; a gallery in blocks needs
            them, for its number of rows.
        k: Largest number of items per query, at least 1.
        progress: Called with (gallery rows done, gallery rows in all).
        **keywords: `LabelKeywords` in place of ``labels``.

    Returns:
        Indices into the gallery, nearest first, and their distances 1 - similarity: in [0, 2] for
        global features, in [0, 1] with parts.

    Raises:
        TypeError: A keyword has another name.
        ValueError: See `og_reid.evaluation.evaluate`; queries need no match.
    """
    if _unlabelled(labels, keywords):
        sides = as_feature_source(query, "query"), as_feature_source(gallery, "gallery")
        labels = _no_labels(sides[0].length, sides[1].length)
    else:
        sides, labels = as_feature_sources(query, gallery, labels, keywords)
    return nearest_features(sides, LabelIndex.of(labels), k, progress)


def rank_distances(
    distances: Any,
    labels: Labels | None = None,
    *,
    k: int = 10,
    progress: Progress | None = None,
    **keywords: Unpack[LabelKeywords],
) -> RetrievalResult:
    """`rank` for given distances.

    Args:
        distances: (Q, G) tensor or array, smaller = closer, or an iterable of blocks of its rows.
            Similarities cause an `InputWarning`, where labels reveal them.
        labels: As for `rank`.
        k: As for `rank`.
        progress: Called with (queries done, Q).
        **keywords: `LabelKeywords` in place of ``labels``.

    Returns:
        See `rank`, with the distances as given.

    Raises:
        TypeError: A keyword has another name.
        ValueError: Distances are NaN, infinite or of another shape, or labels are invalid.
    """
    if _unlabelled(labels, keywords):
        shape = _shape(distances)
        if len(shape) != 2:
            raise ValueError(f"distances must have two dimensions; got {shape}")
        return nearest_rows(distances, LabelIndex.of(_no_labels(*shape)), k, progress)
    index = LabelIndex.of(as_labels(labels, keywords))
    return nearest_rows(distances, index, k, progress, watched=True)


def _unlabelled(labels: Labels | None, keywords: LabelKeywords) -> bool:
    """True if no identities are given.

    Raises:
        ValueError: Only some of the keywords are given.
    """
    if labels is not None:
        return False
    query_pids, gallery_pids = keywords.get("query_pids"), keywords.get("gallery_pids")
    if (query_pids is None) != (gallery_pids is None):
        raise ValueError("query_pids and gallery_pids must be given together or not at all")
    cameras = keywords.get("query_camids"), keywords.get("gallery_camids")
    if query_pids is None and any(each is not None for each in cameras):
        raise ValueError(
            "query_camids and gallery_camids must come with query_pids and gallery_pids: items of "
            "one camera are left out where the identity is the query's, too"
        )
    return query_pids is None and not set(keywords) - set(LabelKeywords.__annotations__)


def _no_labels(queries: int, items: int) -> Labels:
    return check_labels(
        torch.arange(queries, device="cpu"), torch.zeros(items, dtype=torch.int64, device="cpu")
    )


def _shape(distances: Any) -> tuple[int, ...]:
    shape = getattr(distances, "shape", None)
    if shape is None and isinstance(distances, list | tuple) and distances:
        first = np.shape(distances[0])
        if len(first) == 1:
            return len(distances), first[0]
    if shape is None:
        raise ValueError(
            "query_pids and gallery_pids must be given for distances that come in blocks: their "
            f"shape is not known; got {type(distances).__name__}"
        )
    return tuple(shape)


def nearest_features(
    sides: tuple[FeatureSource, FeatureSource],
    labels: LabelIndex,
    k: int,
    progress: Progress | None = None,
) -> RetrievalResult:
    """`rank` for feature sources and indexed labels."""
    blocks = (
        (start, place, block.add_(1))
        for start, place, block in iter_blocks(*sides, labels.kept, progress)
    )
    return _nearest(blocks, labels.to(sides[0].device), k)


def nearest_rows(
    distances: Any,
    labels: LabelIndex,
    k: int,
    progress: Progress | None = None,
    *,
    infinite: bool = False,
    watched: bool = False,
) -> RetrievalResult:
    """`rank_distances` with indexed labels.

    Args:
        distances: (Q, G), smaller = closer.
        labels: Labels of both sides.
        k: Largest number of items per query.
        progress: Called with (queries done, Q).
        infinite: Allow infinity, which is never ranked.
        watched: Warn of similarities.
    """
    shape = len(labels.query_pids), len(labels.gallery_pids)
    matches = find_matches(labels) if watched and has_matches(labels) else None
    counted = None
    if matches is not None:
        counted = RankThresholds.empty_at(matches.ptr, empty_values(matches))

    def blocks() -> Iterator[tuple[int, int, Tensor]]:
        for start, given in distance_rows(distances, shape, infinite=infinite):
            block = given.cpu()[:, labels.kept]
            if matches is not None and counted is not None:
                count_block(block, labels, matches, counted, start)
            yield start, 0, block
            if progress is not None:
                progress(start + len(block), shape[0])

    found = _nearest(blocks(), labels, k)
    if matches is not None and counted is not None:
        warn_of_similarities(distances, counted, labels, matches)
    return found


def nearest_block(distances: Tensor, labels: LabelIndex, start: int, k: int) -> RetrievalResult:
    """The nearest items of some queries: without junk and matches of a query's own camera.

    Args:
        distances: (b, G), of queries ``start`` to ``start + b - 1``, smaller = closer.
        labels: Labels of both sides, of all queries.
        start: Number of the first query.
        k: Largest number of items per query.
    """
    own = slice(start, start + len(distances))
    some = replace(
        labels,
        query_pids=labels.query_pids[own],
        query_camids=None if labels.query_camids is None else labels.query_camids[own],
        query_ids=labels.query_ids[own],
    )
    return _nearest(iter([(0, 0, distances.cpu()[:, labels.kept].float())]), some, k)


def _nearest(
    blocks: Iterator[tuple[int, int, Tensor]], labels: LabelIndex, k: int
) -> RetrievalResult:
    """Merges blocks of first query, first item and distances, items ascending for each query."""
    k, device = min(as_count(k, "k"), len(labels.gallery_pids)), labels.query_pids.device
    nearest = TopK.none(len(labels.query_pids), k, device)
    for start, place, distances in blocks:
        stop, rows = start + len(distances), labels.kept[place : place + distances.shape[1]]
        if labels.query_camids is not None and labels.gallery_camids is not None:
            hidden = labels.query_pids[start:stop, None] == labels.gallery_pids[rows]
            hidden &= labels.query_camids[start:stop, None] == labels.gallery_camids[rows]
            distances = distances.masked_fill(hidden, torch.inf)
        merge_topk(distances.to(device), nearest, start, place)
    found = nearest.indices >= 0
    return RetrievalResult(
        torch.where(found, labels.kept[nearest.indices.clamp(min=0)], -1), nearest.values
    )
