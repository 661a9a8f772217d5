"""Whatever people hold their point clouds in, as `PointCloud`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshes import PointCloud, read_pointcloud
from meshes.pointcloud import HIDDEN_GREY

from .data.batch import CloudBatch
from .data.draws import Draws
from .data.market3d import RawCloud, slim_batch

__all__ = ["ReferenceClouds", "as_pointclouds"]

_GREY_STEP = 0.51 / 255  # 8-bit colours cannot hold the exact middle
_KINDS = (
    "a PointCloud, an (N, 6) array or tensor (xyz in metres, rgb in [0, 1]), an Open3D, trimesh or "
    "torch-geometric cloud, a path (.ply, .npz, .obj), or a sequence of those"
)


class ReferenceClouds:
    """Clouds in memory, of nobody known, as models of the OG-Net authors want them.

    They are turned to the authors' frame; all points count, in their order.
    """

    layout = "reference"

    def __init__(self, clouds: Sequence[PointCloud]) -> None:
        self._clouds = [RawCloud.from_pointcloud(cloud) for cloud in clouds]
        self.pids = self.camids = torch.zeros(len(clouds), dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._clouds)

    def batch(
        self,
        indices: Tensor | Sequence[int],
        num_points: int,
        draws: Draws | None = None,
    ) -> CloudBatch:
        """See `og_reid.data.source.CloudSource`."""
        chosen = torch.as_tensor(indices).tolist()
        return slim_batch([self._clouds[i] for i in chosen], num_points, draws=draws)


def as_pointclouds(value: Any) -> tuple[list[PointCloud], bool]:
    """Convert clouds of any accepted type.

    Args:
        value: one cloud: ``PointCloud``; (N, 6) array or tensor of xyz in metres and rgb in
            [0, 1]; Open3D legacy or tensor point cloud; trimesh ``PointCloud`` or ``Trimesh`` with
            vertex colours; torch-geometric ``Data`` with ``pos`` and colours in ``x``; path. Or
            many: a (B, N, 6) array or tensor, a torch-geometric ``Batch``, or a sequence.

    Points of clouds that cannot carry flags count as hidden where they are exactly middle grey,
    which is how a lift paints them.

    Returns:
        The clouds, and whether a single one was given.

    Raises:
        ValueError: a value is of another type, or its contents break a rule of ``PointCloud``; in
            a sequence the message names the position.
    """
    if isinstance(value, np.ndarray | Tensor) and value.ndim == 3:
        return [_one(row) for row in value], False
    if _package(value) == "torch_geometric" and hasattr(value, "to_data_list"):
        return [_one(data) for data in value.to_data_list()], False
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        clouds = []
        for position, each in enumerate(value):
            try:
                clouds.append(_one(each))
            except ValueError as error:
                raise ValueError(f"pointcloud[{position}]: {error}") from error
        return clouds, False
    return [_one(value)], True


def _one(value: Any) -> PointCloud:
    if isinstance(value, PointCloud):
        return value
    if isinstance(value, str | Path):
        return _unflagged(read_pointcloud(value))
    if isinstance(value, np.ndarray | Tensor):
        return _unflagged(PointCloud.from_array(value))
    convert = {"open3d": _open3d, "trimesh": _trimesh, "torch_geometric": _pyg}.get(_package(value))
    if convert is None:
        raise ValueError(f"pointcloud must be {_KINDS}; got {type(value).__name__}")
    return _unflagged(convert(value))


def _unflagged(cloud: PointCloud) -> PointCloud:
    """Clouds without flags: exactly middle grey is how a lift paints what it does not see."""
    if not bool(cloud.visible.all()) or bool(cloud.is_background.any()):
        return cloud
    shown = (cloud.colors - HIDDEN_GREY).abs().amax(1) > _GREY_STEP
    return PointCloud(cloud.points, cloud.colors, cloud.normals, visible=shown, part=cloud.part)


def _package(value: Any) -> str:
    """The package of a value's class, so that nothing heavy is imported to compare types."""
    for base in type(value).__mro__:
        package = base.__module__.partition(".")[0]
        if package in ("open3d", "trimesh", "torch_geometric"):
            return package
    return ""


def _open3d(cloud: Any) -> PointCloud:
    if hasattr(cloud, "point"):  # tensor-based
        if "colors" not in cloud.point:
            raise ValueError("the Open3D cloud has no colours: set cloud.point.colors")
        points, colors = cloud.point.positions.numpy(), cloud.point.colors.numpy()
    elif hasattr(cloud, "colors") and hasattr(cloud, "points"):
        points, colors = np.asarray(cloud.points), np.asarray(cloud.colors)
        if len(points) and not len(colors):
            raise ValueError("the Open3D cloud has no colours: set cloud.colors")
    else:
        raise ValueError(f"pointcloud must be {_KINDS}; got open3d {type(cloud).__name__}")
    return PointCloud(torch.from_numpy(points.astype(np.float32)), _unit(colors))


def _trimesh(cloud: Any) -> PointCloud:
    visual = getattr(cloud, "visual", None)
    # A mesh without colours would answer with a default grey.
    if visual is not None:
        colors = visual.vertex_colors if visual.kind == "vertex" else None
    else:
        colors = getattr(cloud, "colors", None)
    if colors is None or len(colors) != len(cloud.vertices):
        raise ValueError("the trimesh cloud has no colours, one for each vertex")
    points = np.asarray(cloud.vertices, dtype=np.float32)
    return PointCloud(torch.from_numpy(points), _unit(np.asarray(colors)[:, :3]))


def _pyg(data: Any) -> PointCloud:
    if data.pos is None or data.x is None or data.x.shape[-1] < 3:
        raise ValueError("the torch-geometric Data needs pos (N, 3) and x (N, 3), rgb in [0, 1]")
    flags = {name: data[name] for name in ("visible", "part") if name in data}
    return PointCloud(data.pos, data.x[:, :3], **flags)


def _unit(colors: np.ndarray) -> Tensor:
    """Colours in [0, 1]: bytes are divided by 255, floats are taken as they are."""
    scale = 255.0 if np.issubdtype(colors.dtype, np.integer) else 1.0
    return torch.from_numpy((colors / scale).astype(np.float32))
