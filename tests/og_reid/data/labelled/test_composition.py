"""Functions of the composition of labelled images, against naive twins and hand-made scenes."""

from __future__ import annotations

import numpy as np
import pytest

from og_reid.data.labelled.appearance import degraded, lit
from og_reid.data.labelled.compose import (
    LEAST_VISIBLE,
    add_behind,
    add_people,
    add_things,
    new_background,
    without_person,
)
from og_reid.data.labelled.config import CompositeConfig
from og_reid.data.labelled.crops import Frame, Sampled, detector_frame, sample, whole_frame
from og_reid.data.labelled.draws import Draws
from og_reid.data.labelled.layers import Layers, View, cover, mirrored, soft, visible_box
from og_reid.data.labelled.prompts import draw_prompt, point_map
from og_reid.data.labelled.relief import cast_shadow, rounded
from og_reid.data.labelled.textures import background_texture, scenery, texture
from og_reid.data.labelled.things import _KINDS, outline
from og_reid.data.labelled.truth import body_heights, part_fractions

SHAPE = (256, 128)


def _view(value: int = 200, box: tuple[int, int, int, int] = (20, 40, 240, 90)) -> View:
    """A grey rectangle of a person on dark ground; its part is the number of the row's sixth."""
    mask = np.zeros(SHAPE, bool)
    mask[box[0] : box[2], box[1] : box[3]] = True
    image = np.full((*SHAPE, 3), 30, np.uint8)
    image[mask] = value
    rows = np.arange(64)
    part = np.repeat(np.clip((rows * 4 - box[0]) * 6 // (box[2] - box[0]), 0, 5)[:, None], 32, 1)
    height = np.repeat(np.clip(255 - (rows * 4 - box[0]), 0, 255)[:, None], 32, 1)
    points = np.array([[60, 30], [70, 200], [5, 5]], np.float32)
    seen = np.array([True, True, False])
    return View(image, mask, part.astype(np.uint8), height.astype(np.uint8), points, seen)


def _other(_: Draws) -> View:
    return _view(120)


def _sampled(size: tuple[int, int] = (64, 32), seed: int = 0) -> Sampled:
    source = np.random.default_rng(seed)
    return Sampled(
        source.uniform(0, 255, (*size, 3)).astype(np.float32),
        (source.random(size) * (source.random(size) > 0.3)).astype(np.float32),
        source.random(size).astype(np.float32),
        source.integers(0, 6, size).astype(np.uint8),
        source.integers(0, 256, size).astype(np.uint8),
        np.array([[4.0, 9.0], [20.0, 50.0]], np.float32),
    )


def test_draws_depend_on_key_and_group() -> None:
    one, two = Draws(-5, 3), Draws(-5, 3)
    assert [one.uniform() for _ in range(4)] == [two.uniform() for _ in range(4)]
    assert Draws(-5).uniform() != Draws(-4).uniform()
    assert Draws(7).group(2).uniform() == Draws(7, 2).uniform() != Draws(7, 1).uniform()
    draws = Draws(1)
    assert {draws.integer(2, 5) for _ in range(200)} == {2, 3, 4}
    assert {draws.pick("ab", (0.0, 1.0)) for _ in range(50)} == {"b"}
    assert not any(draws.flag(0.0) for _ in range(50))
    assert all(draws.flag(1.0) for _ in range(50))
    assert all(1 <= draws.log_uniform(1, 4) < 4 for _ in range(50))
    assert abs(max(draws.normal(2.0) for _ in range(2000))) <= 5.0


def test_fractions_of_parts_equal_a_naive_loop() -> None:
    sampled = _sampled()
    naive = np.zeros((7, 8, 4))
    for row in range(64):
        for column in range(32):
            own = float(sampled.own[row, column])
            naive[1 + sampled.part[row, column], row // 8, column // 8] += own / 64
            naive[0, row // 8, column // 8] += (1 - own) / 64
    np.testing.assert_allclose(part_fractions(sampled), naive, atol=1e-5)


def test_body_heights_equal_a_naive_loop() -> None:
    sampled = _sampled()
    sampled.own[:16, :16] = 0  # a cell without the person
    height, weight = body_heights(sampled)
    for cell in range(8):
        rows, columns = (
            slice(cell // 2 * 16, cell // 2 * 16 + 16),
            slice(cell % 2 * 16, cell % 2 * 16 + 16),
        )
        own = sampled.own[rows, columns].astype(float)
        assert weight[cell] == pytest.approx(own.mean(), abs=1e-5)
        mean = (own * sampled.height[rows, columns]).sum() / own.sum() / 255 if own.any() else 0
        assert height[cell] == pytest.approx(mean, abs=1e-5)


def test_boxes_of_surfaces() -> None:
    assert visible_box(_view().mask) == (20, 40, 240, 90)
    assert visible_box(np.zeros(SHAPE, bool)) == (0, 0, 256, 128)
    assert mirrored(_view()).mask[100].nonzero()[0].tolist() == list(range(38, 88))


def test_soft_masks_stay_within_their_mask() -> None:
    mask = _view().mask
    found = soft(mask)
    assert not found[~mask].any()
    assert (found[24:236, 44:86] == 1).all()
    assert 0 < found[100, 40] < 1


def test_things_in_front_take_their_coverage_from_everything() -> None:
    layers = Layers.of(_view())
    alpha = np.zeros(SHAPE, np.float32)
    alpha[:, 60:] = 0.75
    fill = np.full((*SHAPE, 3), 100, np.float32)
    person = cover(layers, fill, alpha, person=True)
    np.testing.assert_allclose(person.own, layers.own * (1 - alpha))
    np.testing.assert_allclose(person.others, alpha)
    np.testing.assert_allclose(person.image[100, 70], 0.25 * 200 + 75)
    thing = cover(person, fill, alpha, person=False)
    np.testing.assert_allclose(thing.others, alpha * (1 - alpha))


@pytest.mark.parametrize("kind", [kind for kind, _ in _KINDS])
def test_every_outline_covers_some_of_the_image_and_rarely_all(kind: object) -> None:
    assert callable(kind)
    cover_of = []
    for key in range(30):
        alpha = kind(Draws(key), SHAPE, (20.0, 40.0, 240.0, 90.0))
        assert alpha.shape == SHAPE
        assert alpha.dtype == np.float32
        assert 0 <= alpha.min() <= alpha.max() <= 1
        cover_of.append(float(alpha.mean()))
    assert 0.01 < np.median(cover_of) < 0.7
    assert max(cover_of) > 0.03


@pytest.mark.parametrize("box", [(0.0, 0.0, 256.0, 128.0), (100.0, 60.0, 101.0, 61.0)])
def test_outlines_of_extreme_boxes_are_finite(box: tuple[float, float, float, float]) -> None:
    for key in range(60):
        assert np.isfinite(outline(Draws(key), SHAPE, box)).all()


@pytest.mark.parametrize("step", [add_people, add_things])
def test_what_is_put_in_front_hides_some_and_leaves_some(step: object) -> None:
    assert callable(step)
    hidden, shaded = [], []
    for key in range(60):
        before = Layers.of(_view())
        after = step(before, Draws(key), _other)
        left = float(after.own.sum() / before.own.sum())
        assert left >= LEAST_VISIBLE - 1e-3
        assert (after.own <= before.own).all()
        same = after.own == before.own
        rest = after.image[same & (before.own > 0)]
        assert 70 <= rest.min() <= rest.max() <= 200.01  # shadows of up to two things
        shaded.append(rest.min() < 199.9)
        hidden.append(1 - left)
    assert any(shaded) == (step is add_things)
    assert np.mean(np.array(hidden) > 0.04) > 0.8
    assert max(hidden) > 0.45


def test_people_behind_leave_the_person_as_it_is() -> None:
    before = Layers.of(_view())
    for key in range(20):
        after = add_behind(before, Draws(key), _other)
        np.testing.assert_array_equal(after.own, before.own)
        np.testing.assert_array_equal(after.image[before.own > 0], 200)
        assert not after.others[before.own > 0].any()


def test_another_background_keeps_the_person_and_its_labels() -> None:
    before = Layers.of(_view())
    sizes = set()
    for key in range(30):
        after = new_background(before, Draws(key), _other)
        inside = after.own > 0.99
        np.testing.assert_allclose(after.image[inside], 200, atol=1.5)
        top, _, bottom, _ = visible_box(after.own)
        rows = (np.arange(64) * 4 + 2 - top) * 6 / (bottom - top)
        own = after.own[2::4, 2::4] > 0.99
        gap = np.abs(np.clip(rows, 0, 5.99)[:, None] - 0.5 - after.part)
        assert gap[own].max() < 0.8
        np.testing.assert_allclose(after.box, visible_box(after.own), atol=2)
        sizes.add(round(bottom - top))
    assert len(sizes) > 5


def test_occluded_people_keep_their_scene() -> None:
    view = _view()
    hidden = Layers.of(View(**{**vars(view), "visible": 0.5}))
    assert new_background(hidden, Draws(0), _other) is hidden


def test_scenery_has_no_person() -> None:
    for key in range(10):
        assert scenery(Draws(key), _view(250)).max() < 60


@pytest.mark.parametrize("make", [texture, background_texture])
def test_textures_are_colours(make: object) -> None:
    assert callable(make)
    for key in range(40):
        found = make(Draws(key), SHAPE, lambda: _view(250))
        assert found.shape == (*SHAPE, 3)
        assert np.isfinite(found).all()
        assert found.max() > 1


@pytest.mark.parametrize("size", [(192, 96), (256, 128), (224, 112)])
def test_frames_sample_image_and_truth_at_the_same_places(size: tuple[int, int]) -> None:
    layers = Layers.of(_view())
    for key in range(30):
        frame = detector_frame(layers, Draws(key), size)
        found = sample(layers, frame)
        seen = (found.image[..., 0] - 30) / 170
        top, left, bottom, right = frame.inner
        inside = (slice(top, bottom), slice(left, right))
        np.testing.assert_allclose(seen[inside], found.own[inside], atol=0.02)
        outside = np.ones(size, bool)
        outside[inside] = False
        assert not found.own[outside].any()
        assert found.own.sum() / (bottom - top) / (right - left) >= 0.07
        scale = (bottom - top) / (frame.box[2] - frame.box[0])
        assert scale * SHAPE[0] / size[0] < 2.6


def test_frames_map_keypoints_and_leave_out_hidden_ones() -> None:
    layers = Layers.of(_view())
    frame = Frame((10.0, 20.0, 138.0, 84.0), (0, 0, 256, 128), (256, 128))
    found = sample(layers, frame).points
    np.testing.assert_allclose(found, [[(60.5 - 20) * 2 - 0.5, (30.5 - 10) * 2 - 0.5]])
    alpha = np.zeros(SHAPE, np.float32)
    alpha[:60] = 1
    covered = cover(layers, layers.image, alpha, person=False)
    assert not len(sample(covered, frame).points)


def test_padding_belongs_to_none() -> None:
    layers = Layers.of(_view(box=(0, 0, 256, 128)))
    frame = Frame((0.0, 0.0, 256.0, 128.0), (0, 32, 256, 96), (256, 128), (9.0, 9.0, 9.0))
    found = sample(layers, frame)
    assert (found.own[:, 32:96] == 1).all()
    assert not found.own[:, :32].any()
    assert (found.image[:, 96:] == 9).all()
    assert part_fractions(found)[0, :, :4].min() == 1


@pytest.mark.parametrize("level", [0, 3, 128, 255])
def test_light_and_sensor_of_any_level_give_finite_colours(level: int) -> None:
    config = CompositeConfig(**{
        name: 1.0 if name != "grey" else 0.5 for name in vars(CompositeConfig())
    })  # fmt: skip
    own = sample(Layers.of(_view()), whole_frame(SHAPE, (192, 96))).own
    for key in range(15):
        image = np.full((192, 96, 3), level, np.float32)
        found = degraded(lit(image, own, config, Draws(key, 1)), config, Draws(key, 2))
        assert found.shape == image.shape
        assert np.isfinite(found).all()
        assert 0 <= found.min() <= found.max() <= 255


def test_nights_are_dark_and_back_light_darkens_the_person() -> None:
    sampled = sample(Layers.of(_view(110)), whole_frame(SHAPE, (192, 96)))
    inside = sampled.own > 0.99
    for key in range(20):
        night = lit(sampled.image, sampled.own, CompositeConfig.off(dark=1.0), Draws(key))
        assert night.mean() < 0.6 * sampled.image.mean()
        back = lit(sampled.image, sampled.own, CompositeConfig.off(backlight=1.0), Draws(key))
        ratio = back[inside].mean() / back[sampled.own == 0].mean()
        assert ratio < 0.9 * sampled.image[inside].mean() / sampled.image[sampled.own == 0].mean()


def test_grey_images_have_equal_channels() -> None:
    sampled = _sampled()
    found = lit(sampled.image, sampled.own, CompositeConfig.off(grey=1.0), Draws(0))
    assert (found == found[..., :1]).all()


def test_low_resolution_has_fewer_details() -> None:
    image = _sampled((192, 96)).image
    for key in range(10):
        found = degraded(image, CompositeConfig.off(resolution=1.0), Draws(key))
        assert np.abs(np.diff(found, axis=0)).mean() < 0.8 * np.abs(np.diff(image, axis=0)).mean()


def test_point_maps_equal_a_naive_loop() -> None:
    points = np.array([[10.0, 20.0], [90.0, 150.0]])
    found = point_map(points, (192, 96))
    for row in range(24):
        for column in range(12):
            far = [(8 * column + 3.5 - x) ** 2 + (8 * row + 3.5 - y) ** 2 for x, y in points]
            wanted = np.exp(-min(far) / (2 * (0.06 * 192) ** 2))
            assert found[row, column] == pytest.approx(wanted, abs=1e-5)
    assert not point_map(np.zeros((0, 2)), (192, 96)).any()


def test_prompts_of_an_image_without_others_or_keypoints_are_positive_alone() -> None:
    sampled = sample(Layers.of(_view()), whole_frame(SHAPE, (192, 96)))
    bare = Sampled(**{**vars(sampled), "points": np.zeros((0, 2), np.float32)})
    for key in range(40):
        for each in (sampled, bare):
            found = draw_prompt(each, Draws(key))
            assert found.shape == (2, 24, 12)
            assert found.dtype == np.float32
            assert 0 <= found.min() <= found.max() <= 1
            assert found[0].max() > 0.2
            assert not found[1].any()


def test_an_image_without_person_has_no_surface() -> None:
    layers = Layers.of(_view())
    grounds = []
    for key in range(20):
        empty = without_person(layers, Draws(key), _other)
        assert not empty.own.any()
        assert not empty.others.any()
        assert empty.image.shape == (*SHAPE, 3)
        assert np.isfinite(empty.image).all()
        assert 0 <= empty.image.min() <= empty.image.max() <= 255
        frame = detector_frame(empty, Draws(key, 1), (64, 32))
        sampled = sample(empty, frame)
        assert part_fractions(sampled)[0].min() == 1.0
        assert (body_heights(sampled)[1] == 0).all()
        draw_prompt(sampled, Draws(key, 2))
        grounds.append(empty.image.mean())
    assert np.std(grounds) > 10


def test_rounding_changes_colours_at_the_outline_alone() -> None:
    alpha = np.zeros(SHAPE, np.float32)
    alpha[80:180, 30:100] = 1
    fill = np.full((*SHAPE, 3), 100, np.float32)
    for key in range(10):
        shaded = rounded(fill, alpha, Draws(key))
        np.testing.assert_allclose(shaded[130, 65], 100, atol=3)  # more than 3 radii inside
        assert np.abs(shaded - fill).max() > 5
        assert 0 <= shaded.min() <= shaded.max() <= 255


def test_a_shadow_darkens_what_is_near_a_thing() -> None:
    alpha = np.zeros(SHAPE, np.float32)
    alpha[100:150, 40:80] = 1
    image = np.full((*SHAPE, 3), 200, np.float32)
    for key in range(10):
        shaded = cast_shadow(image, alpha, Draws(key))
        assert shaded.max() <= 200
        assert shaded[125, 60].mean() < 190
        np.testing.assert_array_equal(shaded[:30], image[:30])


def test_textures_of_things_are_varied_and_in_range() -> None:
    means, spreads = [], []
    for key in range(120):
        found = texture(Draws(key), SHAPE, lambda: _view(120))
        assert found.shape == (*SHAPE, 3)
        assert found.dtype == np.float32
        assert 0 <= found.min() <= found.max() <= 255
        means.append(found.mean())
        spreads.append(found.std())
    assert np.std(means) > 30
    assert min(spreads) < 10 < 40 < max(spreads)
