"""Interactive window with point clouds side by side, by Open3D."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from pose.runtime.defaults import plain_torch

from .coloring import contribution_range, point_colors
from .items import ViewItem
from .looks import Look
from .style import DARK, LIGHT, rgb

__all__ = ["open_window"]

_GAP = 0.3  # metres between clouds
_WITHOUT = 'write an image, view(..., png="a.png"), or a page, view(..., html="a.html")'


def open_window(
    items: Sequence[ViewItem], look: Look | None = None, *, title: str = "og_reid"
) -> None:
    """Open an interactive window; returns when it is closed.

    Args:
        items: at least one item.
        look: colouring; bodies as surfaces if `Look.surface`.
        title: title of the window.

    Raises:
        ValueError: no item, or a colouring that an item does not support.
        RuntimeError: there is no display.
        ImportError: open3d is missing.
    """
    if not items:
        raise ValueError("items must hold at least one item to view; got none")
    if sys.platform.startswith("linux") and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    ):
        raise RuntimeError(f"view needs a display and this process has none: {_WITHOUT}")
    try:
        import open3d
    except ImportError as error:
        raise ImportError(
            f"open3d is needed for a window; install it with: pip install open3d. Or {_WITHOUT}"
        ) from error
    look = look or Look()
    shapes = [shape for group in _shapes(open3d, items, look) for shape in group]
    window = open3d.visualization.Visualizer()
    try:
        if not window.create_window(window_name=title, width=960, height=960):
            raise RuntimeError(f"open3d could not open a window on this display: {_WITHOUT}")
        for shape in shapes:
            window.add_geometry(shape)
        options = window.get_render_option()
        options.point_size = 4.0
        paper = (DARK if look.dark else LIGHT).paper
        options.background_color = [channel / 255 for channel in rgb(paper)]
        window.run()
    finally:
        window.destroy_window()


@plain_torch()
def _shapes(open3d: Any, items: Sequence[ViewItem], look: Look) -> list[list[Any]]:
    """Geometries of each item, moved to its place in a row from left to right."""
    values = contribution_range(items)
    found, left = [], 0.0
    for item in items:
        colors, _ = point_colors(item, look, values)
        cloud = item.cloud
        shown = ~cloud.is_background
        if look.background or not bool(shown.any()):
            shown = shown | True
        points = cloud.points[shown].double()
        low, high = float(points[:, 0].min()), float(points[:, 0].max())
        move = [left - low, 0.0, 0.0]
        left += high - low + _GAP
        group = []
        if look.surface and item.faces is not None:
            mesh = open3d.geometry.TriangleMesh(
                open3d.utility.Vector3dVector(cloud.points.double().numpy()),
                open3d.utility.Vector3iVector(item.faces.int().numpy()),
            )
            mesh.vertex_colors = open3d.utility.Vector3dVector(colors.double().numpy())
            mesh.remove_unreferenced_vertices()
            mesh.compute_vertex_normals()
            group.append(mesh)
        else:
            drawn = open3d.geometry.PointCloud()
            drawn.points = open3d.utility.Vector3dVector(points.numpy())
            drawn.colors = open3d.utility.Vector3dVector(colors[shown].double().numpy())
            group.append(drawn)
        if item.bones is not None:
            lines = open3d.geometry.LineSet(
                open3d.utility.Vector3dVector(item.bones.reshape(-1, 3).double().numpy()),
                open3d.utility.Vector2iVector(
                    [[2 * row, 2 * row + 1] for row in range(len(item.bones))]
                ),
            )
            group.append(lines)
        for shape in group:
            shape.translate(move)
        found.append(group)
    return found
