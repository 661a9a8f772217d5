"""Vertex columns of PLY files (Stanford polygon format) of any writer.

Only the file itself is read: comments that name textures are comments.
"""

from __future__ import annotations

import io
import itertools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..pointcloud_values import MAX_BYTES, MAX_POINTS

__all__ = ["read_ply_vertices"]

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "half": "f2", "float16": "f2", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_STRUCT = {
    "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
_MAX_HEADER = 2**20
_MAX_LINE = 2**20
_SHORT = "got a file that is cut short"


@dataclass(frozen=True)
class _Property:
    name: str
    type: str  # of NumPy, without byte order
    length: str = ""  # the type of a list's length; empty for a scalar


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: list[_Property]

    @property
    def has_lists(self) -> bool:
        return any(each.length for each in self.properties)

    @property
    def least(self) -> int:
        """Least bytes of a binary row: with empty lists."""
        return sum(int((each.length or each.type)[1]) for each in self.properties)

    @property
    def scalars(self) -> list[_Property]:
        return [each for each in self.properties if not each.length]


def read_ply_vertices(path: Path) -> dict[str, np.ndarray]:
    """Reads the scalar properties of the element ``vertex``.

    Args:
        path: ASCII or binary of either byte order, with any scalar types; other elements, lists and
            further columns may be there.

    Returns:
        Columns by their name in small letters, in the order of the file, (N,) each. Integer columns
        have the type that the header declares; floats of ASCII files are float64.

    Raises:
        ValueError: No PLY file, cut short, without a vertex, or larger than `MAX_POINTS` or, as
            text or with lists, `MAX_BYTES`, or twice that.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        order, elements, start = _read_header(stream)
        size = path.stat().st_size - start
        names = [each.name for each in elements]
        if names.count("vertex") != 1:
            raise ValueError(f"must hold one element vertex; got {', '.join(names) or 'none'}")
        before, vertex = elements[: names.index("vertex")], elements[names.index("vertex")]
        if not vertex.count:
            raise ValueError("must hold at least one vertex; got none")
        if vertex.count > MAX_POINTS:
            raise ValueError(f"must hold at most {MAX_POINTS} vertices; got {vertex.count}")
        columns = [each.name for each in vertex.scalars]
        if len(set(columns)) < len(columns) or not columns:
            held = ", ".join(columns[:30]) + (", ..." if len(columns) > 30 else "")
            raise ValueError(f"must have columns of different names; got {held}")
        stream.seek(start)
        if not order:
            return _read_ascii(stream, size, before, vertex)
        return _read_binary(stream, size, order, before, vertex)


def _read_header(stream: BinaryIO) -> tuple[str, list[_Element], int]:
    """Byte order ("" = ASCII), elements, and offset of the data."""
    head = stream.read(_MAX_HEADER)
    # Editors put the byte order mark of UTF-8 before the text.
    first = re.match(rb"(?:\xef\xbb\xbf)?ply[ \t]*(\r\n|\n|\r)", head)
    if first is None:
        raise ValueError(f"must start with the line 'ply'; got {head[:24]!r}")
    # After a lone carriage return, a line feed is the first byte of the data.
    newline = rb"\r" if first[1] == b"\r" else rb"\r?\n"
    end = re.compile(rb"[\r\n]end_header[ \t]*" + newline).search(head)
    if end is None:
        raise ValueError(f"must have a header that ends in end_header; {_SHORT}")
    order: str | None = None
    elements: list[_Element] = []
    text = head[first.end() : end.start()].decode("utf-8", "replace")
    for line in re.split(r"\r\n|\n|\r", text):
        words = line.split()
        match words:
            case [] | ["comment" | "obj_info", *_]:
                continue
            case ["format", word, "1.0"] if word in _ORDERS and order is None:
                order = _ORDERS[word]
            case ["element", name, count] if re.fullmatch(r"[0-9]{1,18}", count):
                elements.append(_Element(name.lower(), int(count), []))
            case ["property", "list", length, kind, name] if (
                elements and kind in _TYPES and _TYPES.get(length, "f")[0] != "f"
            ):
                added = _Property(name.lower(), _TYPES[kind], _TYPES[length])
                elements[-1].properties.append(added)
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1].properties.append(_Property(name.lower(), _TYPES[kind]))
            case _:
                raise ValueError(f"must have header lines of PLY 1.0; got {line[:80]!r}")
    if order is None:
        raise ValueError("must have a line 'format'; got none in its header")
    return order, elements, end.end()


def _read_ascii(
    stream: BinaryIO, size: int, before: list[_Element], vertex: _Element
) -> dict[str, np.ndarray]:
    if size > MAX_BYTES:
        raise ValueError(f"must be at most {MAX_BYTES} bytes of text; got {size}")
    # The shortest number is one digit and one blank or newline.
    if vertex.count * 2 * len(vertex.properties) > size + 1:
        raise ValueError(f"must hold {vertex.count} vertices; {_SHORT}")
    with io.TextIOWrapper(stream, encoding="latin-1", newline=None) as lines:
        table = _ascii_table(lines, before, vertex)
    if table.shape != (vertex.count, len(vertex.scalars)):
        raise ValueError(
            f"must hold {vertex.count} vertices of {len(vertex.scalars)} numbers; got "
            f"{table.shape[0]} of {table.shape[1]}: cut short or damaged"
        )
    columns = {}
    for index, each in enumerate(vertex.scalars):
        column = table[:, index]
        columns[each.name] = column if each.type[0] == "f" else _whole(column, each)
    return columns


def _ascii_table(lines: io.TextIOWrapper, before: list[_Element], vertex: _Element) -> np.ndarray:
    """(N, scalars) float64; one row for each line that is not blank."""
    for element in before:
        skipped = element.count if element.properties else 0
        while skipped:
            line = lines.readline()
            if not line:
                raise ValueError(f"must hold {element.count} rows of {element.name}; {_SHORT}")
            skipped -= not line.isspace()
    if vertex.has_lists:
        return _ascii_rows(lines, vertex)
    filled = itertools.islice(_filled(lines), vertex.count)
    first = next(filled, None)
    if first is None:  # of which `loadtxt` would warn
        raise ValueError(f"must hold {vertex.count} vertices; {_SHORT}")
    return np.loadtxt(itertools.chain([first], filled), np.float64, comments=None, ndmin=2)


def _ascii_rows(lines: io.TextIOWrapper, vertex: _Element) -> np.ndarray:
    """Scalars of rows with lists."""
    rows: list[list[float]] = []
    for line in itertools.islice(_filled(lines), vertex.count):
        words = line.split()
        row, place = [], 0
        for each in vertex.properties:
            if place >= len(words):
                raise ValueError(f"must hold whole rows; got {line[:80]!r}")
            if each.length:
                length = int(words[place])
                if length < 0:
                    raise ValueError(f"must hold lists of 0 or more entries; got {length}")
                place += 1 + length
            else:
                row.append(float(words[place]))
                place += 1
        if place != len(words):
            raise ValueError(f"must hold whole rows; got {line[:80]!r}")
        rows.append(row)
    return np.array(rows, np.float64).reshape(len(rows), len(vertex.scalars))


def _filled(lines: io.TextIOWrapper) -> Iterator[str]:
    """Lines that are not blank."""
    for line in lines:
        if len(line) > _MAX_LINE:
            raise ValueError(f"must hold lines of at most {_MAX_LINE} characters")
        if not line.isspace():
            yield line


def _whole(column: np.ndarray, each: _Property) -> np.ndarray:
    """Column of text in the integer type that the header declares."""
    limits = np.iinfo(each.type)
    good = (column >= limits.min) & (column <= limits.max) & (np.trunc(column) == column)
    if not good.all():
        raise ValueError(
            f"must hold integers in {limits.min}..{limits.max} in the column {each.name}; "
            f"got {column[~good][0]:g}"
        )
    with np.errstate(invalid="ignore"):  # 2**63 is the nearest float64 to the largest int64
        return column.astype(each.type)


def _read_binary(
    stream: BinaryIO, size: int, order: str, before: list[_Element], vertex: _Element
) -> dict[str, np.ndarray]:
    # From here on `size` bytes are left, and `data` starts at `at` bytes before them.
    while before and not before[0].has_lists:
        skipped = before[0].count * before[0].least
        if skipped > size:
            raise ValueError(f"must hold {before[0].count} rows of {before[0].name}; {_SHORT}")
        stream.seek(skipped, io.SEEK_CUR)
        size -= skipped
        before = before[1:]
    if not before and not vertex.has_lists:
        wanted = vertex.count * vertex.least
        if wanted > size:
            raise ValueError(
                f"must hold {vertex.count} vertices in {wanted} bytes; {_SHORT}: {size} are left"
            )
        if wanted > 2 * MAX_BYTES:  # a file with holes may be that large and take no space
            raise ValueError(f"must hold at most {2 * MAX_BYTES} bytes of vertices; got {wanted}")
        rows = np.frombuffer(stream.read(wanted), _row_type(vertex, order, {}), vertex.count)
        return {each.name: _native(rows[each.name]) for each in vertex.scalars}
    if size > MAX_BYTES:
        raise ValueError(f"must be at most {MAX_BYTES} bytes with lists; got {size}")
    data = stream.read()
    place = 0
    for element in before:
        place, _ = _walk(data, place, element, order)
    _, columns = _walk(data, place, vertex, order)
    return columns


def _row_type(element: _Element, order: str, lengths: dict[int, int]) -> np.dtype:
    """Type of rows with lists of these lengths, by index of the property."""
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    for index, each in enumerate(element.properties):
        if each.length:
            fields.append((f"length {index}", order + each.length))
            fields.append((f"list {index}", order + each.type, (lengths[index],)))
        else:
            fields.append(
                (each.name if element.name == "vertex" else f"{index}", order + each.type)
            )
    return np.dtype(fields)


def _walk(
    data: bytes, place: int, element: _Element, order: str
) -> tuple[int, dict[str, np.ndarray]]:
    """End of an element with lists, and its columns where it is ``vertex``."""
    if not element.properties or not element.count:
        return place, {}
    if element.count * element.least > len(data) - place:
        raise ValueError(f"must hold {element.count} rows of {element.name}; {_SHORT}")
    try:
        _, lengths, _ = _read_row(data, place, element, order)
        kind = _row_type(element, order, lengths)
        stop = place + element.count * kind.itemsize
        if stop <= len(data):  # most files have lists of one length: triangles
            rows = np.frombuffer(data, kind, element.count, place)
            if all(bool((rows[f"length {i}"] == n).all()) for i, n in lengths.items()):
                named = element.scalars if element.name == "vertex" else []
                return stop, {each.name: _native(rows[each.name]) for each in named}
        if element.count > MAX_POINTS:
            raise ValueError(f"must hold at most {MAX_POINTS} rows of {element.name} with lists")
        table = []
        for _ in range(element.count):
            place, _, row = _read_row(data, place, element, order)
            if element.name == "vertex":
                table.append(row)
    except struct.error as error:
        raise ValueError(f"must hold {element.count} rows of {element.name}; {_SHORT}") from error
    if element.name != "vertex":
        return place, {}
    columns = zip(element.scalars, zip(*table, strict=True), strict=True)
    return place, {each.name: np.array(values, each.type) for each, values in columns}


def _read_row(
    data: bytes, place: int, element: _Element, order: str
) -> tuple[int, dict[int, int], list[float]]:
    """End of a row, lengths of its lists, and its scalars."""
    lengths, scalars = {}, []
    for index, each in enumerate(element.properties):
        kind = each.length or each.type
        (value,) = struct.unpack_from(order + _STRUCT[kind], data, place)
        place += int(kind[1])
        if each.length:
            if value < 0:
                raise ValueError(f"must hold lists of 0 or more entries; got {value}")
            lengths[index] = value
            place += value * int(each.type[1])
        else:
            scalars.append(value)
    if place > len(data):
        raise ValueError(f"must hold {element.count} rows of {element.name}; {_SHORT}")
    return place, lengths, scalars


def _native(column: np.ndarray) -> np.ndarray:
    return column.astype(column.dtype.newbyteorder("="))
