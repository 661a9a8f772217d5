"""Fast, strict reader of the OG-Net authors' ``.obj`` clouds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from meshes.pointcloud_values import MAX_BYTES, near_points

from .market3d import PIXELS, RawCloud

__all__ = ["read_obj"]

# Each digit matches in one way only: else many tokens before a wrong one would take for ever.
_FACE = re.compile(rb"f(\s+\d[/\d]*){3,}\s*")
_NEAR = 2048.0  # metres; up to there float32 moves no point by more than 0.1 mm


def read_obj(path: str | Path, *, expected: int | None = PIXELS) -> RawCloud:
    """Reads an ``.obj`` cloud of the OG-Net authors.

    The file is ASCII: lines ``v x y z r g b``, then one face line ``f ...`` that only marks the
    end. Values are the float32 nearest to the decimals; points too far from the origin for that are
    taken relative to their centroid (`meshes.pointcloud_values`). (Recent releases of Open3D drop
    points without a face, here all but three.) `meshes.read_pointcloud` reads other notations, too.

    Args:
        path: ``.obj`` file.
        expected: required number of points; None allows any.

    Returns:
        The cloud in the frame and point order of the file.

    Raises:
        ValueError: the file is cut short, is a mesh, has no colours, other lines or another number
            of points, values that are not finite or colours outside [0, 1], or is no regular file
            or above 1 GiB. The message names the file.
        OSError: the file cannot be read.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MAX_BYTES:  # a pipe would block
            raise ValueError(f"must be a regular file of at most {MAX_BYTES} bytes; got {size}")
        points, table = _values(path.read_bytes())
        if expected is not None and len(table) != expected:
            raise ValueError(
                f"must hold {expected} points; got {len(table)}: give expected=None to take any"
            )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return RawCloud(points, torch.from_numpy(table[:, 3:].copy()))


def _values(data: bytes) -> tuple[Tensor, np.ndarray]:
    """(N, 3) float32 points and the (N, 6) float32 checked values of a file's text."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    text = _vertex_lines(data)
    numbers = _parse_fixed(text)
    if numbers is None:
        numbers = _parse_any(text)
    with np.errstate(over="ignore"):  # what is too large for float32 is reported as infinite
        table = numbers.astype(np.float32)
    if not np.isfinite(table).all():
        line = int((~np.isfinite(table).all(axis=1)).argmax()) + 1
        raise ValueError(f"values must be finite; got NaN or infinity in line {line}")
    low, high = table[:, 3:].min(), table[:, 3:].max()
    if low < 0 or high > 1:
        hint = ": divide 8-bit colours by 255" if low >= 0 and 1 < high <= 255 else ""
        raise ValueError(f"colours must be in [0, 1]; got {low:g}..{high:g}{hint}")
    if np.abs(table[:, :3]).max() < _NEAR:
        return torch.from_numpy(table[:, :3].copy()), table
    return near_points(torch.from_numpy(numbers[:, :3])), table


def _vertex_lines(data: bytes) -> bytes:
    """Text before the face line, newline included."""
    if data.startswith(b"# og_reid"):
        raise ValueError(
            "was written by this package, in another frame: read it with meshes.read_pointcloud"
        )
    if not data.startswith(b"v"):
        first = _quote(data[:61].partition(b"\n")[0]) if data else "none"
        other = ": read files of other writers with meshes.read_pointcloud" if data else ""
        raise ValueError(f"must start with lines 'v x y z r g b'; got {first}{other}")
    end = data.find(b"\nf") + 1
    if not end:
        raise ValueError("must end in a face line 'f ...'; got none: the file is cut short")
    faces = data[end:].split(b"\n")
    while faces and not faces[-1].strip():
        faces.pop()
    if len(faces) > 1:
        raise ValueError(
            f"must hold one face line, the last; got {len(faces)} lines from there: "
            "a mesh is no cloud"
        )
    if not _FACE.fullmatch(faces[0]):
        raise ValueError(f"must end in a whole face line; got {_quote(faces[0])}: cut short")
    return data[:end]


def _parse_fixed(text: bytes) -> np.ndarray | None:
    """(N, 6) float64 numbers of text in the authors' exact format; None otherwise.

    Each number is one digit, a dot and six digits, with a minus or without: an integer number of
    micrometres, so that a division by 1e6 is the only rounding.
    """
    chars = np.frombuffer(text, np.uint8)
    dots = np.flatnonzero(chars == ord("."))
    if not len(dots) or len(dots) % 6 or dots[0] < 3 or dots[-1] + 8 != len(chars):
        return None
    negative = chars[dots - 2] == ord("-")
    start = (dots - 1 - negative).reshape(-1, 6)
    end = (dots + 7).reshape(-1, 6)
    head = start[:, 0]
    # The numbers and the characters between them account for every character of the text.
    regular = (
        head[0] == 2
        and np.array_equal(head[1:], end[:-1, 5] + 3)
        and np.array_equal(start[:, 1:], end[:, :-1] + 1)
        and bool((chars[head - 2] == ord("v")).all())
        and bool((chars[head - 1] == ord(" ")).all())
        and bool((chars[end[:, :5]] == ord(" ")).all())
        and bool((chars[end[:, 5]] == ord("\n")).all())
    )
    if not regular:
        return None
    total = np.zeros(len(dots), np.int32)
    largest = 0
    for offset in (-1, 1, 2, 3, 4, 5, 6):
        digit = chars[dots + offset] - ord("0")  # wraps around below "0"
        largest = max(largest, int(digit.max()))
        total = total * 10 + digit
    if largest > 9:
        return None
    numbers = total / 1e6
    np.negative(numbers, where=negative, out=numbers)
    return numbers.reshape(-1, 6)


def _parse_any(text: bytes) -> np.ndarray:
    """(N, 6) float64 numbers in any notation, an order of magnitude slower."""
    words = text.split()
    count = text.count(b"\n")
    regular = (
        len(words) == 7 * count and set(words[::7]) == {b"v"} and text.count(b"\nv") == count - 1
    )
    if not regular:
        _explain(text)
    del words[::7]
    try:
        if b"_" in text:  # which `float` takes between digits
            _explain(text)
        return np.fromiter(map(float, words), np.float64, len(words)).reshape(-1, 6)
    except ValueError:
        _explain(text)


def _explain(text: bytes) -> NoReturn:
    """Raises an error about the first malformed line."""
    for number, line in enumerate(text.split(b"\n"), 1):
        words = line.split()
        what = f"line {number} must be 'v x y z r g b'; got {_quote(line)}"
        if len(words) == 4 and words[0] == b"v":
            raise ValueError(f"{what}: the file has no colours")
        if len(words) != 7 or words[0] != b"v":
            raise ValueError(what)
        try:
            if b"_" in line:
                raise ValueError("underscores are no digits")
            list(map(float, words[1:]))
        except ValueError as error:
            raise ValueError(what) from error
    raise ValueError("every line must be 'v x y z r g b'")


def _quote(line: bytes) -> str:
    return repr(line[:60].decode("ascii", "replace"))
