"""Tracks of people who walk."""

from __future__ import annotations

import pytest
import torch

from meshes.body.model import SMPL_JOINTS
from meshes.world import Track, draw_camera, render, sample_track, scene_truth, world_settings

FOOT = [SMPL_JOINTS.index(name) for name in ("left_ankle", "right_ankle")]


def _track(seed: int = 3, occluded: bool = False, **given: object) -> Track:
    generator = torch.Generator().manual_seed(seed)
    return sample_track(20 + seed, draw_camera(0, 2), generator, occluded, **given)


@pytest.fixture(scope="module")
def walk() -> list:
    track = _track(frames=13, rate=10.0)
    return [track[frame] for frame in range(len(track))]


def test_a_person_walks_straight_on_at_a_walking_speed(walk):
    places = torch.stack([scene.figure.joints[0, [0, 2]] for scene in walk])
    steps = places[1:] - places[:-1]
    speed = steps.norm(dim=1) * 10
    assert 0.4 < float(speed.mean()) < 1.8
    assert float(speed.std()) < 0.12
    heading = walk[0].figure.heading
    way = torch.tensor([torch.tensor(heading).sin(), torch.tensor(heading).cos()])
    assert float((steps @ way / steps.norm(dim=1)).min()) > 0.97


def test_feet_on_the_ground_slide_little(walk):
    feet = torch.stack([scene.figure.joints[FOOT] for scene in walk])  # (T, 2, 3)
    moved = (feet[1:, :, [0, 2]] - feet[:-1, :, [0, 2]]).norm(dim=-1)
    standing = moved.amin(1)
    body = torch.stack([scene.figure.joints[0, [0, 2]] for scene in walk])
    step = (body[1:] - body[:-1]).norm(dim=1)
    assert float(standing.mean()) < 0.4 * float(step.mean())
    assert float(moved.amax(1).mean()) > 1.5 * float(step.mean())
    # Both feet take turns.
    assert len(moved.argmin(1).unique()) == 2
    for scene in walk:  # and the lower one touches the ground
        lowest = min(float(piece.vertices[:, 1].min()) for piece in scene.figure.pieces)
        assert abs(lowest) < 0.02


def test_only_the_people_move(walk):
    first = walk[0]
    for scene in walk[1:]:
        assert torch.equal(scene.view.turn, first.view.turn)
        assert torch.equal(scene.view.center, first.view.center)
        assert torch.equal(scene.light.direction, first.light.direction)
        assert torch.equal(scene.figure.identity.betas, first.figure.identity.betas)
        assert scene.figure.motion.gait == "walk"
        assert scene.figure.heading == first.figure.heading
    pose = [scene.figure.rotations for scene in walk]
    assert not torch.equal(pose[0], pose[1])


def test_a_thing_stays_where_it_is_and_hides_the_middle():
    track = _track(8, True, frames=9, rate=4.0, hidden_range=(0.3, 0.6))
    assert track.occluder != "none"
    scenes = [track[frame] for frame in (0, 4, 8)]
    things = [[p for p in scene.front if p.origin is None] for scene in scenes]
    assert things[0]
    for others in things[1:]:
        assert all(torch.equal(a.vertices, b.vertices) for a, b in
                   zip(things[0], others, strict=True))  # fmt: skip
    visible = [render(scene).visible_fraction for scene in scenes]
    assert visible[1] < 0.85
    assert max(visible[0], visible[2]) > visible[1] + 0.1


def test_frames_do_not_depend_on_their_order():
    track = _track(5, frames=5)
    last = render(track[4]).image
    again = _track(5, frames=5)
    for frame in range(4):
        again[frame]
    assert torch.equal(render(again[4]).image, last)


@pytest.mark.parametrize("settings", ["held-out", "city"])
def test_tracks_of_other_worlds(settings):
    world = world_settings(settings)
    generator = torch.Generator().manual_seed(2)
    track = sample_track(7, world.camera(0, 1), generator, True, frames=2, settings=world)
    truth = scene_truth(track[1], ["instance"])
    assert render(track[1]).image.shape == (256, 128, 3)
    assert bool((truth.instance == 1).any())


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match="frames"):
        _track(frames=0)
    with pytest.raises(ValueError, match="rate"):
        _track(rate=float("inf"))
    with pytest.raises(ValueError, match="hidden_range"):
        _track(hidden_range=(0.5, 0.2))
    track = _track(frames=2)
    for frame in (-1, 2):
        with pytest.raises(IndexError, match="frame"):
            track[frame]
