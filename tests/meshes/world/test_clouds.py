"""Clouds of the world like those of a lift, and the drafts behind them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from meshes.pointcloud import HIDDEN_GREY
from meshes.world import draw_camera, render, sample_scene
from meshes.world.clouds import LiftNoise, lift_scene
from meshes.world.draft import draw_draft
from meshes.world.people.clothing import world_body

EXACT = LiftNoise(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
VERTICES = world_body().num_vertices


def _scene(seed, occlusion=None):
    generator = torch.Generator().manual_seed(seed)
    return sample_scene(11, draw_camera(0, 2), generator, occlusion)


def _lift(scene, seed=0, **values):
    return lift_scene(scene, torch.Generator().manual_seed(seed), **values)


@pytest.fixture(scope="module")
def clear():
    return _scene(5)


def test_without_errors_the_cloud_is_the_true_body(clear):
    made = _lift(clear, noise=EXACT)
    assert torch.allclose(made.cloud.points[:VERTICES], made.points, atol=1e-6)
    body = world_body().pose(made.rotations[None], made.betas[None])
    assert torch.allclose(made.points, body.vertices[0], atol=1e-6)
    # The true body in the camera's frame is the figure's, up to a shift.
    placed = clear.view.to_camera(clear.figure.vertices)
    shift = placed - made.points
    assert torch.allclose(shift, shift.mean(0).expand_as(shift), atol=0.02)  # smoothed lips


def test_without_errors_visible_points_are_truly_visible(clear):
    made = _lift(clear, noise=EXACT)
    seen = made.cloud.visible[:VERTICES]
    assert int(seen.sum()) > 1500
    assert float((seen & made.visible).sum()) > 0.9 * float(seen.sum())
    assert float((seen & made.visible).sum()) > 0.6 * float(made.visible.sum())


def test_colours_are_those_of_the_rendered_image(clear):
    quiet = replace(clear, camera=replace(clear.camera, noise=0.0, sharpness=1.3))
    made = _lift(quiet, noise=EXACT)
    image = render(quiet).image.float() / 255
    seen = made.cloud.visible[:VERTICES]
    x, y, _ = clear.view.project(clear.figure.vertices)[seen].unbind(1)
    shown = image[y.long().clamp(0, 255), x.long().clamp(0, 127)]
    difference = (made.cloud.colors[:VERTICES][seen] - shown).abs().mean(1)
    assert float(difference.median()) < 0.05
    hidden = ~made.cloud.visible
    assert bool((made.cloud.colors[hidden] == HIDDEN_GREY).all())


def test_the_draft_has_the_masks_of_the_rendered_image():
    scene = _scene(9, "board")
    made = render(scene)
    draft = draw_draft(scene, scene.view)
    mine, amodal = (mask.reshape(256, 128) for mask in (draft.mine, draft.own_depth.isfinite()))
    for found, expected in ((mine, made.mask), (amodal, made.amodal)):
        union = float((found | expected).sum())
        assert float((found & expected).sum()) > 0.97 * union
    error = (draft.colors.reshape(256, 128, 3) - made.image.float() / 255).abs().mean()
    assert float(error) < 0.04


def test_unnoticed_occlusion_gives_points_of_the_occluder():
    scene = _scene(9, "board")
    noticed = _lift(scene, noise=EXACT)
    blind = _lift(scene, noise=replace(EXACT, unnoticed=1.0))
    right, wrong = (each.cloud.visible[:VERTICES] & ~each.visible for each in (noticed, blind))
    assert int(wrong.sum()) > 200 + 3 * int(right.sum())
    assert noticed.visible_fraction == blind.visible_fraction < 0.8
    assert noticed.occluder == "board"


def test_errors_grow_with_their_size(clear):
    distances = [
        float((made.cloud.points[:VERTICES] - made.points).norm(dim=1).mean())
        for size in (0.0, 0.05, 0.4)
        for made in [_lift(clear, noise=replace(EXACT, root=size, arms=size))]
    ]
    assert distances[0] < 1e-5 < distances[1] < distances[2] < 1.0


def test_same_seed_same_cloud_and_other_seed_another(clear):
    first, again, other = _lift(clear), _lift(clear), _lift(clear, 1)
    assert torch.equal(first.cloud.points, again.cloud.points)
    assert torch.equal(first.cloud.colors, again.cloud.colors)
    assert not torch.equal(first.cloud.points, other.cloud.points)
    assert torch.equal(first.visible, other.visible)


def test_missed_parts_hide_everything_and_background_has_its_number(clear):
    made = _lift(clear, noise=replace(EXACT, missed=1.0), background=200)
    assert not bool(made.cloud.visible[:VERTICES].any())
    assert int(made.cloud.is_background.sum()) == 200
    assert len(_lift(clear, background=0).cloud) == VERTICES


@pytest.mark.parametrize(
    ("name", "value"), [("root", -0.1), ("missed", 1.5), ("shape", float("nan")), ("place", 11.0)]
)
def test_noise_out_of_range_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be in"):
        LiftNoise(**{name: value})
