"""Tracklets: their boxes, the clearest images, and which are apart."""

from __future__ import annotations

import numpy as np
import pytest

from og_reid.data.files.mot import BoxTracks
from og_reid.tracking import (
    Tracklet,
    box_clearness,
    choose_boxes,
    split_tracklets,
    tracklets_apart,
)

BOX = [0.0, 0.0, 20.0, 50.0]


def spans(*frames: range, cameras: str = "") -> list[Tracklet]:
    names = cameras or "a" * len(frames)
    return [
        Tracklet(camera, number, np.arange(len(each)), np.array(each))
        for number, (each, camera) in enumerate(zip(frames, names, strict=True))
    ]


def test_boxes_are_split_by_identity_in_the_order_of_frames() -> None:
    given = BoxTracks(np.array([5, 2, 9, 4]), np.array([3, 8, 8, 3]), np.array([BOX] * 4))
    found = split_tracklets("door", given)
    assert [(each.id, each.rows.tolist(), each.frames.tolist()) for each in found] == [
        (8, [1, 2], [2, 9]), (3, [3, 0], [4, 5]),
    ]  # fmt: skip
    assert split_tracklets("door", given[:0]) == []
    with pytest.raises(ValueError, match="use link_boxes first"):
        split_tracklets("door", given.with_ids(np.full(4, -1)))


def test_the_clearest_box_of_each_piece_is_chosen() -> None:
    frames = np.arange(1, 9)
    boxes = np.array([BOX] * 8)
    boxes[6] = [0, 0, 40, 100]  # large
    own = BoxTracks(frames, frames * 0 + 1, boxes)
    # Others stand in front (lower) in all frames but the third, beside in frame 3.
    other = np.array([[5.0, 10.0, 25.0, 120.0]] * 8)
    other[2] += [100, 0, 100, 0]
    given = BoxTracks(np.tile(frames, 2), np.repeat([1, 2], 8), np.concatenate([boxes, other]))
    (first, _) = split_tracklets("a", given)
    assert choose_boxes(box_clearness(given), first, 2).tolist() == [2, 6]
    assert choose_boxes(box_clearness(given), first, 1).tolist() == [2], (
        "the larger one is half hidden"
    )
    (alone,) = split_tracklets("a", own)
    assert choose_boxes(box_clearness(own), alone, 100).tolist() == list(range(8))


def test_a_person_in_front_is_not_hidden_by_the_one_behind() -> None:
    boxes = np.array([[0.0, 0, 20, 60], [0, 0, 20, 60], [2, 0, 22, 50]])
    given = BoxTracks(np.array([1, 2, 1]), np.array([1, 1, 2]), boxes)
    first, second = split_tracklets("a", given)
    assert choose_boxes(box_clearness(given), first, 1).tolist() == [0]  # of equals the first
    assert choose_boxes(box_clearness(given), second, 1).tolist() == [2]


def test_tracklets_of_one_frame_are_apart_in_one_camera_alone() -> None:
    tracklets = spans(range(1, 5), range(4, 9), range(9, 12), range(1, 12), cameras="aaab")
    apart = tracklets_apart(tracklets)
    assert apart.tolist() == [
        [False, True, False, False], [True, False, False, False], [False] * 4, [False] * 4,
    ]  # fmt: skip
    interleaved = spans(range(1, 20, 2), range(2, 20, 2))
    assert not tracklets_apart(interleaved).any()


def test_gaps_that_are_too_long() -> None:
    tracklets = spans(range(1, 5), range(8, 9), range(20, 21), range(30, 31), cameras="aaab")
    assert np.argwhere(np.triu(tracklets_apart(tracklets, max_gap=3))).tolist() == [[0, 2], [1, 2]]
    assert np.argwhere(np.triu(tracklets_apart(tracklets, max_gap=2))).tolist() == [
        [0, 1], [0, 2], [1, 2],
    ]  # fmt: skip
    assert tracklets_apart([]).shape == (0, 0)


def test_clearness_box_by_box() -> None:
    draw = np.random.default_rng(0)
    corner = draw.uniform(0, 60, (40, 2))
    boxes = np.concatenate([corner, corner + draw.uniform(10, 50, (40, 2))], 1)
    given = BoxTracks(draw.integers(1, 6, 40), np.arange(40), boxes)
    found = box_clearness(given)
    for row, box in enumerate(boxes):
        area = (box[2] - box[0]) * (box[3] - box[1])
        hidden = 0.0
        for other in boxes[(given.frames == given.frames[row]) & (boxes[:, 3] > box[3])]:
            wide = min(box[2], other[2]) - max(box[0], other[0])
            high = min(box[3], other[3]) - max(box[1], other[1])
            hidden = max(hidden, max(0.0, wide) * max(0.0, high) / area)
        assert found[row] == pytest.approx((1 - hidden) ** 2 * area**0.5)
    assert box_clearness(given[:0]).shape == (0,)
