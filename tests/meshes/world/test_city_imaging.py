"""Geometry of lenses and shutters, light of lamps, and the sensor of the city world."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from meshes.rasterizer import rasterize
from meshes.world import CameraMatrices, draw_camera, render, sample_scene, world_settings
from meshes.world.city.blur import smeared
from meshes.world.city.compression import coded_plane, cosines
from meshes.world.city.daylight import blackbody, sun_elevation
from meshes.world.city.night import LampPool
from meshes.world.city.sensor import gain, resized, shutter_time
from meshes.world.city.shutter import combed
from meshes.world.city.textures import fractal
from meshes.world.imaging.camera import Lamp, Light, View, take_view
from meshes.world.imaging.conditions import Conditions


def _view(distortion: float = -0.3, skew: float = 0.02) -> View:
    whole = take_view(draw_camera(3, 2), 6.0, (256, 128))
    return replace(whole, distortion=distortion, skew=skew).cropped((30.0, 40.0, 90.0, 200.0))


def test_rays_go_through_the_points_that_are_projected_to_their_pixels() -> None:
    view = _view()
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(200, 3, generator=generator) * torch.tensor([6.0, 2.0, 3.0])
    points = points - torch.tensor([3.0, 0.0, 1.5])
    seen = view.project(points)
    away = points - view.center
    rays = view.rays(seen[:, :2]) * seen[:, 2:]
    torch.testing.assert_close(rays, away, rtol=1e-3, atol=1e-3)


def test_distortion_is_the_division_model_and_skew_a_shear() -> None:
    plain, bent = _view(0.0, 0.0), _view(-0.25, 0.0)
    points = torch.tensor([[1.5, 0.4, 0.0], [0.0, 1.8, -2.0]])
    local = plain.to_camera(points)
    radius = (local[:, :2] / -local[:, 2:]).norm(dim=1)
    x, y, _ = bent.project(points).unbind(1)
    across, up = (x - bent.principal[0]) / bent.focal[0], (bent.principal[1] - y) / bent.focal[1]
    moved = (across.square() + up.square()).sqrt()
    torch.testing.assert_close(moved / (1 - 0.25 * moved**2), radius, rtol=1e-4, atol=1e-5)
    sheared = _view(0.0, 0.1).project(points) - plain.project(points)
    heights = local[:, 1] / -local[:, 2]
    torch.testing.assert_close(sheared[:, 0], 0.1 * plain.focal[0] * heights, rtol=1e-3, atol=1e-3)
    assert sheared[:, 1:].abs().max() < 1e-3


def test_matrices_of_the_truth_give_the_pixels_of_a_bent_view() -> None:
    view = _view()
    points = torch.tensor([[0.3, 1.2, 0.1], [-0.5, 0.2, -1.0], [2.0, 0.1, 0.5]])
    camera = CameraMatrices.of(view)
    local = points @ camera.rotation.T + camera.translation
    square = (local[:, :2] / local[:, 2:]).square().sum(1)
    scale = 2 / (1 + (1 - 4 * camera.distortion * square).sqrt())
    bent = torch.cat([local[:, :2] * scale[:, None], local[:, 2:]], 1) @ camera.intrinsics.T
    torch.testing.assert_close(bent[:, :2] / bent[:, 2:], view.project(points)[:, :2])


def test_crops_and_scales_of_a_bent_view_show_the_same_points() -> None:
    view = _view()
    points = torch.tensor([[0.3, 1.2, 0.1], [-0.5, 0.2, -1.0]])
    seen = view.project(points)
    crop = view.cropped((10.0, 20.0, 74.0, 148.0)).project(points)
    torch.testing.assert_close(crop[:, 0], (seen[:, 0] - 10) * 2, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(crop[:, 1], (seen[:, 1] - 20) * 2, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(view.scaled(0.5).project(points)[:, :2], seen[:, :2] / 2)


def test_a_mirrored_view_sees_what_lies_below_the_ground() -> None:
    view = _view()
    points = torch.tensor([[0.3, 1.2, 0.1], [-0.5, 0.2, -1.0]])
    below = points * torch.tensor([1.0, -1.0, 1.0])
    torch.testing.assert_close(view.mirrored().project(points), view.project(below))


def test_masks_and_keypoints_follow_lens_and_shutter() -> None:
    """The truth of a scene in a bent view is that of its own projection."""
    settings = world_settings("city")
    for index in range(1, 60):
        camera = settings.camera(2, index)
        if camera.distortion < -0.25:
            break
    camera = replace(camera, distortion=-0.35)
    generator = torch.Generator().manual_seed(5)
    scene = sample_scene(3, camera, generator, settings=settings)
    scene = replace(scene, view=replace(scene.view, skew=0.06))
    made = render(scene)
    figure = torch.cat([piece.vertices for piece in scene.figure.pieces])
    x, y, _ = scene.view.project(figure).unbind(1)
    inside = (x > 1) & (x < 126) & (y > 1) & (y < 254)
    wide = torch.nn.functional.max_pool2d(made.amodal[None].float(), 5, 1, 2)[0]
    hit = wide[y[inside].long(), x[inside].long()]
    assert float(hit.mean()) > 0.995
    plain = replace(scene.view, distortion=0.0, skew=0.0).project(figure)
    assert float((plain[:, :2] - torch.stack([x, y], 1)).abs().max()) > 3
    seen = made.keypoints.visibility > 0.75
    at = made.keypoints.xy[seen].long()
    assert bool(wide[at[:, 1], at[:, 0]].all())


def test_a_positive_distortion_is_refused() -> None:
    with pytest.raises(ValueError, match="distortion must be at most 0"):
        replace(_view(), distortion=0.1)


def test_lamps_obey_inverse_squares_and_cosines() -> None:
    up = torch.tensor([[0.0, 1.0, 0.0]])
    lamp = Lamp(torch.tensor([0.0, 2.0, 0.0]), torch.tensor([4.0, 2.0, 1.0]))
    ground = torch.tensor([[0.0, 0.0, 0.0]])
    torch.testing.assert_close(lamp.on(ground, up)[0], torch.tensor([1.0, 0.5, 0.25]))
    aside = torch.tensor([[2.0, 0.0, 0.0]])
    torch.testing.assert_close(lamp.on(aside, up)[0, 0], torch.tensor(0.5 * math.cos(math.pi / 4)))
    assert float(lamp.on(ground, -up).sum()) == 0
    beam = replace(lamp, beam=torch.tensor([0.0, -1.0, 0.0]), focus=2.0)
    torch.testing.assert_close(beam.on(aside, up), 0.5 * lamp.on(aside, up))
    pool = LampPool(torch.tensor([0.0, 5.2, 0.0]))
    torch.testing.assert_close(pool(torch.tensor([[0.0, 1.2, 0.0]])), torch.ones(1))


def test_fog_takes_light_away_exponentially() -> None:
    black, white = torch.zeros(3), torch.ones(2, 3)
    light = Light(black, black, black, black, fog=0.1, airlight=torch.full((3,), 0.5))
    seen = light.through_air(white, torch.tensor([0.0, 10.0]))
    torch.testing.assert_close(seen[:, 0], torch.tensor([1.0, 0.5 + 0.5 * math.exp(-1)]))


def test_motion_blur_keeps_the_middle_and_the_sum() -> None:
    image = torch.zeros(41, 41, 1)
    image[20, 20] = 1.0
    for step in ((7.0, 0.0), (6.3, 2.1), (-3.2, 9.5)):
        moved = smeared(image, step)[..., 0]
        rows, columns = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
        assert float(moved.sum()) == pytest.approx(1, abs=0.05)
        assert float((moved * rows).sum() / moved.sum()) == pytest.approx(20, abs=0.1)
        assert float((moved * columns).sum() / moved.sum()) == pytest.approx(20, abs=0.1)
        spread = float((moved * (columns - 20).square()).sum())
        assert spread == pytest.approx(step[0] ** 2 / 12, rel=0.35, abs=0.3)


def test_fields_of_interlaced_video_lie_on_both_sides_of_the_truth() -> None:
    own = torch.zeros(40, 30, 1)
    own[8:32, 12:18] = 1
    made = combed(own.clone(), own, 3.0)[..., 0]
    middle = (made * torch.arange(30.0)).sum(1) / made.sum(1).clamp(min=1)
    torch.testing.assert_close(middle[8:32:2], torch.full((12,), 14.5 - 1.5))
    torch.testing.assert_close(middle[9:32:2], torch.full((12,), 14.5 + 1.5))
    still = torch.rand(10, 8, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(combed(still, torch.zeros(10, 8, 1), 3.0), still)


@pytest.mark.parametrize("size", [4, 8])
def test_transform_is_orthonormal_and_fine_steps_keep_the_plane(size: int) -> None:
    matrix = cosines(size)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size), atol=1e-5, rtol=0)
    plane = torch.rand(1, 37, 19, generator=torch.Generator().manual_seed(2))
    fine = coded_plane(plane, torch.full((size, size), 1e-4), 0.5, (3, 5))
    assert float((fine - plane).abs().max()) < 1e-3
    flat = torch.full((1, 30, 14), 0.5)
    coarse = coded_plane(flat, torch.full((size, size), 0.25), 0.5, (1, 2))
    torch.testing.assert_close(coarse, flat, atol=0.04, rtol=0)
    rough = coded_plane(0.3 * plane, torch.full((size, size), 0.6), 0.67, (0, 0))
    assert float(rough.std()) < 0.5 * float(0.3 * plane.std())


def test_exposures_get_longer_and_gains_higher_in_the_dark() -> None:
    camera = replace(draw_camera(1, 1), key=4)
    dark_to_bright = [Conditions(lux=lux) for lux in (3, 30, 300, 3000, 30000)]
    times = [shutter_time(each, camera) for each in dark_to_bright]
    gains = [gain(each, camera) for each in dark_to_bright]
    assert times == sorted(times, reverse=True)
    assert gains == sorted(gains, reverse=True)
    assert 1 / 90 < times[2] < 1 / 40
    assert times[-1] < 1 / 300
    assert gains[-1] == 0
    assert 20 < gains[0] <= 42


def test_sun_stands_highest_at_noon_and_low_light_is_warm() -> None:
    assert math.degrees(sun_elevation(12.0, 1.0)) == pytest.approx(68.4, abs=0.1)
    assert math.degrees(sun_elevation(12.0, 0.0)) == pytest.approx(45.0, abs=0.1)
    assert math.degrees(sun_elevation(6.0, 0.0)) == pytest.approx(0.0, abs=0.1)
    ratios = [float(color[0] / color[2]) for color in map(blackbody, (2000, 3000, 5000, 9000))]
    assert ratios == sorted(ratios, reverse=True)
    assert float(blackbody(6000.0)[0] - blackbody(6000.0)[2]) == pytest.approx(0, abs=0.08)
    torch.testing.assert_close(blackbody(500.0), blackbody(1900.0))
    torch.testing.assert_close(blackbody(2e4), blackbody(11000.0))


def test_surfaces_have_the_spectrum_of_photographs() -> None:
    """Amplitude falls with the frequency to the power of about -1 (-0.8 to -1.5: Tolhurst 1992)."""
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    plane = fractal(columns.flatten() / 128, rows.flatten() / 128, 2.0, 5).reshape(128, 128)
    window = torch.hann_window(128, periodic=False)
    power = torch.fft.fft2((plane - plane.mean()) * window * window[:, None]).abs().square().numpy()
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
    use = (frequency > 0.03) & (frequency < 0.3)
    slope = np.polyfit(np.log(frequency[use]), np.log(power[use]) / 2, 1)[0]
    assert -1.6 < slope < -0.8


def test_resizing_keeps_the_mean() -> None:
    image = torch.rand(64, 32, 3, generator=torch.Generator().manual_seed(3))
    small = resized(image, (20, 10))
    assert small.shape == (20, 10, 3)
    assert float((small.mean() - image.mean()).abs()) < 0.01
    assert resized(image, (64, 32)) is image


def test_wet_ground_mirrors_the_person() -> None:
    """With water on the ground, pixels below the feet change; the person's own do not."""
    settings = world_settings("city", without=("weather", "night", "indoor"))
    generator = torch.Generator().manual_seed(8)
    scene = sample_scene(3, settings.camera(1, 2), generator, settings=settings)
    taken = []
    for gloss in (0.0, 1.0):
        conditions = replace(scene.conditions, wet=gloss, gloss=gloss)

        def keep(frame, camera, rng):
            taken.append(frame)
            return torch.zeros(256, 128, 3, dtype=torch.uint8)

        render(replace(scene, conditions=conditions, sensor=keep))
    change = (taken[0].light - taken[1].light).abs().sum(-1)
    own = taken[0].own
    assert float(change[own == 1].max()) < 1e-5
    assert float((change[own == 0] > 1e-3).float().mean()) > 0.2


def test_rasteriser_takes_bent_projections() -> None:
    """A small square covers the same pixels as the projections of its own corners."""
    view = _view()
    corners = torch.tensor([[0.2, 1.0, 0.0], [0.6, 1.0, 0.0], [0.6, 1.4, 0.0], [0.2, 1.4, 0.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    seen = view.project(corners)
    raster = rasterize(seen[None], faces, view.height, view.width, perspective=True)
    rows, columns = (raster.face[0] >= 0).nonzero().unbind(1)
    low, high = seen[:, :2].amin(0), seen[:, :2].amax(0)
    assert float(columns.min()) >= float(low[0]) - 1
    assert float(columns.max()) <= float(high[0])
    assert float(rows.min()) >= float(low[1]) - 1
    assert float(rows.max()) <= float(high[1])


@pytest.mark.parametrize(
    "fields", [{"hour": 24.0}, {"lux": 0.0}, {"rain": 1.2}, {"wet": -0.1}, {"fog": 1.0}]
)
def test_conditions_out_of_range(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields))} must be"):
        Conditions(**fields)
