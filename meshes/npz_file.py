"""Arrays of ``.npz`` files, of which types and sizes are checked before they are unpacked."""

from __future__ import annotations

import math
import re
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

__all__ = ["read_npz_arrays"]

_MAX_HEADER = 2**16
_DESCR = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[A-Za-z?][0-9]{0,4})['"]""")
_ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([0-9L, ]{0,200})\)""")


def read_npz_arrays(
    path: Path, required: Collection[str], optional: Collection[str], most: int
) -> dict[str, np.ndarray]:
    """Reads some arrays of numbers.

    A few kilobytes of zeros unpack to gigabytes: an array that is larger than wanted is refused by
    its header.

    Args:
        path: Zip archive of ``.npy`` members.
        required: Arrays to read.
        optional: Arrays to read where they are there.
        most: Numbers in an array at most.

    Raises:
        ValueError: An array is missing, too large, of Python objects or records, or damaged.
        OSError: The file cannot be read.
        Exception: Other types of `zipfile` and `zlib`, for damaged archives.
    """
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        there = set(archive.namelist())
        missing = [name for name in required if f"{name}.npy" not in there]
        if missing:
            held = sorted(each.removesuffix(".npy")[:40] for each in there)
            raise ValueError(
                f"must hold the arrays {' and '.join(required)}; {' and '.join(missing)} missing, "
                f"it holds {', '.join(held[:9]) or 'none'}"
            )
        for name in (*required, *optional):
            if f"{name}.npy" in there:
                with archive.open(f"{name}.npy") as member:
                    arrays[name] = _read_array(member, name, most)
    return arrays


def _read_array(member: IO[bytes], name: str, most: int) -> np.ndarray:
    """An array by its header, which is matched rather than evaluated as Python."""
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
    header = member.read(length).decode("latin-1")
    found = [each.search(header) for each in (_DESCR, _ORDER, _SHAPE)]
    if not all(found):
        raise ValueError(f"must hold arrays of numbers; the header of {name} is {header[:80]!r}")
    kind, order, sides = (each[1] for each in found if each)
    dtype = np.dtype(kind)
    if dtype.kind == "O":
        raise ValueError(
            f"must hold numbers; {name} holds Python objects, which would need allow_pickle"
        )
    if dtype.kind not in "biuf":
        raise ValueError(f"must hold numbers; {name} is of type {dtype}")
    shape = tuple(int(side.rstrip("L ")) for side in sides.split(",") if side.strip())
    count = math.prod(shape)
    if count > most:
        raise ValueError(f"must hold arrays of at most {most} numbers; {name} is {shape}")
    data = member.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise ValueError(f"must be a whole archive; {name} is {shape} and cut short")
    if member.read(1):  # the check sum is compared at the end only
        raise ValueError(f"must be a sound archive; {name} is {shape} and has more bytes than that")
    array = np.frombuffer(data, dtype, count).copy()
    return array.reshape(shape, order="F" if order == "True" else "C")
