"""Saved runs beside each other: which is better on the same queries, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import PairedDifference, compare_paired
from .results import ResultRow

__all__ = ["PairedRow", "compare_runs", "format_differences", "left_out"]


@dataclass(frozen=True, eq=False)
class PairedRow:
    """One row of two runs.

    Attributes:
        first: Of the first run.
        second: Of the second run, on the same queries.
        difference: Average precision, second minus first.
    """

    first: ResultRow
    second: ResultRow
    difference: PairedDifference


def compare_runs(
    first: Sequence[ResultRow],
    second: Sequence[ResultRow],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[PairedRow, ...]:
    """Compares the rows of two runs that are of the same queries.

    Methods of one name belong together. Of the others those of the model do, where each run has
    only one that the other lacks: ``a`` with ``b``, and ``a + histogram`` with ``b + histogram``.
    `left_out` names the rest. ``progress`` is called with the rows compared and all.

    Raises:
        ValueError: When nothing belongs together, and as `compare_paired`: for other queries,
            another gallery, protocol or convention.
    """
    partner = _partners(*({row.method for row in rows} for rows in (first, second)))
    others = {(row.method, row.queries): row for row in second}
    pairs = [
        (row, others[partner[row.method], row.queries])
        for row in first
        if row.method in partner and (partner[row.method], row.queries) in others
    ]
    if not pairs:
        told = [
            sorted({f"{row.method}, {row.queries}" for row in rows}) for rows in (first, second)
        ]
        raise ValueError(f"the runs have no methods and queries in common: {told[0]} and {told[1]}")
    found = []
    for done, (one, two) in enumerate(pairs, 1):
        if one.metrics.num_valid:
            found.append(PairedRow(one, two, compare_paired(one.metrics, two.metrics)))
        if progress is not None:
            progress(done, len(pairs))
    return tuple(found)


def _partners(first: set[str], second: set[str]) -> dict[str, str]:
    """Methods of the second run by those of the first."""
    shared = {name: name for name in first & second}
    rest = [names - shared.keys() - {"histogram"} for names in (first, second)]
    # A model gives its name to its variants, such as "NAME + histogram" and "NAME global".
    models = [
        [name for name in names if not any(name.startswith(f"{other} ") for other in names)]
        for names in rest
    ]
    if len(models[0]) != 1 or len(models[1]) != 1:
        return shared
    one, two = models[0][0], models[1][0]
    changed = {name: two + name.removeprefix(one) for name in rest[0]}
    return shared | {name: other for name, other in changed.items() if other in rest[1]}


def left_out(
    first: Sequence[ResultRow], second: Sequence[ResultRow], pairs: Sequence[PairedRow]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is in no pair: names of methods and queries, of the first run and of the second."""
    used = {id(row) for pair in pairs for row in (pair.first, pair.second)}
    one, two = (
        tuple(f"{row.method}, {row.queries}" for row in rows if id(row) not in used)
        for rows in (first, second)
    )
    return one, two


def format_differences(rows: Sequence[PairedRow]) -> str:
    """The rows as plain text: mAP of both in percent, difference with its interval, p-value."""
    names = [
        row.first.method
        if row.first.method == row.second.method
        else f"{row.first.method} -> {row.second.method}"
        for row in rows
    ]
    width = max(map(len, names), default=0)
    head = f"{'':{width}} {'queries':20} {'first':>6} {'second':>6} {'change':>6}  95 % interval"
    lines = [f"{head}     p      better/worse"]
    for name, row in zip(names, rows, strict=True):
        metrics, change = row.first.metrics, row.difference
        queries = f"{row.first.queries} ({metrics.num_valid})"
        few = math.isnan(change.p_value)
        interval = f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
        p_value = f"{'':6}" if few else f"{change.p_value:6.3f}"
        lines.append(
            f"{name:{width}} {queries:20} {100 * metrics.mAP:6.1f} "
            f"{100 * row.second.metrics.mAP:6.1f} {100 * change.mean:+6.1f}  "
            f"{'too few people' if few else interval:14} {p_value}  "
            f"{100 * change.better:.0f} %/{100 * change.worse:.0f} %"
        )
    if rows:
        lines.append(
            f"mAP ({rows[0].first.metrics.ap}) in percent; interval and p-value by drawing "
            "identities anew"
        )
    return "\n".join(lines)
