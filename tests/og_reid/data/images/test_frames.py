"""Frames of folders, of images in memory and of video files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from og_reid.data.images.frames import numbered_frames


def grey(level: int) -> np.ndarray:
    return np.full((32, 48, 3), level, np.uint8)


def folder(root: Path, *names: str) -> Path:
    for place, name in enumerate(names):
        Image.fromarray(grey(20 * place)).save(root / name)
    return root


def levels(source: object, *wanted: int) -> dict[int, int]:
    found = numbered_frames(source, wanted)  # type: ignore[arg-type]
    return {number: int(image[0, 0, 0]) for number, image in found}


def test_names_that_are_numbers_are_those_of_the_frames(tmp_path: Path) -> None:
    folder(tmp_path, "000007.png", "000008.png", "000010.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert levels(tmp_path, 10, 7) == {7: 0, 10: 40}
    with pytest.raises(ValueError, match=r"boxes in frame 9, which .* does not have"):
        levels(tmp_path, 7, 9)


def test_other_names_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder(tmp_path, "frame_2.png", "frame_10.png", "frame_1.png")
    assert levels(tmp_path, 1, 2, 3) == {1: 40, 2: 0, 3: 20}


def test_frames_from_zero_are_counted_from_one(tmp_path: Path) -> None:
    assert levels(folder(tmp_path, "0.png", "1.png"), 1, 2) == {1: 0, 2: 20}


def test_images_in_memory_are_read_as_far_as_needed() -> None:
    def endless() -> Iterator[np.ndarray]:
        for level in range(5):
            yield grey(level)
        raise AssertionError("the sixth frame is not wanted")

    assert levels(endless(), 2, 5) == {2: 1, 5: 4}
    assert levels([grey(7), None, grey(9)], 1, 3) == {1: 7, 3: 9}, "others are not touched"
    with pytest.raises(ValueError, match="boxes in frame 3, which the given frames"):
        levels(iter([grey(1)]), 1, 3)
    assert levels([grey(1)]) == {}


def test_a_video_file(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (48, 32))
    colored = np.zeros((32, 48, 3), np.uint8)
    colored[..., 0] = 200  # blue: OpenCV's first channel
    for image in (grey(40), colored, grey(120)):
        writer.write(image)
    writer.release()
    found = dict(numbered_frames(path, {2, 3}))
    assert sorted(found) == [2, 3]
    assert found[2].shape == (32, 48, 3)
    assert found[2][0, 0, 2] > 150 > 50 > found[2][0, 0, 0], "RGB"
    assert abs(int(found[3][0, 0, 0]) - 120) < 8
    with pytest.raises(ValueError, match="boxes in frame 4"):
        dict(numbered_frames(path, {4}))


def test_what_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="give a video, or a folder of its frames"):
        levels(tmp_path / "none.mp4", 1)
    with pytest.raises(ValueError, match="must hold images, one a frame; got none"):
        levels(tmp_path, 1)
    pytest.importorskip("cv2")
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    with pytest.raises(ValueError, match=r"broken.mp4 must be a video that OpenCV can decode"):
        levels(tmp_path / "broken.mp4", 1)
