"""Boxes of people in videos, in the CSV format of the MOT challenge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

__all__ = ["UNKNOWN", "BoxTracks", "box_overlap", "read_mot", "write_mot"]

#: Largest file: above ten million boxes.
MAX_BYTES = 1_000_000_000
_NAMES = ("frame", "id", "left", "top", "width", "height", "confidence")
_LEAST = 6  # columns of a line
_LARGEST = 1e9  # of any number
_TINY = float(np.finfo(np.float64).eps)
_RULE = "must be a CSV file of the MOT challenge: frame, id, left, top, width, height, ..."
#: Identity of boxes without one.
UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class BoxTracks:
    """Boxes of people in the frames of one camera, with identities.

    Attributes:
        frames: (n,) int64, number of the frame of each box, from 1.
        ids: (n,) int64, identity of each box, at least 0, or -1 where it is unknown. A frame has at
            most one box of an identity.
        boxes: (n, 4) float64, left, top, right and bottom, pixels.
        scores: (n,) float64, confidence of the detector, of any scale; None: 1 each.

    Raises:
        ValueError: Shapes differ, a number is out of range, or an identity is twice in a frame.
    """

    frames: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Checks the values, and makes arrays of them."""
        frames, ids = (_whole(name, getattr(self, name)) for name in ("frames", "ids"))
        boxes = np.asarray(self.boxes, np.float64)
        boxes = boxes.reshape(-1, 4) if boxes.size == 0 else boxes
        scores = np.ones(len(frames)) if self.scores is None else self.scores
        scores = np.asarray(scores, np.float64)
        if boxes.shape != (len(frames), 4) or not len(frames) == len(ids) == scores.size:
            raise ValueError(
                "frames, ids and scores must be (n,) and boxes (n, 4); got "
                f"{frames.shape}, {ids.shape}, {scores.shape} and {boxes.shape}"
            )
        fault = _first_fault(frames, ids, boxes, scores)
        if fault is not None:
            raise ValueError(f"row {fault[0]}: {fault[1]}")
        for name, value in (("frames", frames), ("ids", ids), ("boxes", boxes), ("scores", scores)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.frames)

    def __repr__(self) -> str:
        """Sizes, not all numbers."""
        known = len(np.unique(self.ids[self.ids != UNKNOWN]))
        last = int(self.frames.max()) if len(self) else 0
        return f"BoxTracks({len(self)} boxes of {known} identities, last frame {last})"

    def __getitem__(self, rows: np.ndarray | slice) -> BoxTracks:
        """Boxes of a slice, of indices or of a mask."""
        assert self.scores is not None
        return BoxTracks(self.frames[rows], self.ids[rows], self.boxes[rows], self.scores[rows])

    def with_ids(self, ids: np.ndarray) -> BoxTracks:
        """The same boxes with other identities."""
        return BoxTracks(self.frames, ids, self.boxes, self.scores)


def box_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes.

    Args:
        first: (n, 4) left, top, right and bottom.
        second: (m, 4), likewise.

    Returns:
        (n, m) float64 in [0, 1].
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low).clip(min=0).prod(-1)
    area, other = ((each[:, 2:] - each[:, :2]).prod(-1) for each in (first, second))
    union = area[:, None] + other[None] - common
    return np.asarray(common / np.maximum(union, _TINY))


def read_mot(path: str | Path) -> BoxTracks:
    """Reads boxes in the CSV format of the MOT challenge.

    Each line has frame (from 1), identity (-1: unknown), left, top, width and height in pixels, and
    optionally a confidence (otherwise 1); further columns, such as class and visibility of ground
    truth or the world coordinates of results, are ignored. Values are separated by commas, or by
    blanks in a file without commas. Blank lines are skipped, and so is a first line with names.

    Args:
        path: File to read.

    Returns:
        Boxes in the order of the file; none for an empty file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is no such table; the message has the number of the line.
    """
    file = Path(path)
    with reading(file, _RULE):
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"must have at most {MAX_BYTES:,} bytes; got {size:,}")
        text = file.read_bytes().decode("utf-8-sig")
    rows: list[list[float]] = []
    lines: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        values = line.split(",") if "," in line else line.split()
        if not line.strip() or (not rows and values[0].strip().strip('"').lower() == "frame"):
            continue
        rows.append(_numbers(f"{file}, line {number}", values))
        lines.append(number)
    table = np.array(rows, np.float64).reshape(-1, len(_NAMES))
    boxes = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], 1)
    frames, ids = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    fault = _first_fault(frames, ids, boxes, table[:, 6])
    if fault is not None:
        raise ValueError(f"{file}, line {lines[fault[0]]}: {fault[1]}")
    return BoxTracks(frames, ids, boxes, table[:, 6])


def write_mot(path: str | Path, tracks: BoxTracks) -> None:
    """Writes boxes in the CSV format of the MOT challenge, as TrackEval reads results.

    Lines are in the order of frames, then of identities: frame, identity, left, top, width, height,
    confidence, and three times -1.

    Raises:
        OSError: The file cannot be written.
    """
    assert tracks.scores is not None
    with atomic_write(path) as partial, partial.open("w", encoding="ascii", newline="\n") as file:
        for row in np.lexsort((tracks.ids, tracks.frames)):
            left, top, right, bottom = tracks.boxes[row]
            values = (left, top, right - left, bottom - top, tracks.scores[row])
            texts = ",".join(f"{value:.10g}" for value in values)
            file.write(f"{tracks.frames[row]},{tracks.ids[row]},{texts},-1,-1,-1\n")


def _numbers(place: str, values: Sequence[str]) -> list[float]:
    """The seven numbers of a line.

    Raises:
        ValueError: With the place.
    """
    if len(values) < _LEAST:
        raise ValueError(
            f"{place}: must have frame, id, left, top, width, height; got {len(values)} values"
        )
    found = []
    for name, value in zip(_NAMES, [*values, ""], strict=False):
        if name == _NAMES[-1] and not value.strip():
            found.append(1.0)
            continue
        try:
            number = math.nan if "_" in value else float(value)
        except ValueError:
            number = math.nan
        if not abs(number) <= _LARGEST:
            raise ValueError(
                f"{place}: {name} must be a number of at most {_LARGEST:g}; got {value.strip()!r}"
            )
        found.append(number)
    for name, number in zip(_NAMES[:2], found, strict=False):
        if number != int(number):
            raise ValueError(f"{place}: {name} must be a whole number; got {number:g}")
    for name, number in zip(_NAMES[4:6], found[4:6], strict=True):
        if not number > 0:
            raise ValueError(f"{place}: {name} must be above 0; got {number:g}")
    return found


def _first_fault(
    frames: np.ndarray, ids: np.ndarray, boxes: np.ndarray, scores: np.ndarray
) -> tuple[int, str] | None:
    """First row against a rule, and the rule."""
    finite = (np.abs(boxes) <= 2 * _LARGEST).all(1)
    with np.errstate(invalid="ignore"):
        empty = ~((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    order = np.lexsort((ids, frames))
    twice = np.zeros(len(frames), bool)
    same = (np.diff(frames[order]) == 0) & (np.diff(ids[order]) == 0)
    twice[order[1:][same]] = True
    twice &= ids != UNKNOWN
    rules = (
        (frames < 1, "frame must be at least 1", frames),
        (ids < UNKNOWN, "id must be at least 0, or -1 if unknown", ids),
        (~finite, "a box must be finite numbers", boxes),
        (empty, "a box must have a width and a height above 0", boxes),
        (~np.isfinite(scores), "confidence must be a finite number", scores),
        (twice, "an identity must have one box in a frame; this is a second one of", ids),
    )
    faults = [(int(wrong.argmax()), rule, values) for wrong, rule, values in rules if wrong.any()]
    if not faults:
        return None
    row, rule, values = min(faults, key=lambda fault: fault[0])
    joint = " " if rule.endswith("of") else "; got "
    return row, f"{rule}{joint}{values[row].tolist()}"


def _whole(name: str, values: object) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be (n,) whole numbers; got {array.shape} {array.dtype}")
    return array.astype(np.int64)
