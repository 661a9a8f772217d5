"""Batch of clouds of one size, for networks and augmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from meshes.pointcloud import HIDDEN_GREY

__all__ = ["CloudBatch"]


@dataclass(frozen=True, eq=False)
class CloudBatch:
    """B clouds of P points each.

    Attributes:
        points: (B, P, 3) float32 metres; x right, y up, z to the camera.
        colors: (B, P, 3) float32 in [0, 1]; ignored at points that are not visible.
        part: (B, P) int64 body joint of each point; -1 = background.
        visible: (B, P) bool, visible points.
        features: (B, P, C) float32 local features, or None; ignored at points that are not visible.
        centered: True when the points are relative to the network's origin; otherwise
            `network_input` moves the mean of each cloud there.
    """

    points: Tensor
    colors: Tensor
    part: Tensor
    visible: Tensor
    centered: bool = False
    features: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that the shapes agree."""
        shape = tuple(self.part.shape)
        shapes = [tuple(each.shape) for each in (self.points, self.colors, self.visible)]
        if len(shape) != 2 or shapes != [(*shape, 3), (*shape, 3), shape]:
            raise ValueError(
                "points and colors must be (B, P, 3), part and visible (B, P); "
                f"got {shapes[0]}, {shapes[1]}, {shape}, {shapes[2]}"
            )
        if self.features is not None and (
            self.features.ndim != 3 or tuple(self.features.shape[:2]) != shape
        ):
            raise ValueError(f"features must be {(*shape, 'C')}; got {tuple(self.features.shape)}")

    def __len__(self) -> int:
        return len(self.part)

    def to(self, device: torch.device | str) -> CloudBatch:
        """The same batch on another device."""
        return replace(
            self,
            points=self.points.to(device),
            colors=self.colors.to(device),
            part=self.part.to(device),
            visible=self.visible.to(device),
            features=None if self.features is None else self.features.to(device),
        )

    def network_input(self) -> tuple[Tensor, Tensor]:
        """Input of OG-Net: points (B, P, 3), each cloud centred; colours in [-0.5, 0.5].

        ``centered`` clouds are not moved. Hidden points have colour 0, the middle, like blank
        points in the OG-Net authors' data.
        """
        points = self.points
        if not self.centered:
            points = points - points.mean(dim=1, keepdim=True)
        shown = torch.where(self.visible[..., None], self.colors, HIDDEN_GREY)
        return points, shown - HIDDEN_GREY

    def network_features(self) -> Tensor | None:
        """(B, P, C) features with zeros at hidden points; None without features."""
        if self.features is None:
            return None
        return torch.where(self.visible[..., None], self.features, 0.0)
