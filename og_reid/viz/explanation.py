"""Explanation of a similarity as a figure: matches as lines, heat on both images, parts as bars."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .drawing import check_image, new_figure
from .style import DIVERGING, LIGHT, category_colors, map_colors, rgb, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ExplainedImage",
    "ExplainedPair",
    "Match",
    "PartBar",
    "cell_center",
    "explained_heats",
    "explanation_figure",
    "faded_image",
    "heat_image",
    "short_name",
    "strongest_matches",
]

_GAP, _CLOSE = 0.28, 0.06  # between the images with and without lines, in heights
_NAME = 34  # characters of a name


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedImage:
    """One image of a pair, or the rendering of its point cloud.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        name: name under the image.
        own: (rows, columns) in [0, 1], fraction of each cell that shows the person's own surface;
            None if unknown.
        contribution: (rows, columns) summands of the similarity, by cell or stripe; None without.
        heat: (H, W, 3) uint8 RGB, contributions as an image of their own, such as a point cloud
            coloured by them; None: from ``contribution``.
    """

    image: np.ndarray
    name: str = ""
    own: np.ndarray | None = None
    contribution: np.ndarray | None = None
    heat: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check images and grids."""
        check_image("image", self.image)
        if self.heat is not None:
            check_image("heat", self.heat)
        for name in ("own", "contribution"):
            grid = getattr(self, name)
            if grid is not None and (np.ndim(grid) != 2 or not np.isfinite(grid).all()):
                raise ValueError(f"{name} must be a finite (rows, columns) array")


@dataclasses.dataclass(frozen=True)
class Match:
    """Match of a cell of the first image and one of the second.

    Attributes:
        first: cell of the first image, row by row.
        second: cell of the second image.
        part: number of the body part that it counts for most.
        contribution: summand of the similarity, of both directions if both chose it.
        cosine: of the features.
        cost: of the difference of position.
    """

    first: int
    second: int
    part: int
    contribution: float
    cosine: float
    cost: float


@dataclasses.dataclass(frozen=True)
class PartBar:
    """Contribution of a body part.

    Attributes:
        name: name of the part.
        contribution: summand of the similarity.
        weight: weight in the sum; NaN if it is not a weighted sum.
        similarity: similarity of the part alone, or NaN.
    """

    name: str
    contribution: float
    weight: float = math.nan
    similarity: float = math.nan


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedPair:
    """Similarity of two images, taken apart.

    Attributes:
        images: the two images.
        parts: contributions by part, in the order of `Match.part`.
        similarity: their sum with ``remainder``.
        matches: matches between the images, strongest first; cells are those of ``own``.
        remainder: summand of no part.
        probability: of one identity, or None.
        shared: fraction of the image that both show of the body, or None.
        approximate: contributions are gradient times input.
    """

    images: tuple[ExplainedImage, ExplainedImage]
    parts: tuple[PartBar, ...]
    similarity: float
    matches: tuple[Match, ...] = ()
    remainder: float = 0.0
    probability: float | None = None
    shared: float | None = None
    approximate: bool = False

    def __post_init__(self) -> None:
        """Check that matches lie in the grids of both images."""
        for match in self.matches:
            for cell, side in ((match.first, self.images[0]), (match.second, self.images[1])):
                if side.own is None or not 0 <= cell < side.own.size:
                    raise ValueError(f"matches must be cells of the images' own; got {match}")
            if not 0 <= match.part < len(self.parts):
                raise ValueError(f"part must be one of {len(self.parts)} parts; got {match.part}")

    @property
    def summary(self) -> str:
        """Similarity, probability and shared fraction, in one line."""
        text = f"similarity {self.similarity:.3f}"
        if self.shared is not None:
            p = self.probability
            text += "  ·  not enough seen" if p is None else f"  ·  probability {p:.2f}"
            text += f"  ·  {100 * self.shared:.0f} % shared"
        return text


def strongest_matches(matches: Sequence[Match], grids: Sequence[tuple[int, int]], count: int
                      ) -> list[Match]:  # fmt: skip
    """Strongest matches that are apart: neighbours of a stronger one on both sides are left out.

    Args:
        matches: matches, strongest first.
        grids: rows and columns of both images.
        count: largest number of matches.
    """
    kept: list[Match] = []
    for match in matches:
        if len(kept) >= count or match.contribution <= 0:
            break
        near = (
            all(
                max(abs(a - b) for a, b in zip(_place(one, grid), _place(two, grid), strict=True))
                < 2
                for one, two, grid in (
                    (match.first, each.first, grids[0]),
                    (match.second, each.second, grids[1]),
                )
            )
            for each in kept
        )
        if not any(near):
            kept.append(match)
    return kept


def _place(cell: int, grid: tuple[int, int]) -> tuple[int, int]:
    return divmod(cell, grid[1])


def heat_image(
    image: np.ndarray, values: np.ndarray, limit: float, *, strength: float = 0.85
) -> np.ndarray:
    """Image in grey with contributions over it: blue for, orange against.

    Args:
        image: (H, W, 3) uint8 RGB.
        values: (rows, columns) contributions.
        limit: contribution of full colour.
        strength: opacity of full colour, in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    check_image("image", image)
    scaled = _resized(values / max(limit, 1e-12), image.shape[:2]).clip(-1, 1)
    grey = image.astype(float) @ (0.299, 0.587, 0.114)
    base = np.repeat((110 + 0.5 * grey)[..., None], 3, 2)
    color = map_colors((scaled + 1) / 2, DIVERGING)
    alpha = strength * np.sqrt(np.abs(scaled))[..., None]
    return (base * (1 - alpha) + color * alpha).clip(0, 255).round().astype(np.uint8)


def faded_image(image: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Image whose cells fade to paper where they do not show the person's own surface.

    Args:
        image: (H, W, 3) uint8 RGB.
        own: (rows, columns) in [0, 1].
    """
    check_image("image", image)
    alpha = (0.08 + 0.92 * _resized(own, image.shape[:2]).clip(0, 1))[..., None]
    return (image * alpha + np.array(rgb(LIGHT.paper)) * (1 - alpha)).round().astype(np.uint8)


def _resized(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) values of (rows, columns) cells, linear between their centres."""
    found = np.asarray(values, float)
    for axis, length in enumerate(size):
        cells = found.shape[axis]
        at = (np.arange(length) + 0.5) * cells / length - 0.5
        low = np.clip(np.floor(at).astype(int), 0, cells - 1)
        high = np.minimum(low + 1, cells - 1)
        part = np.clip(at - low, 0, 1).reshape((-1, 1) if axis == 0 else (1, -1))
        found = found.take(low, axis) * (1 - part) + found.take(high, axis) * part
    return found


@styled()
def explanation_figure(pair: ExplainedPair, *, lines: int = 12) -> Figure:
    """Figure of a pair: strongest matches as lines, own surface, contributions, and parts as bars.

    Args:
        pair: the two images and their contributions.
        lines: largest number of matches.

    Raises:
        ValueError: ``lines`` is negative.
    """
    if lines < 0:
        raise ValueError(f"lines must be at least 0; got {lines}")
    aspects = [each.image.shape[1] / each.image.shape[0] for each in pair.images]
    heats = explained_heats(pair)
    height = 4.4  # inches of the large images
    rows = max(1, len(heats))
    gap = _GAP if pair.matches else _CLOSE
    pairs = [height * (sum(aspects) + gap), height / rows * (sum(aspects) + _CLOSE)]
    widths = [pairs[0], *([pairs[1]] if heats else []), 4.6]
    figure = new_figure((sum(widths) + 0.5 * len(widths), height + 0.95))
    figure.set_layout_engine("constrained", wspace=0.05, hspace=0.03)
    grid = figure.add_gridspec(rows, len(widths), width_ratios=widths)
    _draw_lines(figure.add_subplot(grid[:, 0]), pair, lines)
    for row, (title, images) in enumerate(heats):
        axis = figure.add_subplot(grid[row, 1])
        _draw_side_by_side(axis, images, _CLOSE)
        axis.set_title(title)
    _draw_bars(figure.add_subplot(grid[:, -1]), pair)
    figure.suptitle(pair.summary, x=0.012, ha="left", fontsize=12, fontweight="bold")
    return figure


def explained_heats(pair: ExplainedPair) -> list[tuple[str, list[np.ndarray]]]:
    """Titles and pairs of images of own surface and of contributions."""
    one, other = pair.images
    found = []
    surfaces = [each.own for each in pair.images if each.own is not None]
    if len(surfaces) == 2:
        images = [
            faded_image(each.image, own) for each, own in zip(pair.images, surfaces, strict=True)
        ]
        found.append(("own visible surface", images))
    if one.heat is not None and other.heat is not None:
        found.append(("contributions", [one.heat, other.heat]))
    elif one.contribution is not None and other.contribution is not None:
        both = (one.contribution, other.contribution)
        limit = max(float(np.abs(each).max(initial=0)) for each in both)
        images = [
            heat_image(each.image, values, limit)
            for each, values in zip(pair.images, both, strict=True)
        ]
        found.append((f"contributions, up to {limit:.3f}", images))
    return found


def _draw_side_by_side(axis: Axes, images: Sequence[np.ndarray], gap: float) -> list[float]:
    """Both images, 1 high; the left edge of each."""
    lefts, right = [], 0.0
    for image in images:
        width = image.shape[1] / image.shape[0]
        lefts.append(right)
        axis.imshow(image, extent=(right, right + width, 1, 0), interpolation="antialiased")
        right += width + gap
    axis.set(xlim=(0, right - gap), ylim=(1, 0))
    axis.set_aspect("equal")
    axis.set_axis_off()
    return lefts


def _draw_lines(axis: Axes, pair: ExplainedPair, count: int) -> None:
    from matplotlib.patheffects import Stroke

    images = [each.image for each in pair.images]
    lefts = _draw_side_by_side(axis, images, _GAP if pair.matches else _CLOSE)
    axis.set_title("strongest matches" if pair.matches else "")
    for left, each in zip(lefts, pair.images, strict=True):
        middle = left + each.image.shape[1] / each.image.shape[0] / 2
        axis.text(middle, 1.02, short_name(each.name), ha="center", va="top", fontsize=8,
                  color=LIGHT.soft)  # fmt: skip
    if not pair.matches:
        return
    grids = [each.own.shape for each in pair.images if each.own is not None]
    shown = strongest_matches(pair.matches, [(g[0], g[1]) for g in grids], count)
    colors = category_colors(len(pair.parts))
    top = shown[0].contribution if shown else 1.0
    for number, match in reversed(list(enumerate(shown, 1))):
        ends = [
            cell_center(cell, (grid[0], grid[1]), left, image.shape)
            for cell, grid, left, image in zip(
                (match.first, match.second), grids, lefts, images, strict=True
            )
        ]
        color = colors[match.part]
        width = 0.8 + 2.2 * match.contribution / top
        axis.plot(*zip(*ends, strict=True), color=color, linewidth=width, alpha=0.9,
                  path_effects=[Stroke(linewidth=width + 1.6, foreground="white", alpha=0.8),
                                Stroke(linewidth=width)], clip_on=False)  # fmt: skip
        for x, y in ends:
            axis.text(x, y, str(number), color="white", fontsize=7, fontweight="bold",
                      ha="center", va="center", clip_on=False,
                      bbox={"boxstyle": "circle,pad=0.22", "facecolor": color,
                            "edgecolor": "white", "linewidth": 0.8})  # fmt: skip


def cell_center(
    cell: int, grid: tuple[int, int], left: float, shape: Sequence[int]
) -> tuple[float, float]:
    """Centre of a cell of an image that is 1 high.

    Args:
        cell: number of the cell, row by row.
        grid: rows and columns.
        left: left edge of the image.
        shape: height and width of the image, pixels.
    """
    row, column = _place(cell, grid)
    width = shape[1] / shape[0]
    return left + (column + 0.5) / grid[1] * width, (row + 0.5) / grid[0]


def short_name(name: str, length: int = _NAME) -> str:
    """Name on one line, with an ellipsis in the middle if it is long."""
    name = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name)
    if len(name) <= length:
        return name
    return f"{name[: length // 2 - 1]}\N{HORIZONTAL ELLIPSIS}{name[-(length // 2) :]}"


def _draw_bars(axis: Axes, pair: ExplainedPair) -> None:
    """A bar for each part, with the numbers beside it."""
    rows = [*pair.parts]
    if pair.remainder or pair.approximate:
        name = "not explained" if pair.approximate else "nothing in common"
        rows.append(PartBar(name, pair.remainder))
    colors = [*category_colors(len(pair.parts)), LIGHT.neutral]
    if not pair.matches:
        signs = [LIGHT.series[int(each.contribution < 0)] for each in pair.parts]
        colors = [*signs, LIGHT.neutral]
    places = range(len(rows))
    values = [each.contribution for each in rows]
    axis.barh(list(places), values, height=0.62, color=colors[: len(rows)])
    axis.set_yticks(list(places), [each.name.replace("_", " ") for each in rows], fontsize=9)
    axis.tick_params(axis="y", length=0, labelcolor=LIGHT.ink)
    axis.set_ylim(len(rows) - 0.3, -1.1)
    low, high = min(0.0, *values), max(0.0, *values) or 1.0
    span = high - low
    weighted = any(not math.isnan(each.weight) for each in rows)
    columns = {"contribution": (0.46, [f"{v:.3f}" for v in values])}
    if weighted:
        columns["weight"] = (0.86, [_number(each.weight) for each in rows])
        columns["similarity"] = (1.32, [_number(each.similarity) for each in rows])
    for title, (at, texts) in columns.items():
        x = high + at * span
        axis.text(x, -0.75, title, ha="right", va="center", fontsize=8, color=LIGHT.soft)
        for place, text in zip(places, texts, strict=True):
            axis.text(x, place, text, ha="right", va="center", fontsize=9)
    last = max(at for at, _ in columns.values())
    axis.set_xlim(low - 0.03 * span, high + (last + 0.04) * span)
    axis.axvline(0, color=LIGHT.edge, linewidth=0.8)
    axis.grid(False)
    axis.set_xticks([])
    for side in axis.spines.values():
        side.set_visible(False)
    axis.set_title("parts, approximate: gradient x input" if pair.approximate else "parts")


def _number(value: float) -> str:
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.3f}"
