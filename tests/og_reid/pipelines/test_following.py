"""The command that follows people: files of each camera, summary, sheets of frames, mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mean_color import MeanColor, frame
from og_reid.cli import main
from og_reid.data import BoxTracks, read_mot, write_mot
from og_reid.pipelines import FollowSpec, follow_videos

BOX = (20, 20, 50, 100)


def camera(root: Path, color: int) -> Path:
    """Folder of four frames; a person is hidden in the second and the third."""
    root.mkdir(parents=True)
    for number in range(1, 5):
        people = [(color, BOX)] if number in (1, 4) else []
        Image.fromarray(frame(people)).save(root / f"{number:06}.png")
    tracks = BoxTracks(np.array([1, 4]), np.array([-1, -1]), np.array([BOX, BOX]))
    write_mot(root.with_suffix(".csv"), tracks)
    return root


def test_files_of_two_cameras(tmp_path: Path) -> None:
    videos = [camera(tmp_path / "a" / "img1", 0), camera(tmp_path / "b" / "img1", 0)]
    spec = FollowSpec(
        tuple(videos), tuple(each.with_suffix(".csv") for each in videos), tmp_path / "out",
        MeanColor(), gap=0, sheet="png",
    )  # fmt: skip
    reported: list[tuple[str, float, float]] = []
    done = follow_videos(spec, lambda *each: reported.append(each[:3]))
    names = ["img1-1.csv", "img1-1.png", "img1-2.csv", "img1-2.png", "follow.json"]
    assert [each.name for each in done.files] == names
    assert reported[-1] == ("embedding", 4, 4)
    for number in (1, 2):
        assert read_mot(tmp_path / "out" / f"img1-{number}.csv").ids.tolist() == [1, 1]
    summary = json.loads((tmp_path / "out" / "follow.json").read_text())
    assert (summary["format"], summary["people"]) == ("og_reid follow 1", 1)
    assert [each["camera"] for each in summary["tracklets"]] == ["img1-1"] * 2 + ["img1-2"] * 2
    assert "tracklets: 4; people: 1, 1 of them" in str(done)


def test_mistakes_are_found_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = camera(tmp_path / "walk", 0)
    boxes = str(video.with_suffix(".csv"))
    for arguments, message in (
        ([str(tmp_path / "none"), "--detections", boxes], "none is not there: give a video"),
        ([str(video), "--detections", boxes, boxes], "one file for each video"),
        ([str(video), "--detections", boxes, "--threshold", "2"], "threshold must be in (0, 1)"),
        ([str(video), "--detections", boxes, "--out", boxes], "--out must be a folder"),
        ([str(video), "--detections", str(video / "000001.png")], "must be a CSV file of the MOT"),
    ):
        assert main(["follow", *arguments]) != 0
        assert message in capsys.readouterr().err
