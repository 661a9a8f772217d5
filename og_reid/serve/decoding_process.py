"""Worker process that decodes images: ``python -m og_reid.serve.decoding_process MEGABYTES``.

Requests come by standard input, results go to standard output: a header of `REQUEST` and the file;
a header of `REPLY` and the pixels, or the reason. Memory, files and cores are limited before the
first request.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from typing import IO, Any

from .image_bytes import check_container

__all__ = ["REPLY", "REQUEST", "decode"]

#: Bytes of the file, largest number of pixels, longest side of the result.
REQUEST = struct.Struct(">QQI")
#: Status (0: pixels, else that of HTTP), height and width, or bytes of the reason and 0.
REPLY = struct.Struct(">HII")


def decode(content: bytes, max_pixels: int, longest: int) -> Any:
    """(H, W, 3) uint8 RGB of an image file, scaled down to a longest side.

    Args:
        content: JPEG, PNG or WebP.
        max_pixels: Largest number of pixels, by the header.
        longest: Longest side of the result, pixels.

    Raises:
        ValueError: The file is none of them, damaged, or too large.
        OverflowError: The image has more pixels.
    """
    import numpy as np
    from PIL import Image

    from pose.image import read_image

    Image.MAX_IMAGE_PIXELS = None  # the limit below is smaller, and comes before decoding
    name = check_container(content)
    try:
        opened = Image.open(io.BytesIO(content), formats=(name,))
    except Exception as error:
        raise ValueError("the image is damaged or cut off") from error
    if opened.width * opened.height > max_pixels:
        raise OverflowError(
            f"image must have at most {max_pixels / 1e6:g} megapixels; got "
            f"{opened.width} x {opened.height}"
        )
    pixels = read_image(opened)
    if max(pixels.shape[:2]) > longest:
        small = Image.fromarray(pixels)
        small.thumbnail((longest, longest))
        pixels = read_image(np.asarray(small))  # its smallest size holds for the result, too
    return pixels


def _limit(megabytes: int) -> None:
    """No new files and cores; memory beyond what is there now."""
    try:
        import resource
    except ImportError:  # not everywhere: the time limit holds
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return
    most = used + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _answer(content: bytes, max_pixels: int, longest: int) -> tuple[int, tuple[int, int], bytes]:
    try:
        pixels = decode(content, max_pixels, longest)
    except OverflowError as error:
        status, text = 413, str(error)
    except Exception as error:
        status, text = 422, str(error).removeprefix("PIL image: ")
        causes: BaseException | None = error
        while causes is not None:
            if isinstance(causes, MemoryError):
                status, text = 413, "the image takes too much memory to decode"
            causes = causes.__cause__
        if not isinstance(error, ValueError | MemoryError):
            text = f"the image cannot be decoded ({type(error).__name__})"
    else:
        return 0, pixels.shape[:2], pixels.tobytes()
    reason = text.encode("utf-8", "replace")[:2000]
    return status, (len(reason), 0), reason


def _serve(source: IO[bytes], target: IO[bytes]) -> None:
    while True:
        header = source.read(REQUEST.size)
        if len(header) < REQUEST.size:
            return
        size, max_pixels, longest = REQUEST.unpack(header)
        status, shape, data = _answer(source.read(size), max_pixels, longest)
        target.write(REPLY.pack(status, *shape) + data)
        target.flush()


def _main() -> None:
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no result
    import signal

    from PIL import Image

    import pose.image  # noqa: F401  # before memory is limited, and numpy with it

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the service ends this process
    Image.init()
    _limit(int(sys.argv[1]))
    _serve(sys.stdin.buffer, results)


if __name__ == "__main__":
    _main()
