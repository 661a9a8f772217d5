"""Search of a gallery's items: global embeddings select candidates, exact similarity ranks them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.embedding import Embedding
from ..ops.topk import TopK, merge_topk
from ..retrieval.progress import Progress
from .filters import Condition
from .scorer import Scorer, unit_rows
from .store import ADDRESS, Columns, StoreSnapshot

__all__ = [
    "Candidates",
    "Exclusion",
    "Hits",
    "rank_items",
    "search_exhaustive",
    "search_items",
    "select_items",
]

_SCAN_ROWS = 4096
_ITEM_ROWS = 512
_DENSE = 8  # of so many items one is a candidate: all are read in their order


@dataclass(frozen=True)
class Exclusion:
    """Items left out for some queries: those with the query's own value of a column.

    Attributes:
        column: Name of a column, or ``address``.
        values: Value of each query; None leaves none out.
    """

    column: str
    values: tuple[Any, ...]

    def masks(self, block: Columns) -> Tensor:
        """(Q, n) bool, True for items of a block that are left out."""
        numbers = {value: n for n, value in enumerate(dict.fromkeys(self.values))}
        numbers.pop(None, None)
        here = block[self.column]
        items = here.tolist() if isinstance(here, np.ndarray) else here
        own = torch.tensor([numbers.get(value, -1) for value in self.values])
        there = torch.tensor([numbers.get(value, -2) for value in items], dtype=torch.int64)
        return own[:, None] == there


@dataclass(frozen=True, eq=False)
class Hits:
    """Ranked items of each query.

    Attributes:
        addresses: (Q, k) int64 addresses in the snapshot; -1 where there are fewer.
        distances: (Q, k) float32, ascending; infinite where there are fewer.
        scores: (Q, k) float32 similarities; those of items with too little evidence are not
            lowered as their distances are.
        shared: (Q, k) shared evidence in [0, 1]; None if unknown.
    """

    addresses: Tensor
    distances: Tensor
    scores: Tensor
    shared: Tensor | None

    @classmethod
    def none(cls, queries: int, shared: bool) -> Hits:
        """No items."""
        empty = torch.empty(queries, 0)
        return cls(empty.long(), empty, empty, empty if shared else None)

    def merged(self, other: Hits, k: int) -> Hits:
        """The k nearest of both; those of self come first among equals."""
        distances = torch.cat([self.distances, other.distances], 1)
        order = distances.sort(dim=1, stable=True)
        places = order.indices[:, :k]
        pairs = (
            (self.addresses, other.addresses),
            (self.scores, other.scores),
            (self.shared, other.shared),
        )
        addresses, scores, shared = (
            None if one is None or two is None else torch.cat([one, two], 1).gather(1, places)
            for one, two in pairs
        )
        assert addresses is not None
        assert scores is not None
        nearest = order.values[:, :k]
        addresses = addresses.masked_fill(nearest.isinf(), -1)
        return Hits(addresses, nearest, scores, shared)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Items that global embeddings select for each query.

    Attributes:
        addresses: (Q, c) int64 addresses, the most similar first; -1 where there are fewer.
        distances: (Q, c) float32, ascending; infinite where there are fewer.
    """

    addresses: Tensor
    distances: Tensor

    @classmethod
    def nearest(cls, parts: Sequence[Candidates], count: int) -> Candidates:
        """The nearest of several parts of the items, those of the first part first among equals.

        Args:
            parts: Candidates of the parts, in the items' order.
            count: Largest number for a query.
        """
        order = torch.cat([each.distances for each in parts], 1).sort(dim=1, stable=True)
        addresses = torch.cat([each.addresses for each in parts], 1)
        return cls(
            addresses.gather(1, order.indices[:, :count]),
            order.values[:, :count],
        )

    def in_order(self) -> Tensor:
        """(Q, c) addresses in the items' order, then -1."""
        last = torch.iinfo(torch.int64).max
        found = self.addresses.masked_fill(self.addresses < 0, last).sort(dim=1).values
        return found.masked_fill(found == last, -1)


@torch.no_grad()
def search_items(
    snapshot: StoreSnapshot,
    query: Embedding,
    scorer: Scorer,
    *,
    k: int,
    candidates: int | None,
    conditions: Sequence[Condition] = (),
    exclusions: Sequence[Exclusion] = (),
    min_shared: float = 0.0,
    progress: Progress | None = None,
) -> Hits:
    """Nearest items of each query.

    Args:
        snapshot: Items.
        query: Q images.
        scorer: Similarity.
        k: Largest number of items per query, at least 1.
        candidates: Items that global embeddings select for each query; None compares all.
        conditions: Conditions that all hold.
        exclusions: Items left out.
        min_shared: Smallest shared evidence of items that do not rank last.
        progress: Called with (items compared, items in all).
    """
    if candidates is None or scorer.is_global or query.features is None:
        return search_exhaustive(
            snapshot, query, scorer, k=k, conditions=conditions, exclusions=exclusions,
            min_shared=min_shared, progress=progress,
        )  # fmt: skip
    chosen = select_items(snapshot, query, max(candidates, k), conditions, exclusions).in_order()
    return rank_items(
        snapshot, query, scorer, chosen, k=k, min_shared=min_shared, progress=progress
    )


@torch.no_grad()
def rank_items(
    snapshot: StoreSnapshot,
    query: Embedding,
    scorer: Scorer,
    addresses: Tensor,
    *,
    k: int,
    min_shared: float = 0.0,
    progress: Progress | None = None,
) -> Hits:
    """Nearest of the candidates of each query.

    Args:
        snapshot: Items.
        query: Q images.
        scorer: Similarity.
        addresses: (Q, c) addresses of candidates in the items' order, then -1.
        k: Largest number of items per query.
        min_shared: Smallest shared evidence of items that do not rank last.
        progress: Called with (items compared, items in all).
    """
    query = scorer.prepared(query)
    unique, place = np.unique(addresses.numpy(), return_inverse=True)
    place = torch.from_numpy(place.reshape(addresses.shape))
    first = int(unique.size > 0 and unique[0] < 0)  # the place of no item
    hits = Hits.none(len(query), scorer.has_evidence)
    done, total = 0, len(unique) - first
    blocks = (
        _scanned(snapshot, scorer.columns, unique[first:])
        if total * _DENSE > len(snapshot)
        else _taken(snapshot, scorer.columns, unique[first:])
    )
    scores = torch.zeros(addresses.shape)
    shared = torch.zeros(addresses.shape) if scorer.has_evidence else None
    for block in blocks:
        items = scorer.items(block)
        slot = torch.full((len(unique),), -1)
        slot[torch.from_numpy(np.searchsorted(unique, block[ADDRESS]))] = torch.arange(len(items))
        inside = slot[place]
        for row in (inside >= 0).any(1).nonzero().squeeze(1).tolist():
            chosen = (inside[row] >= 0).nonzero().squeeze(1)
            score, evidence = scorer(query[row], items[inside[row, chosen]])
            scores[row, chosen] = score[0]
            if shared is not None and evidence is not None:
                shared[row, chosen] = evidence[0]
        done += len(block[ADDRESS])
        if progress is not None:
            progress(done, total)
    distances = (1 - scorer.lowered(scores, shared, min_shared)).masked_fill(
        addresses < 0, torch.inf
    )
    return hits.merged(Hits(addresses, distances, scores, shared), k)


@torch.no_grad()
def search_exhaustive(
    snapshot: StoreSnapshot,
    query: Embedding,
    scorer: Scorer,
    *,
    k: int,
    conditions: Sequence[Condition] = (),
    exclusions: Sequence[Exclusion] = (),
    min_shared: float = 0.0,
    progress: Progress | None = None,
) -> Hits:
    """Nearest items of each query, each compared with all items: see `search_items`."""
    query = scorer.prepared(query)
    hits, done, total = Hits.none(len(query), scorer.has_evidence), 0, len(snapshot)
    names = (*scorer.columns, *_names(exclusions))
    rows = _SCAN_ROWS if scorer.is_global else _ITEM_ROWS
    for block in snapshot.scan(names, conditions, rows):
        score, evidence = scorer(query, scorer.items(block))
        distances = 1 - scorer.lowered(score, evidence, min_shared)
        for each in exclusions:
            distances = distances.masked_fill(each.masks(block), torch.inf)
        addresses = torch.from_numpy(block[ADDRESS]).expand(len(query), -1)
        hits = hits.merged(Hits(addresses, distances, score, evidence), k)
        done += len(block[ADDRESS])
        if progress is not None:
            progress(min(done, total), total)
    return hits


@torch.no_grad()
def select_items(
    snapshot: StoreSnapshot,
    query: Embedding,
    count: int,
    conditions: Sequence[Condition] = (),
    exclusions: Sequence[Exclusion] = (),
) -> Candidates:
    """Items of most similar global embeddings.

    Args:
        snapshot: Items.
        query: Q images with global embeddings.
        count: Largest number of items per query.
        conditions: Conditions that all hold.
        exclusions: Items left out.
    """
    assert query.features is not None
    asked = unit_rows(query.features)
    nearest, first, places = TopK.none(len(query), count), 0, []
    for block in snapshot.scan(("features", *_names(exclusions)), conditions, _SCAN_ROWS):
        distances = -(asked @ unit_rows(block["features"]).T)
        for each in exclusions:
            distances.masked_fill_(each.masks(block), torch.inf)
        merge_topk(distances, nearest, first=first)
        first += distances.shape[1]
        places.append(block[ADDRESS])
    if not first:
        return Candidates(torch.full((len(query), 1), -1), torch.full((len(query), 1), torch.inf))
    count = min(count, first)
    addresses = torch.from_numpy(np.concatenate([*places, np.array([-1])]))
    return Candidates(addresses[nearest.indices[:, :count]], nearest.values[:, :count].clone())


def _names(exclusions: Sequence[Exclusion]) -> tuple[str, ...]:
    return tuple(each.column for each in exclusions if each.column != ADDRESS)


def _taken(
    snapshot: StoreSnapshot, columns: Sequence[str], addresses: np.ndarray
) -> Iterator[Columns]:
    """Items by their addresses, block by block."""
    for start in range(0, len(addresses), _ITEM_ROWS):
        some = addresses[start : start + _ITEM_ROWS]
        yield {**snapshot.take(some, columns), ADDRESS: some}


def _scanned(
    snapshot: StoreSnapshot, columns: Sequence[str], addresses: np.ndarray
) -> Iterator[Columns]:
    """The same, for so many that reading all items is faster."""
    for block in snapshot.scan(columns, rows=_ITEM_ROWS):
        keep = np.isin(block[ADDRESS], addresses)
        if keep.any():
            yield {name: each[keep] for name, each in block.items() if isinstance(each, np.ndarray)}
