"""Visible parts by vertices of the fitted body."""

import numpy as np
import pytest
import torch

from meshes import body_visibility, lift_image, part_visibility
from meshes.world import draw_camera, render, sample_scene
from pose import Keypoints, Pose
from pose import part_visibility as by_keypoints


@pytest.fixture(scope="module")
def shot():
    return render(sample_scene(3, draw_camera(0, 0), torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def lifted(shot, body):
    """The person with legs, without their keypoints below the hips, and not found at all."""
    found = shot.keypoints
    hidden = torch.tensor(
        [any(part in name for part in ("knee", "ankle", "heel", "toe")) for name in found.names]
    )
    score = torch.where(hidden, 0.0, found.score)
    image = shot.image.numpy()
    absent = Keypoints.none(found.names)
    cut = Keypoints(found.xy, score, names=found.names)
    return [lift_image(image, Pose(each), body) for each in (found, cut, absent)], cut


def test_stripes_agree_with_the_keypoints(shot, lifted):
    (whole, legless, _), cut = lifted
    size = shot.image.shape[:2]
    assert part_visibility(whole, size).min() > 0.5
    share = part_visibility(legless, size)
    assert share.shape == (3,)
    assert share[0] > 0.5
    assert share[2] < 0.1
    assert by_keypoints(cut, size).tolist() == (share > 0.1).float().tolist()
    assert part_visibility(whole, size, parts=1)[0] > part_visibility(legless, size, parts=1)[0]


def test_body_visibility_is_a_fraction_per_part(lifted, body):
    (whole, legless, absent), _ = lifted
    shares = body_visibility(legless)
    assert shares.shape == (len(body.joint_names),)
    assert shares[body.joint("head")] > 0.5
    for name in ("left_ankle", "right_ankle", "left_foot"):
        assert shares[body.joint(name)] == 0
        assert body_visibility(whole)[body.joint(name)] >= 0
    assert body_visibility(whole)[body.joint("left_ankle")] > 0
    assert body_visibility(absent).eq(1).all()


def test_no_person_is_no_evidence(shot, lifted):
    assert part_visibility(lifted[0][2], shot.image.shape[:2], parts=6).eq(1).all()


def test_bad_arguments_are_refused(shot, lifted):
    with pytest.raises(ValueError, match="parts and size must be above 0"):
        part_visibility(lifted[0][0], (256, 128), parts=0)
    image = np.ascontiguousarray(shot.image.numpy())
    pixels = lift_image(image, Pose(shot.keypoints), layout="reference")
    with pytest.raises(ValueError, match='layout="surface"'):
        part_visibility(pixels, (256, 128))
