"""Look of a view: colouring, direction, size."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

__all__ = ["Coloring", "Look"]

#: Colouring of points: by the image; by visibility; by body part; a point and its nearest
#: neighbours; farthest-point samples in their order; contribution.
Coloring = Literal["image", "visibility", "part", "neighbors", "fps", "contribution"]


@dataclasses.dataclass(frozen=True)
class Look:
    """Look of a view.

    Attributes:
        color: colouring of the points.
        background: show points of the background.
        surface: show bodies as surfaces, not as points, at first (interactive page).
        yaw: viewing direction, degrees: 0 front, 90 from the person's left in the image, 180 back.
        dark: on dark; None: light, and for the interactive page that of the reader.
        point: index of the point whose neighbourhood is shown; None: one in the middle.
        neighbors: k, number of neighbours, the point itself included.
        samples: number of farthest-point samples.
        height: of images, pixels.

    Raises:
        ValueError: a value is out of its range, or not one of its choices.
    """

    color: Coloring = "image"
    background: bool = False
    surface: bool = False
    yaw: float = 0.0
    dark: bool | None = None
    point: int | None = None
    neighbors: int = 20
    samples: int = 256
    height: int = 640

    def __post_init__(self) -> None:
        """Checks the values."""
        if self.color not in get_args(Coloring):
            known = ", ".join(get_args(Coloring))
            raise ValueError(f"color must be one of {known}; got {self.color!r}")
        if not math.isfinite(self.yaw):
            raise ValueError(f"yaw must be finite, in degrees; got {self.yaw}")
        bounds = {"neighbors": (1, 256), "samples": (1, 1024), "height": (64, 4320)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}; got {getattr(self, name)}")
        if self.point is not None and self.point < 0:
            raise ValueError(f"point must be the index of a point; got {self.point}")
