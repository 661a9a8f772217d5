"""Common parts of figures: an empty figure, an image, a frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_image", "draw_border", "new_figure", "show_image"]


def new_figure(size: tuple[float, float]) -> Figure:
    """Empty figure, independent of pyplot.

    Args:
        size: width and height, inches.

    Raises:
        ImportError: matplotlib is missing.
    """
    with styled():
        from matplotlib.figure import Figure

        return Figure(figsize=size, layout="constrained")


def show_image(axis: Axes, image: np.ndarray, title: str) -> None:
    """Draws an (H, W, 3) uint8 image with a title; data coordinates are its pixels, y down."""
    height, width = image.shape[:2]
    # The extent puts pixel (0, 0) at [0, 1] x [0, 1], the convention of keypoints.
    axis.imshow(image, extent=(0, width, height, 0), interpolation="antialiased")
    axis.autoscale(False)  # keypoints outside the image must not shrink it
    axis.set_title(title, fontsize=9, fontweight="normal", loc="center")
    axis.grid(False)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def draw_border(axis: Axes, color: str) -> None:
    """Draws a coloured frame around an image."""
    for spine in axis.spines.values():
        spine.set(visible=True, color=color, linewidth=3)


def check_image(name: str, image: Any) -> None:
    """Refuses anything but an (H, W, 3) uint8 array.

    Raises:
        ValueError: the array is of another type or shape, or empty.
    """
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or not math.prod(image.shape)
    ):
        came = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image)
        raise ValueError(f"{name} must be (H, W, 3) uint8 RGB; got {came}: use pose.read_image")
