"""Store of a gallery's items: the protocol between searches and a data base.

Columns are arrays by name, equally long: texts (``id``, ``identity``, ``tracklet``, ``camera``,
``path``, ``metadata``, ``digest``) as lists with None for unknown ones, ``time`` in microseconds
likewise, and those of `og_reid.gallery.packing`. ``address`` (int64) names a row within a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from .filters import Condition

__all__ = ["ADDRESS", "LABELS", "Columns", "GalleryStore", "SnapshotPart", "StoreSnapshot"]

#: Columns of an item beside its embedding.
LABELS = ("id", "identity", "tracklet", "camera", "time", "path", "metadata", "digest")
#: Name of the column of addresses.
ADDRESS = "address"
#: Columns of items by name.
Columns = dict[str, Any]


class StoreSnapshot(Protocol):
    """Items at one moment: what a writer does later is not seen."""

    def __len__(self) -> int:
        """Number of items."""
        ...

    def scan(
        self, columns: Sequence[str], conditions: Sequence[Condition] = (), rows: int = 1024
    ) -> Iterator[Columns]:
        """Items in the order of their enrolment, block by block, with ``address``.

        Args:
            columns: Names of columns.
            conditions: Conditions that all hold.
            rows: Largest number of items of a block.
        """
        ...

    def take(self, addresses: Any, columns: Sequence[str]) -> Columns:
        """Items by their addresses, in this order.

        Args:
            addresses: (n,) int64, from `scan` of this snapshot.
            columns: Names of columns.
        """
        ...

    def parts(self, count: int) -> Sequence[SnapshotPart]:
        """Parts of the snapshot in the items' order, for other processes.

        Args:
            count: Largest number of parts.
        """
        ...


class SnapshotPart(Protocol):
    """Part of a snapshot, which can be pickled."""

    def open(self) -> StoreSnapshot:
        """Its items, with the addresses that they have in the whole snapshot."""
        ...


class GalleryStore(Protocol):
    """Items with unique ids. One process writes at a time; every change is whole or absent."""

    def snapshot(self) -> StoreSnapshot:
        """Items as they are now."""
        ...

    def upsert(self, columns: Columns) -> tuple[int, int]:
        """Adds items; those with known ids are replaced.

        Returns:
            Number of new items, and of replaced ones.
        """
        ...

    def update(self, conditions: Sequence[Condition], values: Mapping[str, str | None]) -> int:
        """Sets texts of items; returns the number of items."""
        ...

    def delete(self, conditions: Sequence[Condition]) -> int:
        """Removes items and all their bytes; returns the number of items."""
        ...

    def compact(self) -> None:
        """Joins small pieces, and removes the bytes of replaced and deleted items."""
        ...
