"""Saved metrics: JSON files with a format tag, read within bounds and checked field by field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose.files.reading import reading

__all__ = ["METRICS_FORMAT", "metrics_fields", "read_record", "without_nan"]

#: Format tag of a file of `Metrics.to_json`.
METRICS_FORMAT = "og_reid metrics 1"
#: Bytes of a file; a search of 100,000 queries, by pairs of 20 cameras, is about half of it.
_LARGEST = 1 << 30
_PIECE = 1 << 20
#: Largest gallery, in rows: `Metrics.cmc` has a number for each.
_ITEMS = 10**8
_COUNTS = ("first_match", "ties", "same_camera")
_REAL = ("step", "trapezoid", "inverse_penalty")
_TEXTS = ("ap", "protocol", "gallery", "test_view", "reranking")
_WHOLE = ("query_pids", *_COUNTS)
_NEEDED = ("ap", "protocol", *_WHOLE, *_REAL, "num_items")


def read_record(path: str | Path, tags: Sequence[str], writer: str) -> dict[str, Any]:
    """Object in a JSON file (UTF-8, or UTF-16 from some editors) with a format tag.

    Args:
        path: JSON file.
        tags: Accepted values of ``format``.
        writer: Writer of such files, for messages.

    Raises:
        ValueError: The path is a folder, another file, or larger than 1 GiB.
        OSError: The file cannot be read.
    """
    with reading(path, f"is not a file of {writer}"):
        if Path(path).is_dir():
            raise ValueError(f"{path} is a folder: give a file of {writer}")
        data = bytearray()
        with Path(path).open("rb") as file:
            while piece := file.read(_PIECE):
                data += piece
                if len(data) > _LARGEST:
                    raise ValueError(f"{path} is not a file of {writer}: it is larger than 1 GiB")
        record = json.loads(data)
    if not isinstance(record, dict) or record.get("format") not in tags:
        raise ValueError(f"{path} is not a file of {writer} ({tags[0]!r} is missing)")
    return record


def metrics_fields(record: Any) -> dict[str, Any]:
    """Fields of `Metrics` in a record, as tensors.

    Args:
        record: Result of `Metrics.record`; its means and unknown fields are ignored.

    Raises:
        ValueError: A field is missing, of another type or length, or out of its range.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"metrics must be an object; got {type(record).__name__}")
    missing = [name for name in _NEEDED if name not in record]
    if missing:
        raise ValueError(f"record must hold all fields of Metrics; {missing} are missing")
    values: dict[str, Any] = {name: record[name] for name in _TEXTS if name in record}
    for name, value in values.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a string; got {type(value).__name__}")
    items = values["num_items"] = _whole("num_items", record["num_items"], 0, _ITEMS)
    if "num_junk" in record:
        values["num_junk"] = _whole("num_junk", record["num_junk"], 0, items)
    values["query_pids"] = _integers("query_pids", record["query_pids"], -(2**63), 2**63 - 1)
    count = len(values["query_pids"])
    for name in (*_COUNTS, *_REAL):
        read = _integers if name in _COUNTS else _fractions
        values[name] = read(name, record[name], 0, items)
        if len(values[name]) != count:
            raise ValueError(f"{name} must be of {count} queries; got {len(values[name])}")
    valid = values["first_match"] > 0
    for name in _REAL:
        if not torch.equal(values[name].isnan(), ~valid):
            raise ValueError(f"{name} must be null where first_match is 0, and nowhere else")
    if record.get("shot_ranks") is not None:
        values["shot_ranks"] = _shot_ranks(record["shot_ranks"], valid, items)
    return values


def without_nan(value: Any) -> Any:
    """Value with None in place of NaN, which JSON lacks."""
    if isinstance(value, dict):
        return {name: without_nan(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    return None if value != value else value


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(
            f"{name} must be a whole number in [{low}, {high}]; got {_described(value)}"
        )
    return value


def _described(value: Any) -> str:
    """Number as text, or the name of its type."""
    if type(value) is float or (type(value) is int and abs(value) < 1 << 70):
        return repr(value)
    return "a huge number" if type(value) is int else type(value).__name__


def _integers(name: str, values: Any, low: int, high: int) -> Tensor:
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list; got {type(values).__name__}")
    for row, value in enumerate(values):
        if type(value) is not int or not low <= value <= high:
            _whole(f"{name}[{row}]", value, low, high)
    return torch.tensor(values, dtype=torch.int64, device="cpu")


def _fractions(name: str, values: Any, *_: int) -> Tensor:
    """Numbers in [0, 1]; NaN for null, and for the NaN of other writers."""
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list; got {type(values).__name__}")
    found = []
    for row, value in enumerate(values):
        if value is None or (type(value) is float and math.isnan(value)):
            found.append(math.nan)
        elif type(value) in (int, float) and 0 <= value <= 1 + 1e-9:
            found.append(float(value))
        else:
            raise ValueError(
                f"{name}[{row}] must be a number in [0, 1] or null; got {_described(value)}"
            )
    return torch.tensor(found, dtype=torch.float64, device="cpu")


def _shot_ranks(values: Any, valid: Tensor, items: int) -> Tensor:
    if not isinstance(values, list) or len(values) != len(valid):
        raise ValueError(f"shot_ranks must be a list of {len(valid)} rows")
    rows = [_integers(f"shot_ranks[{row}]", each, 0, items) for row, each in enumerate(values)]
    width = len(rows[0]) if rows else 1
    if not width or any(len(row) != width for row in rows):
        raise ValueError("shot_ranks must have rows of one length, at least 1")
    ranks = torch.stack(rows) if rows else torch.zeros(0, 1, dtype=torch.int64, device="cpu")
    if not torch.equal(ranks > 0, valid[:, None].expand_as(ranks)):
        raise ValueError("shot_ranks must be 0 where first_match is 0, and nowhere else")
    return ranks
