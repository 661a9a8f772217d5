"""Writing of a world as Parquet shards, by any number of workers, resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pose.files.atomic_write import atomic_write
from pose.runtime.defaults import plain_torch
from pose.runtime.process_pool import map_in_processes

from ..folder import claim
from ..items import ItemPlan, make_item
from .codec import check_format
from .rows import row_of, table_schema

__all__ = [
    "FINGERPRINT",
    "KIND",
    "fingerprint",
    "import_parquet",
    "shard_manifest",
    "shard_path",
    "shard_starts",
    "write_world_shards",
]

#: Value of ``kind`` in the manifest.
KIND = "shards"
#: Key of a hash of the manifest in the metadata of a shard.
FINGERPRINT = "og_reid.world"
_VERSION = 1
_ITEMS = 200  # of a shard, in whole identities
_GROUP = 8  # rows that are read together


def import_parquet() -> Any:
    """The module ``pyarrow.parquet``.

    Raises:
        ImportError: pyarrow is not installed; with the remedy.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "pyarrow is needed for shards of the world; install it with: "
            "pip install 'og-reid[store]'"
        ) from error
    return pyarrow.parquet


def shard_manifest(plan: ItemPlan, image_format: str) -> dict[str, Any]:
    """Content of ``world.json``."""
    # "version" stays that of the world's images.
    own = {"kind": KIND, "shard_version": _VERSION, "image_format": image_format}
    return {**plan.manifest, **own, "identities_per_shard": _identities(plan)}


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """Hash of a manifest, which every shard of its folder carries."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _identities(plan: ItemPlan) -> int:
    """Identities of a shard."""
    return max(1, _ITEMS // plan.of_identity)


def shard_starts(identities: int, of_shard: int) -> list[int]:
    """First identity of each shard."""
    return list(range(0, identities, of_shard))


def shard_path(folder: Path, start: int) -> Path:
    """File of the shard whose first identity is ``start``."""
    return folder / f"world-{start:08d}.parquet"


def write_world_shards(
    root: str | Path,
    plan: ItemPlan,
    *,
    image_format: str = "png",
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Renders a set of items into Parquet shards, or finishes an interrupted one.

    A shard appears whole, under its name, or not at all: what kills the process costs the shards
    that are being written, and the same call finishes the set.

    Args:
        root: folder to fill; new, empty, or holding the same set.
        plan: the items, of a number of identities; such as ``dataset(...).plan``.
        image_format: "png" or "webp" (both lossless), or "jpeg".
        workers: processes to use; 0 works in this one. Started by "spawn": a script with workers
            must guard its start with ``if __name__ == "__main__"``.
        progress: called with (items done, items in all).

    Returns:
        The folder.

    Raises:
        ValueError: an endless plan, or an unknown format.
        FileExistsError: the folder holds something else, such as a set of other settings.
        ImportError: pyarrow is not installed.
        OSError: a shard cannot be written; with its path.
    """
    if plan.endless:
        raise ValueError("plan must have a number of identities to be written; it is endless")
    import_parquet()
    manifest = shard_manifest(plan, check_format(image_format))
    folder = Path(root)
    claim(folder, manifest, ())
    starts = shard_starts(plan.images.identities, _identities(plan))
    missing = [start for start in starts if not shard_path(folder, start).is_file()]
    done = plan.items - sum(_rows(plan, start) for start in missing)
    if progress is not None:
        progress(done, plan.items)
    for written in _write_all(partial(_write_shard, str(folder), plan, manifest), missing, workers):
        done += written
        if progress is not None:
            progress(done, plan.items)
    return folder


def _rows(plan: ItemPlan, start: int) -> int:
    return min(_identities(plan), plan.images.identities - start) * plan.of_identity


def _write_all(task: Callable[[int], int], starts: list[int], workers: int) -> Iterator[int]:
    if workers > 0:
        yield from map_in_processes(task, starts, workers, ordered=False)
    else:
        yield from map(task, starts)


@plain_torch()
def _write_shard(folder: str, plan: ItemPlan, manifest: Mapping[str, Any], start: int) -> int:
    import pyarrow as pa

    parquet = import_parquet()
    schema = table_schema(plan.truth, {FINGERPRINT: fingerprint(manifest)})
    form = check_format(manifest["image_format"])
    first = start * plan.of_identity
    keys = [plan.key(first + row) for row in range(_rows(plan, start))]
    with atomic_write(shard_path(Path(folder), start)) as partial_path:
        # Bytes of images and maps are compressed already.
        packed = [field.name for field in schema if field.type == pa.binary()]
        compression = {name: "none" if name in packed else "zstd" for name in _leaves(schema)}
        with parquet.ParquetWriter(
            partial_path, schema, compression=compression, use_dictionary=False,
            write_page_checksum=True,
        ) as writer:  # fmt: skip
            for begin in range(0, len(keys), _GROUP):
                rows = [row_of(make_item(plan, key), form) for key in keys[begin : begin + _GROUP]]
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return len(keys)


def _leaves(schema: Any) -> list[str]:
    """Paths of the primitive columns of a schema, in the terms of Parquet."""
    found = []
    for field in schema:
        nested = [(field.name, field.type)]
        while nested:
            path, kind = nested.pop(0)
            if hasattr(kind, "value_type"):
                nested.append((f"{path}.list.element", kind.value_type))
            elif kind.num_fields:
                nested += [(f"{path}.{each.name}", each.type) for each in kind]
            else:
                found.append(path)
    return found
