"""Filters of a gallery: typed conditions on fields, never text of a query language.

A store translates conditions to its own typed expressions; values are compared as values, so that
no value of a request can become a part of a query.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "FIELDS",
    "METADATA",
    "Condition",
    "as_label",
    "as_microseconds",
    "conditions",
    "keep_rows",
]

#: Fields of an item with text values.
TEXT_FIELDS = ("id", "identity", "tracklet", "camera", "path")
#: Fields that conditions name; ``time`` is in seconds.
FIELDS = (*TEXT_FIELDS, "time")
#: Beginning of the name of a key of an item's metadata.
METADATA = "metadata."
_MOST_VALUES = 10_000
_MOST_TEXT = 4096


@dataclass(frozen=True)
class Condition:
    """Condition on one field of an item.

    Attributes:
        field: One of `FIELDS`, or ``metadata.KEY``.
        values: Allowed values; None: any that is in the range.
        low: Smallest value, or None.
        high: Largest value, or None.
        below: Value that all are smaller than, or None.
    """

    field: str
    values: tuple[Any, ...] | None = None
    low: Any = None
    high: Any = None
    below: Any = None

    def holds(self, value: Any) -> bool:
        """True if a value of the field fulfils the condition; unknown ones are in no range."""
        if self.values is not None:
            return any(_same(value, each) for each in self.values)
        if value is None or isinstance(value, bool | dict | list):
            return False
        try:
            return not (
                (self.low is not None and value < self.low)
                or (self.high is not None and value > self.high)
                or (self.below is not None and value >= self.below)
            )
        except TypeError:  # metadata of another type
            return False


def conditions(
    where: Mapping[str, Any] | None = None,
    *,
    after: Any = None,
    before: Any = None,
    cameras: Any = None,
    identities: Any = None,
) -> tuple[Condition, ...]:
    """Conditions that all hold, from the arguments of a search.

    Args:
        where: Mapping from field to a value, to several (list, tuple or set: any of them), to None
            (unknown), or to a range ``{"min": a, "max": b}`` with one of both or both, inclusive.
            Fields are `FIELDS`, and ``metadata.KEY`` for a key of the metadata.
        after: Earliest time: seconds since 1970, a datetime, or its ISO text.
        before: Time that all are earlier than, likewise.
        cameras: One camera or several.
        identities: One identity or several.

    Raises:
        ValueError: A field is unknown, or a value is of another type.
    """
    if where is not None and not isinstance(where, Mapping):
        raise ValueError(
            "where must be a mapping of fields to values, such as {'camera': 'north'}; got "
            f"{type(where).__name__}"
        )
    found = [_condition(name, value) for name, value in (where or {}).items()]
    if after is not None or before is not None:
        low = None if after is None else as_microseconds(after, "after")
        below = None if before is None else as_microseconds(before, "before")
        found.append(Condition("time", low=low, below=below))
    for name, given in (("camera", cameras), ("identity", identities)):
        if given is not None:
            found.append(Condition(name, _several(name, given)))
    return tuple(found)


def keep_rows(conditions: Sequence[Condition], columns: Mapping[str, Sequence[Any]]) -> list[int]:
    """Rows of columns that fulfil all conditions; metadata are in the column ``metadata``.

    Args:
        conditions: Conditions.
        columns: Values by field, equally many; metadata as JSON text.
    """
    count = len(next(iter(columns.values()), ()))
    kept: Iterable[int] = range(count)
    for each in conditions:
        if each.field.startswith(METADATA):
            key = each.field.removeprefix(METADATA)
            texts = columns["metadata"]
            kept = [row for row in kept if each.holds(_metadata_value(texts[row], key))]
        else:
            values = columns[each.field]
            kept = [row for row in kept if each.holds(values[row])]
    return list(kept)


def as_label(value: Any, name: str) -> str | None:
    """Text of an identity, camera, tracklet, path or id; None stays None.

    Raises:
        ValueError: It is no text and no whole number, empty, or too long.
    """
    if value is None:
        return None
    if hasattr(value, "__index__") and not isinstance(value, bool):
        return str(value.__index__())
    text = str(value) if hasattr(value, "__fspath__") else value
    if not isinstance(text, str):
        raise ValueError(f"{name} must be text or a whole number; got {type(value).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not 0 < len(text) <= _MOST_TEXT:
        raise ValueError(f"{name} must have 1 to {_MOST_TEXT} characters; got {len(text)}")
    return text


def as_microseconds(value: Any, name: str) -> int:
    """Time in microseconds since 1970 (UTC); those of a film may start at 0.

    Args:
        value: Seconds, a datetime (without a zone: UTC), or its ISO text.
        name: Name of the argument.

    Raises:
        ValueError: It is no time.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(
                f"{name} must be a time such as 2026-05-01T12:30; got {value[:40]!r}"
            ) from None
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise ValueError(
            f"{name} must be seconds, a datetime or its ISO text; got {type(value).__name__}"
        )
    seconds = float(value)
    if not math.isfinite(seconds) or abs(seconds) > 1e11:
        raise ValueError(f"{name} must be seconds since 1970; got {seconds:g}")
    return round(seconds * 1e6)


def _condition(name: Any, value: Any) -> Condition:
    """Condition of one entry of ``where``."""
    known = isinstance(name, str) and (name in FIELDS or name.startswith(METADATA))
    if not known:
        near = difflib.get_close_matches(str(name)[:60], FIELDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"where must name fields of items ({', '.join(FIELDS)}, metadata.KEY); got "
            f"{str(name)[:60]!r}{hint}"
        )
    if isinstance(value, Mapping):
        if not value or set(value) - {"min", "max"}:
            raise ValueError(
                f"where[{name!r}] must be a range with the keys min and max; got "
                f"{', '.join(map(repr, list(value)[:5])) or 'none'}"
            )
        low, high = (
            None if value.get(key) is None else _value(name, value[key]) for key in ("min", "max")
        )
        return Condition(name, low=low, high=high)
    return Condition(name, _several(name, value))


def _several(name: str, given: Any) -> tuple[Any, ...]:
    if isinstance(given, list | tuple | range | set | frozenset):
        values: list[Any] = list(given)
    else:
        values = given.tolist() if getattr(given, "ndim", 0) == 1 else [given]
    if len(values) > _MOST_VALUES:
        raise ValueError(f"{name} must have at most {_MOST_VALUES:,} values; got {len(values):,}")
    return tuple(_value(name, each) for each in values)


def _value(name: str, value: Any) -> Any:
    """Value of a field as it is stored."""
    if value is None:
        return None
    if name == "time":
        return as_microseconds(value, "time")
    if not name.startswith(METADATA):
        return as_label(value, name)
    if not isinstance(value, str | bool | int | float) or value != value:
        raise ValueError(f"{name} must be text, a number or True or False; got {value!r:.60}")
    return value


def _same(value: Any, other: Any) -> bool:
    """Equality without 1 == True."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _metadata_value(text: str | None, key: str) -> Any:
    """Value of a key in the JSON text of an item's metadata; None without it."""
    found = json.loads(text) if text else {}
    return found.get(key)
