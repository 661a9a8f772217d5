"""Interactive window with a point cloud."""

from __future__ import annotations

import os
import sys

from meshes.pointcloud import PointCloud

__all__ = ["view"]


def view(cloud: PointCloud, *, title: str = "og_reid") -> None:
    """Open an interactive window with the cloud; returns when it is closed.

    Args:
        cloud: any cloud with at least one point.
        title: title of the window.

    Raises:
        ValueError: the cloud is empty.
        RuntimeError: there is no display.
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
