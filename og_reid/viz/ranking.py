"""Figures of rankings: queries beside their results; sheets of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .drawing import check_image, draw_border, new_figure, show_image
from .style import LIGHT, MARKS, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Ranking", "ranking_figure", "sheet_figure"]

_QUERY, _OCCLUDED = LIGHT.neutral, LIGHT.doubtful
_MARKS = {
    True: (f" {MARKS['right']}", LIGHT.right),
    False: (f" {MARKS['wrong']}", LIGHT.wrong),
    None: ("", LIGHT.neutral),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """Query and its results.

    Attributes:
        query: (H, W, 3) uint8 RGB.
        results: images like `query`, best first.
        correct: `correct[i]` is True when result i has the query's identity, None when unknown (the
            default).
        occluded: mark the query as occluded.
        label: short text under the query, such as its identity.
    """

    query: np.ndarray
    results: Sequence[np.ndarray]
    correct: Sequence[bool | None] | None = None
    occluded: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        """Check images and lengths."""
        check_image("query", self.query)
        for i, result in enumerate(self.results):
            check_image(f"results[{i}]", result)
        if self.correct is not None and len(self.results) != len(self.correct):
            raise ValueError(
                f"correct must have one entry per result; got {len(self.correct)} for "
                f"{len(self.results)} results"
            )


@styled()
def ranking_figure(rows: Sequence[Ranking], *, top: int = 5) -> Figure:
    """Figure of queries with their `top` results: matches framed green with a tick, others red.

    Results of unknown identity have a grey frame and no mark.

    Args:
        rows: rankings, one line of the figure each.
        top: number of results.

    Raises:
        ValueError: no row, or `top` is under 1.
    """
    if not rows:
        raise ValueError("rows must hold at least one ranking; got none")
    if top < 1:
        raise ValueError(f"top must be at least 1; got {top}")
    figure = new_figure((1.15 * (top + 1) + 0.4, 2.25 * len(rows) + 0.3))
    grid = figure.subplots(len(rows), top + 1, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        show_image(axes[0], row.query, "occluded query" if row.occluded else "query")
        draw_border(axes[0], _OCCLUDED if row.occluded else _QUERY)
        axes[0].title.set_color(_OCCLUDED if row.occluded else _QUERY)
        axes[0].set_xlabel(row.label, fontsize=8, parse_math=False)
        for rank, axis in enumerate(axes[1:]):
            if rank >= len(row.results):
                axis.set_axis_off()
                continue
            right = None if row.correct is None else row.correct[rank]
            mark, color = _MARKS[None if right is None else bool(right)]
            show_image(axis, row.results[rank], f"{rank + 1}{mark}")
            axis.title.set_color(color)
            draw_border(axis, color)
    return figure


@styled()
def sheet_figure(rows: Sequence[Sequence[np.ndarray]]) -> Figure:
    """Figure of rows of images, without titles.

    Args:
        rows: (H, W, 3) uint8 RGB images; rows may differ in length.

    Raises:
        ValueError: there is no image.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise ValueError("rows must hold at least one image; got none")
    figure = new_figure((1.05 * columns, 2.15 * len(rows)))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for number, (axes, row) in enumerate(zip(grid, rows, strict=True)):
        for index, axis in enumerate(axes):
            if index < len(row):
                check_image(f"rows[{number}][{index}]", row[index])
                axis.imshow(row[index])
            axis.set_axis_off()
    return figure
