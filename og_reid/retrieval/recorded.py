"""Nearest items of a search, kept while its distances are computed for something else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from .matches import LabelIndex
from .reranked import DistanceRows, LazyDistances
from .result import RetrievalResult
from .search import nearest_block

__all__ = ["RankingRecorder"]

Rows = TypeVar("Rows", DistanceRows, LazyDistances)


class RankingRecorder:
    """Keeps the k nearest items of each query while blocks of distances pass.

    Distances in blocks are often expensive: to rank them after an evaluation would compute all of
    them again.

    Args:
        labels: labels of both sides; see `nearest_block` for the items left out.
        k: largest number of items per query, at least 1.
    """

    def __init__(self, labels: LabelIndex, k: int) -> None:
        shape = len(labels.query_pids), min(k, len(labels.gallery_pids))
        self._labels, self._k = labels, k
        self._items = torch.full(shape, -1, dtype=torch.int64)
        self._distances = torch.full(shape, torch.inf)
        self._seen = torch.zeros(shape[0], dtype=torch.bool)

    def watch(self, distances: Rows) -> Rows:
        """The same distances, which are noted when they are computed."""
        rows: Callable[[int, int], Tensor] = distances.rows

        def noted(start: int, stop: int) -> Tensor:
            block = rows(start, stop)
            found = nearest_block(block, self._labels, start, self._k)
            self._items[start:stop], self._distances[start:stop] = found.indices, found.distances
            self._seen[start:stop] = True
            return block

        changes: dict[str, Any] = {"rows": noted}
        return dataclasses.replace(distances, **changes)

    def result(self) -> RetrievalResult:
        """The nearest items.

        Raises:
            ValueError: The distances of some queries have not been computed.
        """
        if not bool(self._seen.all()):
            raise ValueError(
                f"distances must have been computed for all {len(self._seen)} queries; "
                f"{int((~self._seen).sum())} are missing"
            )
        return RetrievalResult(self._items, self._distances)
