"""Endings of image files that the installed Pillow reads."""

from __future__ import annotations

import functools
import os

__all__ = ["IMAGE_ENDINGS", "image_endings", "is_unread_image"]

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""Usual endings of images, in lower case."""

# Formats of Pillow other than camera images: fonts, icons, films, drawings, grids.
_NO_IMAGES = frozenset(
    "BLP BUFR CUR DCX EPS FITS FLI FTEX GBR GRIB HDF5 ICNS ICO IM IPTC MPEG MSP PCD PIXAR SPIDER "
    "WMF XBM XPM XVTHUMB".split()
)
# Endings of formats that a build of Pillow may lack, by the name in `PIL.features`.
_OPTIONAL = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
_UNREAD = frozenset(
    ".heic .heif .hif .avif .avifs .jxl .jp2 .webp .gif .psd .svg .pdf .eps .xcf .exr .hdr .raw "
    ".cr2 .cr3 .crw .nef .nrw .arw .sr2 .dng .orf .rw2 .raf .pef .srw .x3f "
    ".mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .wmv .3gp .tga .dds .ico .jfif .jpe".split()
)


@functools.cache
def image_endings() -> frozenset[str]:
    """Endings of images that the installed Pillow reads, in lower case, with the dot.

    Without Pillow the usual ones.
    """
    try:
        from PIL import Image, features
    except ImportError:
        return IMAGE_ENDINGS
    known = Image.registered_extensions()  # imports the plug-ins of Pillow
    lacking = {name for name, feature in _OPTIONAL.items() if not features.check(feature)}
    refused = _NO_IMAGES | lacking
    return frozenset(
        ending for ending, name in known.items() if name in Image.OPEN and name not in refused
    )


def is_unread_image(name: str) -> bool:
    """True for images and films by their endings that cannot be read here."""
    ending = os.path.splitext(name)[1].lower()
    return ending in _UNREAD and ending not in image_endings()
