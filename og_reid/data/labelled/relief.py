"""Shading of things in front: rounded surfaces, and their shadows on what is behind."""

from __future__ import annotations

import numpy as np

from .draws import Draws

__all__ = ["cast_shadow", "rounded"]


def rounded(fill: np.ndarray, alpha: np.ndarray, draws: Draws) -> np.ndarray:
    """Colours of a thing, shaded as if its surface bent away at the outline.

    Args:
        fill: (H, W, 3) float32 RGB in [0, 255].
        alpha: (H, W) coverage in [0, 1].
        draws: Random numbers.
    """
    level = _blurred(alpha, draws.uniform(2.0, 14.0))
    down, along = np.gradient(level)
    angle, strength = draws.uniform(0, 2 * np.pi), draws.uniform(2.0, 9.0)
    lit = 1 + strength * (np.sin(angle) * down + np.cos(angle) * along)
    return np.clip(fill * np.clip(lit, 0.35, 1.5)[..., None], 0, 255)


def cast_shadow(image: np.ndarray, alpha: np.ndarray, draws: Draws) -> np.ndarray:
    """Image with the soft shadow of a thing in front, moved to one side.

    Args:
        image: (H, W, 3) float32 RGB in [0, 255].
        alpha: (H, W) coverage of the thing in [0, 1].
        draws: Random numbers.
    """
    shadow = _blurred(alpha, draws.uniform(1.0, 10.0))
    shift = round(draws.normal(5)), round(draws.normal(5))
    shadow = np.roll(shadow, shift, (0, 1))
    return image * (1 - draws.uniform(0.1, 0.6) * shadow)[..., None]


def _blurred(alpha: np.ndarray, radius: float) -> np.ndarray:
    """(H, W) float32 in [0, 1], Gaussian mean."""
    from PIL import Image, ImageFilter

    levels = Image.fromarray(np.clip(alpha * 255 + 0.5, 0, 255).astype(np.uint8))
    return np.asarray(levels.filter(ImageFilter.GaussianBlur(radius))).astype(np.float32) / 255
