"""IDF1 and HOTA: worked by hand, by enumeration, and as TrackEval has them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from og_reid.data.files.mot import BoxTracks, box_overlap, read_mot
from og_reid.evaluation.tracking import evaluate_tracks

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "tracking"


def track(ids: list[int], place: float = 0.0, first: int = 1) -> BoxTracks:
    """A person who stands, with an identity for each frame."""
    boxes = np.tile([place, 0.0, place + 10, 30.0], (len(ids), 1))
    return BoxTracks(np.arange(first, first + len(ids)), np.array(ids), boxes)


def both(*tracks: BoxTracks) -> BoxTracks:
    fields = ("frames", "ids", "boxes", "scores")
    return BoxTracks(*(np.concatenate([getattr(each, name) for each in tracks]) for name in fields))


def test_perfect_tracks_have_ones_whatever_their_numbers() -> None:
    truth = both(track([1] * 6), track([2] * 6, 40))
    found = both(track([8] * 6), track([3] * 6, 40))
    metrics = evaluate_tracks(truth, found)
    assert (metrics.idf1, metrics.hota, metrics.det_a, metrics.ass_a, metrics.loc_a) == (1,) * 5
    assert "HOTA 1.000" in str(metrics)


def test_a_person_found_as_two() -> None:
    metrics = evaluate_tracks(track([1] * 10), track([5] * 5 + [6] * 5))
    assert (metrics.idtp, metrics.idfp, metrics.idfn) == (5, 5, 5)
    assert metrics.idf1 == 0.5
    assert metrics.det_a == 1
    assert metrics.ass_a == pytest.approx(0.5)  # 5 common of 10 of either, for each box
    assert metrics.hota == pytest.approx(0.5**0.5)


def test_two_people_found_as_one() -> None:
    truth = both(track([1] * 6), track([2] * 2, first=7))
    metrics = evaluate_tracks(truth, track([4] * 8))
    assert (metrics.idtp, metrics.idf1) == (6, 0.75)
    # Boxes of the first: 6 of 8; of the second: 2 of 8.
    assert metrics.ass_a == pytest.approx((6 * 6 / 8 + 2 * 2 / 8) / 8)


def test_missed_and_false_boxes() -> None:
    found = both(track([1] * 6), track([9] * 2, 500))
    metrics = evaluate_tracks(track([1] * 8), found)
    assert (metrics.idp, metrics.idr) == (0.75, 0.75)
    assert metrics.det_a == pytest.approx(6 / 10)
    assert metrics.ass_a == pytest.approx(6 / 8)
    assert evaluate_tracks(track([1]), track([1])[:0]).hota == 0


def test_demands_on_the_overlap() -> None:
    truth = track([1] * 4)
    found = BoxTracks(
        truth.frames, truth.ids, truth.boxes + np.array([4, 0, 4, 0])
    )  # overlap 6 / 14
    metrics = evaluate_tracks(truth, found)
    assert metrics.idtp == 0
    assert metrics.hota_alpha == (1.0,) * 8 + (0.0,) * 11  # up to alpha = 0.4
    assert metrics.hota == pytest.approx(8 / 19)


def test_an_overlap_of_a_half_counts() -> None:
    truth = track([1] * 4)
    found = BoxTracks(truth.frames, truth.ids, truth.boxes * np.array([1, 1, 1, 0.5]))
    assert box_overlap(truth.boxes[:1], found.boxes[:1]).item() == 0.5
    assert evaluate_tracks(truth, found).idtp == 4


def test_identities_by_enumeration_of_all_pairs() -> None:
    draw = np.random.default_rng(3)
    for _ in range(20):
        people = [track([n] * 12, 100 * n) for n in range(4)]
        labels = draw.integers(0, 4, (4, 12))
        labels = np.argsort(draw.random((4, 12)), 0) if draw.random() < 0.5 else labels
        found = [
            BoxTracks(each.frames, each.frames * 0 + 10 * row + labels[row], each.boxes)
            for row, each in enumerate(people)
        ]
        common = np.zeros((4, 40), int)
        for row in range(4):
            np.add.at(common, (row, 10 * row + labels[row]), 1)
        wanted = max(
            sum(common[row, 10 * row + pick] for row, pick in enumerate(picks))
            for picks in itertools.product(range(4), repeat=4)
        )
        assert evaluate_tracks(both(*people), both(*found)).idtp == wanted


def test_values_of_trackeval() -> None:
    metrics = evaluate_tracks(read_mot(GOLDEN / "truth.csv"), read_mot(GOLDEN / "found.csv"))
    wanted = json.loads((GOLDEN / "trackeval.json").read_text())
    np.testing.assert_allclose(metrics.hota_alpha, wanted.pop("hota_alpha"), rtol=1e-12)
    for name, value in wanted.items():
        assert getattr(metrics, name) == pytest.approx(value, rel=1e-12), name


def test_the_order_of_rows_does_not_matter() -> None:
    truth, found = read_mot(GOLDEN / "truth.csv"), read_mot(GOLDEN / "found.csv")
    draw = np.random.default_rng(0)
    shuffled = found[draw.permutation(len(found))]
    assert evaluate_tracks(truth, shuffled) == evaluate_tracks(truth, found)


def test_cameras_share_their_identities() -> None:
    truth = {"a": track([1] * 4), "b": track([1] * 4)}
    same = evaluate_tracks(truth, {"b": track([7] * 4), "a": track([7] * 4)})
    assert same.idf1 == 1
    other = evaluate_tracks(truth, {"a": track([7] * 4), "b": track([8] * 4)})
    assert other.idf1 == 0.5


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="found must have an identity for each box; got id -1"):
        evaluate_tracks(track([1]), track([-1]))
    with pytest.raises(ValueError, match="truth must hold at least one box"):
        evaluate_tracks(track([1])[:0], track([1]))
    with pytest.raises(ValueError, match=r"same cameras, at least one; got \['a'\] and \['b'\]"):
        evaluate_tracks({"a": track([1])}, {"b": track([1])})
    with pytest.raises(ValueError, match="both be of one camera"):
        evaluate_tracks({"a": track([1])}, track([1]))
