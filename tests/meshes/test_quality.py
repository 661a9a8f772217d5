"""Lift.quality: how well body and keypoints agree."""

import math

import numpy as np
import pytest
import torch

from meshes import BodyFit, CropCamera, LiftQuality, lift_image, lift_images
from meshes.color import project_body
from meshes.fitting.skeleton import Skeleton
from meshes.quality import image_reasons, keypoint_distance, measure_quality
from meshes.rotation import axis_angle_to_matrix
from pose import COCO_17_FEET, Keypoints, Pose

HEIGHT, WIDTH = 256, 128
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def walking(body, error: float = 0.0) -> BodyFit:
    vectors = torch.zeros(1, 24, 3)
    vectors[0, 0, 1] = 0.4
    vectors[0, body.joint("left_hip"), 0] = -0.4
    vectors[0, body.joint("right_knee"), 0] = 0.6
    vectors[0, body.joint("left_shoulder"), 2] = -1.2
    vectors[0, body.joint("right_shoulder"), 2] = 1.1
    return BodyFit(
        body=body,
        rotations=axis_angle_to_matrix(vectors),
        betas=torch.zeros(1, 10),
        camera=CropCamera(
            torch.tensor([130.0]), torch.tensor([[64.0, 115.0]]), torch.zeros(1), torch.zeros(1)
        ),
        pitch=torch.zeros(1),
        error=torch.tensor([error]),
    )


def keypoints_of(body, score: float = 0.95) -> Keypoints:
    fit, skeleton = walking(body), Skeleton(body)
    points = skeleton.pose(fit.rotations, fit.betas).points
    chosen = points[:, [skeleton.index(name) for name in COCO_17_FEET]]
    pixels = fit.camera.project(chosen)[0, :, :2]
    return Keypoints(pixels, torch.full((21,), score), names=COCO_17_FEET, xyz=chosen[0])


def test_exact_keypoints_of_a_body_are_sound(body):
    quality = lift_image(IMAGE, Pose(keypoints_of(body)), body).quality
    assert isinstance(quality, LiftQuality)
    assert quality.reprojection_error < 0.01
    assert quality.mean_score == pytest.approx(0.95)
    assert quality.people == 1
    assert quality.reasons == ()
    assert quality.doubtful is False


def test_the_error_is_a_fraction_of_the_bodys_height(body):
    """0.1 image heights of 256 rows are 25.6 pixels; the body is stature x 130 pixels tall."""
    stature = float(body.v_template[:, 1].max() - body.v_template[:, 1].min())
    pose = Pose(keypoints_of(body))
    fit = walking(body, error=0.1)
    quality = measure_quality(IMAGE, pose, fit, project_body(fit, HEIGHT, WIDTH))
    assert quality.reprojection_error == pytest.approx(25.6 / (130 * stature), rel=1e-4)
    twice = np.repeat(np.repeat(IMAGE, 2, 0), 2, 1)
    fit = walking(body, error=0.05)
    taller = measure_quality(twice, pose, fit, project_body(fit, 2 * HEIGHT, 2 * WIDTH))
    assert taller.reprojection_error == pytest.approx(quality.reprojection_error, rel=1e-4)


def test_keypoints_of_no_body_are_doubtful(body):
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(21, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
    scattered = Keypoints(places, torch.full((21,), 0.9), names=COCO_17_FEET)
    quality = lift_image(IMAGE, Pose(scattered), body).quality
    assert quality.reprojection_error > 0.02
    assert quality.doubtful
    (reason,) = (each for each in quality.reasons if "keypoints" in each)
    assert reason.startswith("the keypoints may be of another person or a thing: half of them lie")
    assert reason.endswith("which may be in another place (limit 0.06)")


@pytest.mark.parametrize(("masked", "limit"), [(False, 0.06), (True, 0.16)])
def test_keypoints_of_another_person_are_found_by_their_distance_to_the_body(body, masked, limit):
    fit, found = walking(body), keypoints_of(body)
    view = project_body(fit, HEIGHT, WIDTH)
    height = 130 * float(body.v_template[:, 1].max() - body.v_template[:, 1].min())
    for factor in (0.9, 1.1):
        away = found.xy + torch.tensor([0.0, factor * limit * height])
        pose = Pose(Keypoints(away, found.score, names=found.names))
        assert keypoint_distance(fit, pose.keypoints) == pytest.approx(factor * limit, rel=0.01)
        reasons = measure_quality(IMAGE, pose, fit, view, masked=masked).reasons
        found_reasons = [reason for reason in reasons if "another person" in reason]
        assert len(found_reasons) == (factor > 1)
        if found_reasons and masked:
            assert "which follows the mask of this person (limit 0.16)" in found_reasons[0]


def test_absent_keypoints_say_nothing_about_the_person(body):
    fit, found = walking(body), keypoints_of(body)
    absent = torch.arange(21) >= 5
    away = torch.where(absent[:, None], found.xy + 100, found.xy)
    score = torch.where(absent, 0.0, 0.95)
    assert keypoint_distance(fit, Keypoints(away, score, names=found.names)) < 0.001
    assert keypoint_distance(fit, Keypoints(away, score + 0.05, names=found.names)) > 0.3
    assert keypoint_distance(fit, Keypoints(away, 0 * score, names=found.names)) == 0


def test_the_reason_about_another_person_comes_with_the_mask(body):
    found = keypoints_of(body)
    away = Keypoints(found.xy * 0.3 + torch.tensor([85.0, 170.0]), found.score, names=found.names)
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[20:240, 40:80] = 1
    for layout in ("surface", "reference"):
        lift = lift_image(IMAGE, Pose(away), body, layout=layout, mask=mask)
        assert any("follows the mask of this person" in each for each in lift.quality.reasons)
        right = lift_image(IMAGE, Pose(found), body, layout=layout, mask=mask)
        assert not any("another person" in each for each in right.quality.reasons)


def test_low_scores_are_doubtful(body):
    quality = lift_image(IMAGE, Pose(keypoints_of(body, score=0.4)), body).quality
    assert quality.mean_score == pytest.approx(0.4)
    assert quality.reasons == ("the keypoints' mean score is 0.40, under 0.45",)


def test_no_person_is_doubtful_and_has_no_error(body):
    quality = lift_image(IMAGE, Pose(Keypoints.none(COCO_17_FEET, xyz=True)), body).quality
    assert math.isnan(quality.reprojection_error)
    assert quality.people == 0
    assert quality.doubtful


def test_people_are_counted(body):
    found = keypoints_of(body)
    absent = Keypoints.none(COCO_17_FEET, xyz=True)
    others = Keypoints.stack([found, absent, found])
    assert lift_image(IMAGE, Pose(found, others=others), body).quality.people == 3


@pytest.mark.parametrize("layout", ["surface", "reference"])
def test_each_lift_has_its_own_quality(body, layout):
    poses = [Pose(keypoints_of(body)), Pose(keypoints_of(body, score=0.4))]
    lifts = lift_images([IMAGE] * 2, poses, body, layout=layout)
    assert [lift.quality.doubtful for lift in lifts] == [False, True]


def textured(rows: int = HEIGHT) -> np.ndarray:
    """Coloured noise, the finest that so many rows can show, at 256 rows."""
    generator = np.random.default_rng(3)
    fine = generator.integers(20, 236, (rows, rows // 2, 3), dtype=np.uint8)
    return np.repeat(np.repeat(fine, HEIGHT // rows, 0), HEIGHT // rows, 1)


WHOLE = (0, 0, WIDTH, HEIGHT)


def smooth(rows: int) -> np.ndarray:
    """Coloured noise of so many rows, enlarged smoothly to 256."""
    small = torch.from_numpy(textured(rows)[:: HEIGHT // rows, :: HEIGHT // rows].copy())
    planes = small.permute(2, 0, 1)[None].float()
    large = torch.nn.functional.interpolate(planes, (HEIGHT, WIDTH), mode="bicubic")
    return large[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()


def grey(image: np.ndarray, tint=(1.0, 1.0, 1.0)) -> np.ndarray:
    return (image.mean(-1, keepdims=True) * np.array(tint)).astype(np.uint8)


def test_a_sound_image_has_no_reasons():
    assert image_reasons(smooth(128), WHOLE) == []


@pytest.mark.parametrize("tint", [(1, 1, 1), (1, 0.85, 0.6), (0.2, 1, 0.3)])
def test_grey_and_images_of_one_tint_have_no_colours(tint):
    (reason,) = image_reasons(grey(textured(64), tint), WHOLE)
    assert "grey or of one tint" in reason
    assert "vary by 0." in reason


def test_noise_of_a_sensor_is_no_colour():
    noise = np.random.default_rng(0).normal(0, 8, (HEIGHT, WIDTH, 3))
    image = (grey(textured(64)) + noise).clip(0, 255).astype(np.uint8)
    assert any("grey" in reason for reason in image_reasons(image, WHOLE))


def test_darkness_is_reported_in_percent_of_white():
    """Most of the image is 25 of 255, or 10 %; a lamp does not change that."""
    image = np.full((HEIGHT, WIDTH, 3), 25, np.uint8)
    image[:16] = 255
    (reason,) = image_reasons(image, WHOLE)
    assert "the image is dark (nine tenths of the pixels are under 10 % of white)" in reason


def test_dark_surroundings_of_a_bright_person_do_not_count():
    image = np.zeros((600, 600, 3), np.uint8)
    image[100 : 100 + HEIGHT, 200 : 200 + WIDTH] = textured(128)
    assert image_reasons(image, (200, 100, 200 + WIDTH, 100 + HEIGHT)) == []


@pytest.mark.parametrize("rows", [8, 16])
def test_enlarged_thumbnails_have_little_detail(rows):
    (reason,) = image_reasons(smooth(rows), WHOLE)
    assert "256 pixels tall with the detail of fewer than 48" in reason


@pytest.mark.parametrize("rows", [16, 32])
def test_repeated_rows_are_no_detail(rows):
    (reason,) = image_reasons(textured(rows), WHOLE)
    assert "detail of fewer than 48" in reason


def test_64_rows_are_enough():
    assert image_reasons(smooth(64), WHOLE) == []
    assert image_reasons(textured(64), WHOLE) == []


def test_a_small_person_in_a_large_image_is_small():
    (reason,) = image_reasons(textured(128), (40, 40, 60, 80))
    assert reason == "the person is 40 pixels tall, under 48"


def test_joints_outside_the_image_are_a_reason(body):
    found = keypoints_of(body)
    away = Keypoints(found.xy + 5000, found.score, names=found.names, xyz=found.xyz)
    quality = lift_image(IMAGE, Pose(away), body).quality
    assert "only 0 of 21 joints lie inside the image" in quality.reasons


def test_a_portrait_is_no_reason(body):
    """The lower half of the body is outside, and the estimator is not sure of it."""
    found = keypoints_of(body)
    xy = found.xy + torch.tensor([0.0, 100.0])
    score = torch.where(xy[:, 1] > HEIGHT, 0.2, 0.95)
    portrait = Keypoints(xy, score, names=found.names, xyz=found.xyz)
    quality = lift_image(IMAGE, Pose(portrait), body).quality
    assert quality.reasons == ()
    assert quality.mean_score == pytest.approx(0.95)


def test_read_only_images_are_measured_without_a_warning(body, recwarn):
    image = IMAGE.copy()
    image.flags.writeable = False
    lift_image(image, Pose(keypoints_of(body)), body)
    assert not recwarn.list
