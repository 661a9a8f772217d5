"""Reading of a stored world item by item, without a load of the whole."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from pose.files.reading import reading
from pose.runtime.defaults import plain_torch

from ..folder import read_manifest
from ..items import WorldItem
from ..truth.values import checked_selection
from .rows import columns_of, item_of
from .writer import FINGERPRINT, KIND, fingerprint, import_parquet, shard_path, shard_starts

__all__ = ["StoredWorld", "is_stored_world"]

_MANIFEST = "world.json"
_NAME = re.compile(r"world-\d{8}\.parquet")
_OPEN = 16  # files that are open at once


def is_stored_world(folder: str | Path) -> bool:
    """True when a folder holds shards of `write_world_shards`, finished or not."""
    path = Path(folder) / _MANIFEST
    if not path.is_file():
        return False
    try:
        return read_manifest(path).get("kind") == KIND
    except (ValueError, OSError):
        return False


class StoredWorld(Dataset[WorldItem]):
    """Items of a folder of `write_world_shards`: ``[i]``, ``len``; picklable for loaders.

    Opening reads the footers of the shards alone; an item reads its group of rows, and of it the
    columns of the selected truth.

    Args:
        root: the folder.
        truth: names out of ``TRUTH``; None: all that are stored.
        unfinished: accept a set of which shards are missing.

    Attributes:
        folder: the folder.
        manifest: parameters of the set.
        truth: names of the maps that items have.

    Raises:
        ValueError: no such folder, missing shards, a damaged one, one of another set, or truth that
            is not stored.
        ImportError: pyarrow is not installed.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        root: str | Path,
        truth: Sequence[str] | None = None,
        *,
        unfinished: bool = False,
    ) -> None:
        self._parquet = import_parquet()
        self.folder = Path(root)
        if not is_stored_world(self.folder):
            raise ValueError(
                f"root must be a folder of write_world_shards; {self.folder} is none: make one "
                "with og-reid world"
            )
        self.manifest = read_manifest(self.folder / _MANIFEST)
        stored = tuple(str(self.manifest.get("truth", "")).split())
        self.truth = checked_selection(stored if truth is None else truth)
        if not set(self.truth) <= set(stored):
            raise ValueError(
                f"truth must be out of the stored {stored}; got {self.truth}: write another folder "
                "with more"
            )
        self._unfinished = unfinished
        self._paths = self._find()
        self._files: dict[int, Any] = {}
        self._starts = [0]
        for index in range(len(self._paths)):
            self._starts.append(self._open(index).metadata.num_rows)
        self._starts = list(accumulate(self._starts))
        self._group: tuple[int, int, list[dict[str, Any]]] | None = None

    def _find(self) -> list[Path]:
        """Files of the shards, in order."""
        with reading(self.folder / _MANIFEST, "must be a manifest of shards"):
            starts = shard_starts(
                int(self.manifest["identities"]), int(self.manifest["identities_per_shard"])
            )
        paths = [shard_path(self.folder, start) for start in starts]
        foreign = {p.name for p in self.folder.iterdir() if _NAME.fullmatch(p.name)}
        foreign -= {path.name for path in paths}
        if foreign:
            raise ValueError(
                f"{self.folder} must hold the shards of one set; got {sorted(foreign)[0]}, which "
                "its world.json does not list"
            )
        found = [path for path in paths if path.is_file()]
        if len(found) < len(paths) and not self._unfinished:
            raise ValueError(
                f"{self.folder} is not finished: {len(paths) - len(found)} of {len(paths)} shards "
                "are missing; the command that made it resumes"
            )
        if not found:
            raise ValueError(f"{self.folder} must hold at least one shard; got none")
        return found

    def _open(self, index: int) -> Any:
        """File of a shard; the least recently opened one is closed."""
        if index in self._files:
            return self._files[index]
        path = self._paths[index]
        with reading(path, "must be a whole shard of a world"):
            file = self._parquet.ParquetFile(path, page_checksum_verification=True)
            mark = (file.schema_arrow.metadata or {}).get(FINGERPRINT.encode(), b"").decode()
            if mark != fingerprint(self.manifest):
                raise ValueError(
                    "must be a shard of the set in world.json; its settings are others: remove it, "
                    "and run the command again"
                )
            missing = set(columns_of(self.truth)) - set(file.schema_arrow.names)
            if missing:
                raise ValueError(f"must have the columns {sorted(missing)}")
        while len(self._files) >= _OPEN:
            self._files.pop(next(iter(self._files))).close()
        self._files[index] = file
        return file

    def __len__(self) -> int:
        """Number of items."""
        return self._starts[-1]

    @plain_torch()
    def __getitem__(self, index: int) -> WorldItem:
        """Item at an index, from 0: by identity, then view, then frame.

        Raises:
            IndexError: no such item.
            ValueError: the shard is damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in [0, {len(self)}); got {index}")
        shard = bisect_right(self._starts, index) - 1
        row = index - self._starts[shard]
        file = self._open(shard)
        with reading(self._paths[shard], "must be a whole shard of a world"):
            group = 0
            while row >= file.metadata.row_group(group).num_rows:
                row -= file.metadata.row_group(group).num_rows
                group += 1
            rows = self._rows(shard, group, file)
            return item_of(rows[row], self.truth)

    def _rows(self, shard: int, group: int, file: Any) -> list[dict[str, Any]]:
        """Rows of a group; the last one is kept, for items in order."""
        if self._group is None or self._group[:2] != (shard, group):
            table = file.read_row_group(group, columns=columns_of(self.truth))
            self._group = (shard, group, table.to_pylist())
        return self._group[2]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.folder, self.truth, self._unfinished)


def _reopened(folder: Path, truth: tuple[str, ...], unfinished: bool) -> StoredWorld:
    return StoredWorld(folder, truth, unfinished=unfinished)
