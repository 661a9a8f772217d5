"""Arrays of ``.npz`` files, of which types and sizes are checked before they are unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

__all__ = ["read_npz_arrays"]


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
                    _check_header(member, name, most, archive.getinfo(f"{name}.npy").file_size)
                with archive.open(f"{name}.npy") as member:
                    arrays[name] = npy.read_array(member, allow_pickle=False)
    return arrays


def _check_header(member: IO[bytes], name: str, most: int, size: int) -> None:
    version = npy.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(member)
    else:  # 3.0 is for names of fields, which are refused anyway
        raise ValueError(f"must hold arrays of npy 1.0 or 2.0; {name} is of {version}")
    if dtype.hasobject:
        raise ValueError(
            f"must hold numbers; {name} holds Python objects, which would need allow_pickle"
        )
    if dtype.kind not in "biuf" or dtype.subdtype is not None:
        raise ValueError(f"must hold numbers; {name} is of type {dtype}")
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise ValueError(f"must hold arrays of 0 or more rows; {name} is {shape}")
    count = math.prod(shape)
    if count > most:
        raise ValueError(f"must hold arrays of at most {most} numbers; {name} is {shape}")
    if size < count * dtype.itemsize:
        raise ValueError(f"must be a whole archive; {name} is {shape} and cut short")
