"""Columns of a gallery's items as tables of Arrow, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .packing import PackedLayout
from .store import LABELS, Columns

__all__ = ["arrow_schema", "arrow_table", "batch_columns"]


def arrow_schema(layout: PackedLayout) -> Any:
    """Schema of items.

    Args:
        layout: Sizes of the embeddings.
    """
    import pyarrow as pa

    texts = [name for name in LABELS if name != "time"]
    fields = [pa.field(name, pa.utf8(), name != "id") for name in texts]
    fields.append(pa.field("time", pa.int64()))
    if layout.features:
        fields.append(pa.field("features", pa.list_(pa.float32(), layout.features), False))
    if layout.packed_bytes:
        fields.append(pa.field("packed", pa.binary(layout.packed_bytes), False))
    return pa.schema(fields)


def arrow_table(columns: Columns, layout: PackedLayout) -> Any:
    """Table of `arrow_schema`.

    Args:
        columns: Items.
        layout: Sizes of the embeddings.
    """
    import pyarrow as pa

    schema, arrays = arrow_schema(layout), []
    for field in schema:
        values = columns[field.name]
        if field.name == "features":
            flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, layout.features))
        elif field.name == "packed":
            buffer = pa.py_buffer(np.ascontiguousarray(values))
            kind = pa.binary(layout.packed_bytes)
            arrays.append(pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, buffer]))
        else:
            arrays.append(pa.array(list(values), field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def batch_columns(batch: Any, names: Sequence[str]) -> Columns:
    """Columns of a record batch.

    Args:
        batch: Record batch of `arrow_schema`.
        names: Names of columns.
    """
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
