"""Grid of rankings: queries beside their results, framed, marked, with numbers and visibility."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from .drawing import new_figure
from .explanation import short_name
from .style import LIGHT, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "FRAMES",
    "GridItem",
    "GridRow",
    "Mark",
    "RankingGrid",
    "decoded",
    "grid_figure",
    "worst_first",
]

#: Kind of a result: of the query's identity, of another, left out of metrics, or unknown.
Mark = Literal["right", "wrong", "junk", "unknown"]
#: Sign and line of the frame of each kind, so that none differs by colour alone.
FRAMES: dict[str, tuple[str, str, str]] = {
    "right": ("✓", "-", LIGHT.right),
    "wrong": ("✗", "--", LIGHT.wrong),
    "junk": ("\N{EN DASH}", ":", LIGHT.neutral),
    "unknown": ("", "-", LIGHT.edge),
}
_WIDTH, _HEIGHT, _GAP = 1.0, 2.0, 0.32  # of an image, and between columns, in units of a grid
_TEXT = 0.72  # height of the texts under an image
_LINE = 0.2
_PER_UNIT = 0.72  # inches


@dataclasses.dataclass(frozen=True)
class GridItem:
    """Query, or result of one.

    Attributes:
        name: name of the image, the key of `RankingGrid.images`.
        mark: kind of a result; of queries ``unknown``.
        similarity: to the query; NaN if unknown.
        shared: fraction of the image that both show of the body, or None.
        probability: of one identity, or None.
        identity: number of the identity, or None.
        camera: number of the camera, or None.
        visibility: visibility of each part, in [0, 1].
    """

    name: str
    mark: Mark = "unknown"
    similarity: float = math.nan
    shared: float | None = None
    probability: float | None = None
    identity: int | None = None
    camera: int | None = None
    visibility: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the mark."""
        if self.mark not in get_args(Mark):
            raise ValueError(f"mark must be one of {', '.join(get_args(Mark))}; got {self.mark!r}")


@dataclasses.dataclass(frozen=True)
class GridRow:
    """Query with its results, best first.

    Attributes:
        query: the query.
        items: results.
        occluded: whether the query is occluded; None if unknown.
        note: lines of text under the query in place of the rank of the first right result.
    """

    query: GridItem
    items: tuple[GridItem, ...]
    occluded: bool | None = None
    note: str = ""

    @property
    def first_right(self) -> int | None:
        """Rank, from 1, of the first right result, junk left out; None without one."""
        counted = [each.mark for each in self.items if each.mark != "junk"]
        return counted.index("right") + 1 if "right" in counted else None

    @property
    def judged(self) -> bool:
        """True if a result is known to be right or wrong."""
        return any(each.mark in ("right", "wrong") for each in self.items)


@dataclasses.dataclass(frozen=True, eq=False)
class RankingGrid:
    """Rankings with their images.

    Attributes:
        rows: queries with their results.
        images: encoded images by name; for others a placeholder is shown.
        clouds: encoded renderings of point clouds by the name of their image.
        parts: names of the parts of `GridItem.visibility`.
        title: title of a page.
    """

    rows: tuple[GridRow, ...]
    images: Mapping[str, bytes]
    clouds: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    parts: tuple[str, ...] = ()
    title: str = "Rankings"

    def __post_init__(self) -> None:
        """Check the number of rows and of visible parts."""
        if not self.rows:
            raise ValueError("rows must hold at least one ranking; got none")
        for row in self.rows:
            for each in (row.query, *row.items):
                if len(each.visibility) not in (0, len(self.parts)):
                    raise ValueError(
                        f"visibility must be of the {len(self.parts)} parts; got "
                        f"{len(each.visibility)} for {short_name(each.name)}"
                    )


def worst_first(rows: Sequence[GridRow]) -> tuple[GridRow, ...]:
    """Rows by the rank of the first right result, the last ones first; unjudged rows at the end.

    Among equals those with a larger lead of the best wrong result over the best right one.

    Args:
        rows: rows in any order.
    """

    def badness(row: GridRow) -> tuple[float, float]:
        if not row.judged:
            return (0.0, 0.0)
        best = {
            mark: max((e.similarity for e in row.items if e.mark == mark), default=-3.0)
            for mark in ("right", "wrong")
        }
        return (float(row.first_right or math.inf), best["wrong"] - best["right"])

    return tuple(sorted(rows, key=badness, reverse=True))


def decoded(content: bytes) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an encoded image."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


@styled()
def grid_figure(grid: RankingGrid, *, top: int = 10) -> Figure:
    """Figure of rankings, a line for each query.

    Results of the query's identity have a solid frame and a tick, others a dashed one and a cross,
    junk a dotted one and a dash. Under each: similarity, probability, and a bar for each part, as
    high as it is visible.

    Args:
        grid: rankings with their images.
        top: largest number of results.

    Raises:
        ValueError: ``top`` is under 1.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1; got {top}")
    columns = 1 + min(top, max(len(row.items) for row in grid.rows))
    per = 2 if grid.clouds else 1
    cell = per * _WIDTH + (per - 1) * 0.06
    lines = max(len(row.note.splitlines()) for row in grid.rows)
    high = _HEIGHT + _TEXT + 0.3 + _LINE * max(0, lines - 1)
    wide = columns * cell + (columns - 1) * _GAP + 0.3  # the query stands apart
    size = (_PER_UNIT * (wide + 0.4), _PER_UNIT * (high * len(grid.rows) + 0.45))
    figure = new_figure(size)
    figure.set_layout_engine("none")
    bottom = high * len(grid.rows) + 0.25
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(-0.2, wide + 0.2), ylim=(bottom, -0.2))
    axis.set_axis_off()
    for number, row in enumerate(grid.rows):
        y = number * high
        for place, item in enumerate((row.query, *row.items[:top])):
            x = place * (cell + _GAP) + (0.3 if place else 0.0)
            _draw_item(axis, grid, row, place, item, (x, y), cell)
    axis.text(0, bottom - 0.1, _legend(grid), fontsize=7, color=LIGHT.soft, va="center")
    return figure


def _legend(grid: RankingGrid) -> str:
    items = [item for row in grid.rows for item in row.items]
    marks = {item.mark for item in items}
    meanings = {"right": "same identity", "wrong": "other identity", "junk": "junk"}
    texts = [f"{FRAMES[mark][0]} {text}" for mark, text in meanings.items() if mark in marks]
    if any(item.shared is not None for item in items):
        texts.append("p probability, % of the image shared")
    if any(item.visibility for item in items):
        texts.append("bars: visibility of " + ", ".join(grid.parts))
    return "     ".join(texts)


def _draw_item(
    axis: Axes, grid: RankingGrid, row: GridRow, place: int, item: GridItem,
    at: tuple[float, float], cell: float,
) -> None:  # fmt: skip
    from matplotlib.patches import Rectangle

    x, y = at
    sources: list[Mapping[str, bytes]] = [grid.images, *([grid.clouds] if grid.clouds else [])]
    for number, source in enumerate(sources):
        left = x + number * (_WIDTH + 0.06)
        content = source.get(item.name)
        if content is not None:
            _draw_image(axis, decoded(content), left, y, faint=item.mark == "junk")
        elif number == 0:
            axis.add_patch(Rectangle((left, y), _WIDTH, _HEIGHT, facecolor=LIGHT.panel))
            axis.text(left + _WIDTH / 2, y + _HEIGHT / 2, "no image", ha="center", va="center",
                      fontsize=7, color=LIGHT.soft)  # fmt: skip
    sign, line, color = FRAMES[item.mark]
    if not place:
        color, line = (LIGHT.doubtful if row.occluded else LIGHT.ink), "-"
    frame = Rectangle((x, y), cell, _HEIGHT, fill=False, edgecolor=color, linestyle=line,
                      linewidth=2.6, gid=f"frame-{item.mark if place else 'query'}")  # fmt: skip
    axis.add_patch(frame)
    if place:
        label = f"{place} {sign}".rstrip()
        axis.text(x + 0.05, y + 0.05, label, ha="left", va="top", fontsize=9, fontweight="bold",
                  color="white", bbox={"boxstyle": "square,pad=0.25", "facecolor": color,
                                       "edgecolor": "none"})  # fmt: skip
    texts = _query_texts(row, bool(grid.clouds)) if not place else _result_texts(item)
    for line_number, text in enumerate(texts):
        axis.text(x, y + _HEIGHT + 0.13 + _LINE * line_number, text, ha="left", va="center",
                  fontsize=8 if line_number == 0 else 7,
                  color=LIGHT.ink if line_number == 0 else LIGHT.soft)  # fmt: skip
    for number, seen in enumerate(item.visibility):
        width = _WIDTH / max(len(item.visibility), 1)
        left, bottom = x + number * width, y + _HEIGHT + _TEXT + 0.05
        tall = 0.16 * min(max(seen, 0.0), 1.0)
        axis.add_patch(Rectangle((left, bottom - 0.16), 0.8 * width, 0.16, linewidth=0,
                                 facecolor=LIGHT.line))  # fmt: skip
        axis.add_patch(Rectangle((left, bottom - tall), 0.8 * width, tall, linewidth=0,
                                 facecolor=LIGHT.accent))  # fmt: skip


def _draw_image(axis: Axes, image: np.ndarray, x: float, y: float, *, faint: bool) -> None:
    """Image inside a box of 1 x 2, in its own aspect."""
    aspect = image.shape[1] / image.shape[0]
    width, height = min(_WIDTH, _HEIGHT * aspect), min(_HEIGHT, _WIDTH / aspect)
    left, top = x + (_WIDTH - width) / 2, y + (_HEIGHT - height) / 2
    axis.imshow(image, extent=(left, left + width, top + height, top), alpha=0.45 if faint else 1,
                interpolation="antialiased", aspect="auto")  # fmt: skip


def _query_texts(row: GridRow, paired: bool) -> list[str]:
    known = [
        f"ID {row.query.identity}" if row.query.identity is not None else "",
        f"camera {row.query.camera}" if row.query.camera is not None else "",
    ]
    texts = [short_name(row.query.name.rpartition("/")[2], 14 + 16 * paired)]
    named = "  ".join(each for each in known if each)
    if named:
        texts.append(named)
    if row.note:
        texts += [short_name(line, 18 + 14 * paired) for line in row.note.splitlines()]
    elif row.judged:
        first = row.first_right
        texts.append("none right" if first is None else f"first right: {first}")
    elif row.occluded:
        texts.append("occluded")
    return texts


def _result_texts(item: GridItem) -> list[str]:
    texts = [f"{item.similarity:.3f}"] if not math.isnan(item.similarity) else [""]
    if item.shared is not None:
        p = item.probability
        texts.append("not enough seen" if p is None else f"p {p:.2f}  {100 * item.shared:.0f} %")
    if item.camera is not None:
        texts.append(f"camera {item.camera}")
    return texts
