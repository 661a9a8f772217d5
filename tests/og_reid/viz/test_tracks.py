"""Pictures of boxes before and after joining."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from og_reid.viz import draw_boxes, write_before_after

BOXES = np.array([[20.0, 30.0, 60.0, 110.0], [100.0, 2.0, 140.0, 90.0]])
GREY = np.full((120, 200, 3), 128, np.uint8)


def test_boxes_are_drawn_in_the_colour_of_their_number() -> None:
    found = draw_boxes(GREY, BOXES, [1, 2])
    assert found.shape == GREY.shape
    assert (GREY == 128).all(), "the given image is left as it is"
    one, two = found[70, 20], found[50, 100]
    assert (one != 128).any()
    assert (one != two).any()
    assert (draw_boxes(GREY, BOXES[:1], [1])[70, 20] == one).all()
    assert (found[70, 40] == 128).all(), "inside nothing is drawn"
    assert (draw_boxes(GREY, BOXES[:0], [], "people")[:8, :8] != 128).any(), "title"
    with pytest.raises(ValueError, match="same people; got 2, 1"):
        draw_boxes(GREY, BOXES, [1])


def test_sheets_and_animations(tmp_path: Path) -> None:
    frames, boxes = [GREY] * 5, [BOXES] * 5
    before, after = [[1, 2]] * 5, [[1, 1]] * 5
    write_before_after(tmp_path / "a.png", frames, boxes, before, after)
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (4 * 200 + 3 * 4, 4 * 120 + 3 * 4), "two rows of pairs"
    write_before_after(tmp_path / "a.gif", frames, boxes, before, after)
    with Image.open(tmp_path / "a.gif") as moving:
        assert moving.size == (404, 120)
        assert moving.format == "GIF"
    wide = [np.zeros((90, 720, 3), np.uint8)]
    write_before_after(tmp_path / "b.png", wide, [BOXES[:0]], [[]], [[]])
    with Image.open(tmp_path / "b.png") as sheet:
        assert sheet.size == (360, 45 * 2 + 4)


def test_frames_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one; got 0, 0, 0 and 0"):
        write_before_after(tmp_path / "a.png", [], [], [], [])
    with pytest.raises(ValueError, match="one size"):
        write_before_after(tmp_path / "a.png", [GREY, GREY[:9]], [BOXES] * 2, [[1, 2]] * 2,
                           [[1, 2]] * 2)  # fmt: skip
