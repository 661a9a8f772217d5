"""Compact store of many clouds on disk, with random access.

A store is a folder of Arrow files (shards) and ``store.json``, which is written last. A cloud keeps
the point order and the frame of its file; positions take 16 bits per axis inside the cloud's own
box and colours 8 bits, 9 bytes a point. Every row has a checksum, so that damage is reported when a
process first reads the row. Any Arrow reader opens the shards: a position is
``low + step * xyz``.
"""

from __future__ import annotations

import json
import reprlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose.deprecation import deprecated_members
from pose.files.atomic_write import atomic_write
from pose.files.reading import reading
from pose.runtime.defaults import plain_torch

from ..keyed_random import KeyedRandom
from .batch import CloudBatch
from .market3d import RawCloud, subsample_batch
from .shard import FORMAT, FRAME, VERSION, CloudLabel, Shard

__all__ = ["MANIFEST", "CloudStore", "ShardInfo", "is_store", "write_manifest"]

#: File name of the list of shards.
MANIFEST = "store.json"
_AGAIN = "convert again into the same folder, which makes damaged shards again"
_MOST_BYTES = 1 << 24  # largest manifest: tens of millions of clouds


@dataclass(frozen=True)
class ShardInfo:
    """Entry of a shard in ``store.json``.

    Attributes:
        file: name of the file in the folder of the store.
        clouds: number of clouds.
        bytes: size of the file.
        fingerprint: hash of the sources of the shard; also in the file.
    """

    file: str
    clouds: int
    bytes: int
    fingerprint: str


def is_store(folder: str | Path) -> bool:
    """True when a folder holds a store, finished or not."""
    path = Path(folder)
    return (path / MANIFEST).is_file() or any(path.glob("clouds-*.arrow"))


def write_manifest(folder: str | Path, shards: Sequence[ShardInfo]) -> None:
    """Writes ``store.json``, which marks a store as finished."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "frame": FRAME,
        "shards": [asdict(each) for each in shards],
    }
    with atomic_write(Path(folder) / MANIFEST) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read_manifest(folder: Path) -> list[ShardInfo]:
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(
            f"{folder} is no finished cloud store ({MANIFEST} is missing): run og-reid pack, "
            "which resumes"
        )
    try:
        with reading(path, "it is damaged"):
            return _parse_manifest(path)
    except ValueError as error:
        cause = str(error).removeprefix(f"{path}: ")
        raise ValueError(
            f"{path} must describe a {FORMAT} of version {VERSION}; got {cause}: convert again"
        ) from error


def _parse_manifest(path: Path) -> list[ShardInfo]:
    with path.open("rb") as file:
        text = file.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES >> 20} MB")
    content = json.loads(text)
    if (content["format"], content["version"]) != (FORMAT, VERSION):
        found = (reprlib.repr(content["format"]), reprlib.repr(content["version"]))
        raise ValueError(f"format {found[0]}, version {found[1]}")
    infos = [ShardInfo(**each) for each in content["shards"]]
    for info in infos:
        _check_info(info)
    _check_distinct(infos)
    return infos


def _short(value: object) -> str:
    return repr(value)[:200]


def _check_info(info: ShardInfo) -> None:
    texts, numbers = (info.file, info.fingerprint), (info.clouds, info.bytes)
    if not all(isinstance(each, str) for each in texts) or any(
        type(each) is not int or not 0 < each < 1 << 62 for each in numbers
    ):
        raise ValueError(f"a shard without file, clouds, bytes or fingerprint: {_short(info)}")
    if (
        info.file in ("", "..")
        or Path(info.file).name != info.file
        or "\\" in info.file
        or "\0" in info.file
    ):
        raise ValueError(f"a shard outside of the folder of the store: {_short(info.file)}")


def _check_distinct(infos: Sequence[ShardInfo]) -> None:
    """Refuses a store without shards, or with repeated ones."""
    if not infos:
        raise ValueError("no shard, and a store holds at least one cloud")
    for what in ("file", "fingerprint"):
        often = Counter(each for info in infos if (each := getattr(info, what)))
        twice = [each for each, count in often.items() if count > 1]
        if twice:
            raise ValueError(
                f"{len(twice)} of its shards more than once, such as {what} {_short(twice[0])}"
            )


@deprecated_members
class CloudStore:
    """Cloud store of a conversion, as a `CloudDataset` for training and embedding.

    Opening reads the labels only; clouds are memory-mapped and read on access. A pickled store is
    reopened in the worker process.

    Attributes:
        folder: folder of the store.
        names: n names of images.
        splits: n names of splits.
        pids: (n,) int64 identities; -1 = junk, 0 = distractor.
        camids: (n,) int64 cameras.

    Raises:
        ValueError: the conversion was not finished, or a shard is missing, cut short or of another
            conversion.
        ImportError: pyarrow is not installed.
    """

    point_order = "reference"  # `batch` does as the authors' loader does

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        infos = _read_manifest(self.folder)
        # Sizes first: one status call per file, before any is opened.
        for info in infos:
            path = self.folder / info.file
            size = path.stat().st_size if path.is_file() else None
            if size is None:
                raise ValueError(
                    f"{path} is missing, damaged or no shard of a cloud store: {MANIFEST} lists "
                    f"it; {_AGAIN}"
                )
            if size < info.bytes:
                raise ValueError(
                    f"{path} is missing, damaged or no shard of a cloud store: it has {size} of "
                    f"{info.bytes} bytes; {_AGAIN}"
                )
        self._shards = []
        for info in infos:
            path = self.folder / info.file
            shard = Shard(path)
            found = ShardInfo(info.file, len(shard), path.stat().st_size, shard.fingerprint)
            if found != info:
                raise ValueError(f"{path} must be {info}; got {found}: convert again")
            self._shards.append(shard)
        self._starts = [0, *accumulate(len(shard) for shard in self._shards)]
        self._set_rows(range(self._starts[-1]))

    def _set_rows(self, rows: Sequence[int]) -> None:
        self._rows = rows
        labels = [self._label(row) for row in rows]
        self.names = tuple(each.name for each in labels)
        self.splits = tuple(each.split for each in labels)
        self.pids = torch.tensor([each.pid for each in labels], dtype=torch.int64)
        self.camids = torch.tensor([each.camid for each in labels], dtype=torch.int64)

    def _place(self, row: int) -> tuple[Shard, int]:
        shard = bisect_right(self._starts, row) - 1
        return self._shards[shard], row - self._starts[shard]

    def _label(self, row: int) -> CloudLabel:
        shard, inside = self._place(row)
        return shard.labels[inside]

    def __len__(self) -> int:
        """Number of clouds."""
        return len(self._rows)

    @plain_torch()
    def __getitem__(self, index: int) -> RawCloud:
        """Cloud at ``index``, in [0, n).

        Raises:
            IndexError: the index is out of range.
            ValueError: the shard is damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in [0, {len(self)}); got {index}")
        shard, row = self._place(self._rows[index])
        return shard[row]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self._rows)

    def select(self, indices: Tensor | Sequence[int]) -> CloudStore:
        """Store of the clouds at ``indices``, in that order; nothing is read or copied."""
        chosen = copy(self)
        chosen._set_rows([self._rows[index] for index in _whole(indices)])
        return chosen

    def split(self, name: str) -> CloudStore:
        """Store of the clouds of a split.

        Raises:
            ValueError: no cloud is in this split.
        """
        found = [index for index, split in enumerate(self.splits) if split == name]
        if not found:
            there = ", ".join(dict.fromkeys(self.splits))
            raise ValueError(f"name must be a split of {self.folder}: {there}; got {name!r}")
        return self.select(found)

    def read(self, indices: Tensor | Sequence[int]) -> tuple[Tensor, Tensor]:
        """Whole clouds of one size, as stored.

        Returns:
            (B, N, 3) float32 points in metres, y down, and (B, N, 3) float32 colours in [0, 1].

        Raises:
            ValueError: the clouds have different sizes.
        """
        clouds = [self[index] for index in _whole(indices)]
        sizes = sorted({len(cloud) for cloud in clouds})
        if len(sizes) != 1:
            raise ValueError(f"indices must name clouds of one size; got sizes {sizes}")
        return (
            torch.stack([cloud.points for cloud in clouds]),
            torch.stack([cloud.colors for cloud in clouds]),
        )

    @plain_torch()
    def batch(
        self,
        indices: Tensor | Sequence[int],
        num_points: int,
        draws: KeyedRandom | None = None,
    ) -> CloudBatch:
        """Batch as in the authors' loader, see `market3d.subsample_batch`.

        Args:
            indices: B clouds.
            num_points: points per cloud; 4096 of 8192 in the authors' code.
            draws: None for testing; with it, for training, some clouds get random points.
        """
        clouds = [self[index] for index in _whole(indices)]
        return subsample_batch(clouds, num_points, draws=draws)

    def verify(self) -> None:
        """Reads and verifies all shards.

        Raises:
            ValueError: a shard is damaged.
        """
        for shard in self._shards:
            shard.verify()


def _whole(indices: Tensor | Sequence[int]) -> list[int]:
    chosen: list[int] = torch.as_tensor(indices, dtype=torch.int64).reshape(-1).tolist()
    return chosen


def _reopen(folder: Path, rows: Sequence[int]) -> CloudStore:
    store = CloudStore(folder)
    store._set_rows(rows)
    return store
