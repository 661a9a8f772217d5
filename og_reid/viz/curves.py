"""Figure of training curves: losses on the left, other metrics on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .drawing import new_figure
from .style import DASHES, LIGHT, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves_figure"]


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
    x_name = next((name for name in ("step", "epoch") if name in records[0]), "record")
    names = dict.fromkeys(
        name
        for record in records
        for name, value in record.items()
        if name not in ("step", "epoch") and isinstance(value, (int, float))
    )
    panels = (
        ("loss", [n for n in names if "loss" in n]),
        ("accuracy", [n for n in names if "loss" not in n]),
    )
    figure = new_figure((9.0, 3.4))
    for axis, (title, curves) in zip(figure.subplots(1, 2), panels, strict=True):
        for number, name in enumerate(curves):
            color = LIGHT.series[number % len(LIGHT.series)]
            points = [
                (record.get(x_name, i), record[name])
                for i, record in enumerate(records)
                if name in record
            ]
            x, y = zip(*points, strict=True)
            noisy = len(points) > 100  # single steps: pale, under their mean
            if noisy:
                axis.plot(x, y, color=color, linewidth=0.7, alpha=0.35)
            axis.plot(
                x,
                _smoothed(y) if noisy else y,
                color=color,
                linestyle=DASHES[number % len(DASHES)],
                label=name,
                **_marks(len(points)),
            )
        _style_curves(axis, title, x_name, empty=not curves)
    return figure


def _smoothed(values: Sequence[float]) -> np.ndarray:
    """Means over a twentieth of a curve; NaN leaves its gap."""
    y = np.asarray(values, float)
    known, window = np.isfinite(y), np.ones(len(y) // 20)
    total = np.convolve(np.where(known, y, 0), window, "same")
    return np.where(known, total / np.maximum(np.convolve(known, window, "same"), 1), np.nan)


def _marks(count: int) -> dict[str, Any]:
    return {"marker": "o", "markersize": 3.5} if count <= 20 else {}


def _style_curves(axis: Axes, title: str, x_name: str, *, empty: bool) -> None:
    axis.set_title(title)
    axis.set_xlabel(x_name)
    if empty:
        axis.text(0.5, 0.5, "nothing logged", ha="center", transform=axis.transAxes)
    else:
        axis.legend(loc="upper right" if title == "loss" else "best")
