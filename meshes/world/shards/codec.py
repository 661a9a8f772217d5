"""Lossless bytes of maps, and bytes of images.

Maps of uint8 and masks are PNG files; others are the bytes of their values, little-endian, all
first bytes before all second ones, compressed by zlib: what a map repeats then lies together.
"""

from __future__ import annotations

import io
import sys
import zlib
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "ImageFormat",
    "check_format",
    "decode_image",
    "decode_map",
    "encode_image",
    "encode_map",
]

ImageFormat = Literal["png", "webp", "jpeg"]
"""Format of stored images; png and webp are lossless."""

_DTYPES: dict[torch.dtype, str] = {
    torch.bool: "|b1",
    torch.uint8: "|u1",
    torch.int16: "<i2",
    torch.float32: "<f4",
}
_LEVEL = 4  # of zlib: level 6 takes twice the time for 2 % less
_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"compress_level": _LEVEL},
    "webp": {"lossless": True, "quality": 60, "method": 4},
    "jpeg": {"quality": 95, "subsampling": 0},
}


def check_format(name: str) -> ImageFormat:
    """Name of a format of images.

    Raises:
        ValueError: another name.
    """
    for known in get_args(ImageFormat):
        if name == known:
            return known
    raise ValueError(f"image_format must be one of {get_args(ImageFormat)}; got {name!r}")


def encode_image(image: Tensor, form: ImageFormat) -> bytes:
    """File of an image (H, W, 3) uint8."""
    return _encoded(image.numpy(), form)


def decode_image(content: bytes, size: tuple[int, int]) -> Tensor:
    """Image (H, W, 3) uint8 of a file.

    Raises:
        ValueError: the file is damaged, or of another size.
    """
    return torch.from_numpy(_decoded(content, size, "RGB"))


def encode_map(values: Tensor) -> bytes:
    """Lossless bytes of a map of bool, uint8, int16 or float32."""
    if values.dtype in (torch.bool, torch.uint8) and values.dim() == 2:
        return _encoded(values.numpy(), "png")
    array = np.ascontiguousarray(values.numpy().astype(_DTYPES[values.dtype], copy=False))
    planes = array.view(np.uint8).reshape(-1, array.itemsize).T
    return zlib.compress(planes.tobytes(), _LEVEL)


def decode_map(content: bytes, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Map of a shape and type from its bytes.

    Raises:
        ValueError: the bytes are damaged, or of another shape.
    """
    if dtype in (torch.bool, torch.uint8) and len(shape) == 2:
        mode = "1" if dtype == torch.bool else "L"
        return torch.from_numpy(_decoded(content, (shape[0], shape[1]), mode))
    item = np.dtype(_DTYPES[dtype]).itemsize
    size = int(np.prod(shape)) * item
    unpacker = zlib.decompressobj()
    # A few bytes can unpack to gigabytes.
    plain = unpacker.decompress(content, size + 1)
    if len(plain) != size or not unpacker.eof:
        raise ValueError(f"must hold a map of {shape}; got {len(plain)} of {size} bytes")
    values = np.frombuffer(plain, np.uint8).reshape(item, -1).T.copy()
    array = values.view(_DTYPES[dtype]).reshape(shape)
    if sys.byteorder == "big":
        array = array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(array)


def _encoded(array: np.ndarray, form: str) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(array).save(stream, form, **_OPTIONS[form])
    return stream.getvalue()


def _decoded(content: bytes, size: tuple[int, int], mode: str) -> np.ndarray:
    from PIL import Image

    formats = ["PNG"] if mode != "RGB" else [each.upper() for each in get_args(ImageFormat)]
    with Image.open(io.BytesIO(content), formats=formats) as image:
        if image.size != (size[1], size[0]) or image.mode != mode:
            raise ValueError(
                f"must hold an image of {size[0]} rows, {size[1]} columns and mode {mode}; got "
                f"{image.size[1]}, {image.size[0]} and {image.mode}"
            )
        # Pillow's masks hold 255 for True, which torch takes as it is.
        return np.array(image.convert("L")) > 0 if mode == "1" else np.array(image)
