"""Numbering of the names of identities and cameras, and doubts about the names."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ..files.inputs import named

__all__ = [
    "camera_numbers",
    "doubtful_names",
    "is_unknown",
    "listed_numbers",
    "normal",
    "numbers",
    "whole",
]

#: Anything longer does not fit into 64 bits. Spreadsheets write whole numbers as 7.0, too.
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})(?:\.0+)?")
_UNKNOWN = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>", "unknown", "?", "-"})
_LAST_NUMBER = re.compile(r"([0-9]{1,9})[^0-9]*$")


def normal(name: str) -> str:
    """Name in one Unicode form of its accents; file systems use two."""
    return unicodedata.normalize("NFC", name)


def whole(label: str) -> int | None:
    """Value of a label that is a whole number; None for others."""
    match = _WHOLE.fullmatch(label)
    return int(match[1]) if match else None


def is_unknown(label: str) -> bool:
    """True when a label is a spelling of "none" in tables and programs."""
    return label.casefold() in _UNKNOWN


def numbers(
    labels: Iterable[str], what: str, *, lowest: int, kept: Sequence[int] = (), shift: int = 0
) -> dict[str, int]:
    """Whole numbers for labels: their values when all are whole numbers, else ranks from 1.

    Args:
        labels: Labels, with repeats.
        what: Subject of messages.
        lowest: Smallest number; with one below it, numbers count as names.
        kept: Numbers that stay unchanged among names, and are not shifted.
        shift: Added to all other numbers.

    Raises:
        ValueError: Two labels have one value.
    """
    distinct = sorted(set(labels))
    values = {label: value for label in distinct if (value := whole(label)) is not None}
    written: dict[int, str] = {}
    for label, value in values.items():
        if value in written:
            raise ValueError(
                f"{what} {written[value]!r} and {label!r} are one number: write them alike if they "
                "are the same, or in words if not"
            )
        written[value] = label
    counted = [value for value in values.values() if value not in kept]
    if len(values) < len(distinct) or min(counted, default=lowest) < lowest:
        special = {label: value for label, value in values.items() if value in kept}
        words = (label for label in distinct if label not in special)
        return special | {label: place for place, label in enumerate(words, 1)}
    return {label: value if value in kept else value + shift for label, value in values.items()}


def camera_numbers(names: Iterable[str]) -> dict[str, int]:
    """Numbers for camera names: the last number in each where they differ, or their ranks."""
    distinct = sorted(set(names))
    found = [_LAST_NUMBER.search(name) for name in distinct]
    values = [int(match[1]) for match in found if match]
    if len(set(values)) == len(distinct):
        return dict(zip(distinct, values, strict=True))
    return {name: place for place, name in enumerate(distinct, 1)}


def listed_numbers(values: Mapping[str, int], what: str) -> str:
    """Note about numbered names; empty when all were numbers."""
    if all(whole(label) == value for label, value in values.items()):
        return ""
    pairs = [
        f"{label} = {value}"
        for label, value in sorted(values.items(), key=lambda item: item[1])
        if whole(label) != value
    ]
    return f"{what}: {named(pairs, 4)}"


def doubtful_names(labels: Iterable[str]) -> list[str]:
    """Doubts about names of identities."""
    distinct = sorted(set(labels))
    doubts = []
    unknown = [label for label in distinct if is_unknown(label)]
    if unknown:
        doubts.append(
            f"{named([repr(each) for each in unknown])} is taken as the name of one identity: "
            "images of unknown identities belong into none; -1 marks images to be ignored"
        )
    alike: dict[str, list[str]] = defaultdict(list)
    for label in distinct:
        if whole(label) is not None:
            continue  # 1 and -1 are different
        alike[re.sub(r"[\s_-]+", " ", label).strip().casefold()].append(label)
    pairs = [" and ".join(map(repr, each)) for each in alike.values() if len(each) > 1]
    if pairs:
        doubts.append(
            f"identities that differ by capitals, blanks or lines alone: {named(pairs)}: rename "
            "them if each is one"
        )
    return doubts
