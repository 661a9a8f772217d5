"""Fits to few visible keypoints: upright, of full size, with a low confidence."""

import pytest
import torch

from meshes import fit_body
from meshes.fitting.skeleton import Skeleton
from meshes.rotation import axis_angle_to_matrix
from pose import COCO_17_FEET, Keypoints

SIZE = (256, 128)
LEGS = [COCO_17_FEET.index(f"{side}_{joint}") for side in ("left", "right")
        for joint in ("knee", "ankle", "heel", "toe")]  # fmt: skip

_FAR = ("elbow", "wrist", "hand", "shoulder")


@pytest.fixture(scope="module")
def walker(body):
    """Keypoints (21,) of a person who strides, in pixels of a crop, with depth."""
    vectors = torch.zeros(24, 3)
    for name, angle in {"left_hip": -0.5, "right_hip": 0.3, "right_knee": 0.6}.items():
        vectors[body.joint(name), 0] = angle
    for side, sign in (("left", 1.0), ("right", -1.0)):
        vectors[body.joint(f"{side}_shoulder"), 2] = -sign * 1.25
    vectors[0, 1] = 0.4
    skeleton = Skeleton(body)
    points = skeleton.pose(axis_angle_to_matrix(vectors)[None], torch.zeros(1, 10)).points[0]
    chosen = points[[skeleton.index(name) for name in COCO_17_FEET]]
    pixels = torch.stack([64 + 132 * chosen[:, 0], 118 - 132 * chosen[:, 1]], -1)
    return Keypoints(pixels, torch.full((21,), 0.98), names=COCO_17_FEET, xyz=chosen)


def _with_scores(keypoints: Keypoints, score: torch.Tensor, xy=None) -> Keypoints:
    place = keypoints.xy if xy is None else xy
    return Keypoints(place, score, names=COCO_17_FEET, xyz=keypoints.xyz)


def _angles(fit, body) -> list[float]:
    turns = fit.posed.global_rotations[0]
    down = torch.tensor([0.0, -1.0, 0.0])
    found = []
    for side in ("left", "right"):
        trunk, thigh, shin = (
            turns[body.joint(name)] @ down for name in ("spine1", f"{side}_hip", f"{side}_knee")
        )
        found += [float(trunk @ thigh), float(thigh @ shin)]
    return found


def test_hidden_legs_stand_whatever_the_estimator_guesses(body, walker):
    score = walker.score.clone()
    score[LEGS] = 0.5
    guessed = walker.xy.clone()
    guessed[LEGS] = guessed[LEGS] * torch.tensor([1.0, 0.3]) + torch.tensor([0.0, 85.0])
    for place in (walker.xy, guessed):
        fit = fit_body(_with_scores(walker, score, place), SIZE, body)
        assert min(_angles(fit, body)) > 0.7  # cosines: under 45 degrees
        pixels = fit.camera.project(fit.vertices)[0, :, 1]
        true = fit_body(walker, SIZE, body)
        whole = true.camera.project(true.vertices)[0, :, 1]
        height = float(whole.max() - whole.min())
        assert float(pixels.max() - pixels.min()) == pytest.approx(height, rel=0.12)


def test_a_person_cut_at_the_border_keeps_the_scale(body, walker):
    enlarged = walker.xy * 2 - torch.tensor([64.0, 12.0])
    score = torch.where((enlarged[:, 1] < 256), walker.score, 0.0)
    assert 0 < int((score == 0).sum()) < 12
    whole = fit_body(walker, SIZE, body)
    cut = fit_body(_with_scores(walker, score, enlarged), SIZE, body)
    assert float(cut.camera.scale) == pytest.approx(2 * float(whole.camera.scale), rel=0.1)
    assert float(cut.camera.project(cut.vertices)[0, :, 1].max()) > 350


def test_a_body_stands_where_its_mask_is_though_keypoints_are_elsewhere(body, walker):
    mask = torch.zeros(SIZE)
    mask[20:240, 50:80] = 1
    away = walker.xy * 0.3 + torch.tensor([85.0, 170.0])
    fit = fit_body(_with_scores(walker, walker.score, away), SIZE, body, masks=[mask])
    pixels = fit.camera.project(fit.vertices)[0, :, :2]
    assert float(pixels[:, 1].min()) < 40
    assert float(pixels[:, 1].max()) > 220
    assert float(pixels[:, 0].mean()) == pytest.approx(65, abs=15)


def test_the_trunk_is_upright_where_the_estimator_leans(body, walker):
    """Depth that leans by 40 degrees, of a person whose legs are hidden."""
    lean = axis_angle_to_matrix(torch.tensor([0.7, 0.0, 0.0]))
    score = walker.score.clone()
    score[LEGS] = 0.3
    keypoints = Keypoints(walker.xy, score, names=COCO_17_FEET, xyz=walker.xyz @ lean.T)
    fit = fit_body(keypoints, SIZE, body)
    pitch = float(fit.pitch)
    up = torch.tensor([0.0, 1.0, 0.0]) @ axis_angle_to_matrix(torch.tensor([pitch, 0.0, 0.0])).T
    trunk = fit.joints[0, body.joint("neck")] - fit.joints[0, 0]
    assert float(torch.nn.functional.cosine_similarity(trunk, up, dim=0)) > 0.93


def test_a_fit_with_a_mask_is_deterministic_and_equal_in_a_batch(body, walker):
    mask = torch.zeros(SIZE)
    mask[20:240, 40:90] = 1
    people = Keypoints.stack([walker, _with_scores(walker, walker.score * 0.9), walker])
    together = fit_body(people, SIZE, body, masks=[mask, None, mask])
    alone = fit_body(walker, SIZE, body, masks=[mask])
    again = fit_body(walker, SIZE, body, masks=[mask])
    assert torch.equal(alone.vertices, again.vertices)
    for row in (0, 2):
        torch.testing.assert_close(together.vertices[row], alone.vertices[0], atol=1e-5, rtol=0)


def test_confidence_is_high_for_clear_people_and_low_for_hidden_ones(body, walker):
    clear = fit_body(walker, SIZE, body).confidence
    assert clear.shape == (1, 24)
    assert float(clear.mean()) > 0.75
    assert float(clear.min()) > 0.6  # a hand of rendered people is beside its place so often
    score = walker.score.clone()
    score[LEGS] = 0
    hidden = fit_body(_with_scores(walker, score), SIZE, body).confidence
    knees = [body.joint("left_knee"), body.joint("right_knee")]
    assert float(hidden[0, knees].max()) < float(clear[0, knees].min())
    none = fit_body(_with_scores(walker, 0 * score), SIZE, body).confidence
    assert torch.equal(none, torch.zeros(1, 24))


def test_confidence_is_low_for_keypoints_beside_the_person(body, walker):
    mask = torch.zeros(SIZE)
    mask[20:240, 50:80] = 1
    away = walker.xy * 0.3 + torch.tensor([85.0, 170.0])
    fit = fit_body(_with_scores(walker, walker.score, away), SIZE, body, masks=[mask])
    true = fit_body(walker, SIZE, body, masks=[mask])
    assert bool((fit.confidence <= true.confidence + 1e-6).all())
    limbs = [body.joint(f"{side}_{name}") for side in ("left", "right") for name in _FAR]
    assert float(fit.confidence[0, limbs].max()) < 0.3
    assert float(true.confidence[0, limbs].min()) > 0.4


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([], "masks must be one for each of 1 people; got 0"),
        ([None, None], "masks must be one for each of 1 people; got 2"),
        ([torch.ones(128, 256)], r"masks\[0\] must be \(256, 128\), as the image"),
        ([torch.full(SIZE, float("nan"))], r"masks\[0\] must be in \[0, 1\]"),
        ([torch.full(SIZE, 255.0)], r"masks\[0\] must be in \[0, 1\]"),
    ],
)
def test_masks_of_other_images_are_refused(walker, body, masks, message) -> None:
    with pytest.raises(ValueError, match=message):
        fit_body(walker, SIZE, body, masks=masks)
