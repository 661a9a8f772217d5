"""Images of any source as (H, W, 3) uint8 RGB."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, TypeAlias, cast

import numpy as np
from torch import Tensor

from .files.reading import reading
from .runtime.forks import ForkSafeLock

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageSource", "image_size", "read_image"]

ImageSource: TypeAlias = "str | Path | bytes | IO[bytes] | Image.Image | np.ndarray | Tensor"
"""Inputs of `read_image`."""

_MIN_HEIGHT, _MIN_WIDTH = 16, 8
_MAX_PIXELS = 100_000_000
_MAX_BYTES = 1 << 30  # of a file object
_AT_A_TIME = 1 << 22  # pixels that are converted at a time, so that conversion takes little memory
_ORIENTATION = 0x0112  # of EXIF
_RULE = "must be an image that Pillow can read (jpeg, png, ...)"
_DAMAGED = "the image is damaged or cut off"
# Formats that other programs decode: their files are programs themselves.
_PROGRAMS = ("EPS", "WMF")
_ADDRESS = re.compile(r"(https?|ftp|s3|gs|file):/|data:", re.IGNORECASE)
# Warning filters belong to the whole process: without the lock two threads leave them changed.
_filters = ForkSafeLock()


def read_image(image: ImageSource) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB.

    Grey becomes RGB, transparency is laid over white, 16 bits are scaled to 8, other colour
    spaces (palette, CMYK, ...) are converted, and the EXIF orientation is applied. Of an animation
    the first frame is taken.

    Args:
        image: a file, the bytes of one, a binary file object (read from where it stands to its
            end), a PIL image, or an array or tensor of uint8 [0, 255] or uint16 [0, 65535] of
            shape (H, W), (H, W, C) or (C, H, W) with C = 1 grey, 2 grey + alpha, 3 RGB or 4 RGBA.

    Returns:
        A contiguous array. An (H, W, 3) uint8 array is returned as it is, not copied.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, damaged or no image; the dtype or shape is none of the
            above; the image is smaller than 16 rows x 8 columns or larger than 100 megapixels; or
            an address (URL) is given, which is to be downloaded first.
        ImportError: a file or PIL image is given and Pillow is not installed.
    """
    if isinstance(image, (str, os.PathLike)):
        return _from_file(image)
    if isinstance(image, Tensor):
        return _from_array(image.detach().cpu().numpy(), "tensor")
    if isinstance(image, np.ndarray):
        return _from_array(image, "array")
    if hasattr(image, "getbands"):
        return _from_pil(cast("Image.Image", image), "PIL image")
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(image), "image bytes")
    if hasattr(image, "read"):
        return _from_bytes(_all_bytes(image), "image file object")
    raise ValueError(
        "image must be a path, bytes, a binary file object, a PIL image, a numpy array or a torch "
        f"tensor; got {type(image).__name__}"
    )


def image_size(path: str | Path) -> tuple[int, int] | None:
    """Height and width of an image file as `read_image` gives it, from its header alone.

    None where there is no such file, no image in it, or no Pillow.
    """
    try:
        if not Path(path).is_file():
            return None
        with _opened(path) as opened:
            # Pillow would decode a whole PNG in search of EXIF behind its pixels.
            header = opened.format != "PNG" or "exif" in opened.info
            turned = header and opened.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
            height, width = int(opened.height), int(opened.width)
    except Exception:
        return None
    return (width, height) if turned else (height, width)


def _from_file(image: str | os.PathLike[str]) -> np.ndarray:
    path = Path(image)
    if _ADDRESS.match(str(image)) and not path.exists():
        raise ValueError(
            f"image must be a file, not an address; got {str(image)[:100]}: download it first, as "
            "in read_image(urllib.request.urlopen(address).read()), which gives its bytes"
        )
    if not path.exists():
        raise FileNotFoundError(f"image must be an existing file; there is no {path}")
    if path.is_dir():
        raise ValueError(f"image must be a file; {path} is a folder: give the files in it")
    if path.stat().st_size == 0:
        raise ValueError(f"image must be a readable file; {path} is empty (0 bytes)")
    return _decoded(path, str(path))


def _from_bytes(content: bytes, name: str) -> np.ndarray:
    if not content:
        raise ValueError(f"{name}: must be a readable image; got 0 bytes")
    return _decoded(io.BytesIO(content), name)


def _all_bytes(file: IO[bytes]) -> bytes:
    """Remaining bytes of a file object, also of one that cannot seek."""
    content = file.read(_MAX_BYTES + 1)
    if not isinstance(content, (bytes, bytearray, memoryview)):
        close = getattr(content, "close", None)  # of a coroutine that is never awaited
        if close is not None:
            close()
        hint = (
            "open the file in binary mode ('rb')"
            if isinstance(content, str)
            else "pass the bytes themselves (such as await file.read())"
        )
        raise ValueError(
            f"image must be a binary file object; its read() gave {type(content).__name__}: {hint}"
        )
    if len(content) > _MAX_BYTES:
        raise ValueError(f"image must be an image of at most {_MAX_BYTES >> 20} MB; got more")
    return bytes(content)


def _decoded(source: Path | IO[bytes], name: str) -> np.ndarray:
    pil = _import_pil()
    with reading(name, _RULE):
        try:
            opened = _opened(source)
        except pil.DecompressionBombError as error:
            raise ValueError(f"{name}: image must have at most 100 megapixels; {error}") from error
    with opened:
        return _from_pil(opened, name)


def _opened(source: str | Path | IO[bytes]) -> Image.Image:
    """Image with its header read and nothing decoded."""
    pil = _import_pil()
    with _filters, warnings.catch_warnings():
        # The size limit of this module applies, before decoding.
        warnings.simplefilter("ignore", pil.DecompressionBombWarning)
        opened: Image.Image = pil.open(source)
    return opened


def _from_pil(image: Image.Image, name: str) -> np.ndarray:
    _import_pil()
    from PIL import ImageOps

    _check_size(image.height, image.width, name, rotated=True)
    if image.format in _PROGRAMS:
        raise ValueError(
            f"{name}: image must be an image of pixels; got {image.format}, which another program "
            "would have to draw: convert it to png"
        )
    with reading(name, _DAMAGED):
        # Without an orientation this would copy the image.
        if image.getexif().get(_ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image)
        image.load()
        if image.mode == "F":
            raise ValueError(
                f"{name}: image must have integer pixels; got 32-bit floats, whose range is "
                "unknown: scale it to [0, 255] and convert it to uint8"
            )
        _check_size(image.height, image.width, name)
        pixels = np.empty((image.height, image.width, 3), np.uint8)
        for rows in _blocks(image.height, image.width):
            pixels[rows] = _converted(image, rows, name)
    return pixels


def _converted(image: Image.Image, rows: slice, name: str) -> np.ndarray:
    """Some rows (h, W, 3) uint8 of a decoded image."""
    whole = rows.stop - rows.start == image.height
    part = image if whole else image.crop((0, rows.start, image.width, rows.stop))
    if part.mode.startswith("I"):
        return _rgb(_as_uint16(np.asarray(part), name)[..., None])
    has_alpha = part.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in part.info
    mode = "RGBA" if has_alpha else "RGB"
    return _rgb(np.asarray(part if part.mode == mode else part.convert(mode)))


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
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.ascontiguousarray(pixels)
    color = np.empty((*pixels.shape[:2], 3), np.uint8)
    for rows in _blocks(*pixels.shape[:2]):
        color[rows] = _rgb(pixels[rows])
    return color


def _blocks(height: int, width: int) -> Iterator[slice]:
    """Rows of an image, so many at a time that they are few pixels."""
    step = max(1, _AT_A_TIME // max(1, width))
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """(h, W, 1 to 4) uint8 or uint16 -> (h, W, 3) uint8; an alpha channel is laid over white."""
    if pixels.dtype == np.uint16:
        # 257 = 65535 / 255, so that white stays white; + 128 rounds to the nearest.
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.shape[-1] in (2, 4):
        alpha = pixels[..., -1:].astype(np.uint32)
        mixed = pixels[..., :-1].astype(np.uint32) * alpha + 255 * (255 - alpha)
        pixels = ((mixed + 127) // 255).astype(np.uint8)
    return pixels if pixels.shape[-1] == 3 else np.repeat(pixels, 3, axis=-1)


def _check_size(height: int, width: int, name: str, *, rotated: bool = False) -> None:
    # `rotated`: EXIF may still turn the image, so only what fails both ways up fails here.
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
