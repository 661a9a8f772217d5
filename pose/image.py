"""Read a photo, however it comes, as (H, W, 3) uint8 RGB."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["image_size", "read_image"]

_MIN_HEIGHT, _MIN_WIDTH = 16, 8
_MAX_PIXELS = 100_000_000
_ORIENTATION = 0x0112  # of EXIF
# What PIL's readers raise on damaged files: OSError covers "cannot identify" and "truncated",
# the others escape from single formats.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, KeyError, struct.error, zlib.error)


def read_image(image: str | Path | Image.Image | np.ndarray | Tensor) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB.

    Grey becomes RGB, transparency is laid over white, 16 bits are scaled to 8, other colour
    spaces (palette, CMYK, ...) are converted, and the EXIF orientation is applied. Of an animation
    the first frame is taken.

    Args:
        image: a file, a PIL image, or an array or tensor of uint8 [0, 255] or uint16 [0, 65535] of
            shape (H, W), (H, W, C) or (C, H, W) with C = 1 grey, 2 grey + alpha, 3 RGB or 4 RGBA.

    Returns:
        A contiguous array. An (H, W, 3) uint8 array is handed back as it is, not copied.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, damaged or no image; the dtype or shape is none of the
            above; the image is smaller than 16 rows x 8 columns or larger than 100 megapixels.
        ImportError: a file or PIL image is given and Pillow is not installed.
    """
    if isinstance(image, (str, os.PathLike)):
        return _from_file(Path(image))
    if isinstance(image, Tensor):
        return _from_array(image.detach().cpu().numpy(), "tensor")
    if isinstance(image, np.ndarray):
        return _from_array(image, "array")
    if hasattr(image, "getbands"):
        return _from_pil(image, "PIL image")
    raise ValueError(
        "image must be a path, a PIL image, a numpy array or a torch tensor; got "
        f"{type(image).__name__}"
    )


def image_size(path: str | Path) -> tuple[int, int] | None:
    """Height and width of an image file as `read_image` gives it, from its header alone.

    None where there is no such file, no image in it, or no Pillow.
    """
    try:
        pil = _import_pil()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pil.DecompressionBombWarning)
            opened = pil.open(path)
        with opened:
            turned = opened.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
            height, width = int(opened.height), int(opened.width)
    except Exception:
        return None
    return (width, height) if turned else (height, width)


def _from_file(path: Path) -> np.ndarray:
    if not path.exists():
        raise FileNotFoundError(f"image must be an existing file; there is no {path}")
    if path.is_dir():
        raise ValueError(f"image must be a file; {path} is a folder")
    if path.stat().st_size == 0:
        raise ValueError(f"image must be a readable picture; {path} is empty (0 bytes)")
    pil = _import_pil()
    try:
        with warnings.catch_warnings():
            # Our own size limit speaks below, before anything is decoded.
            warnings.simplefilter("ignore", pil.DecompressionBombWarning)
            opened = pil.open(path)
    except pil.DecompressionBombError as error:
        raise ValueError(f"{path}: image must have at most 100 megapixels; {error}") from error
    except _DECODE_ERRORS as error:
        raise ValueError(
            f"image must be a picture that Pillow can read (jpeg, png, ...); {path} is not: {error}"
        ) from error
    with opened:
        return _from_pil(opened, str(path))


def _from_pil(image: Image.Image, name: str) -> np.ndarray:
    _import_pil()
    from PIL import ImageOps

    _check_size(image.height, image.width, name, rotated=True)
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            return _from_array(_as_uint16(np.asarray(image), name), name)
        if image.mode == "F":
            raise _FloatImageError
        has_alpha = image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or (
            "transparency" in image.info
        )
        pixels = np.array(image.convert("RGBA" if has_alpha else "RGB"))
    except _FloatImageError:
        raise ValueError(
            f"{name}: image must have integer pixels; got 32-bit floats, whose range is unknown: "
            "scale it to [0, 255] and convert it to uint8"
        ) from None
    except _DECODE_ERRORS as error:
        raise ValueError(f"{name}: the picture is damaged or cut off: {error}") from error
    return _from_array(pixels, name)


class _FloatImageError(Exception):
    """A float image inside the decoding block, where a ValueError means a damaged file."""


def _as_uint16(pixels: np.ndarray, name: str) -> np.ndarray:
    # Pillow hands some 16-bit files out as 32-bit integers ("I"); their range is still 16 bits.
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
        raise ValueError(
            f"{name}: image must have 8 or 16 bits per channel; got values from {pixels.min()} to "
            f"{pixels.max()}"
        )
    return pixels.astype(np.uint16)


def _from_array(pixels: np.ndarray, name: str) -> np.ndarray:
    if np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(
            f"image must be uint8 in [0, 255]; got a {pixels.dtype} {name}: if it is in [0, 1], "
            "pass (image * 255).round() as uint8"
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"image must be uint8 [0, 255] or uint16 [0, 65535]; got a {pixels.dtype} {name}"
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim == 3 and pixels.shape[-1] > 4 and pixels.shape[0] <= 4:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim != 3 or not 1 <= pixels.shape[-1] <= 4:
        hint = ": pass one image at a time" if pixels.ndim == 4 else ""
        raise ValueError(
            f"image must have shape (H, W), (H, W, C) or (C, H, W) with C from 1 to 4; got "
            f"{tuple(pixels.shape)}{hint}"
        )
    _check_size(pixels.shape[0], pixels.shape[1], name)
    if pixels.dtype == np.uint16:
        # 257 = 65535 / 255, so that white stays white; + 128 rounds to the nearest.
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.ascontiguousarray(_over_white(pixels))


def _over_white(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1 to 4) uint8 -> (H, W, 3); an alpha channel is laid over white."""
    color = pixels
    if pixels.shape[-1] in (2, 4):
        alpha = pixels[..., -1:].astype(np.uint32)
        mixed = pixels[..., :-1].astype(np.uint32) * alpha + 255 * (255 - alpha)
        color = ((mixed + 127) // 255).astype(np.uint8)
    return color if color.shape[-1] == 3 else np.repeat(color, 3, axis=-1)


def _check_size(height: int, width: int, name: str, *, rotated: bool = False) -> None:
    # `rotated`: EXIF may still turn the picture, so only what fails both ways up fails here.
    turned = rotated and width >= _MIN_HEIGHT and height >= _MIN_WIDTH
    if (height < _MIN_HEIGHT or width < _MIN_WIDTH) and not turned:
        raise ValueError(
            f"{name}: image must have at least {_MIN_HEIGHT} rows and {_MIN_WIDTH} columns; got "
            f"{height} x {width}: too little to find a person in"
        )
    if height * width > _MAX_PIXELS:
        raise ValueError(
            f"{name}: image must have at most 100 megapixels; got {height} x {width}: shrink it "
            "or cut the person out"
        )


def _import_pil() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Pillow is needed to read image files; install it with: pip install pillow"
        ) from error
    return Image
