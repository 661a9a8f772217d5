"""Parquet files of a gallery's items, for other programs and other galleries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

from ..files.from_mapping import build
from .arrow_columns import arrow_schema, arrow_table
from .folder import GalleryFolder
from .packing import PackedLayout, pack, unpack
from .result import Added
from .settings import GallerySettings
from .store import LABELS, Columns, StoreSnapshot

__all__ = ["export_items", "import_items"]

_KEY = b"og_reid.gallery"
_ROWS = 1024


def export_items(path: str | Path, snapshot: StoreSnapshot, settings: GallerySettings) -> int:
    """Writes items to a Parquet file.

    The columns are those of the store, with embeddings as fixed-size lists and bytes; the file's
    metadata hold the model, its digest and the sizes.

    Args:
        path: File to write.
        snapshot: Items.
        settings: Settings of the gallery.

    Returns:
        Number of items.
    """
    from pyarrow import parquet

    about = {
        "model": settings.model, "digest": settings.digest, "layout": asdict(settings.layout)
    }  # fmt: skip
    schema = arrow_schema(settings.layout).with_metadata({_KEY: json.dumps(about).encode()})
    count = 0
    with atomic_write(path) as partial, parquet.ParquetWriter(partial, schema) as file:
        for block in snapshot.scan(schema.names, rows=_ROWS):
            table = arrow_table(block, settings.layout)
            file.write_table(table.replace_schema_metadata(schema.metadata))
            count += len(block["id"])
    return count


def import_items(path: str | Path, folder: GalleryFolder) -> Added:
    """Adds the items of a Parquet file to a gallery, batch by batch.

    Args:
        path: File of `export_items`.
        folder: Gallery; it is made if it does not exist.

    Raises:
        ValueError: The file is damaged, or of another model.
    """
    from pyarrow import parquet

    outcome = Added()
    with reading(path, "must be a Parquet file of a gallery"), parquet.ParquetFile(path) as file:
        layout, digest = _about(file.schema_arrow.metadata or {})
        with folder.writing():
            settings = folder.make(layout, clouds=folder.model().inputs == "cloud")
            if settings.digest != digest or settings.layout != layout:
                raise ValueError(
                    f"it is of another model (digest {digest[:12]}) than {folder.path} "
                    f"({settings.digest[:12]})"
                )
            store = folder.store()
            for batch in file.iter_batches(_ROWS):
                new, replaced = store.upsert(_columns(batch, layout))
                outcome = Added(outcome.new + new, outcome.replaced + replaced)
    return outcome


def _about(metadata: Mapping[bytes, bytes]) -> tuple[PackedLayout, str]:
    if _KEY not in metadata:
        raise ValueError("it is no file of a gallery")
    about = json.loads(metadata[_KEY])
    layout: PackedLayout = build(PackedLayout, about["layout"], "layout.")
    if not isinstance(about["digest"], str):
        raise ValueError("its digest must be text")
    return layout, about["digest"]


def _columns(batch: Any, layout: PackedLayout) -> Columns:
    """Columns of a record batch, checked."""
    found: Columns = {name: batch.column(name).to_pylist() for name in LABELS}
    kinds = {name: int if name == "time" else str for name in LABELS}
    for name, kind in kinds.items():
        if not all(type(each) is kind or (each is None and name != "id") for each in found[name]):
            raise ValueError(f"its column {name} must hold {kind.__name__}")
    if len(set(found["id"])) < len(found["id"]):
        raise ValueError("its ids must be unique")
    for text in found["metadata"]:
        if text is not None and not isinstance(json.loads(text), dict):
            raise ValueError("its metadata must be JSON objects")
    count = len(found["id"])
    if layout.features:
        rows = np.array(batch.column("features").to_pylist(), np.float32)
        found["features"] = rows.reshape(count, layout.features)
    if layout.packed_bytes:
        joined = b"".join(batch.column("packed").to_pylist())
        found["packed"] = np.frombuffer(joined, np.uint8).reshape(count, layout.packed_bytes)
    pack(unpack(found, layout), layout)  # refuses NaN and the like
    return found
