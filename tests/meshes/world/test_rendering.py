"""Scenes, images and their truth."""

from __future__ import annotations

import math

import pytest
import torch

from meshes.body.model import SMPL_JOINTS
from meshes.world import OCCLUDERS, draw_camera, render, sample_scene
from meshes.world.imaging.camera import take_view
from meshes.world.people.clothing import world_body
from meshes.world.rendering import true_points
from pose.keypoints import COCO_17_FEET


def _scene(seed, occlusion=None, identity=3, camera=1):
    generator = torch.Generator().manual_seed(seed)
    return sample_scene(identity, draw_camera(0, camera), generator, occlusion)


@pytest.fixture(scope="module")
def clear():
    scene = _scene(5)
    return scene, render(scene)


def test_same_seed_same_bytes(clear):
    _, first = clear
    again = render(_scene(5))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.image, render(_scene(6)).image)


def test_shapes_and_types(clear):
    _, result = clear
    assert result.image.shape == (256, 128, 3)
    assert result.image.dtype == torch.uint8
    assert result.mask.shape == result.amodal.shape == (256, 128)
    assert result.joints.shape == (24, 3)
    assert result.rotations.shape == (24, 3, 3)
    assert result.keypoints.xy.shape == (21, 2)
    assert result.occluder == "none"
    assert result.visible_fraction == 1.0
    assert torch.equal(result.mask, result.amodal)


def test_a_person_fills_the_crop(clear):
    _, result = clear
    rows = result.mask.any(1).nonzero()[:, 0]
    assert int(rows[-1] - rows[0]) > 0.75 * 256
    assert 0.08 < float(result.mask.float().mean()) < 0.6


def test_keypoints_are_the_projected_joints(clear):
    _, result = clear
    view = result.view
    for name in ("left_shoulder", "right_knee", "left_ankle"):
        x, y, z = result.joints[SMPL_JOINTS.index(name)].tolist()
        assert z < 0  # z points towards the camera, which is the origin
        expected = (
            view.principal[0] - view.focal[0] * x / z,
            view.principal[1] + view.focal[1] * y / z,
        )
        got = result.keypoints.xy[COCO_17_FEET.index(name)]
        assert got.tolist() == pytest.approx(expected, abs=1e-2)


def test_rotations_and_betas_give_the_joints(clear):
    _, result = clear
    posed = world_body().pose(result.rotations[None], result.betas[None]).joints[0]
    shifted = posed - posed[0] + result.joints[0]
    assert torch.allclose(shifted, result.joints, atol=1e-4)


def test_view_projects_like_a_pinhole_and_rays_invert_it():
    view = take_view(draw_camera(3, 2), 6.0, (256, 128)).cropped((30.0, 40.0, 90.0, 200.0))
    points = torch.tensor([[0.2, 0.1, 0.3], [-0.5, 1.7, -0.4]])
    projected = view.project(points)
    rays = view.rays(projected[:, :2])
    assert torch.allclose(view.center + rays * projected[:, 2:], points, atol=1e-4)


def test_camera_looks_down_at_people():
    for index in range(1, 9):
        camera = draw_camera(4, index)
        assert 1.8 <= camera.height <= 4.5
        assert 0 < camera.pitch <= math.radians(25) + 1e-6
        view = take_view(camera, camera.distance, (256, 128))
        middle = view.project(torch.tensor([[0.0, 0.95, 0.0]]))[0]
        assert abs(float(middle[1]) - 128) < 20


def test_visible_joints_lie_on_the_person(clear):
    _, result = clear
    seen = result.keypoints.visibility == 1
    x, y = result.keypoints.xy[seen].round().long().unbind(-1)
    grown = torch.nn.functional.max_pool2d(result.mask.float()[None, None], 5, 1, 2)[0, 0] > 0
    assert bool(grown[y.clamp(0, 255), x.clamp(0, 127)].all())


@pytest.mark.parametrize("kind", OCCLUDERS)
def test_occlusions_hide_a_fraction_in_the_documented_range(kind):
    scene = _scene(40 + OCCLUDERS.index(kind), kind)
    result = render(scene)
    assert 0.2 <= 1 - result.visible_fraction <= 0.8
    assert result.occluder in (kind, "cut")
    assert not bool((result.mask & ~result.amodal).any())
    state = result.keypoints.visibility
    assert set(state.tolist()) <= {0.0, 0.5, 1.0}
    assert int((state == 0).sum()) >= 1
    x, y = result.keypoints.xy.unbind(-1)
    outside = (x < 0) | (x >= 128) | (y < 0) | (y >= 256)
    assert bool((state[outside] == 0).all())


def test_hidden_joints_are_not_on_the_visible_mask():
    scene = _scene(9, "board")
    result = render(scene)
    points = scene.view.project(true_points(scene.figure))
    assert torch.allclose(points[:, :2], result.keypoints.xy, atol=1e-3)
    inside = (result.keypoints.xy >= 1).all(-1) & (
        result.keypoints.xy < torch.tensor([127.0, 255.0])
    ).all(-1)
    hidden = inside & (result.keypoints.visibility == 0)
    x, y = result.keypoints.xy[hidden].long().unbind(-1)
    assert float(result.mask[y, x].float().mean()) < 0.2


def test_unknown_occlusion_raises():
    with pytest.raises(ValueError, match="occlusion must be None, 'any' or out of"):
        _scene(0, "fog")


def test_yaw_is_the_heading_of_the_person():
    scene = _scene(12)
    result = render(scene)
    # The front of the pelvis in the camera frame: z > 0 means towards the camera.
    front = result.rotations[0] @ torch.tensor([0.0, 0.0, 1.0])
    assert math.cos(result.yaw - math.atan2(float(front[0]), float(front[2]))) > 0.9


def test_the_background_is_independent_of_the_camera():
    """Two images of one camera differ in their backgrounds as much as two cameras do."""
    corners = []
    for camera in (1, 2, 3):
        for seed in range(4):
            result = render(_scene(100 + 10 * camera + seed, camera=camera))
            background = result.image.float()[~result.amodal]
            corners.append(background.mean(0))
    means = torch.stack(corners).reshape(3, 4, 3)
    within = means.std(1).mean()
    between = means.mean(1).std(0).mean()
    assert float(within) > 10  # grey levels
    assert float(between) < 2.5 * float(within)
