"""The coloured point cloud of one person.

Frame: metres, camera-aligned, x to the right of the image, y up, z towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BACKGROUND", "HIDDEN_GREY", "PointCloud"]

BACKGROUND = -1
"""Value of ``PointCloud.part`` for points that are not on the body."""

HIDDEN_GREY = 0.5
"""Colour of points whose colour the photograph does not show."""


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Coloured points, checked once at construction.

    Attributes:
        points: (N, 3) float32 metres; x right, y up, z towards the camera.
        colors: (N, 3) float32 in [0, 1]; grey 0.5 where hidden.
        normals: (N, 3) unit vectors, or None.
        visible: (N,) bool, ``visible[i]`` means the colour of point i was seen in the photograph.
            Defaults to all True.
        part: (N,) int64, ``part[i] = j`` means point i belongs to body joint j; -1 is background.
            Defaults to all 0 ("on the body").

    Raises:
        ValueError: a shape is wrong, a value is NaN or infinite, or colours are not in [0, 1].
    """

    points: Tensor
    colors: Tensor
    normals: Tensor | None = None
    visible: Tensor = None  # type: ignore[assignment]  # filled in by __post_init__
    part: Tensor = None  # type: ignore[assignment]  # filled in by __post_init__

    def __post_init__(self) -> None:
        """Convert to the documented types and check."""
        points = _floats(self.points, "points")
        colors = _colors(self.colors)
        count = len(points)
        if len(colors) != count:
            raise ValueError(
                f"colors must have one row for each of the {count} points; got {len(colors)}"
            )
        device = points.device
        visible = _flags(self.visible, count, torch.bool, True, "visible", device)
        part = _flags(self.part, count, torch.int64, 0, "part", device)
        if self.normals is not None:
            normals = _floats(self.normals, "normals")
            if len(normals) != count:
                raise ValueError(f"normals must be ({count}, 3); got {tuple(normals.shape)}")
            object.__setattr__(self, "normals", normals)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "colors", colors)
        object.__setattr__(self, "visible", visible)
        object.__setattr__(self, "part", part)

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        flags = self.seen_mask
        return f"PointCloud({len(self)} points, {int(flags.sum())} seen on the body)"

    @classmethod
    def from_array(cls, array: np.ndarray | Tensor) -> PointCloud:
        """Make a cloud of an (N, 6) array: xyz in metres, rgb in [0, 1]."""
        table = torch.as_tensor(array)
        if table.ndim != 2 or table.shape[1] != 6:
            raise ValueError(
                "pointcloud must be (N, 6): xyz in metres and rgb in [0, 1]; "
                f"got {tuple(table.shape)}"
            )
        return cls(points=table[:, :3], colors=table[:, 3:])

    @property
    def seen_mask(self) -> Tensor:
        """(N,) bool: points on the body whose colour was seen."""
        return self.visible & (self.part != BACKGROUND)

    @property
    def is_background(self) -> Tensor:
        """(N,) bool."""
        return self.part == BACKGROUND

    def to_array(self) -> np.ndarray:
        """(N, 6) float32 array: xyz and rgb."""
        return torch.cat([self.points, self.colors], dim=1).cpu().numpy()

    def select(self, index: Tensor) -> PointCloud:
        """The points at ``index``: (M,) int64 positions or (N,) bool mask; order kept."""
        return PointCloud(
            points=self.points[index],
            colors=self.colors[index],
            normals=None if self.normals is None else self.normals[index],
            visible=self.visible[index],
            part=self.part[index],
        )

    def seen(self) -> PointCloud:
        """Only the points on the body whose colour was seen."""
        return self.select(self.seen_mask)

    def body(self) -> PointCloud:
        """Only the points on the body, hidden ones included."""
        return self.select(~self.is_background)

    def to(self, device: torch.device | str) -> PointCloud:
        """The same cloud on another device."""
        return PointCloud(
            points=self.points.to(device),
            colors=self.colors.to(device),
            normals=None if self.normals is None else self.normals.to(device),
            visible=self.visible.to(device),
            part=self.part.to(device),
        )

    def to_pyg(self) -> Any:  # a torch_geometric.data.Data; the package is imported on use
        """The cloud as torch-geometric ``Data``: pos, x (rgb), visible, part."""
        from torch_geometric.data import Data

        return Data(pos=self.points, x=self.colors, visible=self.visible, part=self.part)

    def to_open3d(self) -> Any:  # an open3d.geometry.PointCloud; the package is imported on use
        """The cloud as a legacy Open3D ``PointCloud`` (positions, colours, normals)."""
        import open3d

        cloud = open3d.geometry.PointCloud()
        cloud.points = open3d.utility.Vector3dVector(self.points.cpu().double().numpy())
        cloud.colors = open3d.utility.Vector3dVector(self.colors.cpu().double().numpy())
        if self.normals is not None:
            cloud.normals = open3d.utility.Vector3dVector(self.normals.cpu().double().numpy())
        return cloud


def _floats(value: Any, name: str) -> Tensor:
    tensor = torch.as_tensor(value)
    if tensor.ndim != 2 or tensor.shape[1] != 3:
        raise ValueError(f"{name} must be (N, 3); got {tuple(tensor.shape)}")
    tensor = tensor.detach().float()
    bad = ~torch.isfinite(tensor).all(1)
    if bool(bad.any()):
        rows = bad.nonzero()[:5, 0].tolist()
        raise ValueError(
            f"{name} must be finite; got NaN or infinite values in {int(bad.sum())} rows, "
            f"the first are {rows}: drop those points"
        )
    return tensor


def _colors(value: Any) -> Tensor:
    colors = _floats(value, "colors")
    if colors.numel() and (float(colors.min()) < 0 or float(colors.max()) > 1):
        hint = ": divide 8-bit colours by 255" if 1 < float(colors.max()) <= 255 else ""
        raise ValueError(
            f"colors must be in [0, 1]; got {float(colors.min()):g}..{float(colors.max()):g}{hint}"
        )
    return colors


def _flags(
    value: Any, count: int, dtype: torch.dtype, default: int, name: str, device: torch.device
) -> Tensor:
    if value is None:
        return torch.full((count,), default, dtype=dtype, device=device)
    flags = torch.as_tensor(value, device=device)
    if flags.shape != (count,):
        raise ValueError(f"{name} must be ({count},), one per point; got {tuple(flags.shape)}")
    return flags.to(dtype)
