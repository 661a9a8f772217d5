"""A fit is the same alone, in any company and in any order."""

import numpy as np
import pytest
import torch

from meshes import fit_body, lift_images
from meshes.fitting.skeleton import Skeleton
from pose import COCO_17_FEET, Keypoints, Pose

SIZE = (256, 128)
COUNT = 24


@pytest.fixture(scope="module")
def people(body):
    """People in free poses with keypoints as bad as those of street images."""
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    skeleton = Skeleton(body)
    turns = torch.linalg.qr(torch.eye(3) + 0.25 * draw(COUNT, body.num_joints, 3, 3)).Q
    turns = turns * torch.det(turns).sign()[..., None, None]
    points = skeleton.pose(turns, 0.5 * draw(COUNT, 10)).points
    known = points[:, [skeleton.index(name) for name in COCO_17_FEET]]
    pixels = torch.stack([64 + 120 * known[..., 0], 120 - 120 * known[..., 1]], -1)
    score = torch.rand(COUNT, len(COCO_17_FEET), generator=generator)
    return Keypoints(
        pixels + 4 * draw(*pixels.shape),
        score,
        names=COCO_17_FEET,
        xyz=known + 0.05 * draw(*known.shape),
    )


def _without_depth(people: Keypoints) -> Keypoints:
    return Keypoints(people.xy, people.score, names=people.names)


@pytest.mark.parametrize("depth", [True, False])
def test_a_fit_is_equal_alone_and_in_a_batch(body, people, depth):
    people = people if depth else _without_depth(people)
    together = fit_body(people, SIZE, body)
    for number in range(0, COUNT, 3):
        alone = fit_body(people[number], SIZE, body)
        torch.testing.assert_close(alone.vertices[0], together.vertices[number], atol=1e-5, rtol=0)
        torch.testing.assert_close(
            alone.camera.scale[0], together.camera.scale[number], atol=0, rtol=1e-5
        )


@pytest.mark.parametrize("depth", [True, False])
def test_a_fit_is_equal_in_any_order_and_size_of_the_batch(body, people, depth):
    people = people if depth else _without_depth(people)
    together = fit_body(people, SIZE, body).vertices
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    for part in (order, order[:9], order[:2], order.flip(0)[:5]):
        rows = fit_body(people[part], SIZE, body).vertices
        torch.testing.assert_close(rows, together[part], atol=1e-5, rtol=0)


def test_a_fit_without_keypoints_is_equal_alone_and_in_batches_with_or_without_depth(body, people):
    empty = Keypoints.none(COCO_17_FEET)
    alone = fit_body(empty, SIZE, body).vertices[0]
    for others in (people, _without_depth(people)):
        company = Keypoints.stack([others[0], empty, others[1]])
        beside = fit_body(company, SIZE, body).vertices[1]
        torch.testing.assert_close(beside, alone, atol=1e-5, rtol=0)
    with_depth = fit_body(Keypoints.none(COCO_17_FEET, xyz=True), SIZE, body).vertices[0]
    torch.testing.assert_close(with_depth, alone, atol=1e-5, rtol=0)


def test_lifted_clouds_are_equal_alone_and_in_a_batch(body, people):
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for _ in range(9)]
    poses = [Pose(people[number]) for number in range(9)]
    together = lift_images(images, poses, body)
    for number in (0, 4, 8):
        (alone,) = lift_images([images[number]], [poses[number]], body)
        torch.testing.assert_close(
            alone.cloud.points, together[number].cloud.points, atol=1e-5, rtol=0
        )
        assert torch.equal(alone.cloud.visible, together[number].cloud.visible)
        assert torch.equal(alone.cloud.colors, together[number].cloud.colors)
