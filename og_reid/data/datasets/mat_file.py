"""Reader of Matlab files of version 5 to 7.2: arrays of numbers, text and cells of both.

Every type and length is checked: scipy's reader crashes on files with types that the format does
not have.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["read_mat"]

# Types of elements, and classes of arrays, by their numbers in the format.
_NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _TEXT, _NUMERIC = 1, 4, range(6, 16)
_COMPLEX = 0x0800
_DEEPEST = 8  # nesting of cells
_MOST_CELLS = 1_000_000  # an empty cell takes 8 bytes in the file, and a hundred in memory
_PIECE = 1 << 20  # bytes at a time


def read_mat(data: bytes, most: int) -> dict[str, Any]:
    """Reads the variables that are arrays of real numbers, text or cells; others are left out.

    Args:
        data: Content of the file.
        most: Largest size of the unpacked content, bytes.

    Returns:
        Variables by name, as from ``scipy.io.loadmat``: arrays of numbers in their Matlab shape, of
        str for each row of text, of objects for cells.

    Raises:
        ValueError: The file is damaged, of another version, or unpacks to more than ``most``.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or struct.unpack(f"{order}H", data[124:126])[0] >> 8 != 1:
        raise ValueError("its header is not of Matlab 5 to 7.2")
    found: dict[str, Any] = {}
    left = most
    for kind, content in _elements(data[128:], order):
        if kind == _COMPRESSED:
            unpacked = _unpack(content, left, most)
            left -= len(unpacked)
            inner = list(_elements(unpacked, order))
        else:
            inner = [(kind, content)]
        for each, matrix in inner:
            if each == _MATRIX:
                name, value = _array(matrix, order, 0)
                if value is not None:
                    found[name] = value
    return found


def _unpack(content: bytes, left: int, most: int) -> bytes:
    part, pieces, size = zlib.decompressobj(), [], 0
    while content and not part.eof:
        pieces.append(part.decompress(content, _PIECE))
        size += len(pieces[-1])
        content = part.unconsumed_tail
        if size > left:
            raise ValueError(f"must have at most {most // 1_000_000} MB of values")
    if not part.eof:
        raise ValueError("a compressed part is cut short")
    return b"".join(pieces)


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element; tags are of 4 or 8 bytes."""
    place = 0
    while place < len(data):
        if len(data) - place < 8:
            raise ValueError("it is cut short")
        kind, length = struct.unpack_from(f"{order}II", data, place)
        start = place + 8
        if kind >> 16:  # up to four bytes lie in the tag
            kind, length, start = kind & 0xFFFF, kind >> 16, place + 4
            if length > 4:
                raise ValueError(f"a short element must have at most 4 bytes; got {length}")
        if length > len(data) - start:
            raise ValueError("it is cut short")
        yield kind, data[start : start + length]
        place = start + length
        if kind != _COMPRESSED:
            place += -place % 8


def _array(data: bytes, order: str, depth: int) -> tuple[str, Any]:
    """Name and value of a matrix; None for unsupported kinds."""
    if not data:
        return "", np.zeros((0, 0))
    parts = _elements(data, order)
    head = [next(parts, (0, b"")) for _ in range(3)]
    (_, flags), (_, sides), (_, letters) = head
    if [kind for kind, _ in head[:2]] != [6, 5] or len(flags) != 8 or len(sides) % 4:
        raise ValueError("a matrix must begin with its flags and sizes")
    (flag,) = struct.unpack_from(f"{order}I", flags)
    shape = struct.unpack(f"{order}{len(sides) // 4}i", sides)
    if not 2 <= len(shape) <= 32 or min(shape) < 0:
        raise ValueError(f"a matrix must have at least 2 sizes, none below 0; got {shape[:5]}")
    name, group, count = letters.decode("latin-1"), flag & 0xFF, math.prod(shape)
    if group == _CELL:
        return name, _cells(parts, shape, order, depth)
    if group == _TEXT:
        return name, _rows(next(parts, (2, b"")), shape, order)
    if group not in _NUMERIC or flag & _COMPLEX:
        return name, None
    kind, content = next(parts, (2, b""))
    if kind not in _NUMBERS:
        raise ValueError(f"an array of numbers must be of a type that the format has; got {kind}")
    numbers = np.dtype(order + _NUMBERS[kind])
    if len(content) != count * numbers.itemsize:
        raise ValueError(f"an array of {shape} numbers must be whole; got {len(content)} bytes")
    values = np.frombuffer(content, numbers).astype(numbers.newbyteorder("="))
    return name, values.reshape(shape, order="F")


def _cells(
    parts: Iterator[tuple[int, bytes]], shape: tuple[int, ...], order: str, depth: int
) -> np.ndarray:
    if depth == _DEEPEST:
        raise ValueError(f"cells must be nested at most {_DEEPEST} deep")
    held: list[Any] = []
    for kind, content in parts:
        if kind != _MATRIX:
            raise ValueError(f"a cell must hold matrices; got an element of type {kind}")
        if len(held) == _MOST_CELLS:
            raise ValueError(f"must have at most {_MOST_CELLS:,} cells in an array")
        held.append(_array(content, order, depth + 1)[1])
    if len(held) != math.prod(shape):
        raise ValueError(f"a cell array of {shape} must be whole; got {len(held)} cells")
    cells = np.empty(len(held), object)
    for place, each in enumerate(held):  # numpy would look into a list of equal arrays
        cells[place] = each
    return cells.reshape(shape, order="F")


def _rows(element: tuple[int, bytes], shape: tuple[int, ...], order: str) -> np.ndarray:
    """Text, one entry for each row."""
    kind, content = element
    if kind not in _TEXTS:
        raise ValueError(f"text must be of a type that the format has; got {kind}")
    wide = {"utf-16": "utf-16-le" if order == "<" else "utf-16-be"}
    text = content.decode(wide.get(_TEXTS[kind], _TEXTS[kind]))
    if len(shape) != 2 or len(text) != math.prod(shape):
        raise ValueError(f"text of {shape} characters must be whole; got {len(text)}")
    if not text:
        return np.array([], str)
    return np.array([text[row :: shape[0]] for row in range(shape[0])])
