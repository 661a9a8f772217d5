"""Boxes of the MOT challenge: reading, writing, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from og_reid.data.files.mot import BoxTracks, read_mot, write_mot


def read(tmp_path: Path, text: str) -> BoxTracks:
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    return read_mot(path)


def test_a_line_is_read_as_the_challenge_defines_it(tmp_path: Path) -> None:
    found = read(tmp_path, "2,7,10,20,30,40.5,0.25,1,0.5\n\n1,-1,-4,0,8,16\n")
    assert found.frames.tolist() == [2, 1]
    assert found.ids.tolist() == [7, -1]
    assert found.boxes.tolist() == [[10, 20, 40, 60.5], [-4, 0, 4, 16]]
    assert found.scores is not None
    assert found.scores.tolist() == [0.25, 1]


@pytest.mark.parametrize("text", ["1 3 5 6 7 8\n", "frame,id,x,y,w,h\r\n1.0,3,5,6,7,8,\r\n"])
def test_other_spellings(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert (found.frames[0], found.ids[0]) == (1, 3)
    assert found.boxes.tolist() == [[5, 6, 12, 14]]


def test_an_empty_file_holds_no_boxes(tmp_path: Path) -> None:
    found = read(tmp_path, "")
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert "0 boxes" in repr(found)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,4,5", "line 2: must have frame, id, left, top, width, height; got 5 values"),
        ("1,2,x,4,5,6", "line 2: left must be a number of at most 1e.09; got 'x'"),
        ("1,2,3,nan,5,6", "line 2: top must be a number .*; got 'nan'"),
        ("1,2,3,4,1e99,6", "line 2: width must be a number .*; got '1e99'"),
        ("1,2,3,4,0,6", "line 2: width must be above 0; got 0"),
        ("1,2,3,4,5,-6", "line 2: height must be above 0; got -6"),
        ("1.5,2,3,4,5,6", "line 2: frame must be a whole number; got 1.5"),
        ("0,2,3,4,5,6", "line 2: frame must be at least 1; got 0"),
        ("1,-2,3,4,5,6", "line 2: id must be at least 0, or -1 if unknown; got -2"),
        ("5,9,3,4,5,6", "line 2: an identity must have one box in a frame; .* second one of 9"),
        ("1,2,900000000,4,1e-9,6", "line 2: a box must have a width and a height above 0"),
        ("1,2,3,4,5,6,high", "line 2: confidence must be a number"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, f"5,9,3,4,5,6\n{line}\n")


def test_a_binary_file_and_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"video.mp4: must be a CSV file of the MOT challenge"):
        read_mot(tmp_path / "video.mp4")
    with pytest.raises(FileNotFoundError):
        read_mot(tmp_path / "none.csv")


def test_written_boxes_are_read_again_in_the_order_of_frames(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    corner = draw.uniform(-50, 2000, (40, 2))
    boxes = np.concatenate([corner, corner + draw.uniform(1, 300, (40, 2))], 1)
    given = BoxTracks(np.arange(40)[::-1] // 2 + 1, np.arange(40) % 2, boxes, draw.random(40))
    write_mot(tmp_path / "out.csv", given)
    found = read_mot(tmp_path / "out.csv")
    order = np.lexsort((given.ids, given.frames))
    assert (found.frames == given.frames[order]).all()
    assert (found.ids == given.ids[order]).all()
    np.testing.assert_allclose(found.boxes, given.boxes[order], rtol=0, atol=1e-6)
    first = (tmp_path / "out.csv").read_text().splitlines()[0].split(",")
    assert len(first) == 10
    assert first[7:] == ["-1", "-1", "-1"]


@pytest.mark.parametrize(
    ("frames", "ids", "boxes", "message"),
    [
        ([1.5], [1], [[0, 0, 1, 1]], r"frames must be \(n,\) whole numbers"),
        ([1], [1, 2], [[0, 0, 1, 1]], r"boxes \(n, 4\)"),
        ([1], [1], [[0, 0, 1]], r"boxes \(n, 4\)"),
        ([1, 1], [1, 2], [[0, 0, 1, 1], [0, 0, 0, 1]], "row 1: a box must have a width"),
        ([1, 1], [1, 1], [[0, 0, 1, 1], [0, 0, 1, 1]], "row 1: an identity must have one box"),
        ([1], [1], [[0, 0, np.nan, 1]], "row 0: a box must be finite"),
    ],
)
def test_tracks_check_themselves(frames: list, ids: list, boxes: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoxTracks(np.array(frames), np.array(ids), np.array(boxes))
