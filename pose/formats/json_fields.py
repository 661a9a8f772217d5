"""Numbers in JSON files, with errors that name file, entry and rule."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..files.reading import InputWarning, level_outside, reading
from ..keypoints import Keypoints

__all__ = [
    "are_fractions",
    "check_file",
    "clamp_scores",
    "read_json",
    "read_number",
    "read_rows",
    "read_scored_rows",
    "warn_of_fractions",
]

_LARGEST = 1e9  # pixels; also keeps whole numbers of any length within a float
# Range of estimators' scores: heat map peaks reach about 1, peaks of some models' distributions
# about 6; some scores lie a little below 0.
_SCORES = (-1.0, 10.0)


def check_file(path: Path) -> None:
    """Refuses a missing or empty file, and a folder."""
    if not path.exists():
        raise FileNotFoundError(f"there is no keypoint file {path}")
    if path.is_dir():
        raise ValueError(f"{path}: must be a file; it is a folder")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: must hold keypoints; it is empty (0 bytes)")


def read_json(path: Path) -> Any:
    """Content of a JSON file."""
    check_file(path)
    with reading(path, "must be a whole JSON file"):
        # From bytes: UTF-8, UTF-16 and UTF-32, with and without a byte order mark.
        return json.loads(path.read_bytes())


def read_number(
    where: str, key: str, value: Any, low: float = -_LARGEST, high: float = _LARGEST
) -> float:
    """A finite number in [low, high].

    Args:
        where: file and entry, for messages.
        key: name of the field.
        value: value in the file.
        low: smallest allowed.
        high: largest allowed.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f'{where}: "{key}" must be a number; got {value!r}')
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f'{where}: "{key}" must be finite; got {value}')
    if not low <= value <= high:
        raise ValueError(f'{where}: "{key}" must be in [{low}, {high}]; got {value}')
    return float(value)


def read_rows(where: str, key: str, value: Any, width: int) -> np.ndarray:
    """(K, width) float64 from a flat list of K * width numbers or from K lists of `width`."""
    if not isinstance(value, list):
        raise ValueError(f'{where}: "{key}" must be a list; got {type(value).__name__}')
    if value and all(isinstance(row, list) for row in value):
        wrong = [i for i, row in enumerate(value) if len(row) != width]
        if wrong:
            raise ValueError(
                f'{where}: "{key}[{wrong[0]}]" must have {width} numbers; got '
                f"{len(value[wrong[0]])}"
            )
        value = [each for row in value for each in row]
    if len(value) % width:
        raise ValueError(
            f'{where}: "{key}" must be a flat list of {width} numbers per keypoint; got '
            f"{len(value)} values"
        )
    numbers = [read_number(where, f"{key}[{i}]", each) for i, each in enumerate(value)]
    return np.array(numbers, dtype=np.float64).reshape(-1, width)


def read_scored_rows(where: str, key: str, value: Any) -> np.ndarray:
    """(K, 3) x, y and score clamped to [0, 1], from the lists of an estimator's file."""
    found = read_rows(where, key, value, 3)
    return clamp_scores(where, key, found)


def clamp_scores(where: str, key: str, found: np.ndarray) -> np.ndarray:
    """Rows with the last column clamped to [0, 1]; refuses values that are no scores."""
    scores = found[:, -1]
    low, high = _SCORES
    if len(scores) and not (low <= scores.min() and scores.max() <= high):
        raise ValueError(
            f'{where}: the scores in "{key}" must be around [0, 1]; got {scores.min():.4g} to '
            f"{scores.max():.4g}: if they are percent, divide them by 100"
        )
    return np.concatenate([found[:, :-1], scores.clip(0, 1)[:, None]], 1)


def are_fractions(keypoints: Keypoints, threshold: float = 0.0) -> bool:
    """True when all joints lie in [-1, 1]: probably fractions of the image's size, not pixels.

    Args:
        keypoints: (..., K) people; True needs at least three joints.
        threshold: joints with a score above it count as found.
    """
    found = keypoints.xy[keypoints.score > threshold]
    return len(found) >= 3 and bool((found.abs() <= 1).all())


def warn_of_fractions(path: str | Path, keypoints: Keypoints) -> None:
    """Warns, at the caller of a reader, of a file with all joints in [-1, 1]."""
    if are_fractions(keypoints):
        warnings.warn(
            f"{path}: keypoints must be in pixels; all joints lie in [-1, 1], as fractions of the "
            "image do: multiply x by its width and y by its height",
            InputWarning,
            stacklevel=level_outside(),
        )
