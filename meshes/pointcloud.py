"""Coloured point cloud of one person.

Frame: metres, camera-aligned, x to the right of the image, y up, z towards the camera.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose.files.reading import InputWarning, level_outside
from pose.runtime.defaults import plain_torch

from .notebook import notebook_html
from .pointcloud_values import near_points, numeric_tensor, unit_colors

__all__ = ["BACKGROUND", "HIDDEN_GREY", "PointCloud"]

BACKGROUND = -1
"""Value of ``PointCloud.part`` for background points."""

HIDDEN_GREY = 0.5
"""Colour of occluded points."""


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Coloured point cloud, validated at construction.

    Attributes:
        points: (N, 3) float32 metres; x right, y up, z towards the camera. Coordinates of a wider
            type that rounding to float32 would move by more than 0.1 mm, such as those of a
            national grid, are taken relative to their centroid; all others are kept to the bit.
        colors: (N, 3) float32 in [0, 1]; grey 0.5 where hidden. Integers are divided by the largest
            value of their type (255, 65535); those of 32 and 64 bits up to 255 by 255, and up to 1
            they are fractions. Floats up to 1.01 count as 1.
        normals: (N, 3) unit vectors, or None.
        visible: (N,) bool, ``visible[i]`` means point i is visible in the image.
            Defaults to all True.
        part: (N,) int64, ``part[i] = j`` means point i belongs to body joint j; -1 is background.
            Defaults to all 0 ("on the body").
        features: (N, C) float32 local features of any length C above 0, such as those of an image
            network (`meshes.sample_features`), or None.

    Example:
        >>> PointCloud([[0, 0, 0], [0, 1, 0]], [[255, 0, 0], [0, 0, 255]]).colors
        tensor([[1., 0., 0.],
                [0., 0., 1.]])

    Raises:
        ValueError: a shape or type is wrong, a value is NaN or infinite, or colours are not in
            [0, 1].
    """

    points: Tensor
    colors: Tensor
    normals: Tensor | None = None
    visible: Tensor = None  # type: ignore[assignment]  # filled in by __post_init__
    part: Tensor = None  # type: ignore[assignment]  # filled in by __post_init__
    features: Tensor | None = None

    @plain_torch()
    def __post_init__(self) -> None:
        """Convert to the documented types and check."""
        points = near_points(_rows(self.points, "points"))
        colors, doubt = unit_colors(_rows(self.colors, "colors"))
        if doubt:
            warnings.warn(doubt, InputWarning, stacklevel=level_outside())
        count = len(points)
        if len(colors) != count:
            raise ValueError(
                f"colors must have one row for each of the {count} points; got {len(colors)}"
            )
        device = points.device
        visible = _flags(self.visible, count, torch.bool, True, "visible", device)
        part = _flags(self.part, count, torch.int64, 0, "part", device)
        if self.normals is not None:
            normals = _rows(self.normals, "normals").float()
            if len(normals) != count:
                raise ValueError(f"normals must be ({count}, 3); got {tuple(normals.shape)}")
            object.__setattr__(self, "normals", normals)
        if self.features is not None:
            object.__setattr__(self, "features", _features(self.features, count, device))
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "colors", colors)
        object.__setattr__(self, "visible", visible)
        object.__setattr__(self, "part", part)

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        flags = self.seen_mask
        return f"PointCloud({len(self)} points, {int(flags.sum())} seen on the body)"

    def _repr_html_(self) -> str | None:
        """Interactive view for notebooks, once og_reid is imported."""
        return notebook_html(self)

    @classmethod
    @plain_torch()
    def from_array(cls, array: np.ndarray | Tensor) -> PointCloud:
        """Make a cloud of an (N, 6) array: xyz in metres, rgb by the rule of ``colors``."""
        table = numeric_tensor(array, "pointcloud")
        if table.ndim != 2 or table.shape[1] != 6:
            raise ValueError(
                "pointcloud must be (N, 6): xyz in metres and rgb in [0, 1]; "
                f"got {tuple(table.shape)}"
            )
        return cls(points=table[:, :3], colors=table[:, 3:])

    @property
    def seen_mask(self) -> Tensor:
        """(N,) bool: visible points on the body."""
        return self.visible & (self.part != BACKGROUND)

    @property
    def is_background(self) -> Tensor:
        """(N,) bool: background points."""
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
            features=None if self.features is None else self.features[index],
        )

    def seen(self) -> PointCloud:
        """Cloud of the visible points on the body."""
        return self.select(self.seen_mask)

    def body(self) -> PointCloud:
        """Cloud of the points on the body, occluded ones included."""
        return self.select(~self.is_background)

    def to(self, device: torch.device | str) -> PointCloud:
        """The same cloud on another device."""
        return PointCloud(
            points=self.points.to(device),
            colors=self.colors.to(device),
            normals=None if self.normals is None else self.normals.to(device),
            visible=self.visible.to(device),
            part=self.part.to(device),
            features=None if self.features is None else self.features.to(device),
        )

    def to_pyg(self) -> Any:  # a torch_geometric.data.Data; the package is imported on use
        """The cloud as torch-geometric ``Data``: pos, x (rgb), visible, part, features if any."""
        from torch_geometric.data import Data

        data = Data(pos=self.points, x=self.colors, visible=self.visible, part=self.part)
        if self.features is not None:
            data.features = self.features
        return data

    def to_open3d(self) -> Any:  # an open3d.geometry.PointCloud; the package is imported on use
        """The cloud as a legacy Open3D ``PointCloud`` (positions, colours, normals)."""
        import open3d

        cloud = open3d.geometry.PointCloud()
        cloud.points = open3d.utility.Vector3dVector(self.points.cpu().double().numpy())
        cloud.colors = open3d.utility.Vector3dVector(self.colors.cpu().double().numpy())
        if self.normals is not None:
            cloud.normals = open3d.utility.Vector3dVector(self.normals.cpu().double().numpy())
        return cloud


def _rows(value: Any, name: str) -> Tensor:
    """(N, 3) finite numbers of any real type."""
    tensor = numeric_tensor(value, name)
    if tensor.ndim != 2 or tensor.shape[1] != 3:
        raise ValueError(f"{name} must be (N, 3); got {tuple(tensor.shape)}")
    return _finite(tensor, name)


def _features(value: Any, count: int, device: torch.device) -> Tensor:
    """(N, C) finite float32 numbers."""
    tensor = numeric_tensor(value, "features")
    if tensor.ndim != 2 or len(tensor) != count or not tensor.shape[1]:
        raise ValueError(
            f"features must be ({count}, C) with C above 0, a row for each point; got "
            f"{tuple(tensor.shape)}"
        )
    return _finite(tensor.float().to(device), "features")


def _finite(tensor: Tensor, name: str) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    bad = ~torch.isfinite(tensor).all(1)
    if bool(bad.any()):
        rows = bad.nonzero()[:5, 0].tolist()
        raise ValueError(
            f"{name} must be finite; got NaN or infinite values in {int(bad.sum())} rows, "
            f"the first are {rows}: drop those points"
        )
    return tensor


def _flags(
    value: Any, count: int, dtype: torch.dtype, default: int, name: str, device: torch.device
) -> Tensor:
    if value is None:
        return torch.full((count,), default, dtype=dtype, device=device)
    if not isinstance(value, Tensor):
        value = np.asarray(value)
        value = value.astype(np.uint8) if value.dtype == np.bool_ else value
    is_bool = isinstance(value, Tensor) and value.dtype == torch.bool
    flags = (value if is_bool else numeric_tensor(value, name)).to(device)
    if flags.shape != (count,):
        raise ValueError(f"{name} must be ({count},), one per point; got {tuple(flags.shape)}")
    if flags.is_floating_point() and not bool((flags.round() - flags == 0).all()):
        raise ValueError(f"{name} must be whole numbers; got fractions, NaN or infinity")
    return flags.to(dtype)
