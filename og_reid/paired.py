"""Saved runs beside each other: which is better on the same queries, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .comparison import Comparison
from .evaluation import Difference, compare_paired

__all__ = ["PairedRow", "compare_runs", "format_differences"]


@dataclass(frozen=True, eq=False)
class PairedRow:
    """One row of two runs.

    Attributes:
        first: Of the first run.
        second: Of the second run, on the same queries.
        difference: Average precision, second minus first.
    """

    first: Comparison
    second: Comparison
    difference: Difference


def compare_runs(
    first: Sequence[Comparison], second: Sequence[Comparison]
) -> tuple[PairedRow, ...]:
    """Compares the rows of two runs that are of the same queries.

    The methods of both belong together by their place (the histogram with the histogram, the model
    with the other model); where there are not as many, by their names.

    Raises:
        ValueError: When nothing belongs together, and as `compare_paired`: for other queries,
            another gallery, protocol or convention.
    """
    names = [list(dict.fromkeys(row.method for row in rows)) for rows in (first, second)]
    if len(names[0]) == len(names[1]):
        partner = dict(zip(*names, strict=True))
    else:
        partner = {name: name for name in names[0] if name in names[1]}
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
    return tuple(
        PairedRow(one, two, compare_paired(one.metrics, two.metrics))
        for one, two in pairs
        if one.metrics.num_valid
    )


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
        interval = f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
        lines.append(
            f"{name:{width}} {queries:20} {100 * metrics.mAP:6.1f} "
            f"{100 * row.second.metrics.mAP:6.1f} {100 * change.mean:+6.1f}  {interval:14} "
            f"{change.p_value:6.3f}  {100 * change.better:.0f} %/{100 * change.worse:.0f} %"
        )
    if rows:
        lines.append(
            f"mAP ({rows[0].first.metrics.ap}) in percent; interval and p-value by drawing "
            "identities anew"
        )
    return "\n".join(lines)
