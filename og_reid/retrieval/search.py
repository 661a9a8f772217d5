"""The nearest gallery items of each query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ops.rank_counts import RankThresholds
from ..ops.topk import TopK, merge_topk
from .distance_blocks import distance_rows, iter_blocks
from .features import Features, FeatureSource, as_feature_source
from .inputs import given_count
from .labels import Labels, check_labels
from .match_distances import count_block, empty_values
from .matches import find_matches, has_matches
from .progress import Progress
from .similarity_warning import warn_of_similarities

__all__ = [
    "RetrievalResult",
    "as_feature_sources",
    "nearest_features",
    "nearest_rows",
    "open_search",
    "rank",
    "rank_distances",
]


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """The nearest gallery items of each query.

    Attributes:
        indices: (Q, k) int64, k at most G; ``indices[i, j] = g`` means gallery item g is the j-th
            nearest to query i, lower indices first among equals; -1 where fewer may be ranked.
        distances: (Q, k) float32, ascending; infinity where the index is -1.
    """

    indices: Tensor
    distances: Tensor

    def __post_init__(self) -> None:
        """Checks types, shape and order."""
        if not isinstance(self.indices, Tensor) or not isinstance(self.distances, Tensor):
            raise ValueError(
                "indices and distances must be tensors; got "
                f"{type(self.indices).__name__} and {type(self.distances).__name__}"
            )
        if self.indices.shape != self.distances.shape:
            raise ValueError(
                "indices and distances must have one shape; "
                f"got {tuple(self.indices.shape)} and {tuple(self.distances.shape)}"
            )
        if self.distances.isnan().any():
            raise ValueError("distances must not be NaN")
        if (self.distances[:, 1:] < self.distances[:, :-1]).any():
            raise ValueError(
                "distances must ascend in each row: of similarities, give 1 - similarity"
            )


def open_search(
    query: Features | None,
    gallery: Features | None,
    distance: Any,
    given: tuple[Any, Any, Any, Any],
) -> tuple[tuple[FeatureSource, FeatureSource] | None, Labels]:
    """`as_feature_sources` where distances may be given instead, whose shape is not checked here.

    Returns:
        The sides, or None for distances, and the labels.

    Raises:
        ValueError: As `evaluate`.
    """
    if distance is not None:
        if query is not None or gallery is not None:
            raise ValueError("distance must be given instead of query and gallery; got both")
        return None, check_labels(*given)
    if query is None or gallery is None:
        raise ValueError("query and gallery, or distance, must be given; got neither")
    return as_feature_sources(query, gallery, given)


def as_feature_sources(
    query: Features, gallery: Features, given: tuple[Any, Any, Any, Any]
) -> tuple[tuple[FeatureSource, FeatureSource], Labels]:
    """Both sides, and their labels, which must be as many.

    Args:
        query: As for `evaluate`.
        gallery: As `query`.
        given: Identities of queries and gallery, cameras of queries and gallery.

    Raises:
        ValueError: As `evaluate`.
    """
    shape = np.shape(given[1])
    sides = (
        as_feature_source(query, "query"),
        as_feature_source(gallery, "gallery", shape[0] if shape else 0),
    )
    return sides, check_labels(*given, queries=sides[0].length, items=sides[1].length)


def rank(
    query: Features,
    gallery: Features,
    *,
    query_pids: Any = None,
    gallery_pids: Any = None,
    query_camids: Any = None,
    gallery_camids: Any = None,
    k: int = 10,
    progress: Progress | None = None,
) -> RetrievalResult:
    """The k nearest gallery items of each query, junk left out; arguments as for `evaluate`.

    Identities may be left out, of both sides: then all items are ranked (a gallery in blocks needs
    them, as they say how many rows it has). Distances are 1 - similarity: in [0, 2] by global
    features, in [0, 1] with parts.

    Raises:
        ValueError: As `evaluate`, but queries need no match.
    """
    if _unlabelled(query_pids, gallery_pids, query_camids, gallery_camids):
        sides = as_feature_source(query, "query"), as_feature_source(gallery, "gallery")
        return nearest_features(sides, _no_labels(sides[0].length, sides[1].length), k, progress)
    given = (query_pids, gallery_pids, query_camids, gallery_camids)
    sides, labels = as_feature_sources(query, gallery, given)
    return nearest_features(sides, labels, k, progress)


def rank_distances(
    distances: Any,
    *,
    query_pids: Any = None,
    gallery_pids: Any = None,
    query_camids: Any = None,
    gallery_camids: Any = None,
    k: int = 10,
    progress: Progress | None = None,
) -> RetrievalResult:
    """Like `rank` for a (Q, G) matrix of distances, smaller = closer; progress is in queries.

    Of similarities an `InputWarning` says what is wrong, where identities show it.
    """
    if _unlabelled(query_pids, gallery_pids, query_camids, gallery_camids):
        shape = _shape(distances)
        if len(shape) != 2:
            raise ValueError(f"distances must have two dimensions; got {shape}")
        return nearest_rows(distances, _no_labels(*shape), k, progress)
    labels = check_labels(query_pids, gallery_pids, query_camids, gallery_camids)
    return nearest_rows(distances, labels, k, progress, watched=True)


def _unlabelled(query_pids: Any, gallery_pids: Any, *cameras: Any) -> bool:
    """Whether there are no identities.

    Raises:
        ValueError: Only some of the labels are there.
    """
    if (query_pids is None) != (gallery_pids is None):
        raise ValueError("query_pids and gallery_pids must be given together or not at all")
    if query_pids is None and any(each is not None for each in cameras):
        raise ValueError(
            "query_camids and gallery_camids must come with query_pids and gallery_pids: items of "
            "one camera are left out where the identity is the query's, too"
        )
    return query_pids is None


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
    labels: Labels,
    k: int,
    progress: Progress | None = None,
) -> RetrievalResult:
    """`rank` of sides that are open."""
    blocks = (
        (start, place, block.add_(1))
        for start, place, block in iter_blocks(*sides, labels.kept, progress)
    )
    return _nearest(blocks, labels.to(sides[0].device), k)


def nearest_rows(
    distances: Any,
    labels: Labels,
    k: int,
    progress: Progress | None = None,
    *,
    infinite: bool = False,
    watched: bool = False,
) -> RetrievalResult:
    """`rank_distances` of labels that are checked.

    ``infinite`` allows infinity, which is never ranked; ``watched`` warns of similarities.
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


def _nearest(blocks: Iterator[tuple[int, int, Tensor]], labels: Labels, k: int) -> RetrievalResult:
    """Merges blocks of first query, first item and distances, items ascending for each query."""
    k, device = min(given_count(k, "k"), len(labels.gallery_pids)), labels.query_pids.device
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
