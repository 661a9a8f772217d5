"""Store of a gallery in memory: the plain twin of the one on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from og_reid.gallery.filters import METADATA, Condition
from og_reid.gallery.store import ADDRESS, LABELS, Columns


class MemorySnapshot:
    """Rows at one moment."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], first: int = 0) -> None:
        self.rows, self.first = list(rows), first

    def __len__(self) -> int:
        return len(self.rows)

    def scan(
        self, columns: Sequence[str], conditions: Sequence[Condition] = (), rows: int = 1024
    ) -> Iterator[Columns]:
        kept = [n for n, row in enumerate(self.rows) if _fits(row, conditions)]
        for start in range(0, len(kept), rows):
            some = kept[start : start + rows]
            yield {**self._rows(some, columns), ADDRESS: np.array(some, np.int64) + self.first}

    def take(self, addresses: Any, columns: Sequence[str]) -> Columns:
        return self._rows([int(each) - self.first for each in addresses], columns)

    def parts(self, count: int) -> list[MemorySnapshot]:
        groups = np.array_split(np.arange(len(self.rows)), count)
        return [
            MemorySnapshot(self.rows[group[0] : group[-1] + 1], self.first + int(group[0]))
            for group in groups if len(group)
        ]  # fmt: skip

    def open(self) -> MemorySnapshot:
        return self

    def _rows(self, numbers: Sequence[int], columns: Sequence[str]) -> Columns:
        found: Columns = {}
        for name in columns:
            values = [self.rows[n][name] for n in numbers]
            found[name] = values if name in LABELS else np.stack(values) if values else []
        return found


class MemoryStore:
    """Rows by id, in the order of their first enrolment or of their replacement."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def snapshot(self) -> MemorySnapshot:
        return MemorySnapshot(list(self.rows.values()))

    def upsert(self, columns: Columns) -> tuple[int, int]:
        known = sum(each in self.rows for each in columns["id"])
        for n, each in enumerate(columns["id"]):
            self.rows[each] = {name: values[n] for name, values in columns.items()}
        return len(columns["id"]) - known, known

    def update(self, conditions: Sequence[Condition], values: Mapping[str, str | None]) -> int:
        chosen = [row for row in self.rows.values() if _fits(row, conditions)]
        for row in chosen:
            row.update(values)
        return len(chosen)

    def delete(self, conditions: Sequence[Condition]) -> int:
        gone = [key for key, row in self.rows.items() if _fits(row, conditions)]
        for key in gone:
            del self.rows[key]
        return len(gone)

    def compact(self) -> None:
        """Nothing to do."""


def _fits(row: Mapping[str, Any], conditions: Sequence[Condition]) -> bool:
    import json

    for each in conditions:
        if each.field.startswith(METADATA):
            held = json.loads(row["metadata"] or "{}").get(each.field.removeprefix(METADATA))
        else:
            held = row[each.field]
        if not each.holds(held):
            return False
    return True
