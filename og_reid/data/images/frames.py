"""Frames of videos: files that OpenCV decodes, folders of images, images in memory."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from pose import read_image

from ..files.image_files import image_endings

__all__ = ["FrameSource", "numbered_frames"]

#: A video: its file, a folder of its frames as images, or the images themselves, one by one.
FrameSource: TypeAlias = "str | Path | Iterable[Any]"


def numbered_frames(
    source: FrameSource, wanted: Collection[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of a video by their number, from 1, in order.

    Args:
        source: Video file (needs the package opencv-python); folder of images, one a frame, whose
            names are the numbers of the frames, such as 000001.jpg, or are sorted, numbers in names
            by their value; or images of any type accepted by `pose.read_image`, of a sequence the
            wanted ones alone.
        wanted: Numbers of the frames to read; others are skipped.

    Returns:
        Number and (H, W, 3) uint8 RGB of each wanted frame.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: The video ends before a wanted frame, or a frame is unreadable.
        ImportError: A video file is given, and OpenCV is missing.
    """
    missing = set(wanted)
    for number, image in _frames(source, missing):
        if number in missing:
            missing.discard(number)
            yield number, image
        if not missing:
            return
    if missing:
        name = source if isinstance(source, str | Path) else "the given frames"
        raise ValueError(
            f"detections have boxes in frame {min(missing)}, which {name} does not have: give the "
            "detections of this video, with frames numbered from 1"
        )


def _frames(source: FrameSource, wanted: set[int]) -> Iterator[tuple[int, np.ndarray]]:
    if not isinstance(source, str | Path):
        if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
            images = cast("Sequence[Any]", source)  # arrays and lazy readers among them
            there = sorted(number for number in wanted if 1 <= number <= len(images))
            yield from ((number, read_image(images[number - 1])) for number in there)
            return
        for number, image in enumerate(source, 1):
            if number in wanted:
                yield number, read_image(image)
        return
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}: give a video, or a folder of its frames")
    if path.is_dir():
        for number, file in _numbered_files(path):
            if number in wanted:
                yield number, read_image(file)
        return
    yield from _decoded(path, wanted)


def _numbered_files(folder: Path) -> list[tuple[int, Path]]:
    """Images of a folder by the number of the frame."""
    files = [each for each in folder.iterdir() if each.suffix.lower() in image_endings()]
    if not files:
        raise ValueError(f"{folder} must hold images, one a frame; got none")
    if all(re.fullmatch(r"\d{1,9}", each.stem, re.ASCII) for each in files):
        numbers = [int(each.stem) for each in files]
        if min(numbers) >= 1 and len(set(numbers)) == len(numbers):
            return sorted(zip(numbers, files, strict=True))
    return list(enumerate(sorted(files, key=_by_value), 1))


def _by_value(file: Path) -> tuple[tuple[int, str], ...]:
    """Parts of a name, those of digits by their value."""
    parts = re.findall(r"\d+|\D+", file.name, re.ASCII)
    return tuple((int(each), "") if each[0].isascii() and each.isdigit() else (-1, each)
                 for each in parts)  # fmt: skip


def _decoded(path: Path, wanted: set[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Frames of a video file; frames that are not wanted are not converted."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            f"OpenCV is needed to read {path}: install og-reid[demo], or give a folder of the "
            "frames as images"
        ) from error
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise ValueError(
                f"{path} must be a video that OpenCV can decode: convert it, or give a folder of "
                "its frames as images"
            )
        number = 0
        while video.grab():
            number += 1
            if number not in wanted:
                continue
            there, image = video.retrieve()
            if not there:
                raise ValueError(f"{path}: frame {number} cannot be decoded")
            yield number, np.ascontiguousarray(image[..., ::-1])
    finally:
        video.release()
