"""Paired comparison of runs on the same queries: differences, intervals, p-values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .metrics import Metrics
from .results import ResultRow
from .significance import bootstrap_interval, bootstrap_means

__all__ = [
    "PairedDifference",
    "PairedRow",
    "compare_paired",
    "compare_runs",
    "format_differences",
    "unpaired",
]


@dataclass(frozen=True, eq=False)
class PairedRow:
    """Row of a table in two runs.

    Attributes:
        first: Row of the first run.
        second: Row of the second run, on the same queries.
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
    """Paired differences of the rows of two runs on the same queries.

    Rows are paired by method name. If each run has exactly one model that the other lacks, these
    are paired as well: ``a`` with ``b``, and ``a + histogram`` with ``b + histogram``.

    Args:
        first: Rows of the first run.
        second: Rows of the second run.
        progress: Called with (rows compared, rows in all).

    Returns:
        Pairs in the order of the first run; `unpaired` lists the other rows.

    Raises:
        ValueError: No rows can be paired, or queries, galleries, protocols or conventions differ
            (see `compare_paired`).
    """
    partner = _partners(*({row.method for row in rows} for rows in (first, second)))
    others = {(row.method, row.queries): row for row in second}
    pairs = [
        (row, others[partner[row.method], row.queries])
        for row in first
        if row.method in partner and (partner[row.method], row.queries) in others
    ]
    if not pairs:
        names = [
            sorted({f"{row.method}, {row.queries}" for row in rows}) for rows in (first, second)
        ]
        raise ValueError(
            f"the runs have no methods and queries in common: {names[0]} and {names[1]}"
        )
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
    # Variants contain the name of their model, such as "NAME + histogram" and "NAME global".
    models = [
        [name for name in names if not any(name.startswith(f"{other} ") for other in names)]
        for names in rest
    ]
    if len(models[0]) != 1 or len(models[1]) != 1:
        return shared
    one, two = models[0][0], models[1][0]
    changed = {name: two + name.removeprefix(one) for name in rest[0]}
    return shared | {name: other for name, other in changed.items() if other in rest[1]}


def unpaired(
    first: Sequence[ResultRow], second: Sequence[ResultRow], pairs: Sequence[PairedRow]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Rows without a partner.

    Args:
        first: Rows of the first run.
        second: Rows of the second run.
        pairs: Result of `compare_runs`.

    Returns:
        ``method, queries`` of each such row of the first run, and of the second.
    """
    used = {id(row) for pair in pairs for row in (pair.first, pair.second)}
    one, two = (
        tuple(f"{row.method}, {row.queries}" for row in rows if id(row) not in used)
        for rows in (first, second)
    )
    return one, two


def format_differences(rows: Sequence[PairedRow]) -> str:
    """Pairs as a table: mAP of both in percent, difference with its interval, p-value.

    Args:
        rows: Result of `compare_runs`.
    """
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
            f"{'too few identities' if few else interval:14} {p_value}  "
            f"{100 * change.better:.0f} %/{100 * change.worse:.0f} %"
        )
    if rows:
        lines.append(
            f"mAP ({rows[0].first.metrics.ap}) in percent; interval and p-value by "
            "cluster bootstrap over identities"
        )
    return "\n".join(lines)


# With fewer, not even a sign test reaches the level of 5 %.
_FEWEST = 6


@dataclass(frozen=True)
class PairedDifference:
    """Difference of two models on the same queries, second minus first.

    Attributes:
        mean: Mean of the differences of average precision, second minus first.
        low: Lower end of the bootstrap interval; NaN (as `high` and `p_value`) with fewer than six
            identities.
        high: Upper end.
        p_value: Two-sided: fraction of the draws of identities at least as far from ``mean`` as 0.
        better: Fraction of the queries on which the second is better.
        worse: Fraction of the queries on which it is worse.
    """

    mean: float
    low: float
    high: float
    p_value: float
    better: float
    worse: float


def compare_paired(
    first: Metrics, second: Metrics, *, level: float = 0.95, repeats: int = 1000, seed: int = 0
) -> PairedDifference:
    """Paired difference of the average precision of two models on the same queries.

    Args:
        first: Metrics of the first model.
        second: Metrics of the second, on the same queries and gallery.
        level: Fraction of the bootstrap draws inside the interval.
        repeats: Number of draws.
        seed: Seed of the draws.

    Raises:
        ValueError: Queries, galleries, protocols or conventions differ.
    """
    for name in ("ap", "protocol"):
        values = getattr(first, name), getattr(second, name)
        if values[0] != values[1]:
            raise ValueError(f"first and second must be of one {name}; got {' and '.join(values)}")
    if not torch.equal(first.query_pids, second.query_pids):
        raise ValueError(
            "first and second must be of the same queries in the same order; got "
            f"{first.num_queries} and {second.num_queries} of other identities"
        )
    if (first.gallery, first.num_items) != (second.gallery, second.num_items):
        raise ValueError(
            "first and second must be of the same gallery, as metrics of different ones do "
            f"not compare models; got {first.num_items} and {second.num_items} images, of other "
            "identities or cameras"
        )
    if not torch.equal(first.valid, second.valid):
        raise ValueError("first and second must have matches for the same queries")
    difference = (second.average_precision - first.average_precision)[first.valid]
    clusters = first.query_pids[first.valid]
    mean = float(difference.mean())
    fractions = float((difference > 0).double().mean()), float((difference < 0).double().mean())
    if len(clusters.unique()) < _FEWEST:
        return PairedDifference(mean, math.nan, math.nan, math.nan, *fractions)
    low, high = bootstrap_interval(difference, clusters, level=level, repeats=repeats, seed=seed)
    away = np.abs(bootstrap_means(difference, clusters, repeats, seed) - mean) >= abs(mean)
    return PairedDifference(
        mean, low, high,
        p_value=float((1 + away.sum()) / (1 + repeats)),
        better=fractions[0],
        worse=fractions[1],
    )  # fmt: skip
