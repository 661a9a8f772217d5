"""Contact sheets of rendered images, and their truth as colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from meshes.world.items import WorldItem
from meshes.world.truth.values import THING
from pose.files.atomic_write import atomic_write

__all__ = ["map_images", "tile_images", "write_sheet"]

_GAP = 4  # pixels between images
_PAPER = 255
_OFF = 24  # grey of pixels without a value


def tile_images(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """One image of several of one size, row by row, on white.

    Args:
        images: N images (H, W, 3) uint8.
        columns: images of a row.

    Raises:
        ValueError: no images, or images of different sizes.
    """
    if not images or columns < 1:
        raise ValueError(f"images must hold at least one; got {len(images)} in {columns} columns")
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        raise ValueError(f"images must have one size; got {sorted(shapes)}")
    high, wide = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = np.full(
        (rows * (high + _GAP) + _GAP, columns * (wide + _GAP) + _GAP, 3), _PAPER, np.uint8
    )
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = _GAP + row * (high + _GAP), _GAP + column * (wide + _GAP)
        sheet[top : top + high, left : left + wide] = image
    return sheet


def map_images(item: WorldItem) -> list[np.ndarray]:
    """Image of an item and one of each of its maps: 10 images (H, W, 3) uint8.

    Image with keypoints (green seen, yellow hidden by the own body, red hidden); own and amodal
    mask; instances; parts; garments; depth of the person; depth of the scene; normals; texture
    coordinates; vertices.

    Raises:
        ValueError: a map is missing.
    """
    truth, made = item.truth, item.rendered
    image = made.image.numpy()
    missing = [
        name
        for name in ("instance", "part", "garment", "depth", "scene_depth", "normal", "uv",
                     "vertex", "people")
        if getattr(truth, name) is None
    ]  # fmt: skip
    if missing:
        raise ValueError(f"item must have all truth; got one without {', '.join(missing)}")
    masks = np.where(made.mask.numpy()[..., None], (60, 200, 90), (230, 140, 40))
    return [
        _with_keypoints(item),
        _over(image, masks, made.amodal.numpy()),
        _over(image, _colors(_instances(truth.instance)), _array(truth.instance) > 0),
        _over(image, _colors(_array(truth.part)), _array(truth.part) < THING),
        _over(image, _colors(_array(truth.garment) + 40), _array(truth.garment) > 0),
        _grey(_array(truth.depth)),
        _grey(np.log(_array(truth.scene_depth))),
        _scaled(_array(truth.normal) * 0.5 + 0.5, _array(truth.depth)),
        _scaled(np.pad(np.nan_to_num(_array(truth.uv)), ((0, 0), (0, 0), (0, 1))),
                _array(truth.depth)),
        _over(image, _colors(_array(truth.vertex).astype(np.int64)), _array(truth.vertex) >= 0, 1),
    ]  # fmt: skip


def write_sheet(images: Sequence[np.ndarray], columns: int, path: str | Path) -> Path:
    """Writes a sheet of images as a PNG file.

    Raises:
        ImportError: Pillow is missing.
        OSError: the file cannot be written.
    """
    from PIL import Image

    with atomic_write(path) as partial:
        Image.fromarray(tile_images(images, columns)).save(partial, "PNG")
    return Path(path)


def _array(values: torch.Tensor | None) -> np.ndarray:
    if values is None:
        raise AssertionError("checked before")
    return values.numpy()


def _instances(values: torch.Tensor | None) -> np.ndarray:
    """Numbers whose colours lie apart: those of people, and one for things."""
    numbers = _array(values)
    return np.where(numbers == THING, 0, numbers)


def _colors(index: np.ndarray) -> np.ndarray:
    """Colours (..., 3) of indices, neighbours far apart."""
    turn = (index * 0.61803398875) % 1.0
    channels = [np.cos(2 * np.pi * (turn + shift)) for shift in (0, 1 / 3, 2 / 3)]
    return 128 + 110 * np.stack(channels, -1)


def _over(
    image: np.ndarray, colors: np.ndarray, where: np.ndarray, weight: float = 0.65
) -> np.ndarray:
    mixed = image * (1 - weight) + colors * weight
    return np.where(where[..., None], mixed, image * 0.5).astype(np.uint8)


def _grey(values: np.ndarray) -> np.ndarray:
    """Near is light; from the least to the largest finite value."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.full((*values.shape, 3), _OFF, np.uint8)
    low, high = values[finite].min(), values[finite].max()
    light = 255 - 200 * (np.where(finite, values, high) - low) / max(high - low, 1e-6)
    return np.repeat(np.where(finite, light, _OFF)[..., None], 3, -1).astype(np.uint8)


def _scaled(values: np.ndarray, depth: np.ndarray) -> np.ndarray:
    colors = (values.clip(0, 1) * 255).astype(np.uint8)
    return np.where(np.isfinite(depth)[..., None], colors, np.uint8(_OFF))


def _with_keypoints(item: WorldItem) -> np.ndarray:
    image = item.rendered.image.numpy().copy()
    high, wide = image.shape[:2]
    everyone = [item.rendered.keypoints, *(each.keypoints for each in item.truth.people or ())]
    for keypoints in everyone:
        states = keypoints.visibility.tolist()
        for (x, y), state in zip(keypoints.xy.tolist(), states, strict=True):
            if 1 <= x < wide - 1 and 1 <= y < high - 1:
                color = (40, 220, 60) if state == 1 else (240, 210, 40) if state else (230, 50, 40)
                image[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = color
    return image
