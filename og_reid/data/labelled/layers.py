"""Layers of an image under composition: colours, surfaces of the person and of others, labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

__all__ = [
    "LABEL_STRIDE",
    "Box",
    "Layers",
    "View",
    "cover",
    "mirrored",
    "resized",
    "soft",
    "visible_box",
]

#: Top, left, bottom and right, pixels.
Box = tuple[float, float, float, float]

#: Pixels of a side of the cells of body parts and heights.
LABEL_STRIDE = 4


@dataclass(frozen=True, eq=False)
class View:
    """Labelled image of a set.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the person's own visible surface.
        part: (H / 4, W / 4) uint8, index into ``BODY_PARTS`` of the nearest surface of the person.
        height: (H / 4, W / 4) uint8, its height on the body, 255 at the top of the head.
        points: (K, 2) float32 keypoints, pixels.
        seen: (K,) bool, true for visible keypoints.
        visible: Visible fraction of the person, in (0, 1].
        box: Top, left, bottom and right of the person, occluded parts included; None: those of
            the mask.
    """

    image: np.ndarray
    mask: np.ndarray
    part: np.ndarray
    height: np.ndarray
    points: np.ndarray
    seen: np.ndarray
    visible: float = 1.0
    box: Box | None = None


@dataclass(frozen=True, eq=False)
class Layers:
    """Image under composition.

    Attributes:
        image: (H, W, 3) float32 RGB in [0, 255].
        own: (H, W) float32 in [0, 1], the person's own visible surface.
        others: (H, W) float32 in [0, 1], visible surface of composited other people.
        part: labels, see `View`.
        height: labels, see `View`.
        points: (K, 2) float32 keypoints of the person, pixels.
        seen: (K,) bool, true for keypoints that were visible before composition.
        whole: Surface of the person without anything in front, pixels.
        box: Top, left, bottom and right of the person, occluded parts included.
    """

    image: np.ndarray
    own: np.ndarray
    others: np.ndarray
    part: np.ndarray
    height: np.ndarray
    points: np.ndarray
    seen: np.ndarray
    whole: float
    box: Box

    @classmethod
    def of(cls, view: View) -> Layers:
        """Layers of an unchanged image."""
        return cls(
            view.image.astype(np.float32),
            view.mask.astype(np.float32),
            np.zeros(view.mask.shape, np.float32),
            view.part,
            view.height,
            view.points,
            view.seen,
            float(view.mask.sum()) / max(view.visible, 0.05),
            visible_box(view.mask) if view.box is None else view.box,
        )


def mirrored(view: View) -> View:
    """The image with left and right swapped."""
    flip = (slice(None), slice(None, None, -1))
    points = view.points.copy()
    points[:, 0] = view.mask.shape[1] - 1 - points[:, 0]
    wide, box = view.mask.shape[1], view.box
    return replace(
        view,
        image=view.image[flip],
        mask=view.mask[flip],
        part=view.part[flip],
        height=view.height[flip],
        points=points,
        box=None if box is None else (box[0], wide - box[3], box[2], wide - box[1]),
    )


def visible_box(own: np.ndarray) -> Box:
    """Top, left, bottom and right of a surface: rows and columns with at least one pixel of it."""
    rows = np.flatnonzero(own.sum(1) >= 1)
    columns = np.flatnonzero(own.sum(0) >= 1)
    if not len(rows) or not len(columns):
        return 0.0, 0.0, float(own.shape[0]), float(own.shape[1])
    return float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1)


def cover(layers: Layers, fill: np.ndarray, alpha: np.ndarray, *, person: bool) -> Layers:
    """Layers with something in front of them.

    Args:
        layers: The layers.
        fill: (H, W, 3) colours of the thing in front.
        alpha: (H, W) in [0, 1], its coverage.
        person: True for another person.
    """
    rest = 1 - alpha
    others = layers.others * rest
    return replace(
        layers,
        image=layers.image * rest[..., None] + fill * alpha[..., None],
        own=layers.own * rest,
        others=others + alpha if person else others,
    )


def resized(
    image: np.ndarray,
    size: tuple[int, int],
    *,
    box: tuple[float, float, float, float] | None = None,
    cubic: bool = False,
) -> np.ndarray:
    """Resize with antialiasing by Pillow.

    Args:
        image: (H, W) or (H, W, 3) uint8, or (H, W) float32.
        size: Height and width of the result.
        box: Part of the image: top, left, bottom, right in pixels; None: all of it.
        cubic: True: bicubic in place of bilinear.
    """
    from PIL import Image

    source = Image.fromarray(np.ascontiguousarray(image))
    region = None if box is None else (box[1], box[0], box[3], box[2])
    method = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    return np.asarray(source.resize((size[1], size[0]), method, box=region))


def soft(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32 coverage of a bool mask with soft edges, within the mask.

    The outermost pixels of a mask hold some of the old background, which would show as a seam.
    """
    values = mask.astype(np.float32)
    padded = np.pad(values, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    mean = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    return values * np.clip(1.6 * mean - 0.6, 0, 1)
