"""Figures of what the pipeline does: lifting, training curves, rankings, and a 3D window.

Every function returns a `matplotlib.figure.Figure` of its own; pyplot and its global state are
not used. Save one with `figure.savefig("lift.png")`.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from meshes.pointcloud import PointCloud
from pose import SKELETON, Keypoints

from .splatting import fit_frame, render_cloud, splat_radius

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Ranking", "curves_figure", "lift_figure", "ranking_figure", "sheet_figure", "view"]

# Green, orange, red of the Okabe-Ito palette, told apart by shape as well.
_STATES = (
    ("visible", "#009E73", "o", 0.5),
    ("unsure", "#E69F00", "s", 0.2),
    ("hidden", "#D5311E", "X", -1.0),
)
_RIGHT, _WRONG, _QUERY, _OCCLUDED = "#009E73", "#D5311E", "#4D4D4D", "#C77700"
_MARKS = {True: (" ✓", _RIGHT), False: (" ✗", _WRONG), None: ("", _QUERY)}
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_VIEWS = ((0.0, "cloud: front"), (60.0, "cloud: 60°"), (180.0, "cloud: back"))
_CLOUD_HEIGHT = 600
_UNSEEN = 0.75  # grey of points the photo does not show: lighter than most clothes
_TINT = np.array([86, 180, 233])


def lift_figure(
    image: np.ndarray,
    keypoints: Keypoints,
    fit_overlay: np.ndarray | None,
    cloud: PointCloud,
) -> Figure:
    """One photo and what was made of it, in one row.

    Photo; keypoints by visibility; fitted body over the photo (left out when None); the cloud
    from the front, from 60 degrees and from behind, all to one scale, hidden parts grey.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: of one person, pixels of `image`.
        fit_overlay: (H, W, 3) uint8, a picture with the body drawn in; or (H, W) bool or float in
            [0, 1], the body's silhouette, drawn as a tint with an outline.
        cloud: background points are not drawn.

    Raises:
        ValueError: an array is not as said, or the keypoints are batched.
    """
    _check_image("image", image)
    if keypoints.shape:
        raise ValueError(
            f"keypoints must be of one person; got batch shape {tuple(keypoints.shape)}"
        )
    photos = [("photo", image), ("keypoints", image)]
    if fit_overlay is not None:
        photos.append(("fitted body", _overlay(image, fit_overlay)))
    aspect = min(max(image.shape[1] / image.shape[0], 0.3), 1.8)
    clouds = _cloud_pictures(cloud)
    slim = clouds[0].shape[1] / clouds[0].shape[0]
    ratios = [aspect] * len(photos) + [slim] * len(clouds)
    figure = _new_figure((3.4 * sum(ratios) + 0.12 * len(ratios), 4.2))
    axes = figure.subplots(1, len(ratios), width_ratios=ratios, squeeze=False)[0]
    for axis, (title, picture) in zip(axes, photos, strict=False):
        _show(axis, picture, title)
    _draw_keypoints(axes[1], keypoints)
    for axis, (_, title), picture in zip(axes[len(photos) :], _VIEWS, clouds, strict=True):
        _show(axis, picture, title)
    _legend(figure)
    return figure


def curves_figure(history: Sequence[Mapping[str, float]]) -> Figure:
    """Training curves: losses on the left, everything else (accuracy, mAP, ...) on the right.

    Args:
        history: one record per logged moment, in order. "step" (or "epoch") is the x-axis, by
            default the record's number; every other number is a curve, on the left when its name
            contains "loss". Records may lack some of them; NaN leaves a gap.

    Raises:
        ValueError: there is no record.
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
    figure = _new_figure((9.0, 3.4))
    for axis, (title, curves) in zip(figure.subplots(1, 2), panels, strict=True):
        for name, color in zip(curves, _LINES * len(curves), strict=False):
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
                linewidth=1.6,
                label=name,
                **_marks(len(points)),
            )
        _style_curves(axis, title, x_name, empty=not curves)
    return figure


@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """One query and what was found for it.

    Attributes:
        query: (H, W, 3) uint8 RGB.
        results: pictures like `query`, best first.
        correct: `correct[i]` is whether result i is of the query's identity, None where that is
            not known; by default it is known of none.
        occluded: mark the query as occluded.
        label: short text under the query, such as its person id.
    """

    query: np.ndarray
    results: Sequence[np.ndarray]
    correct: Sequence[bool | None] | None = None
    occluded: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        """Check pictures and lengths."""
        _check_image("query", self.query)
        for i, picture in enumerate(self.results):
            _check_image(f"results[{i}]", picture)
        if self.correct is not None and len(self.results) != len(self.correct):
            raise ValueError(
                f"correct must have one entry per result; got {len(self.correct)} for "
                f"{len(self.results)} results"
            )


def ranking_figure(rows: Sequence[Ranking], *, top: int = 5) -> Figure:
    """Queries with their `top` results: right ones framed green with a tick, wrong ones red.

    Results of unknown identity have a grey frame and no mark.

    Args:
        rows: one line of the figure each.
        top: results to show.

    Raises:
        ValueError: there is no row, or `top` is under 1.
    """
    if not rows:
        raise ValueError("rows must hold at least one ranking; got none")
    if top < 1:
        raise ValueError(f"top must be at least 1; got {top}")
    figure = _new_figure((1.15 * (top + 1) + 0.4, 2.25 * len(rows) + 0.3))
    grid = figure.subplots(len(rows), top + 1, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        _show(axes[0], row.query, "occluded query" if row.occluded else "query")
        _border(axes[0], _OCCLUDED if row.occluded else _QUERY)
        axes[0].title.set_color(_OCCLUDED if row.occluded else _QUERY)
        axes[0].set_xlabel(row.label, fontsize=8, parse_math=False)
        for rank, axis in enumerate(axes[1:]):
            if rank >= len(row.results):
                axis.set_axis_off()
                continue
            right = None if row.correct is None else row.correct[rank]
            mark, color = _MARKS[None if right is None else bool(right)]
            _show(axis, row.results[rank], f"{rank + 1}{mark}")
            axis.title.set_color(color)
            _border(axis, color)
    return figure


def sheet_figure(rows: Sequence[Sequence[np.ndarray]]) -> Figure:
    """Rows of pictures side by side, without titles.

    Args:
        rows: (H, W, 3) uint8 RGB pictures; rows may differ in length.

    Raises:
        ValueError: there is no picture.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise ValueError("rows must hold at least one picture; got none")
    figure = _new_figure((1.05 * columns, 2.15 * len(rows)))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for number, (axes, row) in enumerate(zip(grid, rows, strict=True)):
        for index, axis in enumerate(axes):
            if index < len(row):
                _check_image(f"rows[{number}][{index}]", row[index])
                axis.imshow(row[index])
            axis.set_axis_off()
    return figure


def view(cloud: PointCloud, *, title: str = "og_reid") -> None:
    """Open a window in which the cloud can be turned with the mouse; returns when it is closed.

    Args:
        cloud: any cloud with at least one point.
        title: of the window.

    Raises:
        ValueError: the cloud is empty.
        RuntimeError: there is no display to open a window on.
        ImportError: open3d is missing.
    """
    if not len(cloud):
        raise ValueError("cloud must hold at least one point; got an empty cloud")
    without = (
        "draw it into an array with og_reid.viz.splatting.render_cloud, or write it with "
        'meshes.write_pointcloud("cloud.ply", cloud) and open that file elsewhere'
    )
    if sys.platform.startswith("linux") and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    ):
        raise RuntimeError(f"view needs a display and this process has none: {without}")
    try:
        import open3d
    except ImportError as error:
        raise ImportError(
            f"open3d is needed to view clouds; install it with: pip install open3d. Or {without}"
        ) from error
    window = open3d.visualization.Visualizer()
    try:
        if not window.create_window(window_name=title, width=720, height=960):
            raise RuntimeError(f"open3d could not open a window on this display: {without}")
        window.add_geometry(cloud.to_open3d())
        window.get_render_option().point_size = 4.0
        window.run()
    finally:
        window.destroy_window()


def _new_figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "matplotlib is needed to draw figures; install it with: pip install 'og-reid[demo]'"
        ) from error
    return Figure(figsize=size, dpi=150, layout="constrained", facecolor="white")


def _show(axis: Axes, picture: np.ndarray, title: str) -> None:
    height, width = picture.shape[:2]
    # The extent puts pixel (0, 0) at [0, 1] x [0, 1], where the keypoints expect it.
    axis.imshow(picture, extent=(0, width, height, 0), interpolation="antialiased")
    axis.autoscale(False)  # keypoints outside the photo must not shrink it
    axis.set_title(title, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _border(axis: Axes, color: str) -> None:
    for spine in axis.spines.values():
        spine.set(visible=True, color=color, linewidth=3)


def _state(visibility: float) -> int:
    """Index into `_STATES`."""
    return next(i for i, state in enumerate(_STATES) if visibility >= state[3])


def _draw_keypoints(axis: Axes, keypoints: Keypoints) -> None:
    from matplotlib.patheffects import Normal, Stroke

    xy = keypoints.xy.cpu().numpy()
    found = (keypoints.score > 0).tolist()
    state = [_state(v) for v in keypoints.visibility.tolist()]
    index = {name: i for i, name in enumerate(keypoints.names)}
    outline = [Stroke(linewidth=3.2, foreground="white"), Normal()]
    for a, b in SKELETON:
        i, j = index.get(a), index.get(b)
        if i is None or j is None or not (found[i] and found[j]):
            continue
        color = _STATES[max(state[i], state[j])][1]
        axis.plot(*xy[[i, j]].T, color=color, linewidth=1.8, path_effects=outline)
    for i, (x, y) in enumerate(xy):
        if found[i]:
            _, color, marker, _ = _STATES[state[i]]
            axis.plot(x, y, marker, color=color, markersize=5, markeredgecolor="white")


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks: list[Any] = [
        Line2D([], [], marker=m, color=c, markersize=5, markeredgecolor="white", label=name)
        for name, c, m, _ in _STATES
    ]
    marks.append(Patch(color=str(_UNSEEN), label="surface the photo does not show"))
    figure.legend(handles=marks, loc="outside lower center", ncols=4, fontsize=7, frameon=False)


def _overlay(image: np.ndarray, given: np.ndarray) -> np.ndarray:
    given = np.asarray(given)
    if given.ndim == 3:
        _check_image("fit_overlay", given)
        return given
    if given.shape != image.shape[:2]:
        raise ValueError(
            f"fit_overlay must be an image or a silhouette of the image's size "
            f"{image.shape[:2]}; got {given.shape}"
        )
    from scipy.ndimage import binary_erosion

    inside = given > 0.5
    picture = image.astype(np.float32)
    picture[inside] = 0.6 * picture[inside] + 0.4 * _TINT
    line = max(1, round(image.shape[0] / 200))  # as thick in the figure whatever the photo's size
    picture[inside & ~binary_erosion(inside, iterations=line)] = _TINT
    return picture.round().astype(np.uint8)


def _cloud_pictures(cloud: PointCloud) -> list[np.ndarray]:
    """The body from the sides of `_VIEWS`; pictures just wide enough for all of them."""
    body = cloud.body()
    if not len(body):
        return [np.full((_CLOUD_HEIGHT, _CLOUD_HEIGHT // 2, 3), 255, np.uint8)] * len(_VIEWS)
    low, high = body.points.amin(0), body.points.amax(0)
    reach = (body.points - (low + high) / 2)[:, [0, 2]].norm(dim=-1).max()
    aspect = float(2 * reach / (high[1] - low[1]).clamp(min=0.01))
    width = round(_CLOUD_HEIGHT * min(max(aspect, 0.4), 0.8))
    frame = fit_frame(body.points, _CLOUD_HEIGHT, width)
    colors = torch.where(body.visible[:, None], body.colors, body.colors.new_full((), _UNSEEN))
    radius = splat_radius(body.points)
    return [
        render_cloud(
            body.points,
            colors,
            yaw=yaw,
            height=_CLOUD_HEIGHT,
            width=width,
            frame=frame,
            radius=radius,
            normals=body.normals,
        )
        for yaw, _ in _VIEWS
    ]


def _smoothed(values: Sequence[float]) -> np.ndarray:
    """Means over a twentieth of a curve; NaN leaves its gap."""
    y = np.asarray(values, float)
    known, window = np.isfinite(y), np.ones(len(y) // 20)
    total = np.convolve(np.where(known, y, 0), window, "same")
    return np.where(known, total / np.maximum(np.convolve(known, window, "same"), 1), np.nan)


def _marks(count: int) -> dict[str, Any]:
    return {"marker": "o", "markersize": 3.5} if count <= 20 else {}


def _style_curves(axis: Axes, title: str, x_name: str, *, empty: bool) -> None:
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(x_name, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(color="#E0E0E0", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    if empty:
        axis.text(0.5, 0.5, "nothing logged", ha="center", transform=axis.transAxes, fontsize=9)
    else:
        axis.legend(fontsize=8, frameon=False, loc="upper right" if title == "loss" else "best")


def _check_image(name: str, image: Any) -> None:
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or not math.prod(image.shape)
    ):
        came = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image)
        raise ValueError(f"{name} must be (H, W, 3) uint8 RGB; got {came}: use pose.read_image")
