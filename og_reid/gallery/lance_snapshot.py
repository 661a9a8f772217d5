"""Reading of a gallery's items from tables of LanceDB, at fixed versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .arrow_columns import batch_columns
from .filters import METADATA, Condition, keep_rows
from .packing import EMBEDDED, PackedLayout
from .store import ADDRESS, Columns

__all__ = [
    "ITEMS",
    "ROW_BITS",
    "LancePart",
    "LanceSnapshot",
    "SnapshotReplacedError",
    "choose_rows",
    "connected",
    "open_segments",
    "segment_name",
]

#: Folder of the segments in that of a gallery.
ITEMS = "items"

#: Bits of the number of a row in a fragment; segments have fewer rows.
ROW_BITS = 18
_FRAGMENT_BITS = 29
_CACHE_BYTES = 16 << 20  # of each cache of a connection
_FEW = 32  # of so many rows of a table less than one is kept: each is read alone


class SnapshotReplacedError(RuntimeError):
    """A writer has removed what a snapshot reads: search again in a new one."""


class LanceSnapshot:
    """Items at one moment: see `og_reid.gallery.store.StoreSnapshot`.

    Args:
        tables: Tables of the segments, in order, at their versions.
        layout: Sizes of the embeddings.
        replaced: Function that is true when a writer has replaced this snapshot.
        folder: Folder of the gallery, for `parts`; None without.
        segments: Numbers and versions of the tables, likewise.
        first: Number of the first table in addresses.
    """

    def __init__(
        self,
        tables: Sequence[Any],
        layout: PackedLayout,
        replaced: Callable[[], bool],
        *,
        folder: Path | None = None,
        segments: Sequence[tuple[int, int]] = (),
        first: int = 0,
    ) -> None:
        self._tables, self._layout, self._replaced = tables, layout, replaced
        self._folder, self._segments, self._first = folder, tuple(segments), first
        self._count: int | None = None

    def __len__(self) -> int:
        """Number of items."""
        if self._count is None:
            with self._reading():
                self._count = sum(table.count_rows() for table in self._tables)
        return self._count

    def scan(
        self, columns: Sequence[str], conditions: Sequence[Condition] = (), rows: int = 1024
    ) -> Iterator[Columns]:
        """Items in the order of their enrolment, block by block, with ``address``.

        Args:
            columns: Names of columns.
            conditions: Conditions that all hold.
            rows: Largest number of items of a block.
        """
        expression, rest = _split(conditions)
        needed = {"metadata" if each.field.startswith(METADATA) else each.field for each in rest}
        wanted = list(dict.fromkeys((*columns, *sorted(needed))))
        for number, table in enumerate(self._tables, start=self._first):
            heavy = [name for name in wanted if name in EMBEDDED]
            if expression is None or not heavy:
                blocks = self._read(number, wanted, expression, rows)
            else:
                blocks = self._read_filtered(number, table, wanted, expression, rows)
            for found in blocks:
                if rest:
                    found = choose_rows(found, keep_rows(rest, found))
                if len(found[ADDRESS]):
                    yield found

    def _read(
        self, number: int, columns: Sequence[str], expression: Any, rows: int
    ) -> Iterator[Columns]:
        """Rows of a table, block by block."""
        with self._reading():
            query = self._tables[number - self._first].search().select(list(columns) or ["time"])
            query = query.with_row_id(True).limit(None)
            query = query if expression is None else query.where(expression)
            batches = iter(query.to_batches(batch_size=rows))
        while True:
            with self._reading():
                batch = next(batches, None)
            if batch is None:
                return
            found = batch_columns(batch, columns)
            found[ADDRESS] = _addresses(number, batch.column("_rowid").to_numpy())
            yield found

    def _read_filtered(
        self, number: int, table: Any, columns: Sequence[str], expression: Any, rows: int
    ) -> Iterator[Columns]:
        """The same with a filter: embeddings of few rows are read alone, of more with all.

        LanceDB reads each row that a filter keeps alone, which is slower than all in a row.
        """
        pieces = [each[ADDRESS] for each in self._read(number, (), expression, 8192)]
        if not pieces:
            return
        kept = np.sort(np.concatenate(pieces))
        with self._reading():
            few = len(kept) * _FEW < table.count_rows()
        if few:
            for start in range(0, len(kept), rows):
                some = kept[start : start + rows]
                yield {**self.take(some, columns), ADDRESS: some}
            return
        for block in self._read(number, columns, None, rows):
            places = np.searchsorted(kept, block[ADDRESS]).clip(max=len(kept) - 1)
            inside = kept[places] == block[ADDRESS]
            if inside.any():
                yield choose_rows(block, inside.nonzero()[0])

    def take(self, addresses: Any, columns: Sequence[str]) -> Columns:
        """Items by their addresses, in this order.

        Args:
            addresses: (n,) int64, from `scan` of this snapshot.
            columns: Names of columns.
        """
        import pyarrow as pa

        asked = np.asarray(addresses, dtype=np.int64)
        unique = np.unique(asked)
        numbers = unique >> (_FRAGMENT_BITS + ROW_BITS)
        pieces, places = [], []
        for number in np.unique(numbers).tolist():
            chosen = unique[numbers == number]
            with self._reading():
                query = self._tables[number - self._first].take_row_ids(_row_ids(chosen).tolist())
                table = query.select(list(columns)).with_row_id().to_arrow().combine_chunks()
            places.append(_addresses(number, table.column("_rowid").to_numpy()))
            pieces.append(table)
        if not pieces:
            return _empty(columns, self._layout)
        joined = pa.concat_tables(pieces).combine_chunks()
        there = np.concatenate(places)
        order = there.argsort()
        found = batch_columns(joined.to_batches()[0], columns)
        return choose_rows(found, order[np.searchsorted(there[order], asked)])

    def parts(self, count: int) -> list[LancePart]:
        """Parts of neighbouring segments, see `og_reid.gallery.store.StoreSnapshot.parts`."""
        if self._folder is None:
            raise ValueError("parts need a snapshot of a whole gallery")
        groups = np.array_split(np.arange(len(self._segments)), max(count, 1))
        return [
            LancePart(
                self._folder, self._layout,
                tuple(self._segments[row] for row in group.tolist()), int(group[0]),
            )
            for group in groups if len(group)
        ]  # fmt: skip

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Context in which a missing file means that a writer has replaced the snapshot."""
        try:
            yield
        except (RuntimeError, OSError, ValueError) as error:
            if self._replaced():
                raise SnapshotReplacedError("the gallery has changed during the search") from error
            raise OSError(f"the gallery cannot be read: {error}") from error


@dataclass(frozen=True)
class LancePart:
    """Some segments of a snapshot, see `og_reid.gallery.store.SnapshotPart`.

    Attributes:
        folder: Folder of the gallery, at the same path in all processes.
        layout: Sizes of the embeddings.
        segments: Numbers and versions of the segments, in order.
        first: Number of the first one in addresses.
    """

    folder: Path
    layout: PackedLayout
    segments: tuple[tuple[int, int], ...]
    first: int

    def open(self) -> LanceSnapshot:
        """Its items.

        Raises:
            SnapshotReplacedError: A writer has removed a segment.
        """
        try:
            tables = open_segments(connected(self.folder), self.segments)
        except (RuntimeError, OSError, ValueError) as error:
            if (self.folder / ITEMS).is_dir():
                raise SnapshotReplacedError("the gallery has changed before the search") from error
            raise OSError(f"{self.folder} cannot be read on this machine: {error}") from error
        return LanceSnapshot(tables, self.layout, lambda: True, first=self.first)


def connected(folder: Path) -> Any:
    """Connection of lancedb to a gallery's tables, with caches of its own.

    Caches of lancedb hold a gibibyte and more by default, and keep what every version of a table
    needed: a service that enrols and forgets would grow for hours.

    Args:
        folder: Folder of the gallery.
    """
    import lancedb

    session = lancedb.Session(
        index_cache_size_bytes=_CACHE_BYTES, metadata_cache_size_bytes=_CACHE_BYTES
    )
    return lancedb.connect(folder / ITEMS, session=session)


def open_segments(db: Any, segments: Iterable[tuple[int, int]]) -> list[Any]:
    """Tables of segments, at their versions.

    Args:
        db: Connection of lancedb.
        segments: Numbers and versions.
    """
    tables = []
    for number, version in segments:
        tables.append(db.open_table(segment_name(number)))
        tables[-1].checkout(version)
    return tables


def segment_name(number: int) -> str:
    """Name of the table of a segment."""
    return f"segment_{number:06d}"


def _split(conditions: Sequence[Condition]) -> tuple[Any, list[Condition]]:
    """Typed expression of conditions, and those that it does not express."""
    from lancedb.expr import col, lit

    parts, rest = [], []
    for each in conditions:
        values = each.values
        if each.field.startswith(METADATA) or (values is not None and None in values):
            rest.append(each)
            continue
        column = col(each.field)
        if values is not None:
            parts.append(column.isin([lit(value) for value in values]))
            rest += [] if values else [each]
        if each.low is not None:
            parts.append(column >= lit(each.low))
        if each.high is not None:
            parts.append(column <= lit(each.high))
        if each.below is not None:
            parts.append(column < lit(each.below))
    expression = None
    for part in parts:
        expression = part if expression is None else expression & part
    return expression, rest


def choose_rows(columns: Columns, rows: Any) -> Columns:
    """Some rows of columns."""
    chosen = np.asarray(rows, dtype=np.int64)
    return {
        name: each[chosen] if isinstance(each, np.ndarray) else [each[row] for row in chosen]
        for name, each in columns.items()
    }


def _empty(columns: Sequence[str], layout: PackedLayout) -> Columns:
    sizes = {
        "features": np.empty((0, layout.features), np.float32),
        "packed": np.empty((0, layout.packed_bytes), np.uint8),
    }
    return {name: sizes.get(name, []) for name in columns}


def _addresses(number: int, row_ids: np.ndarray) -> np.ndarray:
    """Addresses of rows of a segment, from the row ids of LanceDB: fragment and row in it."""
    ids = row_ids.astype(np.int64)
    fragment, row = ids >> 32, ids & 0xFFFFFFFF
    return (number << (_FRAGMENT_BITS + ROW_BITS)) | (fragment << ROW_BITS) | row


def _row_ids(addresses: np.ndarray) -> np.ndarray:
    fragment = (addresses >> ROW_BITS) & ((1 << _FRAGMENT_BITS) - 1)
    return (fragment << 32) | (addresses & ((1 << ROW_BITS) - 1))
