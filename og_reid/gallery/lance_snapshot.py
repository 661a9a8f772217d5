"""Reading of a gallery's items from tables of LanceDB, at fixed versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .filters import METADATA, Condition, keep_rows
from .packing import EMBEDDED, PackedLayout
from .store import ADDRESS, Columns

__all__ = ["ROW_BITS", "LanceSnapshot", "SnapshotReplacedError", "choose_rows"]

#: Bits of the number of a row in a fragment; segments have fewer rows.
ROW_BITS = 18
_FRAGMENT_BITS = 29
_FEW = 32  # of so many rows of a table less than one is kept: each is read alone


class SnapshotReplacedError(RuntimeError):
    """A writer has removed what a snapshot reads: search again in a new one."""


class LanceSnapshot:
    """Items at one moment: see `og_reid.gallery.store.StoreSnapshot`.

    Args:
        tables: Tables of the segments, in order, at their versions.
        layout: Sizes of the embeddings.
        replaced: Function that is true when a writer has replaced this snapshot.
    """

    def __init__(
        self, tables: Sequence[Any], layout: PackedLayout, replaced: Callable[[], bool]
    ) -> None:
        self._tables, self._layout, self._replaced = tables, layout, replaced
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
        for number, table in enumerate(self._tables):
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
            query = self._tables[number].search().select(list(columns) or ["time"])
            query = query.with_row_id(True).limit(None)
            query = query if expression is None else query.where(expression)
            batches = iter(query.to_batches(batch_size=rows))
        while True:
            with self._reading():
                batch = next(batches, None)
            if batch is None:
                return
            found = _columns(batch, columns)
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
                query = self._tables[number].take_row_ids(_row_ids(chosen).tolist())
                table = query.select(list(columns)).with_row_id().to_arrow().combine_chunks()
            places.append(_addresses(number, table.column("_rowid").to_numpy()))
            pieces.append(table)
        if not pieces:
            return _empty(columns, self._layout)
        joined = pa.concat_tables(pieces).combine_chunks()
        there = np.concatenate(places)
        order = there.argsort()
        found = _columns(joined.to_batches()[0], columns)
        return choose_rows(found, order[np.searchsorted(there[order], asked)])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Context in which a missing file means that a writer has replaced the snapshot."""
        try:
            yield
        except (RuntimeError, OSError, ValueError) as error:
            if self._replaced():
                raise SnapshotReplacedError("the gallery has changed during the search") from error
            raise OSError(f"the gallery cannot be read: {error}") from error


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


def _columns(batch: Any, names: Sequence[str]) -> Columns:
    """Columns of a record batch."""
    found: Columns = {}
    for name in names:
        array = batch.column(name)
        if name == "features":
            found[name] = array.flatten().to_numpy().reshape(len(array), -1)
        elif name == "packed":
            width = array.type.byte_width
            raw = np.frombuffer(array.buffers()[1], np.uint8)
            start = array.offset * width
            found[name] = raw[start : start + len(array) * width].reshape(len(array), width)
        else:
            found[name] = array.to_pylist()
    return found


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
