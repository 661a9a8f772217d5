"""Frames of a video with boxes and identities, before and after tracklets are joined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pose.files.atomic_write import atomic_write

from .style import LIGHT, rgb

__all__ = ["draw_boxes", "write_before_after"]

_COLUMNS = 4
_WIDTH = 360  # pixels of a frame in a sheet
_GAP = 4
_MILLISECONDS = 160  # of a frame of an animation


def draw_boxes(
    image: np.ndarray, boxes: np.ndarray, ids: Sequence[int], title: str = ""
) -> np.ndarray:
    """An image with a box and a number for each person, in the colour of the number.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (n, 4) left, top, right and bottom, pixels.
        ids: (n,) numbers.
        title: Text in the upper left corner.

    Returns:
        A new image of the same size.

    Raises:
        ValueError: Numbers of boxes and identities differ.
        ImportError: Pillow is missing.
    """
    from PIL import Image, ImageDraw, ImageFont

    if len(boxes) != len(ids):
        raise ValueError(f"boxes and ids must be of the same people; got {len(boxes)}, {len(ids)}")
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    size = max(10, min(image.shape[:2]) // 16)
    font = ImageFont.load_default(size)
    line = max(2, size // 6)
    for box, number in zip(np.asarray(boxes, np.float64), ids, strict=True):
        left, top, right, bottom = box.tolist()
        color = _color(int(number))
        pen.rectangle((left, top, right, bottom), outline=color, width=line)
        text = str(number)
        wide = pen.textlength(text, font) + line * 2
        # Above the box where there is room, else inside.
        low = top if top >= size * 1.25 else top + size * 1.25
        pen.rectangle((left, low - size * 1.25, left + wide, low), fill=color)
        pen.text((left + line, low - size * 1.2), text, fill=LIGHT.on_accent, font=font)
    if title:
        wide = pen.textlength(title, font) + 2 * line
        pen.rectangle((0, 0, wide, size * 1.4), fill=LIGHT.ink)
        pen.text((line, size * 0.1), title, fill=LIGHT.on_accent, font=font)
    return np.asarray(canvas)


def write_before_after(
    path: str | Path,
    images: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
) -> Path:
    """Writes frames with the numbers before and after joining, the one above or beside the other.

    Args:
        path: File; .gif: an animation with both side by side, otherwise a PNG sheet.
        images: Frames, (H, W, 3) uint8 RGB of one size, at least one.
        boxes: (n, 4) boxes of each frame.
        before: Numbers of the boxes of each frame, tracklets.
        after: Likewise, people.

    Raises:
        ValueError: There are no frames, or lengths or sizes differ.
        ImportError: Pillow is missing.
        OSError: The file cannot be written.
    """
    from PIL import Image

    if not images or not len(images) == len(boxes) == len(before) == len(after):
        raise ValueError(
            "images, boxes, before and after must be of the same frames, at least one; got "
            f"{len(images)}, {len(boxes)}, {len(before)} and {len(after)}"
        )
    if len({image.shape for image in images}) != 1:
        raise ValueError("images must have one size: they are frames of one video")
    pairs = [
        tuple(_scaled(draw_boxes(image, box, ids, title))
              for ids, title in ((first, "tracklets"), (second, "people")))
        for image, box, first, second in zip(images, boxes, before, after, strict=True)
    ]  # fmt: skip
    with atomic_write(path) as partial:
        if Path(path).suffix.lower() == ".gif":
            frames = [Image.fromarray(_beside(pair)) for pair in pairs]
            frames[0].save(
                partial, "GIF", save_all=True, append_images=frames[1:], loop=0,
                duration=_MILLISECONDS,
            )  # fmt: skip
        else:
            rows = []
            for start in range(0, len(pairs), _COLUMNS):
                some = pairs[start : start + _COLUMNS]
                empty = np.full_like(some[0][0], 255)
                fill = [empty] * ((_COLUMNS - len(some)) if len(pairs) > _COLUMNS else 0)
                rows += [_beside([*(pair[side] for pair in some), *fill]) for side in (0, 1)]
            gap = np.full((_GAP, rows[0].shape[1], 3), 255, np.uint8)
            sheet = np.concatenate([part for row in rows for part in (row, gap)][:-1])
            Image.fromarray(sheet).save(partial, "PNG", optimize=True)
    return Path(path)


def _beside(images: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((images[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (image, gap)][:-1], 1)


def _scaled(image: np.ndarray) -> np.ndarray:
    """The image at the width of a sheet's frames, if it is wider."""
    from PIL import Image

    if image.shape[1] <= _WIDTH:
        return image
    height = max(1, round(image.shape[0] * _WIDTH / image.shape[1]))
    return np.asarray(Image.fromarray(image).resize((_WIDTH, height), Image.Resampling.LANCZOS))


def _color(number: int) -> tuple[int, int, int]:
    """Colour of a number; beyond the categories they come again."""
    return rgb(LIGHT.series[number % len(LIGHT.series)])
