from dataclasses import replace

import pytest
import torch

from meshes import BodyFit, CropCamera, fit_body
from meshes.hypotheses import fit_hypotheses, silhouette_overlap
from meshes.rasterizer import rasterize
from pose import COCO_17_FEET, Keypoints

SIZE = torch.tensor([[128, 64]])


@pytest.fixture(scope="module")
def standing(body) -> BodyFit:
    """A body that fills an image of 128 x 64 pixels."""
    absent = Keypoints(torch.zeros(21, 2), torch.zeros(21), names=COCO_17_FEET)
    fit = fit_body(absent, (128, 64), body)
    camera = CropCamera(
        torch.tensor([65.0]), torch.tensor([[32.0, 56.0]]), torch.zeros(1), torch.zeros(1)
    )
    return replace(fit, camera=camera)


def silhouette(fit: BodyFit) -> torch.Tensor:
    projected = fit.camera.project(fit.vertices)
    return (rasterize(projected, fit.body.faces, 128, 64).face[0] >= 0).float()


def keypoints(fit: BodyFit, shift: float = 0.0) -> Keypoints:
    from meshes.fitting.skeleton import Skeleton

    skeleton = Skeleton(fit.body)
    points = skeleton.pose(fit.rotations, fit.betas).points
    chosen = points[:, [skeleton.index(name) for name in COCO_17_FEET]]
    xy = fit.camera.project(chosen)[..., :2] + torch.tensor([shift, 0.0])
    return Keypoints(xy, torch.full((1, 21), 0.95), names=COCO_17_FEET, xyz=chosen)


def test_overlap_is_one_for_the_own_silhouette_and_zero_beside_it(standing):
    own = silhouette(standing)
    assert silhouette_overlap(standing, own) > 0.85
    assert silhouette_overlap(standing, 1 - own) < 0.05
    assert silhouette_overlap(standing, torch.zeros(128, 64)) == 0
    # Half a mask, as behind a wall, is half as good, in any resolution.
    half = own.clone()
    half[64:] = 0
    assert 0.35 < silhouette_overlap(standing, half) < 0.6
    assert silhouette_overlap(standing, 0.5 * own) == pytest.approx(0.5, abs=0.08)


def test_keypoints_are_followed_on_the_person_and_not_beside(standing):
    own = silhouette(standing)
    right = keypoints(standing)
    (fit,) = fit_hypotheses(right, SIZE, standing.body, [own])
    assert torch.equal(fit.vertices, fit_body(right, (128, 64), masks=[own]).vertices)
    beside = keypoints(standing, shift=20.0)
    (moved,) = fit_hypotheses(beside, SIZE, standing.body, [own])
    followed = fit_body(beside, (128, 64), masks=[own])
    assert silhouette_overlap(moved, own) >= silhouette_overlap(followed, own)
    assert silhouette_overlap(moved, own) > 0.6


def test_without_masks_there_is_one_hypothesis(standing):
    both = Keypoints.stack([keypoints(standing)[0], keypoints(standing, shift=20.0)[0]])
    size = SIZE.expand(2, 2)
    expected = fit_body(both, size)
    for masks in (None, [None, None]):
        fits = fit_hypotheses(both, size, standing.body, masks, torch.tensor([0.2, 0.3]))
        assert len(fits) == 2
    fits = fit_hypotheses(both, size, standing.body, [None, silhouette(standing)])
    torch.testing.assert_close(fits[0].vertices, expected[0].vertices, atol=1e-5, rtol=0)
