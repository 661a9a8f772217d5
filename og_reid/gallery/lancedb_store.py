"""Store of a gallery on LanceDB: segments of bounded size, and a list of those that count.

A segment is a table of LanceDB of at most 256 MB, ``items/segment_N.lance``; ``snapshot.json``
lists the segments and their versions, and is replaced as a whole: a change is there from that
moment on, in all segments, and what a killed writer left before is dropped by the next one. Items
are deleted by writing the rest of their segment to a new one: no file keeps their bytes, and the
work does not grow with the gallery.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pose.files.atomic_write import atomic_write

from .arrow_columns import arrow_schema, arrow_table
from .filters import Condition
from .lance_snapshot import (
    ITEMS,
    ROW_BITS,
    LanceSnapshot,
    choose_rows,
    connected,
    open_segments,
    segment_name,
)
from .packing import EMBEDDED, PackedLayout
from .store import ADDRESS, LABELS, Columns

__all__ = ["SNAPSHOT", "LanceStore"]

#: Name of the list of segments in a gallery's folder.
SNAPSHOT = "snapshot.json"
_SEGMENT_BYTES = 256 << 20
_FILES = 40  # of a segment that is then written anew
_BLOCK_BYTES = 16 << 20
_TRIES = 40

Segments = dict[int, int]


class LanceStore:
    """Items of a gallery in a folder: see `og_reid.gallery.store.GalleryStore`.

    Writing needs the folder's lock, which the caller holds.

    Args:
        folder: Folder of the gallery.
        layout: Sizes of the embeddings.
    """

    def __init__(self, folder: str | Path, layout: PackedLayout) -> None:
        self.folder, self.layout = Path(folder), layout
        self._db = connected(self.folder)
        self._opened: dict[tuple[int, int], Any] = {}
        self._opening = threading.Lock()
        self._hashes: dict[int, np.ndarray] = {}
        self._written: Segments | None = None
        width = layout.item_bytes + 200
        self._capacity = int(min(max(_SEGMENT_BYTES // width, 256), 1 << ROW_BITS))
        self._block = max(16, _BLOCK_BYTES // width)

    def snapshot(self) -> LanceSnapshot:
        """Items as they are now.

        Raises:
            OSError: They cannot be read.
        """
        for attempt in range(_TRIES):
            segments = self._segments()
            try:
                tables = [self._table(number, version) for number, version in segments.items()]
            except (RuntimeError, OSError, ValueError) as error:
                if self._segments() == segments and attempt > 2:
                    raise OSError(f"{self.folder} cannot be read: {error}") from error
                time.sleep(0.01 * attempt)
                continue
            return LanceSnapshot(
                tables, self.layout, partial(self._is_other, segments),
                folder=self.folder, segments=tuple(segments.items()),
            )  # fmt: skip
        raise OSError(f"{self.folder} cannot be read: it changes all the time")

    def upsert(self, columns: Columns) -> tuple[int, int]:
        """Adds items; those with known ids are replaced.

        Returns:
            Number of new items, and of replaced ones.

        Raises:
            OSError: The disk is full, or the like; no item of the call is there then.
        """
        with self._changing() as segments:
            places = self._places(segments, columns["id"])
            known = [row for row, place in enumerate(places) if place is not None]
            for number in segments:
                rows = [row for row in known if places[row] == number]
                if not rows:
                    continue
                self._replace(segments, number, self._arrow(choose_rows(columns, rows)))
            new = [row for row, place in enumerate(places) if place is None]
            self._append(segments, columns, new)
        self._tidy()
        return len(new), len(known)

    def update(self, conditions: Sequence[Condition], values: Mapping[str, str | None]) -> int:
        """Sets texts of items; returns the number of items.

        Raises:
            OSError: The disk is full, or the like; nothing has changed then.
        """
        count = 0
        with self._changing() as segments:
            for number in list(segments):
                snapshot = self._alone(segments, number)
                for block in list(snapshot.scan(["id"], conditions)):
                    for start in range(0, len(block["id"]), self._block):
                        some = block[ADDRESS][start : start + self._block]
                        rows = snapshot.take(some, (*LABELS, *self._embedded))
                        for name, value in values.items():
                            rows[name] = [value] * len(some)
                        self._replace(segments, number, self._arrow(rows))
                        count += len(some)
        self._tidy()
        return count

    def delete(self, conditions: Sequence[Condition]) -> int:
        """Removes items and all their bytes; returns the number of items.

        Raises:
            OSError: The disk is full, or the like; nothing has changed then.
        """
        count = 0
        with self._changing() as segments:
            for number in list(segments):
                snapshot = self._alone(segments, number)
                doomed = [each[ADDRESS] for each in snapshot.scan(["id"], conditions)]
                if doomed:
                    left_out = np.concatenate(doomed)
                    count += len(left_out)
                    self._rewrite(segments, [number], left_out)
        return count

    def compact(self) -> None:
        """Joins small pieces, and removes the bytes of replaced items and of killed writers.

        Raises:
            OSError: The disk is full, or the like; nothing has changed then.
        """
        with self._changing() as segments:
            group: list[int] = []
            held = 0
            for number in (*segments, None):
                count = 0 if number is None else len(self._alone(segments, number))
                if group and (number is None or held + count > self._capacity):
                    self._rewrite(segments, group)
                    group, held = [], 0
                if number is not None:
                    group.append(number)
                    held += count

    def _is_other(self, segments: Segments) -> bool:
        """True if other segments count by now."""
        return self._segments() != segments

    @property
    def _embedded(self) -> list[str]:
        there = {"features": self.layout.features, "packed": self.layout.packed_bytes}
        return [name for name in EMBEDDED if there[name]]

    def _segments(self) -> Segments:
        """Versions of the segments that count, by number, in order."""
        path = self.folder / SNAPSHOT
        try:
            content = json.loads(path.read_bytes())
            return {int(number): int(version) for number, version in content["segments"]}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise OSError(f"{path} is damaged: {error}") from error

    def _table(self, number: int, version: int) -> Any:
        """Table of a segment at a version; opened once."""
        key = (number, version)
        with self._opening:
            if key not in self._opened:
                table = self._db.open_table(segment_name(number))
                table.checkout(version)
                for old in [each for each in self._opened if each[0] == number]:
                    del self._opened[old]
                self._opened[key] = table
            return self._opened[key]

    def _alone(self, segments: Segments, *numbers: int) -> LanceSnapshot:
        """Items of some segments, as they are within a change."""
        tables = open_segments(self._db, ((number, segments[number]) for number in numbers))
        return LanceSnapshot(tables, self.layout, lambda: False)

    @contextmanager
    def _changing(self) -> Iterator[Segments]:
        """Segments to change; they count, all together, when the block ends without error."""
        before = self._segments()
        if self._written != before:  # of another process, or the first change of this one
            self._hashes.clear()
            self._roll_back(before)
        segments = dict(self._segments())
        self._written = None
        try:
            yield segments
            self._publish(segments)
        except OSError:
            self._hashes.clear()
            raise
        except RuntimeError as error:
            self._hashes.clear()
            raise _disk_error(error, self.folder) from error
        self._written = segments
        self._drop_others(segments)

    def _roll_back(self, segments: Segments) -> None:
        """Drops what a killed writer left: whole segments, and later versions of others."""
        self._drop_others(segments)
        kept = dict(segments)
        for number, version in segments.items():
            table = self._db.open_table(segment_name(number))
            if table.version != version:
                table.checkout(version)
                table.restore()
                kept[number] = table.version
        if kept != segments:
            self._publish(kept)

    def _publish(self, segments: Segments) -> None:
        """Makes segments count, all together."""
        content = {"segments": [list(each) for each in segments.items()]}
        with atomic_write(self.folder / SNAPSHOT) as path:
            path.write_text(json.dumps(content), encoding="utf-8")

    def _drop_others(self, segments: Segments) -> None:
        """Removes the folders of segments that do not count."""
        names = {f"{segment_name(number)}.lance" for number in segments}
        for path in (self.folder / ITEMS).glob("segment_*.lance"):
            if path.name not in names:
                shutil.rmtree(path)
        with self._opening:
            for key in [each for each in self._opened if each[0] not in segments]:
                del self._opened[key]
        for number in set(self._hashes) - set(segments):
            del self._hashes[number]

    def _places(self, segments: Segments, ids: Sequence[str]) -> list[int | None]:
        """Segment of each id; None for new ones."""
        keys = _hashed(ids)
        found: dict[str, int] = {}
        for number in segments:
            if number not in self._hashes:
                blocks = self._alone(segments, number).scan(["id"], rows=8192)
                pieces = [_hashed(block["id"]) for block in blocks]
                self._hashes[number] = np.concatenate([np.empty(0, np.uint64), *pieces])
            some = [ids[row] for row in np.isin(keys, self._hashes[number]).nonzero()[0]]
            if some:
                wanted = (Condition("id", tuple(some)),)
                for block in self._alone(segments, number).scan(["id"], wanted):
                    found |= dict.fromkeys(block["id"], number)
        return [found.get(each) for each in ids]

    def _replace(self, segments: Segments, number: int, rows: Any) -> None:
        """Replaces items of a segment by those of the same ids."""
        table = self._db.open_table(segment_name(number))
        table.merge_insert("id").when_matched_update_all().execute(rows)
        segments[number] = table.version

    def _append(self, segments: Segments, columns: Columns, rows: Sequence[int]) -> None:
        """Adds new items to the last segment, and to new ones."""
        done = 0
        while done < len(rows):
            number = list(segments)[-1] if segments else 0
            held = len(self._hashes[number]) if segments else self._capacity
            if held < self._capacity:
                some = rows[done : done + self._capacity - held]
                table = self._db.open_table(segment_name(number))
                table.add(self._arrow(choose_rows(columns, some)))
            else:
                number = self._new_number(segments)
                some = rows[done : done + self._capacity]
                table = self._db.create_table(
                    segment_name(number), self._arrow(choose_rows(columns, some))
                )
                self._hashes[number] = np.empty(0, np.uint64)
            segments[number] = table.version
            keys = _hashed([columns["id"][row] for row in some])
            self._hashes[number] = np.concatenate([self._hashes[number], keys])
            done += len(some)

    def _rewrite(
        self, segments: Segments, group: Sequence[int], left_out: np.ndarray | None = None
    ) -> None:
        """Writes neighbouring segments anew as one, without some items."""
        import pyarrow as pa

        snapshot = self._alone(segments, *group)
        names = (*LABELS, *self._embedded)
        gone = np.empty(0, np.int64) if left_out is None else left_out

        def kept() -> Iterator[Any]:
            for block in snapshot.scan(names, rows=self._block):
                keep = (~np.isin(block[ADDRESS], gone)).nonzero()[0]
                if len(keep):
                    yield from self._arrow(choose_rows(block, keep)).to_batches()

        fresh = self._new_number(segments)
        order = list(segments.items())
        segments.clear()
        for each, version in order:
            if each not in group:
                segments[each] = version
            elif each == group[0] and len(snapshot) > len(gone):
                batches = pa.RecordBatchReader.from_batches(arrow_schema(self.layout), kept())
                segments[fresh] = self._create(fresh, batches).version

    def _tidy(self) -> None:
        """Writes segments of many small pieces anew."""
        many = [
            number
            for number in self._segments()
            if len(os.listdir(self.folder / ITEMS / f"{segment_name(number)}.lance/data")) > _FILES
        ]
        if many:
            with self._changing() as segments:
                for number in many:
                    self._rewrite(segments, [number])

    def _arrow(self, columns: Columns) -> Any:
        return arrow_table(columns, self.layout)

    def _create(self, number: int, rows: Any) -> Any:
        return self._db.create_table(segment_name(number), rows)

    def _new_number(self, segments: Segments) -> int:
        there = [
            int(path.stem.removeprefix("segment_"))
            for path in (self.folder / ITEMS).glob("segment_*.lance")
        ]
        return max([*there, *segments, 0]) + 1


def _hashed(ids: Sequence[str]) -> np.ndarray:
    """(n,) uint64 hashes: they say where an id may be."""
    joined = b"".join(hashlib.blake2b(each.encode(), digest_size=8).digest() for each in ids)
    return np.frombuffer(joined, np.uint64)


def _disk_error(error: BaseException, folder: Path) -> OSError:
    """The error of the disk behind one of LanceDB."""
    found = re.search(r"os error (\d+)", str(error))
    number = int(found.group(1)) if found else errno.EIO
    text = os.strerror(number) if found else str(error)
    return OSError(number, text, str(folder))
