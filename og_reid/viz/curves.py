"""Figures of training and evaluation: learning curves, CMC, ROC, DET, scores, slices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from .drawing import new_figure
from .style import DASHES, LIGHT, MARKERS, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Rates",
    "Slice",
    "change_figure",
    "cmc_figure",
    "curves_figure",
    "det_figure",
    "metric_figure",
    "roc_figure",
    "scores_figure",
    "slices_figure",
]

_Value = TypeVar("_Value")
_SIZE = (4.6, 3.4)  # inches: two beside each other on a page, one on a phone
_RATES = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)  # labelled on axes of normal deviates


class Rates(Protocol):
    """Accept rates by threshold, such as `og_reid.evaluation.Verification`."""

    @property
    def thresholds(self) -> Any:
        """(T,) ascending distances."""
        ...

    @property
    def true_accepts(self) -> Any:
        """(T,) fraction of the genuine pairs up to each threshold."""
        ...

    @property
    def false_accepts(self) -> Any:
        """(T,) fraction of the impostor pairs."""
        ...


@dataclasses.dataclass(frozen=True)
class Slice:
    """Mean of a slice of the queries.

    Attributes:
        name: name of the slice.
        value: mean, in [0, 1].
        low: lower end of its interval; NaN draws none.
        high: upper end.
        count: number of queries.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    count: int | None = None


@styled()
def curves_figure(history: Sequence[Mapping[str, float]]) -> Figure:
    """Training curves: losses on the left, other metrics (accuracy, mAP, ...) on the right.

    Args:
        history: logged records, in order. "step" (or "epoch") is the x-axis, by default the index
            of the record; every other number is a curve, on the left when its name contains "loss".
            Records may lack some of them; NaN leaves a gap.

    Raises:
        ValueError: the history is empty.
    """
    records = list(history)
    if not records:
        raise ValueError("history must hold at least one record; got none: train first")
    names = dict.fromkeys(
        name
        for record in records
        for name, value in record.items()
        if name not in ("step", "epoch") and isinstance(value, (int, float))
    )
    panels = (
        ("loss", "mean of a batch", [n for n in names if "loss" in n]),
        ("accuracy", "fraction", [n for n in names if "loss" not in n]),
    )
    figure = new_figure((9.0, 3.4))
    for axis, (title, unit, curves) in zip(figure.subplots(1, 2), panels, strict=True):
        for number, name in enumerate(curves):
            _draw_history(axis, records, name, name, number)
        axis.set(title=title, xlabel=_x_name(records), ylabel=unit)
        _legend(axis, len(curves), "upper right" if title == "loss" else "best")
    return figure


@styled()
def metric_figure(runs: Mapping[str, Sequence[Mapping[str, float]]], name: str) -> Figure:
    """Learning curves of one metric in several runs.

    Args:
        runs: histories by run, as for `curves_figure`; records without the metric are skipped.
        name: name of the metric.

    Raises:
        ValueError: there is no run.
    """
    records = _some(runs, "runs")
    figure = new_figure(_SIZE)
    axis = figure.subplots()
    for number, (run, history) in enumerate(records.items()):
        _draw_history(axis, history, name, run, number)
    x_name = next((_x_name(history) for history in records.values() if history), "record")
    unit = "mean of a batch" if "loss" in name else "fraction"
    axis.set(title=name, xlabel=x_name, ylabel=unit)
    _legend(axis, len(axis.get_legend_handles_labels()[0]))
    return figure


@styled()
def cmc_figure(curves: Mapping[str, Any], *, top: int = 20) -> Figure:
    """Cumulative matching characteristics.

    Args:
        curves: (R,) fractions by run: entry k - 1 of queries with a match in the first k, such as
            `og_reid.evaluation.Metrics.cmc`.
        top: largest rank.

    Raises:
        ValueError: there is no curve, or `top` is under 1.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1; got {top}")
    figure = new_figure(_SIZE)
    axis = figure.subplots()
    for number, (run, fractions) in enumerate(_some(curves, "curves").items()):
        y = 100 * np.asarray(fractions, float)[:top]
        axis.plot(range(1, len(y) + 1), y, label=run, **_look(number), marker=_marker(number))
    axis.set(title="CMC", xlabel="rank", ylabel="queries with a match up to the rank, %")
    axis.set_xticks([k for k in (1, 5, 10, 20, 50, 100) if k <= top])
    _end_at_100(axis)
    _legend(axis, len(curves), "lower right")
    return figure


@styled()
def roc_figure(curves: Mapping[str, Rates]) -> Figure:
    """Receiver operating characteristics, false accepts on a logarithmic axis.

    Args:
        curves: accept rates by run.

    Raises:
        ValueError: there is no curve.
    """
    figure = new_figure(_SIZE)
    axis = figure.subplots()
    for number, (run, rates) in enumerate(_some(curves, "curves").items()):
        _, true, false = _columns(rates)
        kept = false > 0  # a logarithm has no place for 0
        axis.plot(100 * false[kept], 100 * true[kept], label=run, drawstyle="steps-post",
                  **_look(number))  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set(title="ROC", xlabel="false accepts, % of the impostor pairs",
             ylabel="true accepts, % of the genuine pairs")  # fmt: skip
    _end_at_100(axis)
    _legend(axis, len(curves), "lower right")
    return figure


@styled()
def det_figure(curves: Mapping[str, Rates]) -> Figure:
    """Detection error tradeoff: error rates on axes of normal deviates (Martin et al., 1997).

    The dotted diagonal holds the equal error rates.

    Args:
        curves: accept rates by run.

    Raises:
        ValueError: there is no curve.
    """
    from scipy.special import ndtri

    figure = new_figure(_SIZE)
    axis = figure.subplots()
    for number, (run, rates) in enumerate(_some(curves, "curves").items()):
        _, true, false = _columns(rates)
        missed = 1 - true
        kept = (false > 0) & (false < 1) & (missed > 0) & (missed < 1)
        axis.plot(ndtri(false[kept]), ndtri(missed[kept]), label=run, **_look(number))
    ends = ndtri([_RATES[0] / 2, _RATES[-1]])
    axis.plot(ends, ends, color=LIGHT.edge, linewidth=1, linestyle=":")
    places, labels = ndtri(_RATES), [f"{100 * rate:g}" for rate in _RATES]
    axis.set_xticks(places, labels)
    axis.set_yticks(places, labels)
    axis.set(title="DET", xlabel="false accepts, %", ylabel="false rejects, %",
             xlim=ends, ylim=ends)  # fmt: skip
    _legend(axis, len(curves), "upper right")
    return figure


@styled()
def scores_figure(
    rates: Rates, *, threshold: float | None = None, bins: int = 60, title: str = "scores"
) -> Figure:
    """Histograms of the distances of genuine and impostor pairs, each of area 1.

    Args:
        rates: accept rates of one run.
        threshold: distance that is marked, such as `Verification.equal_error_threshold`.
        bins: number of bins.
        title: title of the figure.

    Raises:
        ValueError: `bins` is under 1, or no threshold is finite.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1; got {bins}")
    at, true, false = _columns(rates)
    finite = np.isfinite(at)
    if not finite.any():
        raise ValueError("rates must have finite thresholds; got none")
    inside = finite & (np.minimum(true, false) < 1) & (np.maximum(true, false) > 0)
    span = at[inside] if inside.any() else at[finite]
    edges = np.linspace(span.min(), max(span.max(), span.min() + 1e-6), bins + 1)
    figure = new_figure(_SIZE)
    axis = figure.subplots()
    for number, (name, below) in enumerate((("genuine", true), ("impostor", false))):
        # Fractions up to each edge: those of the last threshold at or under it.
        place = np.searchsorted(at, edges, side="right") - 1
        upto = np.where(place >= 0, below[place.clip(0)], 0.0)
        upto[0] = 0.0  # the first bin holds its left edge
        height = np.diff(upto) / np.diff(edges)
        axis.stairs(height, edges, fill=True, alpha=0.3, color=LIGHT.series[number])
        axis.stairs(height, edges, label=f"{name} pairs", **_look(number))
    if threshold is not None and math.isfinite(threshold):
        axis.axvline(threshold, color=LIGHT.ink, linewidth=1.2, linestyle=":",
                     label=f"threshold {threshold:.3g}")  # fmt: skip
    axis.set(title=title, xlabel="distance", ylabel="density, fraction per unit of distance")
    axis.set_ylim(bottom=0)
    _legend(axis, 3)
    return figure


@styled()
def slices_figure(runs: Mapping[str, Sequence[Slice]], *, metric: str = "mAP") -> Figure:
    """Means of slices of the queries with their intervals, a line per slice, a mark per run.

    Args:
        runs: slices by run; a run may lack some.
        metric: name of the mean, for the axis.

    Raises:
        ValueError: there is no slice.
    """
    names = list(dict.fromkeys(each.name for some in runs.values() for each in some))
    if not names:
        raise ValueError("runs must hold at least one slice; got none")
    counts = {each.name: each.count for some in runs.values() for each in some}
    figure = new_figure((_SIZE[0], 1.3 + 0.34 * len(names) * max(1, 0.6 * len(runs))))
    axis = figure.subplots()
    step = 0.7 / max(len(runs), 1)
    for number, (run, some) in enumerate(runs.items()):
        y = np.array([names.index(each.name) for each in some]) + step * (
            number - (len(runs) - 1) / 2
        )
        x, low, high = (
            100 * np.array([getattr(each, field) for each in some], float)
            for field in ("value", "low", "high")
        )
        known = np.isfinite(low) & np.isfinite(high)
        color = _look(number)["color"]
        axis.hlines(y[known], low[known], high[known], color=color, linewidth=1.4)
        axis.plot(x, y, _marker(number), color=color, label=run, markersize=5)
    labels = [name if counts[name] is None else f"{name} ({counts[name]})" for name in names]
    axis.set_yticks(range(len(names)), labels)
    axis.set(ylim=(len(names) - 0.5, -0.5), xlabel=f"{metric}, %, with 95 % interval")
    axis.set_title("slices (queries)" if any(counts.values()) else "slices")
    axis.grid(axis="y", visible=False)
    if len(runs) > 1:
        figure.legend(loc="outside lower center", ncols=1)
    return figure


@styled()
def change_figure(changes: Any, *, metric: str = "average precision") -> Figure:
    """Changes of the queries between two runs, from the largest gain to the largest loss.

    Args:
        changes: (Q,) second minus first, in [-1, 1]; NaN is left out.
        metric: name of what changed.

    Raises:
        ValueError: no change is finite.
    """
    values = 100 * np.asarray(changes, float)
    values = -np.sort(-values[np.isfinite(values)])
    if not len(values):
        raise ValueError("changes must hold at least one finite number; got none")
    figure = new_figure(_SIZE)
    axis = figure.subplots()
    edges = np.linspace(0, 100, len(values) + 1)
    for name, kept, color in (("better", values > 0, LIGHT.right), ("worse", values < 0,
                                                                    LIGHT.wrong)):  # fmt: skip
        label = f"{name} ({int(kept.sum())})"
        axis.stairs(np.where(kept, values, 0), edges, fill=True, color=color, label=label)
    axis.axhline(0, color=LIGHT.edge, linewidth=0.8)
    axis.set(title="changes by query", xlabel="queries, %", ylabel=f"change of {metric}, points")
    _legend(axis, 2, "upper right")
    return figure


def _draw_history(
    axis: Axes, records: Sequence[Mapping[str, float]], name: str, label: str, number: int
) -> None:
    """One curve; that of single steps pale, under its mean."""
    from matplotlib.ticker import MaxNLocator

    x_name = _x_name(records)
    points = [(record.get(x_name, i), record[name]) for i, record in enumerate(records)
              if record.get(name) is not None]  # fmt: skip
    if not points:
        return
    x, y = zip(*points, strict=True)
    look = _look(number)
    noisy = len(points) > 100
    if noisy:
        axis.plot(x, y, color=look["color"], linewidth=0.7, alpha=0.35)
    marker = _marker(number) if len(points) <= 20 else None
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.plot(x, _smoothed(y) if noisy else y, label=label, marker=marker, **look)


def _x_name(records: Sequence[Mapping[str, float]]) -> str:
    first = records[0] if records else {}
    return next((name for name in ("step", "epoch") if name in first), "record")


def _smoothed(values: Sequence[float]) -> np.ndarray:
    """Means over a twentieth of a curve; NaN leaves its gap."""
    y = np.asarray(values, float)
    known, window = np.isfinite(y), np.ones(len(y) // 20)
    total = np.convolve(np.where(known, y, 0), window, "same")
    return np.where(known, total / np.maximum(np.convolve(known, window, "same"), 1), np.nan)


def _columns(rates: Rates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds, true and false accepts as float64 arrays."""
    found = tuple(
        np.asarray(each, float) for each in (rates.thresholds, rates.true_accepts,
                                             rates.false_accepts)
    )  # fmt: skip
    if len({each.shape for each in found}) != 1 or found[0].ndim != 1:
        shapes = [each.shape for each in found]
        raise ValueError(f"rates must have three columns of one length; got {shapes}")
    return found[0], found[1], found[2]


def _some(given: Mapping[str, _Value], name: str) -> Mapping[str, _Value]:
    if not given:
        raise ValueError(f"{name} must hold at least one; got none")
    return given


def _end_at_100(axis: Axes) -> None:
    """Ends an axis of percent a little above 100, also where all values are 100."""
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, 90.0), min(high, 101.5))


def _look(number: int) -> dict[str, Any]:
    return {"color": LIGHT.series[number % 6], "linestyle": DASHES[number % 6]}


def _marker(number: int) -> str:
    return MARKERS[number % len(MARKERS)]


def _legend(axis: Axes, count: int, place: Any = "best") -> None:
    if count:
        axis.legend(loc=place)
    else:
        axis.text(0.5, 0.5, "nothing logged", ha="center", transform=axis.transAxes)
