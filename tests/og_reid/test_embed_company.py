"""An embedding is the same alone, in any company and in any order."""

import numpy as np
import pytest
import torch

import og_reid
from meshes import lift_images
from pose import COCO_17_FEET, Keypoints, Pose


def _poses(count: int) -> list[Pose]:
    """Standing people, each keypoint a few pixels off, some of them hardly seen."""
    generator = torch.Generator().manual_seed(3)
    rows = torch.tensor([0.1] * 5 + [0.2, 0.2, 0.35, 0.35, 0.48, 0.48, 0.5, 0.5, 0.7, 0.7,
                                     0.9, 0.9, 0.92, 0.92, 0.93, 0.93])  # fmt: skip
    sides = torch.tensor(
        [0, 1, -1, 2, -2, 6, -6, 8, -8, 9, -9, 4, -4, 4, -4, 4, -4, 4, -4, 5, -5.0]
    )
    xy = torch.stack([64 + 5.12 * sides, 256 * rows], 1)
    return [
        Pose(
            Keypoints(
                xy + 5 * torch.randn(21, 2, generator=generator),
                0.3 + 0.7 * torch.rand(21, generator=generator),
                names=COCO_17_FEET,
            )
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, (256, 128, 3), dtype=np.uint8) for _ in range(4)]


def test_embeddings_of_lifted_images_do_not_depend_on_the_batch(images):
    poses = _poses(4)
    clouds = [lift.cloud for lift in lift_images(images, poses)]
    together = og_reid.embed(clouds)
    for number in (0, 3):
        alone = og_reid.embed(og_reid.lift(images[number], poses[number], mask="pose"))
        torch.testing.assert_close(alone, together[number], atol=1e-5, rtol=0)
    order = [2, 0, 3, 1]
    again = lift_images([images[n] for n in order], [poses[n] for n in order])
    shuffled = og_reid.embed([lift.cloud for lift in again], batch_size=3)
    torch.testing.assert_close(shuffled, together[order], atol=1e-5, rtol=0)
