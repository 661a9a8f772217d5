"""Calibrated confidence: its file, evidence of joints, and logistic regression by parts."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from meshes import fit_body
from meshes.body.model import SMPL_JOINTS
from meshes.fitting.confidence import (
    FEATURES,
    FILE,
    PARTS,
    Calibration,
    evidence,
    joint_confidence,
    load_calibration,
    standing_height,
)
from meshes.fitting.skeleton import Skeleton
from meshes.hypotheses import fit_hypotheses
from pose import COCO_17_FEET, Keypoints

SIZE = torch.tensor([[256, 128]])
WRIST = SMPL_JOINTS.index("left_wrist")


@pytest.fixture(scope="module")
def skeleton(body):
    return Skeleton(body)


@pytest.fixture(scope="module")
def person(body, skeleton):
    """Fit of a standing person, and its exact keypoints (1, 21)."""
    fit = fit_body(Keypoints.none(COCO_17_FEET), (256, 128), body)
    return fit, _keypoints(fit, skeleton)


def _keypoints(fit, skeleton, score: float = 0.99) -> Keypoints:
    points = skeleton.pose(fit.rotations, fit.betas).points
    chosen = points[:, [skeleton.index(name) for name in COCO_17_FEET]]
    pixels = fit.camera.project(chosen)[..., :2]
    return Keypoints(pixels, torch.full((1, 21), score), names=COCO_17_FEET)


def _moved(keypoints: Keypoints, name: str, by: float) -> Keypoints:
    xy = keypoints.xy.clone()
    xy[:, COCO_17_FEET.index(name), 0] += by
    return Keypoints(xy, keypoints.score, names=COCO_17_FEET)


def test_the_file_names_its_people_and_is_sensible():
    content = json.loads(FILE.read_text(encoding="utf-8"))
    assert content["people"]["first_identity"] >= 400_000  # in no training set of the models
    for name, calibration in zip(("without mask", "with mask"), load_calibration(), strict=True):
        assert content[name]["fits"] > 400
        weights = dict(zip(FEATURES, calibration.weights, strict=True))
        assert weights["weight"] >= 0
        assert weights["distance"] < 0
        assert weights["torso distance"] < 0
        assert calibration.offsets["wrist"] < calibration.offsets["neck"]
    assert load_calibration()[0].weights[-1] == 0  # no mask, no evidence of it
    assert load_calibration()[1].weights[-1] > 0


def test_exact_keypoints_are_full_evidence(person, skeleton):
    fit, keypoints = person
    found = evidence(fit, keypoints, SIZE, None, skeleton)
    assert found.shape == (1, 24, len(FEATURES))
    weight, torso, distance, inside, mask = found[0, WRIST].tolist()
    assert weight > 0.95
    assert max(torso, distance) < 1e-3
    assert (inside, mask) == (1, 0)


def test_distances_are_in_body_heights_and_of_their_joint(person, skeleton):
    fit, keypoints = person
    off = 0.04 * float(standing_height(fit))
    found = evidence(fit, _moved(keypoints, "left_wrist", off), SIZE, None, skeleton)
    assert float(found[0, WRIST, 2]) == pytest.approx(0.4, abs=1e-3)
    assert float(found[0, SMPL_JOINTS.index("right_wrist"), 2]) < 1e-3
    far = evidence(fit, _moved(keypoints, "left_wrist", 500.0), SIZE, None, skeleton)
    assert float(far[0, WRIST, 2]) == 1


def test_the_mask_counts_where_the_joint_is(person, skeleton):
    fit, keypoints = person
    x, y = fit.camera.project(fit.joints)[0, WRIST, :2].long().tolist()
    mask = torch.zeros(256, 128)
    mask[y - 3 : y + 4, x - 3 : x + 4] = 0.8
    found = evidence(fit, keypoints, SIZE, [mask], skeleton)
    assert float(found[0, WRIST, 4]) == pytest.approx(0.8)
    assert float(found[0, SMPL_JOINTS.index("head"), 4]) == 0


def test_a_keypoint_farther_from_the_body_lowers_the_confidence_of_its_joint(person, skeleton):
    fit, keypoints = person
    mask = torch.ones(256, 128)
    for masks in (None, [mask]):
        sure = [
            joint_confidence(fit, _moved(keypoints, "left_wrist", by), SIZE, masks, skeleton)
            for by in (0.0, 8.0, 16.0)
        ]
        values = [float(each[0, WRIST]) for each in sure]
        assert values[0] > values[1] + 0.05
        assert values[1] > values[2] + 0.05


def test_without_keypoints_confidence_is_0_and_rows_are_independent(person, skeleton):
    fit, keypoints = person
    none = Keypoints.none(COCO_17_FEET)
    assert float(fit.confidence.abs().max()) == 0
    both = Keypoints.stack([none, keypoints[0]])
    together = fit_body(both, (256, 128), fit.body).confidence
    alone = fit_body(keypoints, (256, 128), fit.body).confidence
    assert float(together[0].abs().max()) == 0
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=0)


def test_the_chosen_hypothesis_has_its_own_confidence(person, skeleton, body):
    """Keypoints beside the mask: the body that follows the mask is taken."""
    _, keypoints = person
    away = Keypoints(
        keypoints.xy * 0.3 + torch.tensor([85.0, 170.0]), keypoints.score, names=COCO_17_FEET
    )
    mask = torch.zeros(256, 128)
    mask[20:240, 45:85] = 1
    (fit,) = fit_hypotheses(away, SIZE, body, [mask])
    expected = joint_confidence(fit, away, SIZE, [mask], skeleton)
    torch.testing.assert_close(fit.confidence, expected)
    assert float(fit.confidence[0, WRIST]) < 0.3


def test_coefficients_of_a_logistic_regression_are_found_again():
    spec = importlib.util.spec_from_file_location(
        "fit_confidence", Path(__file__).parents[3] / "tools" / "fit_confidence.py"
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    generator = torch.Generator().manual_seed(0)
    found = torch.rand(6000, 3, len(FEATURES), generator=generator)
    weights = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    offsets = torch.tensor([-1.0, 0.5, -1.0])
    chance = torch.sigmoid(offsets + found @ weights)
    truth = torch.rand(6000, 3, generator=generator) < chance
    result = tool.fit_logistic(found, ("a", "b", "a"), truth)
    assert list(result["weights"].values()) == pytest.approx(weights.tolist(), abs=0.2)
    assert result["offsets"] == pytest.approx({"a": -1.0, "b": 0.5}, abs=0.2)


def test_a_calibration_of_other_features_or_parts_is_refused():
    with pytest.raises(ValueError, match="weights must be 5"):
        Calibration((1.0,), dict.fromkeys(PARTS, 0.0))
    with pytest.raises(ValueError, match="offsets those of"):
        Calibration((0.0,) * 5, {"wrist": 0.0})
