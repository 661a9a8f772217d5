"""Files of moving and still images: GIF, MP4 and PNG."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pose.files.atomic_write import atomic_write

__all__ = ["write_gif", "write_mp4", "write_png"]


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Writes an image; atomic.

    Args:
        path: file to write.
        image: (H, W, 3) uint8 RGB.
    """
    from PIL import Image

    with atomic_write(path) as partial, partial.open("wb") as stream:
        Image.fromarray(image).save(stream, "PNG", optimize=True)


def write_gif(path: str | Path, images: Iterable[np.ndarray], *, seconds: float = 0.08) -> None:
    """Writes a GIF that repeats for ever; atomic.

    Args:
        path: file to write.
        images: (H, W, 3) uint8 RGB of one size, at least one.
        seconds: time of each.

    Raises:
        ValueError: no image.
    """
    from PIL import Image

    frames = [Image.fromarray(image) for image in images]
    if not frames:
        raise ValueError("images must hold at least one frame; got none")
    # One palette for all: colours that changed from frame to frame would flicker.
    chosen = frames[:: max(1, len(frames) // 6)]
    width, height = frames[0].size
    together = Image.new("RGB", (width, height * len(chosen)))
    for row, frame in enumerate(chosen):
        together.paste(frame, (0, row * height))
    palette = together.quantize(255, method=Image.Quantize.MEDIANCUT)
    paletted = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with atomic_write(path) as partial, partial.open("wb") as stream:
        paletted[0].save(
            stream, "GIF", save_all=True, append_images=paletted[1:], loop=0,
            duration=max(20, round(1000 * seconds)), disposal=1,
        )  # fmt: skip


def write_mp4(path: str | Path, images: Iterable[np.ndarray], *, seconds: float = 0.08) -> None:
    """Writes an MP4 video by imageio-ffmpeg (H.264) or OpenCV (MPEG-4); atomic.

    Args:
        path: file to write.
        images: (H, W, 3) uint8 RGB of one size, at least one; odd sizes lose a row or column.
        seconds: time of each.

    Raises:
        ValueError: no image.
        ImportError: neither package is there.
    """
    frames = [np.ascontiguousarray(_even(image)) for image in images]
    if not frames:
        raise ValueError("images must hold at least one frame; got none")
    write = _writer()
    with atomic_write(path) as partial:
        target = partial.with_name(f"{partial.name}.mp4")  # both choose the format by the ending
        try:
            write(target, frames, 1 / seconds)
            target.replace(partial)
        finally:
            target.unlink(missing_ok=True)


def _even(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return image[: height - height % 2, : width - width % 2]


def _writer():  # type: ignore[no-untyped-def]  # a function of a file, frames and their rate
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError:
        pass
    else:
        return _by_ffmpeg
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "imageio-ffmpeg or OpenCV is needed to write MP4; install one with: pip install "
            "imageio-ffmpeg. Or write a GIF"
        ) from error
    return _by_opencv


def _by_ffmpeg(path: Path, frames: list[np.ndarray], rate: float) -> None:
    import imageio_ffmpeg

    height, width = frames[0].shape[:2]
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=rate, macro_block_size=2, quality=8
    )
    writer.send(None)
    for frame in frames:
        writer.send(frame)
    writer.close()


def _by_opencv(path: Path, frames: list[np.ndarray], rate: float) -> None:
    import cv2

    height, width = frames[0].shape[:2]
    with warnings.catch_warnings():
        code = cv2.VideoWriter_fourcc(*"mp4v")  # type: ignore[attr-defined]
        writer = cv2.VideoWriter(str(path), code, rate, (width, height))
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write {path}: its build lacks a video encoder")
    for frame in frames:
        writer.write(frame[:, :, ::-1])
    writer.release()
