"""Containers of images: one JPEG, PNG or WebP file, whole, and nothing else in the bytes.

Files that are also of another format (polyglots) carry its data before or behind the image.
"""

from __future__ import annotations

import re

__all__ = ["FORMATS", "check_container"]

#: Formats of images, as Pillow names them, and their media types.
FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_PNG = b"\x89PNG\r\n\x1a\n"
# A marker within the coded data of a JPEG: not a stuffed byte, a restart marker or a filler.
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA


def check_container(content: bytes) -> str:
    """Format of an image file, one of `FORMATS`.

    A JPEG may be followed by further JPEGs, as cameras write them, and by zeros.

    Args:
        content: The file.

    Raises:
        ValueError: The file is of another format, cut off, or followed by other data.
    """
    if content.startswith(b"\xff\xd8\xff"):
        name, end = "JPEG", _jpeg_end(content, 0)
        while content.startswith(b"\xff\xd8\xff", end):
            end = _jpeg_end(content, end)
    elif content.startswith(_PNG):
        name, end = "PNG", _png_end(content)
    elif content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        size = int.from_bytes(content[4:8], "little")
        name, end = "WEBP", 8 + size + size % 2
        if end > len(content) + size % 2:
            raise ValueError("the image is cut off")
    else:
        raise ValueError("image must be JPEG, PNG or WebP")
    if content[end:].strip(b"\0"):
        raise ValueError(
            f"image must end with its last byte; got {len(content) - end:,} bytes behind it: save "
            "it again with an image editor"
        )
    return name


def _png_end(content: bytes) -> int:
    at = len(_PNG)
    while at + 12 <= len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        at += 12 + size
        if kind == b"IEND" and at <= len(content):
            return at
    raise ValueError("the image is cut off")


def _jpeg_end(content: bytes, start: int) -> int:
    at = start + 2
    while at + 2 <= len(content):
        if content[at] != 0xFF:
            raise ValueError("the image is damaged: a JPEG marker is missing")
        while at < len(content) and content[at] == 0xFF:
            at += 1
        marker = content[at] if at < len(content) else _END
        at += 1
        if marker == _END:
            if at > len(content):
                break
            return at
        if marker in _ALONE:
            continue
        size = int.from_bytes(content[at : at + 2], "big")
        if size < 2 or marker in (0x00, _START):
            raise ValueError("the image is damaged: a JPEG segment has no length")
        at += size
        if marker == _SCAN:
            found = _MARKER.search(content, at)
            if found is None:
                break
            at = found.start()
    raise ValueError("the image is cut off")
