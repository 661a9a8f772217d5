"""Heat maps and visible stripes: the authors' figures to the bit, and the corrected rules."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pose import (
    COCO_17,
    OPENPOSE_18,
    Keypoints,
    heatmaps,
    part_visibility,
    stripe_masks,
    to_openpose18,
)
from pose.visibility import SIGMA

GOLDEN = Path(__file__).parents[1] / "golden" / "pgfa"
CASES = json.loads((GOLDEN / "pose.json").read_text())
EXPECTED = np.load(GOLDEN / "pose.npz")


def people_of(case: dict, dtype: torch.dtype = torch.float64) -> Keypoints | None:
    if case["pose"] is None:
        return None
    rows = [person["pose_keypoints_2d"] for person in case["pose"]["people"]]
    values = torch.tensor(rows, dtype=dtype).reshape(-1, 18, 3)
    return Keypoints(values[..., :2], values[..., 2], names=OPENPOSE_18)


def person(joints: dict[str, tuple[float, ...]]) -> Keypoints:
    """COCO-17 with these joints (x, y and perhaps a score) only."""
    xy, score = torch.zeros(17, 2), torch.zeros(17)
    for name, (x, y, *rest) in joints.items():
        xy[COCO_17.index(name)] = torch.tensor([x, y])
        score[COCO_17.index(name)] = rest[0] if rest else 0.9
    return Keypoints(xy, score)


UPRIGHT = {"nose": (30, 10), "left_hip": (35, 80), "right_hip": (25, 80)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CASES)
def test_reference_equals_the_authors_code(name, dtype):
    case = CASES[name]
    width, height = case["size_wh"]
    people = people_of(case, dtype)
    maps = heatmaps(people, (height, width), mode="reference")
    assert maps.dtype == torch.float64
    if f"{name}/heatmap" in EXPECTED:
        assert np.array_equal(maps.numpy(), EXPECTED[f"{name}/heatmap"] / 255)
    else:  # where their code stops with an error, everything is visible
        assert torch.equal(maps, torch.ones(18, 24, 8, dtype=torch.float64))
    for parts in (1, 3, 6):
        label = part_visibility(people, (height, width), parts=parts, mode="reference")
        assert label.tolist() == EXPECTED[f"{name}/label_p{parts}"].tolist()


def test_one_person_equals_a_list_of_one():
    case = CASES["full"]
    people, size = people_of(case), tuple(case["size_wh"][::-1])
    assert people is not None
    for mode in ("reference", "corrected"):
        assert torch.equal(heatmaps(people[0], size, mode=mode), heatmaps(people, size, mode=mode))
        alone = part_visibility(people[0], size, mode=mode)
        assert torch.equal(alone, part_visibility(people, size, mode=mode))


def test_corrected_maps_are_cell_means_of_gaussians():
    size, sigma = (96, 32), 96 * SIGMA
    x, y = 7.3, 20.9
    maps = heatmaps(person({"nose": (x, y), "left_hip": (15, 60), "right_hip": (9, 60)}), size)
    fine = 20  # samples per pixel
    across = (torch.arange(32 * fine) + 0.5) / fine - x
    down = (torch.arange(96 * fine) + 0.5) / fine - y
    drawn = torch.exp(-(down[:, None] ** 2 + across**2) / (2 * sigma**2))
    means = drawn.reshape(24, 4 * fine, 8, 4 * fine).mean((1, 3))
    torch.testing.assert_close(maps[0], means, atol=1e-5, rtol=0)
    assert maps.shape == (17, 24, 8)
    assert maps[COCO_17.index("left_ear")].eq(0).all()


def test_corrected_width_follows_the_height_and_nothing_else():
    tall = heatmaps(person(UPRIGHT), (120, 64))
    doubled = person({name: (2 * x, 2 * y) for name, (x, y) in UPRIGHT.items()})
    torch.testing.assert_close(heatmaps(doubled, (240, 128)), tall)
    narrow, wide = heatmaps(person(UPRIGHT), (120, 64)), heatmaps(person(UPRIGHT), (120, 128))
    torch.testing.assert_close(narrow.sum(2), 2 * wide.sum(2), atol=1e-4, rtol=1e-2)


def test_corrected_keeps_a_joint_at_zero_which_the_authors_lose():
    joints = {**UPRIGHT, "left_eye": (0.0, 12.0)}
    index = COCO_17.index("left_eye")
    assert heatmaps(person(joints), (120, 60))[index].max() > 0.4
    assert heatmaps(person(joints), (120, 60), mode="reference")[index].eq(0).all()


def test_a_border_joint_is_in_both_corrected_stripes_and_in_no_reference_one():
    joints = person({"nose": (30, 50), "left_hip": (30, 100), "right_hip": (20, 100)})
    assert part_visibility(joints, (150, 60)).tolist() == [1, 1, 1]
    assert part_visibility(joints, (150, 60), mode="reference").tolist() == [0, 0, 0]


def test_joints_outside_are_not_seen_when_corrected():
    joints = person({**UPRIGHT, "left_ankle": (90, 140), "left_knee": (30, 160)})
    assert part_visibility(joints, (150, 60)).tolist() == [1, 1, 0]
    assert part_visibility(joints, (150, 60), mode="reference").tolist() == [1, 1, 1]
    assert heatmaps(joints, (150, 60))[COCO_17.index("left_knee")].eq(0).all()


def test_hidden_joints_with_sure_positions_are_not_seen():
    shown = person({**UPRIGHT, "left_ankle": (30, 140)})
    hidden = shown.visibility.clone()
    hidden[COCO_17.index("left_ankle")] = 0.05
    behind = Keypoints(shown.xy, shown.score, hidden)
    assert part_visibility(shown, (150, 60)).tolist() == [1, 1, 1]
    assert part_visibility(behind, (150, 60)).tolist() == [1, 1, 0]


def test_no_evidence_means_everything_is_visible():
    absent = Keypoints.none()
    empty = Keypoints(torch.zeros(0, 17, 2), torch.zeros(0, 17))
    two = person({"nose": (30, 10), "left_hip": (30, 80)})
    for people in (None, absent, empty, two):
        assert part_visibility(people, (150, 60), parts=6).eq(1).all()
        assert heatmaps(people, (150, 60)).eq(1).all()
    assert heatmaps(None, (150, 60)).shape == (18, 24, 8)
    assert heatmaps(two, (150, 60), mode="reference").sum((1, 2)).gt(0).sum() == 2


def test_maps_and_labels_are_of_the_same_person_when_corrected():
    low = {"left_knee": (30, 110), "right_knee": (25, 110), "left_ankle": (30, 140)}
    pair = Keypoints.stack([person(UPRIGHT), person(low)])  # a tie: three joints each
    assert part_visibility(pair, (150, 60)).tolist() == [1, 1, 0]
    assert heatmaps(pair, (150, 60))[0].max() > 0.5
    assert part_visibility(pair, (150, 60), mode="reference").tolist() == [0, 0, 1]
    assert heatmaps(pair, (150, 60), mode="reference")[0].max() > 0.5
    chosen = part_visibility(pair, (150, 60), mode="reference", target="first")
    assert chosen.tolist() == [1, 1, 0]


def test_neck_is_made_as_alphapose_makes_it():
    body = person({"left_shoulder": (40, 30, 0.8), "right_shoulder": (20, 34, 0.4)})
    made = to_openpose18(body)
    assert made.names == OPENPOSE_18
    assert made.xy[1].tolist() == [30, 32]
    torch.testing.assert_close(made.score[1], torch.tensor(0.6))
    assert torch.equal(made.select(["nose"]).xy, body.select(["nose"]).xy)
    assert torch.equal(to_openpose18(made).xy, made.xy)
    with pytest.raises(ValueError, match="names must be among"):
        to_openpose18(body.select(["nose", "left_eye"]))


def test_stripe_masks_by_hand():
    masks = stripe_masks(torch.tensor([[1.0, 0.0, 0.5]]), (6, 2))
    assert masks.shape == (1, 6, 2)
    assert masks[0, :, 0].tolist() == [1, 1, 0, 0, 0.5, 0.5]
    assert stripe_masks(torch.ones(6), (24, 8)).eq(1).all()
    with pytest.raises(ValueError, match="visibility must be"):
        stripe_masks(torch.ones(()))
    with pytest.raises(ValueError, match=r"cells and parts must be .*; got \(0, 8\)"):
        stripe_masks(torch.ones(3), (0, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "fast"}, "mode must be one of corrected, reference; got 'fast'"),
        ({"size": (0, 60)}, "size must be"),
        ({"size": (150.5, 60)}, "size must be"),
        ({"parts": 0}, "whole numbers above 0"),
        ({"target": "best"}, "target must be one of"),
        ({"target": "best", "people": person(UPRIGHT)}, "target must be one of"),
        ({"people": Keypoints.stack([Keypoints.stack([Keypoints.none()])])}, "people of one image"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    given = {"people": Keypoints.stack([person(UPRIGHT)]), "size": (150, 60), **arguments}
    with pytest.raises(ValueError, match=message):
        part_visibility(given.pop("people"), given.pop("size"), **given)
