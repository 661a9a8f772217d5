"""Following people of plain colours across gaps and cameras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import og_reid
from mean_color import COLORS, MeanColor, frame
from og_reid.data import BoxTracks, write_mot
from og_reid.evaluation import evaluate_tracks
from og_reid.tracking import FollowSettings

FRAMES = 30
Rows = list[tuple[int, int, tuple[int, int, int, int]]]


def walk(color: int, first: int, last: int, left: int, step: int, top: int = 20) -> Rows:
    """Frame, colour and box of a person who walks."""
    return [
        (number, color, (left + step * k, top, left + step * k + 24, top + 60))
        for k, number in enumerate(range(first, last + 1))
    ]


def video(*walks: Rows) -> tuple[list[np.ndarray], BoxTracks, BoxTracks]:
    """Frames, boxes without identities, and the truth: colours as identities."""
    rows = sorted(row for each in walks for row in each)
    images = [
        frame([(color, box) for number, color, box in rows if number == place])
        for place in range(1, FRAMES + 1)
    ]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    truth = BoxTracks(columns[0], columns[1], columns[2])
    return images, truth.with_ids(np.full(len(truth), -1)), truth


def crossing() -> tuple[list[np.ndarray], BoxTracks, BoxTracks]:
    """Two people who are hidden for ten frames and come out on the other's side."""
    return video(
        walk(0, 1, 10, 5, 4), walk(1, 1, 10, 160, -4),
        walk(0, 20, 30, 110, 4), walk(1, 20, 30, 60, -4),
    )  # fmt: skip


def test_people_are_joined_across_a_gap() -> None:
    images, boxes, truth = crossing()
    model = MeanColor()
    found = og_reid.follow(images, boxes, model)
    tracks = found.tracks["camera"]
    assert evaluate_tracks(truth, tracks).idf1 == 1
    assert evaluate_tracks(truth, found.linked["camera"]).idf1 == pytest.approx(22 / 42)
    assert sum(model.seen) == 4 * 6
    assert [(each.person, each.first, each.last) for each in found.tracklets] == [
        (1, 1, 10), (2, 1, 10), (1, 20, 30), (2, 20, 30),
    ]  # fmt: skip
    assert all(each.confidence is not None and each.confidence > 0.9 for each in found.tracklets)
    assert str(found).startswith("cameras: 1; tracklets: 4; people: 2, 2 of them")
    assert found.embeddings is not None
    assert found.embeddings.features is not None
    wanted = [COLORS[each.person - 1] for each in found.tracklets]
    unit = torch.nn.functional.normalize(torch.tensor(wanted).float(), dim=1)
    assert float((found.embeddings.features * unit).sum(1).min()) > 0.97
    assert found.summary()["cameras"]["camera"]["tracklets"] == 4


def test_people_are_joined_across_cameras() -> None:
    images, boxes, truth = crossing()
    others, seen, known = video(walk(1, 3, 12, 20, 2), walk(2, 5, 15, 120, 2))
    found = og_reid.follow({"a": images, "b": others}, {"a": boxes, "b": seen}, MeanColor())
    assert evaluate_tracks({"a": truth, "b": known}, found.tracks).idf1 == 1
    assert found.people == 3


def test_people_in_one_frame_are_never_one() -> None:
    _, boxes, _ = video(walk(0, 1, 20, 5, 1), walk(1, 5, 25, 150, -1))
    grey = [frame([])] * FRAMES  # all look the same
    assert og_reid.follow(grey, boxes, MeanColor()).people == 2


def test_given_identities_are_tracklets() -> None:
    images, boxes, truth = video(walk(0, 1, 4, 5, 1), walk(0, 5, 9, 150, 1))
    given = boxes.with_ids(np.array([3] * 4 + [9] * 5))
    found = og_reid.follow(images, given, MeanColor())
    assert [each.id for each in found.tracklets] == [3, 9]
    assert evaluate_tracks(truth, found.tracks["camera"]).idf1 == 1


@pytest.mark.parametrize(
    ("settings", "people"),
    [
        (FollowSettings(max_gap=8), 4),
        (FollowSettings(max_gap=9), 2),
        (FollowSettings(threshold=0.999), 4),
        (FollowSettings(images=1, gap=9, overlap=0.9), 2),
    ],
)
def test_settings(settings: FollowSettings, people: int) -> None:
    images, boxes, _ = crossing()
    assert og_reid.follow(images, boxes, MeanColor(), settings=settings).people == people


def test_boxes_outside_of_the_image_are_of_people_alone() -> None:
    images, boxes, _ = crossing()
    moved = boxes.boxes.copy()
    moved[boxes.frames >= 20] += 1000
    outside = BoxTracks(boxes.frames, boxes.ids, moved)
    found = og_reid.follow(images, outside, MeanColor())
    assert [each.images for each in found.tracklets] == [6, 6, 0, 0]
    assert found.people == 4
    assert found.tracklets[2].confidence is None
    assert found.embeddings is not None
    assert len(found.embeddings) == 2


def test_no_boxes_at_all() -> None:
    found = og_reid.follow([], crossing()[1][:0], MeanColor())
    assert (found.people, found.tracklets) == (0, ())


def test_batches_and_progress_do_not_change_the_result() -> None:
    images, boxes, _ = crossing()
    reported: list[tuple[float, float]] = []
    whole = og_reid.follow(iter(images), boxes, MeanColor(), batch_size=3,
                           progress=lambda *done: reported.append(done))  # fmt: skip
    assert reported[-1] == (24, 24)
    assert whole.tracklets == og_reid.follow(images, boxes, MeanColor()).tracklets


def test_a_file_of_boxes(tmp_path: Path) -> None:
    images, boxes, truth = crossing()
    write_mot(tmp_path / "boxes.csv", boxes)
    found = og_reid.follow(images, tmp_path / "boxes.csv", MeanColor())
    assert evaluate_tracks(truth, found.tracks["camera"]).idf1 == 1


def test_what_does_not_belong_together() -> None:
    images, boxes, _ = crossing()
    with pytest.raises(ValueError, match=r"detections have boxes in frame \d+, which the given"):
        og_reid.follow(images[:5], boxes, MeanColor())
    with pytest.raises(ValueError, match=r"same cameras, at least one; got \['a'\] and \['b'\]"):
        og_reid.follow({"a": images}, {"b": boxes}, MeanColor())
    with pytest.raises(ValueError, match="both be of one camera, or of several by name"):
        og_reid.follow({"a": images}, boxes, MeanColor())
    bare = replace_calibration(MeanColor())
    with pytest.raises(ValueError, match="model must be one of images with a calibration"):
        og_reid.follow(images, boxes, bare)
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\); got 2"):
        FollowSettings(threshold=2)
    with pytest.raises(ValueError, match="images must be at least 1; got 0"):
        replace(FollowSettings(), images=0)


def replace_calibration(model: MeanColor) -> Any:
    model.preprocessing.calibration = None
    return model
