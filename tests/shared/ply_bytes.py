"""Writer of PLY files in any encoding, types and order of elements."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CODES = {
    "char": "b", "int8": "b", "uchar": "B", "uint8": "B", "short": "h", "int16": "h",
    "ushort": "H", "uint16": "H", "int": "i", "int32": "i", "uint": "I", "uint32": "I",
    "float": "f", "float32": "f", "double": "d", "float64": "d",
}  # fmt: skip
ENCODINGS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Column:
    """A property: its declared type, name and a value for each row; a list each if ``length``."""

    kind: str
    name: str
    values: Sequence[Any]
    length: str = ""


def columns(kind: str, names: str, table: Any) -> list[Column]:
    """Columns of one type: ``names`` are separated by blanks, ``table`` is (N, columns)."""
    rows = table.tolist()
    return [
        Column(kind, name, [row[index] for row in rows]) for index, name in enumerate(names.split())
    ]


def triangles(count: int, points: int, length: str = "uchar", ragged: bool = False) -> list[Column]:
    """Faces of three corners, or of 3, 4, 3, 4, ..."""
    lists = [
        [(row + corner) % points for corner in range(4 if ragged and row % 2 else 3)]
        for row in range(count)
    ]
    return [Column("int", "vertex_indices", lists, length)]


def ply_bytes(
    elements: Mapping[str, list[Column]],
    encoding: str = "binary_little_endian",
    *,
    newline: str = "\n",
    comments: Sequence[str] = (),
) -> bytes:
    """Content of a file with these elements in their order."""
    header = ["ply", f"format {encoding} 1.0", *comments]
    for element, properties in elements.items():
        header.append(f"element {element} {len(properties[0].values)}")
        for each in properties:
            kind = f"list {each.length} {each.kind}" if each.length else each.kind
            header.append(f"property {kind} {each.name}")
    data = newline.join([*header, "end_header", ""]).encode()
    for properties in elements.values():
        for row in range(len(properties[0].values)):
            data += _row(properties, row, encoding, newline)
    return data


def _row(properties: list[Column], row: int, encoding: str, newline: str) -> bytes:
    order = ENCODINGS[encoding]
    words: list[str] = []
    data = b""
    for each in properties:
        values = each.values[row] if each.length else [each.values[row]]
        if each.length:
            words.append(str(len(values)))
            data += struct.pack(order + CODES[each.length], len(values)) if order else b""
        words += [repr(value) for value in values]
        if order:
            data += struct.pack(f"{order}{len(values)}{CODES[each.kind]}", *values)
    return data if order else (" ".join(words) + newline).encode()
