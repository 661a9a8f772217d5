"""Linking of boxes from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest

from og_reid.data.files.mot import BoxTracks
from og_reid.tracking import link_boxes


def walk(first: int, count: int, start: float, step: float, top: float = 0.0) -> np.ndarray:
    """(n, 5) frame and box of a person of 20 x 50 pixels."""
    frames = np.arange(first, first + count)
    left = start + step * np.arange(count)
    return np.stack([frames, left, 0 * left + top, left + 20, 0 * left + top + 50], 1)


def tracks(*walks: np.ndarray, shuffle: bool = False) -> BoxTracks:
    table = np.concatenate(walks)
    order = np.random.default_rng(0).permutation(len(table)) if shuffle else np.arange(len(table))
    table = table[order]
    ids = np.full(len(table), -1)
    return BoxTracks(table[:, 0].astype(int), ids, table[:, 1:])


def test_people_who_cross_keep_their_identity_by_their_movement() -> None:
    found = link_boxes(tracks(walk(1, 30, 0, 5), walk(1, 30, 145, -5, 4)))
    assert [len(set(part)) for part in (found.ids[:30], found.ids[30:])] == [1, 1]
    assert found.ids[0] != found.ids[-1]


def test_the_order_of_rows_does_not_matter() -> None:
    given = tracks(walk(1, 10, 0, 5), walk(1, 10, 300, 5), shuffle=True)
    found = link_boxes(given)
    assert len(set(zip(found.ids.tolist(), (given.boxes[:, 0] > 150).tolist(), strict=True))) == 2


@pytest.mark.parametrize(("missing", "parts"), [(2, 1), (3, 2)])
def test_a_gap_ends_a_track(missing: int, parts: int) -> None:
    given = tracks(walk(1, 5, 0, 4), walk(6 + missing, 5, 4 * (5 + missing), 4))
    assert len(set(link_boxes(given, gap=2).ids.tolist())) == parts


def test_given_identities_stay_and_new_ones_lie_above() -> None:
    given = tracks(walk(1, 4, 0, 1), walk(1, 4, 100, 1))
    given = given.with_ids(np.array([7] * 4 + [-1] * 4))
    assert link_boxes(given).ids.tolist() == [7] * 4 + [8] * 4


def test_boxes_without_enough_overlap_are_apart() -> None:
    jump = tracks(walk(1, 2, 0, 12))  # overlap 8 / 32
    assert len(set(link_boxes(jump, overlap=0.3).ids.tolist())) == 2
    assert len(set(link_boxes(jump, overlap=0.25).ids.tolist())) == 1


def test_none_and_one() -> None:
    assert len(link_boxes(tracks(walk(1, 0, 0, 1)))) == 0
    assert link_boxes(tracks(walk(9, 1, 0, 1))).ids.tolist() == [1]


@pytest.mark.parametrize("rest", [{"overlap": 0.0}, {"overlap": 1.1}, {"gap": -1}])
def test_arguments_out_of_range(rest: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"overlap must be in \(0, 1\], and gap at least 0; got"):
        link_boxes(tracks(walk(1, 1, 0, 1)), **rest)  # type: ignore[arg-type]
