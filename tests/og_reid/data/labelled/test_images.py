"""Labelled batches: truth that moves with the image, determinism, groups that can be turned off."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meshes.body.load import load_body
from meshes.world.labelled import write_labelled_world
from og_reid.data import CompositeConfig, KeyedRandom, LabelledBatch, LabelledSet
from og_reid.data.labelled.draws import Draws
from og_reid.data.labelled.images import vertex_labels
from og_reid.models.local_features import BODY_PARTS

SIZES = ((192, 96), (256, 128), (224, 112))
#: Groups that change where things are, not how they look.
GEOMETRY = ("empty", "mirror", "background", "behind", "front", "things", "crop")
PAINT = np.array([255, 0, 255], np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    return write_labelled_world(folder, identities=4, views=3, seed=5, cameras=4)


@pytest.fixture(scope="module")
def images(root: Path) -> LabelledSet:
    return LabelledSet(root)


@pytest.fixture(scope="module")
def painted(root: Path) -> LabelledSet:
    """The people of the first two identities magenta, everything else dark green."""
    found = LabelledSet(root)
    for row in range(len(found)):
        mask = found.view(row).mask
        image = np.zeros((*mask.shape, 3), np.uint8)
        image[..., 1] = 60
        if row < 6:
            image[mask] = PAINT
        found.view(row).image[:] = image
    return found


def _keys(step: int, rows: torch.Tensor) -> KeyedRandom:
    return KeyedRandom.keyed(3, step, rows)


def _same(one: LabelledBatch, two: LabelledBatch) -> bool:
    return all(
        torch.equal(getattr(one, field.name), getattr(two, field.name)) for field in fields(one)
    )


@pytest.mark.parametrize("size", SIZES)
def test_batches_have_truth_of_the_stated_shapes_and_ranges(
    images: LabelledSet, size: tuple[int, int]
) -> None:
    rows = torch.arange(24) % len(images)
    batch = images.batch(rows, CompositeConfig(), _keys(0, torch.arange(24)), size)
    maps, cells = (size[0] // 8, size[1] // 8), (size[0] // 16) * (size[1] // 16)
    assert batch.images.shape == (24, 3, *size)
    assert batch.parts.shape == (24, 1 + len(BODY_PARTS), *maps)
    assert batch.height.shape == batch.height_weight.shape == (24, cells)
    assert batch.prompt.shape == (24, 2, *maps)
    assert torch.allclose(batch.parts.sum(1), torch.ones(24, *maps), atol=1e-5)
    for each, top in ((batch.images, 255), (batch.parts, 1), (batch.height, 1), (batch.prompt, 1)):
        assert each.dtype == torch.float32
        assert float(each.min()) >= 0
        assert float(each.max()) <= top
    own = 1 - batch.parts[:, 0]
    pooled = torch.nn.functional.avg_pool2d(own[:, None], 2).flatten(1)
    assert torch.allclose(batch.height_weight, pooled, atol=1e-5)
    assert torch.equal(batch.pids, images.pids[rows])
    assert torch.equal(batch.camids, images.camids[rows])


@pytest.mark.parametrize("size", SIZES)
def test_own_surface_is_where_the_person_is_after_all_changes_of_geometry(
    painted: LabelledSet, size: tuple[int, int]
) -> None:
    config = CompositeConfig.off(**dict.fromkeys(GEOMETRY[1:], 0.5))  # all but "empty"
    # No other painted person can get into the image: others are of the unpainted identities.
    painted = replace_usable(painted, np.arange(6, len(painted)))
    rows = torch.arange(48) % 6
    batch = painted.batch(rows, config, _keys(1, torch.arange(48)), size)
    magenta = (batch.images[:, 0] - batch.images[:, 1]).clamp(min=0) / 255
    seen = torch.nn.functional.avg_pool2d(magenta[:, None], 8)[:, 0]
    own = 1 - batch.parts[:, 0]
    clear = _without_red_things(painted, rows, config, size)
    gap = (seen - own).abs()
    assert float(gap[clear].mean()) < 0.012
    assert float(gap[clear].max()) < 0.35  # soft edges alone
    assert float(own.sum((1, 2)).min()) > 0


def replace_usable(images: LabelledSet, rows: np.ndarray) -> LabelledSet:
    chosen = images.select(slice(None))
    chosen._usable = rows
    return chosen


def _without_red_things(
    painted: LabelledSet, rows: torch.Tensor, config: CompositeConfig, size: tuple[int, int]
) -> torch.Tensor:
    """Images without artificial colours: backgrounds and things can be magenta, too."""
    keys = _keys(1, torch.arange(len(rows))).keys.tolist()
    artificial = [
        Draws(key, 1).flag(config.background) or Draws(key, 4).flag(config.things) for key in keys
    ]
    return ~torch.tensor(artificial)


def test_parts_and_heights_follow_the_body(images: LabelledSet) -> None:
    batch = images.clean_batch(range(len(images)), (256, 128))
    rows = torch.arange(32, dtype=torch.float32)
    for head_above, below in (("head", "torso"), ("torso", "calves"), ("calves", "feet")):
        upper, lower = (batch.parts[:, 1 + BODY_PARTS.index(name)] for name in (head_above, below))
        both = (upper.sum((1, 2)) > 1) & (lower.sum((1, 2)) > 1)
        assert both.any()
        place = [(part.sum(2) * rows).sum(1) / part.sum((1, 2)) for part in (upper, lower)]
        assert bool((place[0] < place[1])[both].all())
    weight = batch.height_weight.reshape(len(images), 16, 8)
    height = batch.height.reshape(len(images), 16, 8)
    for each, mass in zip(height, weight, strict=True):
        kept = (mass.sum(1) > 0.5).nonzero()[:, 0]
        mean = (each * mass).sum(1)[kept] / mass.sum(1)[kept]
        assert float(mean[0] - mean[-1]) > 0.1  # falls from the head to the feet
    assert float(height.max()) > 0.85


def test_mirrored_images_have_mirrored_truth(images: LabelledSet) -> None:
    rows = torch.arange(6)
    plain = images.clean_batch(rows, (256, 128))
    turned = images.batch(rows, CompositeConfig.off(mirror=1.0), _keys(0, rows), (256, 128))
    assert torch.equal(turned.images, plain.images.flip(-1))
    assert torch.allclose(turned.parts, plain.parts.flip(-1), atol=1e-6)
    flipped = plain.height.reshape(6, 16, 8).flip(-1).flatten(1)
    assert torch.allclose(turned.height, flipped, atol=1e-6)


def test_a_batch_depends_on_index_and_key_alone(images: LabelledSet) -> None:
    rows, places = torch.arange(10), torch.arange(10)
    config = CompositeConfig()
    whole = images.batch(rows, config, _keys(2, places), (192, 96))
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global state must not matter
    part = slice(3, 7)
    assert _same(images.batch(rows[part], config, _keys(2, places[part]), (192, 96)), whole[part])
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        again = images.batch(rows, config, _keys(2, places), (192, 96))
    finally:
        torch.set_num_threads(before)
    assert _same(again, whole)
    other = images.batch(rows, config, _keys(3, places), (192, 96))
    assert not torch.equal(other.images, whole.images)


def test_without_changes_batches_are_clean(images: LabelledSet) -> None:
    rows = torch.arange(len(images))
    batch = images.batch(rows, CompositeConfig.off(), _keys(0, rows), (192, 96))
    assert _same(batch, images.clean_batch(rows, (192, 96)))
    assert not batch.prompt.any()


@pytest.mark.parametrize("group", [field.name for field in fields(CompositeConfig)])
def test_each_group_alone_changes_images_and_the_others_stay_off(
    images: LabelledSet, group: str
) -> None:
    rows = torch.arange(8)
    clean = images.clean_batch(rows, (192, 96))
    batch = images.batch(rows, CompositeConfig.off(**{group: 1.0}), _keys(4, rows), (192, 96))
    if group == "prompt":
        assert torch.equal(batch.images, clean.images)
        assert bool((batch.prompt[:, 0].amax((1, 2)) > 0.2).all())
        return
    assert not batch.prompt.any()
    assert not torch.equal(batch.images, clean.images)
    if group not in GEOMETRY:
        assert torch.equal(batch.parts, clean.parts)
    if group in ("front", "things"):
        assert bool(((1 - batch.parts[:, 0]) <= (1 - clean.parts[:, 0]) + 0.03).all())
        assert float(batch.parts[:, 0].mean()) > float(clean.parts[:, 0].mean())
    if group == "behind":
        assert torch.allclose(batch.parts, clean.parts, atol=1e-6)


def test_groups_draw_from_streams_of_their_own(images: LabelledSet) -> None:
    rows = torch.arange(12)
    config = CompositeConfig()
    whole = images.batch(rows, config, _keys(5, rows), (192, 96))
    plain = images.batch(rows, replace(config, light=0, dark=0), _keys(5, rows), (192, 96))
    assert torch.equal(plain.parts, whole.parts)
    assert not torch.equal(plain.images, whole.images)


def test_no_person_is_empty_after_many_occlusions(images: LabelledSet) -> None:
    config = CompositeConfig.off(front=1.0, things=1.0, crop=1.0, background=0.5)
    rows = torch.arange(200) % len(images)
    batch = images.batch(rows, config, _keys(6, torch.arange(200)), (192, 96))
    own = (1 - batch.parts[:, 0]).mean((1, 2))
    assert float(own.min()) > 0.02


def test_prompts_point_at_the_person(images: LabelledSet) -> None:
    config = CompositeConfig.off(prompt=1.0, behind=1.0)
    rows = torch.arange(120) % len(images)
    batch = images.batch(rows, config, _keys(7, torch.arange(120)), (192, 96))
    own = 1 - batch.parts[:, 0]
    positive, negative = batch.prompt.unbind(1)
    mean = [(own * each).sum() / each.sum() for each in (positive, negative)]
    assert float(mean[0]) > 2 * float(mean[1])
    assert float(mean[0]) > 1.3 * float(own.mean())
    assert bool(negative.any())


def test_body_parts_and_heights_of_vertices() -> None:
    body = load_body()
    part, height = vertex_labels(body)
    assert set(part.tolist()) == set(range(len(BODY_PARTS)))
    mean = [height[part == number].mean() for number in range(len(BODY_PARTS))]
    head, torso, arms, thighs, calves, feet = mean
    assert head > arms > torso > thighs > calves > feet
    assert (height.min(), height.max()) == (0, 255)
    top = int(body.v_template[:, 1].argmax())
    assert (part[top], height[top]) == (BODY_PARTS.index("head"), 255)


def test_selections_keep_their_images(images: LabelledSet) -> None:
    chosen = images.select([4, 1])
    assert len(chosen) == 2
    assert torch.equal(chosen.pids, images.pids[[4, 1]])
    assert torch.equal(
        chosen.clean_batch([0], (192, 96)).images, images.clean_batch([4], (192, 96)).images
    )
    backwards = images.select(slice(None, None, -1))
    assert torch.equal(backwards.pids, images.pids.flip(0))
    assert np.shares_memory(backwards.view(0).image, images.view(len(images) - 1).image)
    assert len(images.select(images.pids == 1)) == 3
    one = images.select([0])  # without other people to put in front
    batch = one.batch([0], CompositeConfig.off(front=1.0), _keys(0, torch.arange(1)), (192, 96))
    assert len(batch) == 1


def test_worlds_are_joined_with_identities_and_cameras_of_their_own(
    root: Path, images: LabelledSet, tmp_path: Path
) -> None:
    city = write_labelled_world(
        tmp_path / "city", identities=1, views=2, seed=4, first_identity=500, settings="city"
    )
    both = LabelledSet(root, city)
    assert len(both) == len(images) + 2
    assert both.pids[-2:].tolist() == [4, 4]
    assert torch.equal(both.pids[:-2], images.pids)
    assert torch.equal(both.camids[:-2], images.camids)
    assert both.camids[-2:].min() > images.camids.max()  # the worlds share no camera
    row = torch.tensor([len(both) - 1])
    assert torch.equal(
        both.clean_batch(row, (192, 96)).images,
        LabelledSet(city).clean_batch([1], (192, 96)).images,
    )
    for wrong in ((), (root, city, city)):
        with pytest.raises(ValueError, match="one or more distinct folders"):
            LabelledSet(*wrong)


def test_wrong_arguments_are_named(images: LabelledSet, tmp_path: Path) -> None:
    rows = torch.arange(2)
    with pytest.raises(ValueError, match="root must hold shards"):
        LabelledSet(tmp_path)
    with pytest.raises(ValueError, match="at least one"):
        images.clean_batch([])
    with pytest.raises(ValueError, match="at least one"):
        images.select([])
    with pytest.raises(ValueError, match="multiples of 16"):
        images.clean_batch(rows, (100, 50))
    with pytest.raises(ValueError, match="indices must be in"):
        images.clean_batch([len(images)])
    with pytest.raises(ValueError, match="must have 2 keys"):
        images.batch(rows, CompositeConfig(), _keys(0, torch.arange(3)))
    with pytest.raises(ValueError, match="front must be in"):
        CompositeConfig(front=1.5)
    with pytest.raises(ValueError, match="dark must be in"):
        CompositeConfig(dark=float("nan"))


def test_damaged_shards_are_refused(root: Path, tmp_path: Path) -> None:
    shard = sorted(root.glob("*.npz"))[0]
    (tmp_path / shard.name).write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(ValueError, match="shard of labelled images"):
        LabelledSet(tmp_path)


def test_batches_move_and_check_themselves(images: LabelledSet) -> None:
    batch = images.clean_batch([0, 1, 2], (192, 96))
    assert len(batch.to("cpu")[1:]) == 2
    with pytest.raises(ValueError, match="height must be"):
        replace(batch, height=batch.height[:, :-1])
