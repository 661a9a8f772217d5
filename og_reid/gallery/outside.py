"""Items of a gallery in other engines, which select candidates for late interaction.

An engine holds copies of the items. Its answers are candidates, whose stored embeddings are
compared here as those of a gallery on disk are; the ranking is the same where the candidates are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from ..models.embedding import Embedding
from .filters import Condition, keep_rows
from .packing import PackedLayout
from .scorer import Scorer
from .search import Exclusion, Hits, rank_items
from .store import ADDRESS, LABELS, Columns, StoreSnapshot

__all__ = ["PLACE", "HeldItems", "ItemEngine", "Stored", "copy_items", "search_outside"]

#: Column of the place of an item in the order of enrolment, which is the order of equals.
PLACE = "place"
_ROWS = 256


@dataclass(frozen=True)
class Stored:
    """Form of the items in an engine.

    Attributes:
        layout: Sizes of the embeddings.
        digest: Digest of their model.
    """

    layout: PackedLayout
    digest: str


@runtime_checkable
class ItemEngine(Protocol):
    """Engine that holds copies of items, such as `QdrantItems` and `PostgresItems`."""

    def put(self, columns: Columns, form: Stored) -> None:
        """Adds items, or replaces those of known ids.

        Args:
            columns: Columns of the store, and `PLACE`.
            form: Form of the embeddings.

        Raises:
            ValueError: The engine holds items of another model.
        """
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Removes items."""
        ...

    def nearest(
        self,
        query: Embedding,
        count: int,
        conditions: Sequence[Condition],
        left_out: Mapping[str, str],
        form: Stored,
    ) -> Columns:
        """Candidates of one query: columns as for `put`, at most so many items.

        Args:
            query: One image.
            count: Largest number of items.
            conditions: Conditions that all hold.
            left_out: Values by field; items with one of them are left out.
            form: Form of the embeddings; items of other models are not found.
        """
        ...


class HeldItems:
    """Items in memory: see `og_reid.gallery.store.StoreSnapshot`.

    Args:
        columns: Columns of n items; addresses are 0 to n - 1.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def __len__(self) -> int:
        """Number of items."""
        return len(self._columns["id"])

    def scan(
        self, columns: Sequence[str], conditions: Sequence[Condition] = (), rows: int = 1024
    ) -> Iterator[Columns]:
        """Items block by block."""
        kept = np.asarray(keep_rows(conditions, self._columns), np.int64)
        for start in range(0, len(kept), rows):
            some = kept[start : start + rows]
            yield {**self.take(some, columns), ADDRESS: some}

    def take(self, addresses: Any, columns: Sequence[str]) -> Columns:
        """Items by their addresses."""
        chosen = np.asarray(addresses, np.int64)
        return {
            name: each[chosen] if isinstance(each, np.ndarray) else [each[row] for row in chosen]
            for name, each in ((name, self._columns[name]) for name in columns)
        }

    def parts(self, count: int) -> list[Any]:
        """None: candidates are not searched in parts."""
        return []


def copy_items(
    snapshot: StoreSnapshot, engine: ItemEngine, form: Stored, names: Sequence[str]
) -> int:
    """Copies items to an engine; those of known ids are replaced.

    Args:
        snapshot: Items.
        engine: Engine.
        form: Form of the embeddings.
        names: Columns of the embeddings that there are.

    Returns:
        Number of items.

    Raises:
        ValueError: The engine holds items of another model.
    """
    count = 0
    for block in snapshot.scan((*LABELS, *names), rows=_ROWS):
        held = len(block["id"])
        engine.put({**block, PLACE: list(range(count, count + held))}, form)
        count += held
    return count


def search_outside(
    engine: ItemEngine,
    query: Embedding,
    scorer: Scorer,
    form: Stored,
    *,
    k: int,
    candidates: int,
    conditions: Sequence[Condition] = (),
    exclusions: Sequence[Exclusion] = (),
    min_shared: float = 0.0,
) -> tuple[HeldItems, Hits]:
    """Nearest of the candidates that an engine selects.

    Args:
        engine: Engine.
        query: Q images.
        scorer: Similarity.
        form: Form of the embeddings.
        k: Largest number of items per query.
        candidates: Items that the engine selects for each query.
        conditions: Conditions that all hold.
        exclusions: Items left out.
        min_shared: Smallest shared evidence of items that do not rank last.

    Returns:
        The candidates of all queries, and their ranking by addresses in them.
    """
    count = max(candidates, k)
    blocks = []
    for row in range(len(query)):
        given = {each.column: each.values[row] for each in exclusions}
        left_out = {name: value for name, value in given.items() if value is not None}
        blocks.append(engine.nearest(query[row], count, conditions, left_out, form))
    places = [np.asarray(each[PLACE], np.int64) for each in blocks]
    unique, first = np.unique(np.concatenate(places), return_index=True)
    joined = {
        name: np.concatenate([each[name] for each in blocks])[first]
        if isinstance(blocks[0][name], np.ndarray)
        else [value for each in blocks for value in each[name]]
        for name in blocks[0]
    }
    for name, values in joined.items():
        if not isinstance(values, np.ndarray):
            joined[name] = [values[row] for row in first.tolist()]
    items = HeldItems(joined)
    addresses = torch.full((len(query), max(map(len, places), default=0) or 1), -1)
    for row, own in enumerate(places):
        addresses[row, : len(own)] = torch.from_numpy(np.sort(np.searchsorted(unique, own)))
    hits = rank_items(items, query, scorer, addresses, k=k, min_shared=min_shared)
    return items, hits
