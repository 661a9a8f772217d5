"""Coloured vertices of Wavefront OBJ files of any writer, and their frame.

Only the file itself is read: material libraries are never opened.
"""

from __future__ import annotations

import io
import re
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ..pointcloud_values import MAX_BYTES, MAX_POINTS

__all__ = ["OBJ_HEADER", "Frame", "ObjVertices", "read_obj_vertices"]

Frame = Literal["y-up", "reference"]
"""``y-up``: y up, z towards the camera; ``reference``: y down, z away, as the OG-Net authors."""

OBJ_HEADER = "# og_reid point cloud; x y z r g b; metres, y up, z towards the camera"
"""First line of files written here; newer ones append ``; N points``."""

# Writers with y up, or with the frame of their input.
_WRITERS = (
    "og_reid", "open3d", "trimesh", "meshlab", "blender", "cloudcompare", "open asset import",
)  # fmt: skip
_COUNTS = re.compile(
    r"; ([0-9]{1,18}) points$|^#+ (?:number of )?vertices: ([0-9]{1,18})$"
    r"|^# ([0-9]{1,18}) vertex positions",
    re.IGNORECASE,
)
# A line of the authors' files, and a line with a last number that may be cut.
_FIXED = re.compile(r"v(?: -?[0-9]+\.[0-9]{6}){6}$")
_CUT = re.compile(r"v(?: -?[0-9]+\.[0-9]{6}){5} -?[0-9]*\.?[0-9]{0,6}")
_MAX_COMMENTS, _MAX_COMMENT = 1000, 200  # lines, characters of a line
_MAX_LINE = 2**20
_MOST_NUMBERS = 8  # of a vertex: what lines hold is kept until the end, for messages
_NO_FACE = (
    "must end in a face line 'f ...', as the OG-Net authors' files do; got none: the file is cut "
    "short. If it is whole and of another writer, give frame='y-up'"
)


@dataclass(frozen=True, eq=False)
class ObjVertices:
    """Contents of a file.

    Attributes:
        points: (N, 3) float64, values of the file.
        colors: (N, 3) float64 in [0, 1], or uint8 where all are written as integers and one is
            above 1.
        frame: Frame of the points.
        doubt: Sentence about an assumed frame; empty for a certain one.
    """

    points: np.ndarray
    colors: np.ndarray
    frame: Frame
    doubt: str


@dataclass
class _Content:
    """Content of the lines."""

    numbers: array[float] = field(default_factory=lambda: array("d"))
    widths: dict[int, int] = field(default_factory=dict)  # numbers in a line: lines
    comments: list[str] = field(default_factory=list)
    vertices: int = 0
    fixed: int = 0  # vertices as the authors' files have them, from the first on
    faces: int = 0
    others: int = 0  # lines of other elements, and vertices after a face
    integers: bool = True  # all colours, as written
    decimals: set[int] = field(default_factory=set)  # of the last numbers of all lines but the last
    last: list[str] = field(default_factory=list)  # words of the last vertex line
    whole: bool = True  # that line ends in a newline
    first_is_vertex: bool = False


def read_obj_vertices(path: Path, frame: Frame | None = None) -> ObjVertices:
    """Reads lines ``v x y z r g b`` and ``v x y z r g b a``; other elements of OBJ are skipped.

    Args:
        path: File in an encoding that extends ASCII.
        frame: Frame of the file; None detects it. Files of og_reid and of known programs are y up;
            files of vertices alone, with at most one face at the end, are in the reference frame;
            others are y up. Without a known header or the authors' six decimals, ``doubt`` is set.

    Raises:
        ValueError: The file has no coloured vertices, is damaged or cut short, or too large.
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"must be at most {MAX_BYTES} bytes; got {size}")
    with path.open("rb") as stream:
        if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise ValueError("must be text in UTF-8 or ASCII; got UTF-16: save it as UTF-8")
        stream.seek(0)
        with io.TextIOWrapper(stream, encoding="latin-1", newline=None) as lines:
            content = _read_lines(lines)
    if not content.vertices:
        raise ValueError("must hold lines 'v x y z r g b'; got none")
    if len(content.widths) > 1 or not content.widths.keys() & {6, 7}:
        raise ValueError(
            "every vertex line must be 'v x y z r g b'; got lines with "
            f"{sorted(content.widths)} numbers: the file has no vertex colours or is cut short"
        )
    header = "\n".join(content.comments)
    known = any(name in header.lower() for name in _WRITERS)
    if known:
        _check_count(content)
    _check_last(content, ours=OBJ_HEADER in header)
    found, doubt = _find_frame(content, known, frame)
    table = np.frombuffer(content.numbers, np.float64).reshape(content.vertices, -1)
    colors = table[:, 3:6]
    if content.integers and 1 < colors.max() <= 255 and colors.min() >= 0:
        colors = colors.astype(np.uint8)
    return ObjVertices(table[:, :3], colors, found, doubt)


def _read_lines(lines: io.TextIOWrapper) -> _Content:
    content = _Content()
    begun = False
    for line in lines:
        if not begun:
            line = line.removeprefix("\xef\xbb\xbf")  # the byte order mark of UTF-8
        if line.endswith("\\\n"):
            line = _joined(line, lines)
        if len(line) > _MAX_LINE:
            raise ValueError(f"must hold lines of at most {_MAX_LINE} characters")
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            content.first_is_vertex |= not begun
            _add_vertex(content, line, words)
        elif words[0].startswith("#"):
            if len(content.comments) < _MAX_COMMENTS:
                content.comments.append(line[:_MAX_COMMENT].strip())
        elif words[0] == "f":
            if len(words) < 4 and not line.endswith("\n"):
                raise ValueError(f"must end in a whole face line; got {line!r}: cut short")
            content.faces += 1
            content.whole = True
        elif words[0][0].isalpha():
            content.others += 1
            content.whole = True
        else:
            raise ValueError(f"must hold lines of OBJ, such as 'v x y z r g b'; got {line[:60]!r}")
        begun = True
    return content


def _joined(line: str, lines: io.TextIOWrapper) -> str:
    """Line with its continuations after backslashes."""
    parts = []
    length = 0
    while line.endswith("\\\n"):
        parts.append(line[:-2])
        length += len(line)
        if length > _MAX_LINE:
            raise ValueError(f"must hold lines of at most {_MAX_LINE} characters")
        line = lines.readline()
    return " ".join([*parts, line])


def _add_vertex(content: _Content, line: str, words: list[str]) -> None:
    if not content.comments and content.fixed == content.vertices:
        content.fixed += _FIXED.match(line) is not None
    if "#" in line:
        words = line.partition("#")[0].split()
    if "_" in line and "_" in "".join(words):  # which `float` takes
        raise ValueError(f"could not convert the numbers of {line[:60]!r}")
    content.others += content.faces > 0
    content.vertices += 1
    if content.vertices > MAX_POINTS:
        raise ValueError(f"must hold at most {MAX_POINTS} vertices")
    width = len(words) - 1
    if width > _MOST_NUMBERS:
        raise ValueError(f"every vertex line must be 'v x y z r g b'; got one with {width} numbers")
    content.widths[width] = content.widths.get(width, 0) + 1
    content.numbers.extend(map(float, words[1:]))
    if content.integers:
        content.integers = "".join(words[4:7]).isdecimal()
    if content.last and len(content.decimals) < 2:
        content.decimals.add(_decimals(content.last[-1]))
    content.last = words
    content.whole = line.endswith("\n")


def _decimals(number: str) -> int:
    """Digits behind the dot; -1 for numbers without a dot."""
    _, dot, digits = number.partition(".")
    return len(digits) if dot else -1


def _check_count(content: _Content) -> None:
    """Compares the number of vertices with that in the header."""
    for comment in content.comments:
        match = _COUNTS.search(comment)
        if match is not None and int(next(filter(None, match.groups()))) != content.vertices:
            raise ValueError(
                f"must hold as many vertices as its header states, {comment[-40:]!r}; got "
                f"{content.vertices}: the file is cut short or was changed"
            )


def _check_last(content: _Content, ours: bool) -> None:
    """Refuses a last number without a newline that is shorter than all others: it was cut."""
    if content.whole:
        return
    number = content.last[-1]
    usual = {6} if ours else content.decimals | {_decimals(word) for word in content.last[1:-1]}
    if len(usual) == 1 and _decimals(number) < min(usual):
        raise ValueError(f"must end in a whole line; got the number {number!r}: cut short")


def _find_frame(content: _Content, known: bool, frame: Frame | None) -> tuple[Frame, str]:
    plain = content.first_is_vertex and not content.comments and not content.others
    ends = content.fixed == content.vertices or _CUT.fullmatch(" ".join(content.last)) is not None
    fixed = plain and content.fixed >= content.vertices - 1 and ends
    if fixed and not content.faces and frame != "y-up":
        raise ValueError(_NO_FACE)
    if frame is not None or known:
        return frame or "y-up", ""
    if plain and content.faces <= 1:
        if fixed:
            return "reference", ""
        return "reference", (
            "the frame is not known. A file of nothing but vertices and at most one face is taken "
            "for one of the OG-Net authors' (y down, z away from the camera) and turned; give "
            "read_pointcloud frame='y-up' to keep it, or frame='reference' to confirm this"
        )
    return "y-up", (
        "the frame is not known. A file of another writer is taken to have y up and z towards the "
        "camera; give read_pointcloud frame='reference' if y is down and z away from the camera, "
        "or frame='y-up' to confirm this"
    )
