"""Page of a lift: errors of joints by hand, outlines, doubts, and the page in a browser."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from browser import Browsing, audit
from meshes import BodyFit
from meshes.fitting.camera import CropCamera
from meshes.fitting.skeleton import Skeleton
from meshes.lift import Lift, lift_fit
from meshes.quality import LiftQuality
from og_reid.viz import lift_page as module
from og_reid.viz.lift_page import joint_errors, lift_page, write_lift_page
from pose import COCO_17, Keypoints, Pose

IMAGE = np.full((200, 100, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def fit(body) -> BodyFit:
    """The resting body, upright in the middle, 100 pixels per metre, one joint uncertain."""
    confidence = torch.full((1, body.num_joints), 0.9)
    confidence[0, body.joint("left_knee")] = 0.2
    return BodyFit(
        body=body,
        rotations=torch.eye(3).repeat(1, body.num_joints, 1, 1),
        betas=torch.zeros(1, body.num_betas),
        camera=CropCamera(
            torch.tensor([100.0]), torch.tensor([[50.0, 95.0]]), torch.zeros(1), torch.zeros(1)
        ),
        pitch=torch.zeros(1),
        error=torch.zeros(1),
        confidence=confidence,
    )


@pytest.fixture(scope="module")
def pose(fit) -> Pose:
    """The fit's own joints, but for a nose 3 pixels off and an ankle that was not found."""
    skeleton = Skeleton(fit.body)
    points = skeleton.pose(fit.rotations, fit.betas).points
    xy = fit.camera.project(points)[0, [skeleton.index(name) for name in COCO_17], :2].clone()
    xy[0, 0] += 3
    score, visibility = torch.ones(17), torch.ones(17)
    score[16] = 0
    visibility[[9, 10]] = torch.tensor([0.3, 0.05])
    return Pose(Keypoints(xy, score, visibility))


@pytest.fixture(scope="module")
def lift(fit, pose) -> Lift:
    return lift_fit(IMAGE, fit, pose, background=50)


def test_errors_are_distances_in_standing_heights(fit, pose) -> None:
    places, errors = joint_errors(pose.keypoints, fit)
    height = 100 * float(fit.vertices[0, :, 1].max() - fit.vertices[0, :, 1].min())
    assert float(errors[0]) == pytest.approx(3 / height, rel=1e-4)
    assert errors[1:16].abs().max() < 1e-5
    assert errors[16].isnan()
    torch.testing.assert_close(places[1:], pose.keypoints.xy[1:])
    named = replace(pose.keypoints, names=("antenna", *COCO_17[1:]))
    places, errors = joint_errors(named, fit)
    assert places[0].isnan().all()
    assert errors[0].isnan()


@pytest.mark.parametrize(
    ("rows", "paths"),
    [
        (["##", "##"], ["M0 0L4 0L4 4L0 4"]),
        (["###", "#.#", "###"], ["M0 0L6 0L6 6L0 6", "M2 2L2 4L4 4L4 2"]),
        (["#.", ".."], ["M0 0L2 0L2 2L0 2"]),
        ([".."], []),
    ],
)
def test_outlines_follow_the_edges_of_cells(rows, paths) -> None:
    inside = np.pad(np.array([[cell == "#" for cell in row] for row in rows]), 1)
    found = module._outline(inside, 2)

    def corners(path: str) -> set[str]:
        return set(re.findall(r"\d+ \d+", path))

    drawn = [each for each in found.split("z") if each]
    assert [corners(each) for each in drawn] == [corners(each) for each in paths]


def test_the_page_holds_joints_parts_and_doubts(pose, lift, tmp_path) -> None:
    sound = replace(lift, quality=LiftQuality(0.0, 1.0, 1))
    text = lift_page(IMAGE, pose, sound, title="<i>")
    assert "<title>&lt;i&gt;</title>" in text
    assert "No reason to doubt" in text
    row = {}
    for line in re.findall(r"<tr><td>.*?</tr>", text):
        cells = re.findall(r"<td[^>]*>(.*?)</td>", line)
        row[cells[0]] = cells[1:]
    assert row["nose"][:3] == ["visible", "1.00", "1.00"]
    assert float(row["nose"][3]) == pytest.approx(300 / 172, abs=0.3)
    assert row["left knee"][4:] == ["0.20", "! uncertain place"]
    assert row["right ankle"][-1] == "not found"
    assert text.count('class="joint ') == 16 + 3  # of the image and of the key
    assert text.count('class="fitted"') == 16
    doubtful = replace(lift, quality=LiftQuality(0.1, 0.2, 1, ("the <image> is dark",)))
    text = lift_page(IMAGE, pose, doubtful)
    assert "Doubtful lift" in text
    assert "the &lt;image&gt; is dark" in text
    write_lift_page(tmp_path / "new" / "page.html", text)
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == text


def test_lifts_without_a_person_have_a_page(fit) -> None:
    pose = Pose(Keypoints.none(COCO_17))
    text = lift_page(IMAGE, pose, lift_fit(IMAGE, fit, pose, background=0))
    assert 'class="fitted"' not in text
    assert text.count("not found") == 17


def test_bad_arguments_are_refused(pose, lift) -> None:
    with pytest.raises(ValueError, match="image must be"):
        lift_page(IMAGE / 255, pose, lift)


def test_the_page_in_a_browser(pose, lift, tmp_path, browsing: Browsing) -> None:
    page = tmp_path / "page.html"
    write_lift_page(page, lift_page(IMAGE, pose, lift))
    shown = browsing.open(page, width=360, dark=True)
    root = "document.documentElement"
    assert shown.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    assert audit(shown) == []
