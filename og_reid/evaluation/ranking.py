"""The nearest gallery items of each query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..ops.nearest import Nearest, select_nearest
from .counts import Progress, distance_rows, tiles
from .engine import open_sides
from .labels import Labels, check_labels
from .sides import Features, Side

__all__ = ["RetrievalResult", "nearest_features", "nearest_rows", "rank", "rank_distances"]


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
        """Checks shape and order."""
        if self.indices.shape != self.distances.shape:
            raise ValueError(
                "indices and distances must have one shape; "
                f"got {tuple(self.indices.shape)} and {tuple(self.distances.shape)}"
            )
        if (self.distances[:, 1:] < self.distances[:, :-1]).any():
            raise ValueError("distances must ascend in each row")


def rank(
    query: Features,
    gallery: Features,
    *,
    query_pids: Any,
    gallery_pids: Any,
    query_camids: Any = None,
    gallery_camids: Any = None,
    k: int = 10,
    progress: Progress | None = None,
) -> RetrievalResult:
    """The k nearest gallery items of each query, junk left out; arguments as for `evaluate`.

    Distances are 1 - similarity: in [0, 2] by global features, in [0, 1] with parts.
    """
    given = (query_pids, gallery_pids, query_camids, gallery_camids)
    sides, labels = open_sides(query, gallery, given)
    return nearest_features(sides, labels, k, progress)


def rank_distances(
    distances: Any,
    *,
    query_pids: Any,
    gallery_pids: Any,
    query_camids: Any = None,
    gallery_camids: Any = None,
    k: int = 10,
    progress: Progress | None = None,
) -> RetrievalResult:
    """Like `rank` for a (Q, G) matrix of distances; progress is in queries."""
    labels = check_labels(query_pids, gallery_pids, query_camids, gallery_camids)
    return nearest_rows(distances, labels, k, progress)


def nearest_features(
    sides: tuple[Side, Side], labels: Labels, k: int, progress: Progress | None = None
) -> RetrievalResult:
    """`rank` of sides that are open."""
    blocks = (
        (start, place, block.add_(1))
        for start, place, block in tiles(*sides, labels.kept, progress)
    )
    return _nearest(blocks, labels.to(sides[0].device), k)


def nearest_rows(
    distances: Any, labels: Labels, k: int, progress: Progress | None = None
) -> RetrievalResult:
    """`rank_distances` of labels that are checked."""
    shape = len(labels.query_pids), len(labels.gallery_pids)

    def blocks() -> Iterator[tuple[int, int, Tensor]]:
        for start, block in distance_rows(distances, shape):
            yield start, 0, block.cpu()[:, labels.kept]
            if progress is not None:
                progress(start + len(block), shape[0])

    return _nearest(blocks(), labels, k)


def _nearest(blocks: Iterator[tuple[int, int, Tensor]], labels: Labels, k: int) -> RetrievalResult:
    """Merges blocks of first query, first item and distances, items ascending for each query."""
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    k, device = min(k, len(labels.gallery_pids)), labels.query_pids.device
    nearest = Nearest.none(len(labels.query_pids), k, device)
    for start, place, distances in blocks:
        stop, rows = start + len(distances), labels.kept[place : place + distances.shape[1]]
        if labels.query_camids is not None and labels.gallery_camids is not None:
            hidden = labels.query_pids[start:stop, None] == labels.gallery_pids[rows]
            hidden &= labels.query_camids[start:stop, None] == labels.gallery_camids[rows]
            distances = distances.masked_fill(hidden, torch.inf)
        select_nearest(distances.to(device), nearest, start, place)
    found = nearest.indices >= 0
    return RetrievalResult(
        torch.where(found, labels.kept[nearest.indices.clamp(min=0)], -1), nearest.values
    )
