"""Small images inside a page: scaled down, encoded, as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .drawing import check_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURE_ENDINGS", "data_uri", "encoded_thumbnail", "save_figure"]

#: Endings of files of figures; .webp is a tenth of .png where images are in it.
FIGURE_ENDINGS = (".png", ".webp", ".svg", ".pdf")


def encoded_thumbnail(image: np.ndarray, height: int, *, quality: int = 80) -> bytes:
    """WebP of an image, scaled down to a height; smaller images keep their size.

    Args:
        image: (H, W, 3) uint8 RGB.
        height: largest height, pixels; a width of more than three heights is reduced to that.
        quality: of WebP, in [1, 100].

    Raises:
        ImportError: Pillow is missing.
        ValueError: the image is none.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Pillow is needed for images in pages; install it with: pip install pillow"
        ) from error
    check_image("image", image)
    scale = min(1.0, height / image.shape[0], 3 * height / image.shape[1])
    picture = Image.fromarray(image)
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=quality, method=4)
    return buffer.getvalue()


def data_uri(image: np.ndarray | bytes, height: int = 0, *, quality: int = 80) -> str:
    """Data URI of an image, or of the bytes of `encoded_thumbnail`.

    Args:
        image: (H, W, 3) uint8 RGB, or WebP.
        height: as for `encoded_thumbnail`.
        quality: likewise.
    """
    content = image if isinstance(image, bytes) else encoded_thumbnail(
        image, height, quality=quality
    )  # fmt: skip
    return f"data:image/webp;base64,{base64.b64encode(content).decode('ascii')}"


def save_figure(figure: Figure, path: Path, ending: str) -> None:
    """Writes a figure.

    Args:
        figure: figure.
        path: file to write, with any ending.
        ending: one of `FIGURE_ENDINGS`.
    """
    more: dict[str, Any] = {"pil_kwargs": {"quality": 82, "method": 6}} if ending == ".webp" else {}
    figure.savefig(path, format=ending[1:], **more)
