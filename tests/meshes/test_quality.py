"""Lift.quality: how well body and keypoints agree."""

import math

import numpy as np
import pytest
import torch

from meshes import BodyFit, CropCamera, LiftQuality, lift_image, lift_images
from meshes.quality import measure_quality
from meshes.rotation import axis_angle_to_matrix
from meshes.skeleton import Skeleton
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


def test_exact_keypoints_of_a_body_are_not_doubtful(body):
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
    quality = measure_quality(IMAGE, pose, walking(body, error=0.1))
    assert quality.reprojection_error == pytest.approx(25.6 / (130 * stature), rel=1e-4)
    twice = np.repeat(np.repeat(IMAGE, 2, 0), 2, 1)
    taller = measure_quality(twice, pose, walking(body, error=0.05))
    assert taller.reprojection_error == pytest.approx(quality.reprojection_error, rel=1e-4)


def test_keypoints_of_no_body_are_doubtful(body):
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(21, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
    scattered = Keypoints(places, torch.full((21,), 0.9), names=COCO_17_FEET)
    quality = lift_image(IMAGE, Pose(scattered), body).quality
    assert quality.reprojection_error > 0.02
    assert quality.doubtful
    assert any("reprojection error" in reason for reason in quality.reasons)


def test_low_scores_are_doubtful(body):
    quality = lift_image(IMAGE, Pose(keypoints_of(body, score=0.4)), body).quality
    assert quality.mean_score == pytest.approx(0.4)
    assert quality.reasons == ("the keypoints' mean score is 0.40, under 0.45",)


def test_nobody_found_is_doubtful_and_has_no_error(body):
    quality = lift_image(IMAGE, Pose(Keypoints.none(COCO_17_FEET, xyz=True)), body).quality
    assert math.isnan(quality.reprojection_error)
    assert quality.people == 0
    assert quality.doubtful


def test_people_are_counted(body):
    found = keypoints_of(body)
    nobody = Keypoints.none(COCO_17_FEET, xyz=True)
    others = Keypoints.stack([found, nobody, found])
    assert lift_image(IMAGE, Pose(found, others=others), body).quality.people == 3


@pytest.mark.parametrize("layout", ["surface", "reference"])
def test_each_lift_has_its_own_quality(body, layout):
    poses = [Pose(keypoints_of(body)), Pose(keypoints_of(body, score=0.4))]
    lifts = lift_images([IMAGE] * 2, poses, body, layout=layout)
    assert [lift.quality.doubtful for lift in lifts] == [False, True]
