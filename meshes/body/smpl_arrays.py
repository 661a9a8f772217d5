"""Arrays from the inert nodes of a pickle file, with checked types, shapes and indices.

These numbers come from the file, and numpy and scipy would use them unchecked.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any

import numpy as np

from .smpl_pickle import MOST_STEPS, SPARSE_NAMES, Name, Node

__all__ = ["node_array"]

_CHUMPY_DEPTH = 8
_MOST_AXES = 4
_DTYPE = re.compile(r"([<>=|]?)(f[248]|[iu][1248])")


def node_array(value: Any, most_dense: int) -> np.ndarray:
    """Array described by a value of `read_nodes`.

    Args:
        value: Node of a numpy array, scipy sparse matrix or chumpy array, or nested lists.
        most_dense: Largest number of elements of a sparse matrix in dense form.

    Raises:
        ValueError: It describes something else, or contradicts itself.
    """
    for _ in range(_CHUMPY_DEPTH):
        if not (isinstance(value, Node) and _class(value) == "chumpy"):
            break
        value = value.state.get("x") if isinstance(value.state, dict) else None
    if isinstance(value, list | tuple):
        return _from_lists(value)
    if not isinstance(value, Node):
        raise ValueError(f"must hold arrays of numbers; got {type(value).__name__}")
    name = _class(value)
    if name == "_reconstruct":
        return _from_state(value.state)
    if name == "_frombuffer":
        data, dtype, shape, order = _expect(value.args, 4)
        return _dense(data, dtype, shape, order == "F")
    if name in SPARSE_NAMES:
        return _from_sparse(name[:3], value.state, most_dense)
    raise ValueError(f"must hold arrays of numbers; got {name}")


def _class(node: Node) -> str:
    """Name of a node's type, also where an older protocol makes it by a function."""
    if node.name == "_reconstructor" and node.args and isinstance(node.args[0], Name):
        return node.args[0].name
    return node.name


def _expect(values: Any, count: int) -> tuple[Any, ...]:
    if not isinstance(values, tuple) or len(values) != count:
        raise ValueError(f"must describe an array by {count} values")
    return values


def _from_state(state: Any) -> np.ndarray:
    if isinstance(state, tuple) and len(state) == 4:  # numpy before 1.0 has no version in front
        state = (0, *state)
    _, shape, dtype, fortran, data = _expect(state, 5)
    return _dense(data, dtype, shape, bool(fortran))


def _dense(data: Any, dtype: Any, shape: Any, fortran: bool) -> np.ndarray:
    kind, sizes, raw = _dtype(dtype), _shape(shape, _MOST_AXES), _raw(data)
    if prod(sizes) * kind.itemsize != len(raw):
        raise ValueError(
            f"must hold {prod(sizes) * kind.itemsize} bytes for an array {sizes} of {kind}; got "
            f"{len(raw)}"
        )
    return np.frombuffer(raw, kind).reshape(sizes, order="F" if fortran else "C")


def _shape(value: Any, most: int) -> tuple[int, ...]:
    if (
        not isinstance(value, tuple)
        or len(value) > most
        or any(type(size) is not int or not 0 <= size < 2**31 for size in value)
    ):
        raise ValueError(f"must have at most {most} axes of sizes in [0, 2^31)")
    return value


def _dtype(value: Any) -> np.dtype[Any]:
    if not isinstance(value, Node) or value.name != "dtype" or not value.args:
        raise ValueError("must name the type of its numbers")
    code = value.args[0]
    found = _DTYPE.fullmatch(code) if isinstance(code, str) else None
    if found is None:
        raise ValueError(f"must hold integers or floats; got the type {ascii(code)[:80]}")
    order = found[1]
    if value.state is not None:
        state = value.state
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "=", "|"):
            raise ValueError("must state the byte order of its numbers")
        if any(part is not None for part in state[2:5]):
            raise ValueError("must hold plain numbers; got a type with fields")
        order = state[1]
    return np.dtype(("" if order == "|" else order) + found[2])


def _raw(value: Any) -> bytes:
    if isinstance(value, Node) and value.name == "bytes" and not value.args:
        return b""
    if isinstance(value, Node) and value.name == "encode" and value.args:
        if value.args[1:] not in (("latin1",), ("latin-1",)):
            raise ValueError("must hold its bytes as Latin-1")
        value = value.args[0]
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise ValueError(f"must hold numbers as bytes; got {type(value).__name__}")


def _from_sparse(form: str, state: Any, most: int) -> np.ndarray:
    if not isinstance(state, dict):
        raise ValueError("must state what a sparse matrix holds")
    shape = _shape(state.get("_shape", state.get("shape")), 2)
    if len(shape) != 2 or prod(shape) > most:
        raise ValueError(f"must have sparse matrices of at most {most} elements; got {shape}")
    data = node_array(state.get("data"), 0)
    if form == "coo":
        rows, columns = state.get("coords") or (state.get("row"), state.get("col"))
        index = [node_array(rows, 0), node_array(columns, 0)]
    else:
        minor, starts = node_array(state.get("indices"), 0), node_array(state.get("indptr"), 0)
        major = _runs(starts, shape[form == "csc"], min(len(data), len(minor)))
        data, minor = data[: len(major)], minor[: len(major)]  # room may be left behind them
        index = [minor, major] if form == "csc" else [major, minor]
    for axis, places in enumerate(index):
        if places.dtype.kind not in "iu" or places.shape != data.shape or data.ndim != 1:
            raise ValueError("must have one row and one column for each value of a sparse matrix")
        if places.size and not (0 <= int(places.min()) and int(places.max()) < shape[axis]):
            raise ValueError(f"must have indices of a sparse matrix in its shape {shape}")
    dense = np.zeros(shape, np.result_type(data, np.float32))
    np.add.at(dense, (index[0], index[1]), data)
    return dense


def _runs(starts: np.ndarray, count: int, values: int) -> np.ndarray:
    """Major index of each value, from the start of each row or column."""
    if starts.dtype.kind not in "iu" or starts.shape != (count + 1,):
        raise ValueError(f"must have {count + 1} starts of rows or columns in a sparse matrix")
    if starts[0] != 0 or int(starts.max()) > values or (starts[1:] < starts[:-1]).any():
        raise ValueError(
            f"must have starts of rows or columns that rise from 0 to at most {values}, the number "
            "of values"
        )
    return np.arange(count).repeat(np.diff(starts.astype(np.int64)))


def _from_lists(value: Any) -> np.ndarray:
    """Array of nested lists; their total length is checked before conversion."""
    shape: list[int] = []
    level: Any = value
    while isinstance(level, list | tuple) and len(shape) <= _MOST_AXES:
        shape.append(len(level))
        level = level[0] if level else None
    # Empty lists inside of many take memory on the way, too.
    if prod(max(size, 1) for size in shape) > MOST_STEPS or len(shape) > _MOST_AXES:
        raise ValueError(f"must have lists of at most {MOST_STEPS} numbers")
    flat = [value]
    for size in shape:
        if any(not isinstance(each, list | tuple) or len(each) != size for each in flat):
            raise ValueError("must have lists of equal lengths")
        flat = [each for part in flat for each in part]
    if any(type(each) not in (int, float) for each in flat):
        raise ValueError("must have lists of numbers")
    return np.array(flat, dtype=np.float64).reshape(shape)
