"""Store of lifted images: a folder of shards and a manifest, read as cloud sets.

``lift.json`` has the settings of the lift, written before the first shard, and the list of shards,
written when all are there. An unfinished store is resumed by the command that began it.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading
from pose.runtime.defaults import plain_torch

from .cloud_set import CloudSet
from .lift_shard import FailedImage, read_shard, read_shard_table

__all__ = [
    "MANIFEST",
    "LiftedStore",
    "Manifest",
    "StoredShard",
    "is_lifted_store",
    "read_manifest",
    "write_manifest",
]

#: File name of the manifest.
MANIFEST = "lift.json"
_FORMAT, _VERSION = "og_reid.lifted_store", 1
_MOST_BYTES = 1 << 28  # largest manifest: a million shards
_AGAIN = "run the same og-reid lift again, which makes damaged shards again"


@dataclass(frozen=True)
class StoredShard:
    """Entry of a shard in the manifest.

    Attributes:
        file: Name of its file in the folder of the store.
        clouds: Number of clouds.
        failed: Number of images without a cloud.
        bytes: Size of the file.
    """

    file: str
    clouds: int
    failed: int
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """Content of ``lift.json``.

    Attributes:
        settings: Plain values that determine the lift besides the images.
        shards: Shards in order; None while the store is unfinished.
    """

    settings: Mapping[str, Any]
    shards: tuple[StoredShard, ...] | None


def is_lifted_store(folder: str | Path) -> bool:
    """True when a folder holds a store of lifted images, finished or not."""
    return (Path(folder) / MANIFEST).is_file()


def write_manifest(folder: str | Path, manifest: Manifest) -> None:
    """Writes ``lift.json``, atomically.

    Raises:
        OSError: The file cannot be written; with its path.
    """
    shards = manifest.shards
    content: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "settings": dict(manifest.settings),
        "clouds": None if shards is None else sum(each.clouds for each in shards),
        "failed": None if shards is None else sum(each.failed for each in shards),
        "shards": None if shards is None else [asdict(each) for each in shards],
    }
    with atomic_write(Path(folder) / MANIFEST) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: str | Path) -> Manifest:
    """Manifest of a store.

    Raises:
        ValueError: The folder holds no store, or the file is damaged.
        OSError: The file cannot be read.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise ValueError(f"{folder} is no store of lifted images ({MANIFEST} is missing)")
    with reading(path, f"must describe a {_FORMAT} of version {_VERSION}"):
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"must be at most {_MOST_BYTES >> 20} MiB")
        content = json.loads(path.read_bytes())
        if (content["format"], content["version"]) != (_FORMAT, _VERSION):
            found = reprlib.repr((content["format"], content["version"]))
            raise ValueError(f"must describe a {_FORMAT} of version {_VERSION}; got {found}")
        shards = content["shards"]
        entries = None if shards is None else tuple(StoredShard(**each) for each in shards)
        for each in entries or ():
            _check_entry(each)
        if len({each.file for each in entries or ()}) != len(entries or ()):
            raise ValueError("must list every shard once")
        return Manifest(dict(content["settings"]), entries)


def _check_entry(entry: StoredShard) -> None:
    name, numbers = entry.file, (entry.clouds, entry.failed, entry.bytes)
    if not isinstance(name, str) or any(type(each) is not int or each < 0 for each in numbers):
        raise ValueError(f"must list shards by file and numbers; got {reprlib.repr(entry)}")
    if Path(name).name != name or name in ("", "..") or "\\" in name or "\0" in name:
        raise ValueError(f"must list shards in its own folder; got {reprlib.repr(name)}")


class LiftedStore:
    """Finished store of lifted images, read shard by shard or as one cloud set.

    Opening reads the headers of all shards; a shard's digest is verified when its clouds are read.

    Attributes:
        folder: Folder of the store.
        settings: Plain values that determined the lift.
        names: Names of the n clouds.
        failures: Images without a cloud, with reasons.

    Raises:
        ValueError: The store is unfinished, or a shard is missing, damaged, cut short or of other
            settings.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = read_manifest(folder)
        if manifest.shards is None:
            raise ValueError(
                f"{folder} is an unfinished store: run the same og-reid lift again, which resumes"
            )
        self.settings = manifest.settings
        self._shards = manifest.shards
        about = json.dumps(dict(manifest.settings), sort_keys=True)
        names: list[str] = []
        failures: list[FailedImage] = []
        for entry in self._shards:
            path = self.folder / entry.file
            size = path.stat().st_size if path.is_file() else None
            if size != entry.bytes:
                there = "is missing" if size is None else f"has {size:,} bytes"
                raise ValueError(f"{path} {there}, listed with {entry.bytes:,}: {_AGAIN}")
            table = read_shard_table(path)
            if (len(table.names), len(table.failures)) != (entry.clouds, entry.failed):
                raise ValueError(f"{path} holds other images than {MANIFEST} lists: {_AGAIN}")
            if table.about != about:
                raise ValueError(f"{path} is of other settings than {MANIFEST}: {_AGAIN}")
            names += table.names
            failures += table.failures
        self.names, self.failures = tuple(names), tuple(failures)

    def __len__(self) -> int:
        """Number of clouds, n."""
        return len(self.names)

    def sets(self) -> Iterator[CloudSet]:
        """Clouds of each shard in turn, in the order of `names`; shards without any are left out.

        Raises:
            ValueError: A shard is damaged.
        """
        for entry in self._shards:
            if entry.clouds:
                yield read_shard(self.folder / entry.file).clouds

    @plain_torch()
    def load(self) -> CloudSet:
        """All clouds, in memory: about 22 kB each.

        Raises:
            ValueError: The store has no cloud, or a shard is damaged.
        """
        sets: Sequence[CloudSet] = list(self.sets())
        if not sets:
            raise ValueError(
                f"{self.folder} holds no cloud: all {len(self.failures):,} images failed"
            )
        return CloudSet.concat(sets)
