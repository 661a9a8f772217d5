"""Arrays of ``.npz`` files, of which types and sizes are checked before they are unpacked."""

from __future__ import annotations

import math
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

__all__ = ["Content", "array_names", "read_npz_arrays"]

Content = Literal["integers or floats", "numbers", "numbers or text"]
"""Type of the arrays of a file; flags count as numbers, too."""

_KINDS: dict[Content, str] = {
    "integers or floats": "iuf",
    "numbers": "biuf",
    "numbers or text": "biufU",
}
_MAX_HEADER = 2**16
_DESCR = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[A-Za-z?][0-9]{0,7})['"]""")
_ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([0-9L, ]{0,200})\)""")


@dataclass(frozen=True)
class _Header:
    """Description of an array, and the place of its values behind it."""

    dtype: np.dtype
    order: Literal["C", "F"]
    shape: tuple[int, ...]
    start: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz_arrays(
    path: str | Path,
    required: Collection[str],
    optional: Collection[str] = (),
    *,
    content: Content = "numbers",
    most_numbers: int | None = None,
    most_bytes: int | None = None,
    check: Callable[[Mapping[str, tuple[int, ...]]], None] | None = None,
) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file.

    A few kilobytes of zeros unpack to gigabytes: arrays over the limits are refused by their
    header, which is matched by a pattern and never evaluated as Python.

    Args:
        path: Zip archive of ``.npy`` members.
        required: Arrays to read.
        optional: Arrays to read where present.
        content: Allowed types of values.
        most_numbers: Largest number of values in an array; None: no limit.
        most_bytes: Largest size of all these arrays together; None: no limit.
        check: Called with the shapes of all before any is unpacked; raises for those that do not
            fit.

    Returns:
        The arrays, in the byte order of the file.

    Raises:
        ValueError: An array is missing, too large, of another type, or damaged. Messages begin
            with ``must`` or describe the error, and do not name the file: see `pose.files.reading`.
        OSError: The file cannot be read.
        Exception: Other types of `zipfile` and `zlib`, for damaged archives.
    """
    arrays: dict[str, np.ndarray] = {}
    with _opened(path) as archive:
        there = set(archive.namelist())
        members = {
            name: archive.getinfo(f"{name}.npy")
            for name in (*required, *optional)
            if f"{name}.npy" in there
        }
        size = sum(member.file_size for member in members.values())
        if most_bytes is not None and size > most_bytes:
            raise ValueError(
                f"must hold arrays of at most {most_bytes >> 20} MiB; these would take "
                f"{size >> 20} MiB"
            )
        missing = [name for name in required if name not in members]
        if missing:
            held = sorted(each.removesuffix(".npy")[:40] for each in there)
            raise ValueError(
                f"must hold the arrays {', '.join(required)}; it lacks {', '.join(missing)}; "
                f"it holds {', '.join(held[:9]) or 'none'}"
            )
        headers = {
            name: _header(archive, member, name, content, most_numbers)
            for name, member in members.items()
        }
        if check is not None:
            check({name: header.shape for name, header in headers.items()})
        for name, header in headers.items():
            arrays[name] = _values(archive, members[name], header)
    return arrays


def array_names(path: str | Path) -> set[str]:
    """Names of the arrays in an ``.npz`` file; raises as `read_npz_arrays` does."""
    with _opened(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def _opened(path: str | Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        with open(path, "rb") as file:
            bare = file.read(6) == b"\x93NUMPY"
        text = "it holds one bare array" if bare else f"it is no archive ({error})"
        raise ValueError(text) from error


def _header(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    name: str,
    content: Content,
    most_numbers: int | None,
) -> _Header:
    with archive.open(info) as member:
        magic = member.read(8)
        if magic[:6] != b"\x93NUMPY" or len(magic) < 8:
            raise ValueError(f"must hold npy members; {name} is none")
        width = "<H" if magic[6] == 1 else "<I"
        prefix = member.read(struct.calcsize(width))
        (length,) = struct.unpack(width, prefix)
        if length > _MAX_HEADER:
            raise ValueError(
                f"must hold npy headers of at most {_MAX_HEADER} bytes; {name} has {length}"
            )
        text = member.read(length).decode("latin-1")
    found = [each.search(text) for each in (_DESCR, _ORDER, _SHAPE)]
    if not all(found):
        raise ValueError(
            f"must hold plain arrays of {content}; the header of {name} is {text[:80]!r}"
        )
    kind, order, sides = (each[1] for each in found if each)
    dtype = np.dtype(kind)
    if dtype.kind == "O":
        raise ValueError(
            f"must hold plain arrays of {content}; {name} holds Python objects, which would need "
            "allow_pickle"
        )
    if dtype.kind not in _KINDS[content]:
        raise ValueError(f"must hold plain arrays of {content}; {name} is of type {dtype}")
    shape = tuple(int(side.rstrip("L ")) for side in sides.split(",") if side.strip())
    if most_numbers is not None and math.prod(shape) > most_numbers:
        raise ValueError(
            f"must hold plain arrays of at most {most_numbers} numbers; {name} is {shape}"
        )
    header = _Header(dtype, "F" if order == "True" else "C", shape, 8 + len(prefix) + length)
    held = info.file_size - header.start
    if held != header.bytes:
        wrong = "cut short" if held < header.bytes else "has more bytes than that"
        raise ValueError(f"must hold whole plain arrays; {name} is {shape} and {wrong}")
    return header


def _values(archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: _Header) -> np.ndarray:
    with archive.open(info) as member:
        member.read(header.start)
        data = member.read(header.bytes)
        member.read(1)  # the check sum is compared at the end only
    array = np.frombuffer(data, header.dtype, math.prod(header.shape)).copy()
    if header.dtype.kind == "U" and array.size and header.dtype.itemsize:
        # Reading a text with other code points is an error of the interpreter itself.
        points = array.view(np.dtype(f"{header.dtype.byteorder}u4"))
        if points.max() > sys.maxunicode:
            raise ValueError("must hold text of Unicode; a character is none")
    return array.reshape(header.shape, order=header.order)
