"""Page of evaluations: metrics, curves, slices, and the comparison of two runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evaluation.results import ResultRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..evaluation.paired import PairedRow
    from ..evaluation.verification import Verification
    from ..inference.encoder import Search
    from ..retrieval.labels import Labels
    from ..train import StepLog
    from ..viz.html_report import Section

__all__ = ["verify_searches", "write_result_page"]

_MOST = 6  # curves of a figure: one for each colour
_DRAWN = 1000  # steps of a learning curve
_METRICS = {"loss": "loss", "accuracy": "accuracy", "mAP": "mAP", "rank1": "rank-1"}


def verify_searches(searches: Mapping[str, Search], labels: Labels) -> dict[str, Verification]:
    """Accept rates of searches by method; of features and of distances.

    Args:
        searches: Result of `og_reid.pipelines.evaluation.compute_distances`.
        labels: Identities and cameras of queries and gallery.
    """
    from ..evaluation.verification import verify

    return {
        method: verify(*search, labels)
        if isinstance(search, tuple)
        else verify(labels=labels, distance=search)
        for method, search in searches.items()
    }


def write_result_page(
    path: str | Path,
    runs: Mapping[str, Sequence[ResultRow]],
    *,
    pairs: Sequence[PairedRow] = (),
    rates: Mapping[str, Verification] | None = None,
    histories: Mapping[str, Sequence[StepLog]] | None = None,
    title: str = "Evaluation",
) -> None:
    """Write one HTML page of one or several evaluations.

    Args:
        path: File to write.
        runs: Rows by name of the run.
        pairs: Result of `og_reid.evaluation.paired.compare_runs`, for two runs.
        rates: Accept rates by method, for ROC, DET and histograms of scores.
        histories: Logs of training by name of the run.
        title: Title of the page.

    Raises:
        ValueError: There are no rows.
        OSError: The file cannot be written.
        ImportError: matplotlib is missing.
    """
    from ..viz.html_report import write_report

    if not any(runs.values()):
        raise ValueError("runs must hold at least one row; got none")
    sections = [_summary(runs)]
    if pairs:
        sections.append(_changes(pairs))
    sections.append(_curves(runs, pairs, rates or {}))
    logged = {run: history for run, history in (histories or {}).items() if history}
    if logged:
        sections.append(_training(logged))
    write_report(path, sections, title=title)


def _summary(runs: Mapping[str, Sequence[ResultRow]]) -> Section:
    from ..viz.html_report import Section, results_table

    lines: list[dict[str, object]] = []
    for run, row in _rows(runs):
        metrics = row.metrics
        line: dict[str, object] = {"run": run} if len(runs) > 1 else {}
        line |= {"method": row.method, "slice": row.queries, "queries": metrics.num_valid}
        if metrics.num_valid:
            line |= {f"rank-{k}": 100 * metrics.rank(k) for k in (1, 5, 10)}
            line |= {"mAP": 100 * metrics.mAP, "95 % interval": _interval(*metrics.interval())}
        lines.append(line)
    first = next(row for _, row in _rows(runs)).metrics
    caption = (
        f"In percent; mAP by the {first.ap} convention, protocol {first.protocol}; intervals of "
        f"mAP by cluster bootstrap over identities. Gallery of {first.num_items:,} images."
    )
    return Section("Metrics", [results_table(lines, caption=caption)])


def _changes(pairs: Sequence[PairedRow]) -> Section:
    from ..viz.curves import change_figure
    from ..viz.html_report import Section, figure_grid, results_table

    lines: list[dict[str, object]] = []
    for pair in pairs:
        one, two, change = pair.first, pair.second, pair.difference
        known = change.p_value == change.p_value
        name = one.method if one.method == two.method else f"{one.method} → {two.method}"
        lines.append(
            {
                "method": name,
                "slice": one.queries,
                "queries": one.metrics.num_valid,
                "first": 100 * one.metrics.mAP,
                "second": 100 * two.metrics.mAP,
                "change": f"{100 * change.mean:+.1f}",
                "95 % interval": _interval(change.low, change.high, "+") if known else None,
                "p": f"{change.p_value:.3f}" if known else None,
            }
        )
    figures: dict[str, Figure] = {}
    for pair in pairs:
        if pair.first.queries == "all" and len(figures) < _MOST:
            before, after = (row.metrics.average_precision for row in (pair.first, pair.second))
            figure = change_figure(after - before)
            if len({each.first.method for each in pairs}) > 1:
                figure.axes[0].set_title(f"changes by query: {pair.first.method}")
            figures[f"Change of average precision by query, {pair.first.method}"] = figure
    caption = (
        "mAP in percent, on the same queries; interval and p-value by cluster bootstrap over "
        "identities."
    )
    return Section(
        "Second run against the first",
        [results_table(lines, caption=caption), figure_grid(figures, prefix="change-")],
    )


def _curves(
    runs: Mapping[str, Sequence[ResultRow]],
    pairs: Sequence[PairedRow],
    rates: Mapping[str, Verification],
) -> Section:
    from ..viz import curves
    from ..viz.html_report import Section, figure_grid

    kept = {id(row) for pair in pairs for row in (pair.first, pair.second)}
    slices: dict[str, list[curves.Slice]] = {}
    cmc: dict[str, Any] = {}
    for run, row in _rows(runs):
        metrics = row.metrics
        if not metrics.num_valid or (kept and id(row) not in kept):
            continue
        whole = len(runs) > 1 and run != row.method
        name = f"{run}: {row.method}" if whole else row.method
        if name not in slices and len(slices) == _MOST:
            continue
        low, high = metrics.interval()
        slices.setdefault(name, []).append(
            curves.Slice(row.queries, metrics.mAP, low, high, metrics.num_valid)
        )
        if row.queries == "all":
            cmc[name] = metrics.cmc
    figures: dict[str, Figure] = {}
    if cmc:
        figures["Cumulative matching characteristic"] = curves.cmc_figure(cmc)
    if slices:
        figures["mAP of slices of the queries"] = curves.slices_figure(slices)
    shown = dict(list(rates.items())[:_MOST])
    if shown:
        figures["Receiver operating characteristic"] = curves.roc_figure(shown)
        figures["Detection error tradeoff"] = curves.det_figure(shown)
    for method, each in shown.items():
        figures[f"Distances of genuine and impostor pairs, {method}"] = curves.scores_figure(
            each,
            threshold=each.equal_error_threshold,
            title=f"distances: {method}" if len(shown) > 1 else "distances",
        )
    return Section("Curves", [figure_grid(figures, prefix="curve-")])


def _training(histories: Mapping[str, Sequence[StepLog]]) -> Section:
    from ..viz.curves import metric_figure
    from ..viz.html_report import Section, figure_grid

    runs = {
        run: [
            {"step": each.step} | {title: getattr(each, name) for name, title in _METRICS.items()}
            for number, each in enumerate(history)
            if each.mAP is not None or number % max(1, len(history) // _DRAWN) == 0
        ]
        for run, history in histories.items()
    }
    named = [
        name
        for name in _METRICS.values()
        if any(record[name] is not None for records in runs.values() for record in records)
    ]
    figures = {f"{name} by step": metric_figure(runs, name) for name in named}
    return Section("Training", [figure_grid(figures, prefix="training-")])


def _rows(runs: Mapping[str, Sequence[ResultRow]]) -> Iterator[tuple[str, ResultRow]]:
    return ((run, row) for run, rows in runs.items() for row in rows)


def _interval(low: float, high: float, sign: str = "") -> str:
    return f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"
