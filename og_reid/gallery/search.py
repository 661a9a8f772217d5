"""Search of a gallery's items: global embeddings select candidates, exact similarity ranks them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..inference.dense_encoder import DenseEncoder
from ..inference.encoder import Encoder
from ..models.embedding import Embedding
from ..ops.topk import TopK, merge_topk
from ..retrieval.evidence import shared_evidence
from ..retrieval.late_interaction import Interaction, local_similarity
from ..retrieval.progress import Progress
from .filters import Condition
from .packing import PackedLayout, as_int8, unpack
from .store import ADDRESS, Columns, StoreSnapshot

__all__ = ["Exclusion", "Hits", "Scorer", "search_exhaustive", "search_items", "unit_rows"]

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


class Scorer:
    """Similarity of a model, with the evidence that two images share.

    Args:
        model: Model of the embeddings.
        layout: Sizes of the embeddings.
    """

    def __init__(self, model: Encoder, layout: PackedLayout) -> None:
        self.model, self.layout = model, layout
        dense = isinstance(model, DenseEncoder) and layout.cells > 0
        self._interaction = model.preprocessing.interaction if dense else None

    @property
    def has_evidence(self) -> bool:
        """True if pairs have shared evidence."""
        return self._interaction is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a comparison reads."""
        wanted = ["packed"] if self.layout.packed_bytes else []
        if self.layout.features and not self.has_evidence:
            wanted.append("features")
        return tuple(wanted)

    @property
    def is_global(self) -> bool:
        """True if the similarity is the cosine of global embeddings alone."""
        return not self.layout.packed_bytes

    @property
    def lowest(self) -> float:
        """Smallest similarity."""
        return -1.0 if self._interaction is None else self._interaction.lowest

    def prepared(self, query: Embedding) -> Embedding:
        """Queries in the form of stored items."""
        return as_int8(query)

    def items(self, columns: Columns) -> Embedding:
        """Embeddings of items from their columns."""
        return unpack(columns, self.layout)

    def __call__(self, query: Embedding, items: Embedding) -> tuple[Tensor, Tensor | None]:
        """(Q, n) float32 similarities, and shared evidence or None."""
        if self._interaction is None:
            return self.model.compare(query, items).float(), None
        assert query.local is not None
        assert items.local is not None
        score, _ = local_similarity(query.local, items.local, self._interaction)
        return score, shared_evidence(query.local, items.local)

    def lowered(self, score: Tensor, shared: Tensor | None, min_shared: float) -> Tensor:
        """Similarities, lowered by their whole range where too little is shared."""
        if shared is None or min_shared <= 0:
            return score
        interaction = self._interaction or Interaction()
        return torch.where(shared < min_shared, score - (1 - interaction.lowest), score)


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
    count = max(candidates, k)
    addresses, scanned = _select(snapshot, query, count, conditions, exclusions)
    query = scorer.prepared(query)
    unique, place = np.unique(addresses.numpy(), return_inverse=True)
    place = torch.from_numpy(place.reshape(addresses.shape))
    first = int(unique.size > 0 and unique[0] < 0)  # the place of no item
    hits = Hits.none(len(query), scorer.has_evidence)
    done, total = 0, len(unique) - first
    blocks = (
        _scanned(snapshot, scorer.columns, unique[first:], conditions)
        if total * _DENSE > scanned
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


def unit_rows(features: Tensor | np.ndarray) -> Tensor:
    """(n, D) float32 rows of unit norm."""
    if isinstance(features, np.ndarray):  # of a file, which torch does not take as it is
        features = torch.from_numpy(features.copy())
    return functional.normalize(features.float(), dim=1)


def _select(
    snapshot: StoreSnapshot,
    query: Embedding,
    count: int,
    conditions: Sequence[Condition],
    exclusions: Sequence[Exclusion],
) -> tuple[Tensor, int]:
    """(Q, c) addresses of the items of most similar global embeddings, in the items' order.

    -1, at the end, where there are fewer. Also the number of items that were read.
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
        return torch.full((len(query), 1), -1), 0
    count = min(count, first)
    found = nearest.indices[:, :count]
    order = found.masked_fill(found < 0, first).sort(dim=1).values
    addresses = torch.from_numpy(np.concatenate([*places, np.array([-1])]))
    return addresses[order], first


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
    snapshot: StoreSnapshot,
    columns: Sequence[str],
    addresses: np.ndarray,
    conditions: Sequence[Condition],
) -> Iterator[Columns]:
    """The same, for so many that reading all items is faster."""
    for block in snapshot.scan(columns, conditions, _ITEM_ROWS):
        keep = np.isin(block[ADDRESS], addresses)
        if keep.any():
            yield {name: each[keep] for name, each in block.items() if isinstance(each, np.ndarray)}
