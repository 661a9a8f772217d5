"""Bodies as other regressors give them: named points, their pixels, and more where known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fitting.camera import PinholeCamera

__all__ = ["RegressedBodies"]


@dataclass(frozen=True, eq=False)
class RegressedBodies:
    """Batch of B bodies of any model, in metres, x right, y up, z towards the camera.

    Attributes:
        names: B names of images; empty texts where the file has none.
        point_names: K names of joints and landmarks, as in `meshes.fitting.skeleton.Skeleton`.
        points: (B, K, 3) their places, relative to any origin.
        pixels: (B, K, 2) their projections, x right, y down, pixels of the image.
        rotations: (B, 24, 3, 3) of SMPL's joints relative to their parents; None where unknown.
        vertices: (B, V, 3) points of the surface, of any topology; None where unknown.
        camera: Pinhole camera whose frame is that of the points; None where only pixels are known.
        complete: True when the points determine the body's size: joints or vertices of the
            regressor's own body, not those of a mean shape.
    """

    names: tuple[str, ...]
    point_names: tuple[str, ...]
    points: Tensor
    pixels: Tensor
    rotations: Tensor | None = None
    vertices: Tensor | None = None
    camera: PinholeCamera | None = None
    complete: bool = True

    def __post_init__(self) -> None:
        """Checks shapes and numbers."""
        count, named = len(self.names), len(self.point_names)
        shapes: dict[str, tuple[int, ...]] = {
            "points": (count, named, 3),
            "pixels": (count, named, 2),
            "rotations": (count, 24, 3, 3),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is None and name == "rotations":
                continue
            if tuple(value.shape) != shape:
                raise ValueError(f"{name} must be {shape}; got {tuple(value.shape)}")
        vertices = self.vertices
        if vertices is not None and (vertices.ndim != 3 or vertices.shape[::2] != (count, 3)):
            raise ValueError(f"vertices must be ({count}, V, 3); got {tuple(vertices.shape)}")
        for name in ("points", "pixels", "rotations", "vertices"):
            value = getattr(self, name)
            if value is not None and not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} must be finite; got NaN or infinity")

    def __len__(self) -> int:
        return len(self.names)

    def select(self, rows: Sequence[int]) -> RegressedBodies:
        """Bodies of some rows, in that order."""
        index = torch.as_tensor(rows, dtype=torch.int64).reshape(-1)
        return RegressedBodies(
            names=tuple(self.names[row] for row in index.tolist()),
            point_names=self.point_names,
            points=self.points[index],
            pixels=self.pixels[index],
            rotations=None if self.rotations is None else self.rotations[index],
            vertices=None if self.vertices is None else self.vertices[index],
            camera=None if self.camera is None else self.camera[index],
            complete=self.complete,
        )

    def of_image(self, name: str) -> RegressedBodies:
        """Bodies in the image of a name.

        Raises:
            ValueError: There is none.
        """
        rows = [row for row, each in enumerate(self.names) if each == name]
        if not rows:
            known = ", ".join(dict.fromkeys(self.names)) or "none"
            raise ValueError(f"name must be an image of these bodies; got {name!r} ({known[:200]})")
        return self.select(rows)
