"""Cameras of a fit: weak perspective with stretch and growth, and a pinhole at a known place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CropCamera", "PinholeCamera"]


@dataclass(frozen=True, eq=False)
class CropCamera:
    """Body frame (metres, y up, z towards the camera) to pixels (x right, y down).

    Pixel ``x = s g P_x + t_x`` and ``y = -(s g exp(a) P_y) + t_y`` with ``g = 1 + kappa P_y``.
    Pedestrian crops are often stretched to one shape (``a``), and a camera above the street sees
    the head larger than the feet (``kappa``).

    Attributes:
        scale: (B,) s, pixels per metre, positive.
        shift: (B, 2) t, pixels: where the frame's origin falls.
        log_aspect: (B,) a, vertical stretch of the crop.
        kappa: (B,) growth of the scale per metre of height.
    """

    scale: Tensor
    shift: Tensor
    log_aspect: Tensor
    kappa: Tensor

    def __post_init__(self) -> None:
        """Check that the batch sizes agree."""
        batch = self.scale.shape
        if (
            self.shift.shape != (*batch, 2)
            or self.log_aspect.shape != batch
            or self.kappa.shape != batch
        ):
            raise ValueError(
                "scale, log_aspect and kappa must be (B,) and shift (B, 2); got "
                f"{tuple(batch)}, {tuple(self.log_aspect.shape)}, {tuple(self.kappa.shape)}, "
                f"{tuple(self.shift.shape)}"
            )

    def __getitem__(self, index: int | slice | Tensor) -> CropCamera:
        return CropCamera(
            self.scale[index], self.shift[index], self.log_aspect[index], self.kappa[index]
        )

    def project(self, points: Tensor) -> Tensor:
        """Project points.

        Args:
            points: (B, N, 3) metres.

        Returns:
            (B, N, 3) pixel x, pixel y, depth; depth is ``-z`` in metres, smaller is nearer.
        """
        x, y, z = points.unbind(-1)
        gain = self.scale[:, None] * (1 + self.kappa[:, None] * y)
        column = gain * x + self.shift[:, :1]
        row = -gain * self.log_aspect.exp()[:, None] * y + self.shift[:, 1:]
        return torch.stack([column, row, -z], -1)

    def unproject(self, pixels: Tensor, z: Tensor) -> Tensor:
        """The points (B, N, 3) at height z (B,) or (B, N) metres that project to pixels (B, N, 2).

        The inverse of ``project``; where no point does (above the horizon of ``kappa``), the
        nearest height that has one is taken.
        """
        target = (self.shift[:, 1:] - pixels[..., 1]) / (
            self.scale[:, None] * self.log_aspect.exp()[:, None]
        )
        kappa = self.kappa[:, None]
        # y (1 + kappa y) = target; the root that goes to y = target for kappa -> 0, in a form
        # that does not cancel there.
        root = (1 + 4 * kappa * target).clamp_min(0.05).sqrt()
        y = 2 * target / (1 + root)
        x = (pixels[..., 0] - self.shift[:, :1]) / (self.scale[:, None] * (1 + kappa * y))
        return torch.stack([x, y, z.reshape(len(y), -1).expand_as(y)], -1)


@dataclass(frozen=True, eq=False)
class PinholeCamera:
    """Body frame (metres, y up, z towards the camera) to pixels, in full perspective.

    Camera of regressors that estimate the distance; fits of this package have a `CropCamera`.

    Attributes:
        focal: (B,) focal length, pixels, positive.
        centre: (B, 2) principal point, pixels.
        origin: (B, 3) the frame's origin seen from the camera, metres: x right, y up, z negative.
    """

    focal: Tensor
    centre: Tensor
    origin: Tensor

    def __post_init__(self) -> None:
        """Check the sizes, and that the body is in front of the camera."""
        batch = self.focal.shape
        if self.centre.shape != (*batch, 2) or self.origin.shape != (*batch, 3):
            raise ValueError(
                "focal must be (B,), centre (B, 2) and origin (B, 3); got "
                f"{tuple(batch)}, {tuple(self.centre.shape)}, {tuple(self.origin.shape)}"
            )
        if not bool((self.focal > 0).all()) or not bool((self.origin[..., 2] < 0).all()):
            raise ValueError("focal must be above 0, and z of origin below 0: before the camera")

    def __getitem__(self, index: int | slice | Tensor) -> PinholeCamera:
        return PinholeCamera(self.focal[index], self.centre[index], self.origin[index])

    @property
    def scale(self) -> Tensor:
        """(B,) pixels per metre at the frame's origin."""
        return self.focal / -self.origin[:, 2]

    @property
    def shift(self) -> Tensor:
        """(B, 2) pixels: where the frame's origin falls."""
        return self.project(torch.zeros_like(self.origin)[:, None])[:, 0, :2]

    @property
    def log_aspect(self) -> Tensor:
        """(B,) zeros: pixels are square."""
        return torch.zeros_like(self.focal)

    def weak(self) -> CropCamera:
        """The same camera in weak perspective, exact at the depth of the frame's origin."""
        return CropCamera(self.scale, self.shift, self.log_aspect, torch.zeros_like(self.focal))

    def project(self, points: Tensor) -> Tensor:
        """Project points.

        Args:
            points: (B, N, 3) metres.

        Returns:
            (B, N, 3) pixel x, pixel y, depth; depth is ``-z`` in metres, smaller is nearer.
        """
        x, y, z = (points + self.origin[:, None]).unbind(-1)
        gain = self.focal[:, None] / (-z).clamp_min(1e-3)
        column = gain * x + self.centre[:, :1]
        row = -gain * y + self.centre[:, 1:]
        return torch.stack([column, row, -points[..., 2]], -1)

    def unproject(self, pixels: Tensor, z: Tensor) -> Tensor:
        """The points (B, N, 3) at height z (B,) or (B, N) metres that project to pixels (B, N, 2).

        The inverse of ``project``.
        """
        height = z.reshape(len(z), -1).expand(pixels.shape[:2])
        metres = -(height + self.origin[:, 2:]) / self.focal[:, None]
        x = (pixels[..., 0] - self.centre[:, :1]) * metres - self.origin[:, :1]
        y = (self.centre[:, 1:] - pixels[..., 1]) * metres - self.origin[:, 1:2]
        return torch.stack([x, y, height], -1)
