"""Figure of a lift: the image, its keypoints, the fitted body and the point cloud."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from meshes.pointcloud import PointCloud
from pose.keypoints import SKELETON, Keypoints

from .drawing import check_image, new_figure, show_image
from .splatting import fit_frame, render_cloud, splat_radius
from .style import DARK, LIGHT, rgb, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["cloud_images", "lift_figure"]

# Distinct by shape as well.
_STATES = (
    ("visible", LIGHT.right, "o", 0.5),
    ("unsure", LIGHT.doubtful, "s", 0.2),
    ("hidden", LIGHT.wrong, "X", -1.0),
)
_VIEWS = ((0.0, "cloud: front"), (60.0, "cloud: 60°"), (180.0, "cloud: back"))
_CLOUD_HEIGHT = 600
_UNSEEN = 0.75  # grey of occluded points: lighter than most clothes
_TINT = np.array(rgb(DARK.series[0]))


@styled()
def lift_figure(
    image: np.ndarray,
    keypoints: Keypoints,
    fit_overlay: np.ndarray | None,
    cloud: PointCloud,
) -> Figure:
    """Figure of an image and its lift, in one row.

    Image; keypoints by visibility; fitted body over the image (left out when None); the cloud
    from the front, from 60 degrees and from behind, to one scale, occluded points grey.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: keypoints of one person, pixels of `image`.
        fit_overlay: (H, W, 3) uint8, the image with the body drawn in; or (H, W) bool or float in
            [0, 1], the body's silhouette, drawn as a tint with an outline.
        cloud: point cloud; its background points are not drawn.

    Raises:
        ValueError: an array has another shape or type, or the keypoints are batched.
    """
    check_image("image", image)
    if keypoints.shape:
        raise ValueError(
            f"keypoints must be of one person; got batch shape {tuple(keypoints.shape)}"
        )
    images = [("image", image), ("keypoints", image)]
    if fit_overlay is not None:
        images.append(("fitted body", _overlay(image, fit_overlay)))
    aspect = min(max(image.shape[1] / image.shape[0], 0.3), 1.8)
    clouds = cloud_images(cloud, [yaw for yaw, _ in _VIEWS])
    narrow = clouds[0].shape[1] / clouds[0].shape[0]
    ratios = [aspect] * len(images) + [narrow] * len(clouds)
    figure = new_figure((3.4 * sum(ratios) + 0.12 * len(ratios), 4.2))
    axes = figure.subplots(1, len(ratios), width_ratios=ratios, squeeze=False)[0]
    for axis, (title, shown) in zip(axes, images, strict=False):
        show_image(axis, shown, title)
    _draw_keypoints(axes[1], keypoints)
    for axis, (_, title), shown in zip(axes[len(images) :], _VIEWS, clouds, strict=True):
        show_image(axis, shown, title)
    _legend(figure)
    return figure


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
    marks.append(Patch(color=str(_UNSEEN), label="surface the image does not show"))
    figure.legend(handles=marks, loc="outside lower center", ncols=4)


def _overlay(image: np.ndarray, given: np.ndarray) -> np.ndarray:
    given = np.asarray(given)
    if given.ndim == 3:
        check_image("fit_overlay", given)
        return given
    if given.shape != image.shape[:2]:
        raise ValueError(
            f"fit_overlay must be an image or a silhouette of the image's size "
            f"{image.shape[:2]}; got {given.shape}"
        )
    from scipy.ndimage import binary_erosion

    inside = given > 0.5
    tinted = image.astype(np.float32)
    tinted[inside] = 0.6 * tinted[inside] + 0.4 * _TINT
    line = max(1, round(image.shape[0] / 200))  # equally thick for images of any size
    tinted[inside & ~binary_erosion(inside, iterations=line)] = _TINT
    return tinted.round().astype(np.uint8)


def cloud_images(cloud: PointCloud, yaws: Sequence[float]) -> list[np.ndarray]:
    """Renderings of the body to one scale, just wide enough for all sides; occluded points grey.

    Args:
        cloud: point cloud; its background points are not drawn.
        yaws: viewing directions, degrees, see `render_cloud`.

    Returns:
        An (H, W, 3) uint8 image for each direction; white without body points.
    """
    body = cloud.body()
    if not len(body):
        return [np.full((_CLOUD_HEIGHT, _CLOUD_HEIGHT // 2, 3), 255, np.uint8)] * len(yaws)
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
        for yaw in yaws
    ]
