"""Filters: typed conditions that nothing can be injected into."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from og_reid.gallery.filters import Condition, as_label, as_microseconds, conditions, keep_rows


def test_arguments_become_conditions() -> None:
    assert conditions({"camera": 3, "identity": ["a", 5]}) == (
        Condition("camera", ("3",)),
        Condition("identity", ("a", "5")),
    )
    assert conditions(after=1.5, before=2) == (Condition("time", low=1_500_000, below=2_000_000),)
    assert conditions(cameras="c", identities=["x"]) == (
        Condition("camera", ("c",)),
        Condition("identity", ("x",)),
    )
    assert conditions({"time": {"min": 1}}) == (Condition("time", low=1_000_000),)
    assert conditions() == ()


def test_times_are_of_one_zone() -> None:
    there = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert as_microseconds(there, "t") == as_microseconds("2026-05-01T14:00:00+02:00", "t")
    assert as_microseconds(there, "t") == as_microseconds(there.timestamp(), "t")
    assert as_microseconds(datetime(2026, 5, 1, 12), "t") == as_microseconds(there, "t")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"where": "camera = '1' OR 1=1"}, "where must be a mapping"),
        ({"where": {"camrea": 1}}, "did you mean camera"),
        ({"where": {"camera = '1' OR 1": 1}}, "where must name fields"),
        ({"where": {"camera": {"$gt": ""}}}, "min and max"),
        ({"where": {"camera": {}}}, "min and max"),
        ({"where": {"camera": 1.5}}, "text or a whole number"),
        ({"where": {"camera": True}}, "text or a whole number"),
        ({"where": {"metadata.x": [[1]]}}, "metadata.x must be text"),
        ({"after": "yesterday"}, "after must be a time"),
        ({"before": float("nan")}, "before must be seconds"),
        ({"before": True}, "before must be seconds"),
        ({"cameras": ["x"] * 10_001}, "at most 10,000"),
        ({"cameras": ""}, "1 to 4096 characters"),
    ],
)
def test_others_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conditions(**given)  # type: ignore[arg-type]


def test_rows_that_fulfil_all_conditions() -> None:
    columns = {
        "camera": ["a", None, "b", "a"],
        "time": [1, 2, None, 4],
        "metadata": ['{"n": 1}', '{"n": true}', None, '{"n": "x"}'],
    }
    assert keep_rows(conditions({"camera": "a"}), columns) == [0, 3]
    assert keep_rows(conditions({"camera": None}), columns) == [1]
    assert keep_rows(conditions({"camera": []}), columns) == []
    assert keep_rows((Condition("time", low=2, below=4),), columns) == [1]
    assert keep_rows(conditions({"metadata.n": 1}), columns) == [0]
    assert keep_rows(conditions({"metadata.n": {"min": 0}}), columns) == [0]
    assert keep_rows(conditions({"metadata.n": None}), columns) == [2]


def test_labels_are_text() -> None:
    assert as_label(7, "x") == "7"
    assert as_label(None, "x") is None
    assert as_label("\udcff", "x") == "\ufffd" or as_label("\udcff", "x") is not None
