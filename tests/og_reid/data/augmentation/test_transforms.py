from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from meshes.body.model import SMPL_JOINTS
from og_reid.data.augmentation.transforms import (
    MIN_KEPT,
    Augmentation,
    augment,
    augment_colors,
    augment_points,
    hide_points,
    mirror,
    mirror_x,
    rotate_y,
)
from og_reid.data.clouds.batch import CloudBatch
from og_reid.data.keyed_random import KeyedRandom

STRONG = Augmentation(
    rotate_full=0.5, scale=0.3, point_dropout=0.75, occlude=1.0, occlude_max=0.75, part_erase=1.0,
    exposure=2.0, gamma=1.0, white_balance=1.0, saturation=1.0, contrast=1.0, brightness=1.0,
    noise=1.0,
)  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(batch: CloudBatch | Tensor, seed: int = 0) -> KeyedRandom:
    return KeyedRandom.keyed(seed, torch.arange(len(batch)))


def clouds(size: int = 4, count: int = 60, hidden: float = 0.0) -> CloudBatch:
    """Random clouds; ``hidden`` is the chance of a point to be so."""
    generator = seeded(9)
    return CloudBatch(
        points=torch.randn(size, count, 3, generator=generator),
        colors=torch.rand(size, count, 3, generator=generator),
        part=torch.randint(24, (size, count), generator=generator),
        visible=torch.rand(size, count, generator=generator) >= hidden,
    )


def tensors(batch: CloudBatch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(CloudBatch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def test_no_strength_is_the_identity() -> None:
    before = clouds(hidden=0.3)
    after = tensors(augment(before, Augmentation.none(), draws=draws(before)))
    for name, tensor in tensors(before).items():
        assert torch.equal(tensor, after[name]), name


@pytest.mark.parametrize("strength", [Augmentation(), STRONG])
def test_changes_depend_on_the_random_source_alone(strength: Augmentation) -> None:
    before = clouds(hidden=0.3)
    copies = {name: tensor.clone() for name, tensor in tensors(before).items()}
    first = tensors(augment(before, strength, draws=draws(before, 1)))
    again = tensors(augment(before, strength, draws=draws(before, 1)))
    other = tensors(augment(before, strength, draws=draws(before, 2)))
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name]), name
        assert not torch.equal(tensor, other[name]), name
    for name, tensor in tensors(before).items():
        assert torch.equal(tensor, copies[name]), "inputs must not change"


@pytest.mark.parametrize("name", [field.name for field in fields(Augmentation)])
def test_every_strength_does_something(name: str) -> None:
    helpers = {
        "occlude_max": {"occlude": 1.0},
        "occluder_color_leak": {"occlude": 1.0, "occlude_max": 0.5},
        "occlude": {"occlude_max": 0.5},
        "jitter_limit": {"jitter": 0.7},
    }
    changes = {
        **{
            key: {"points"}
            for key in (
                "rotate",
                "rotate_full",
                "scale",
                "scale_range",
                "jitter",
                "jitter_limit",
            )
        },
        **{
            key: {"visible"}
            for key in (
                "point_dropout",
                "occlude",
                "occlude_max",
                "part_erase",
                "contiguous_dropout",
            )
        },
        "occluder_color_leak": {"visible", "colors"},
        "mirror": {"points", "part"},
    }
    without = replace(Augmentation.none(), **helpers.get(name, {}))
    value = {"rotate": 40.0, "scale_range": (0.75, 1.33)}.get(name, 0.5)
    before, strength = clouds(20), replace(without, **{name: value})
    changed = tensors(augment(before, strength, draws=draws(before, 3)))
    plain = tensors(augment(before, without, draws=draws(before, 3)))
    different = {key for key in plain if not torch.equal(plain[key], changed[key])}
    assert different == changes.get(name, {"colors"})


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), hidden=st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_hidden_points_stay_hidden_and_a_quarter_of_the_visible_stays(
    seed: int, hidden: float
) -> None:
    before = clouds(8, 37, hidden)
    for change in (augment, hide_points):
        after = change(before, STRONG, draws=draws(before, seed))
        assert not (after.visible & ~before.visible).any()
        least = (MIN_KEPT * before.visible.sum(dim=1)).ceil()
        assert (after.visible.sum(dim=1) >= least).all()
        if change is hide_points:
            assert torch.equal(after.part, before.part)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_values_at_hidden_points_change_nothing(seed: int) -> None:
    before = clouds(hidden=0.4)
    noise = torch.rand(before.colors.shape, generator=seeded(seed))
    painted = torch.where(before.visible[..., None], before.colors, noise)
    other = CloudBatch(before.points, painted, before.part, before.visible)
    left = augment(before, STRONG, draws=draws(before, seed))
    right = augment(other, STRONG, draws=draws(other, seed))
    assert torch.equal(left.visible, right.visible)
    for ours, theirs in zip(left.network_input(), right.network_input(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_mirror_undoes_itself() -> None:
    points = clouds().points
    flip = torch.tensor([True, False, True, False])
    once = mirror_x(points, flip)
    assert torch.equal(once[1], points[1])
    assert torch.equal(once[0, :, 0], -points[0, :, 0])
    assert torch.equal(once[..., 1:], points[..., 1:])
    assert torch.equal(mirror_x(once, flip), points)


def test_the_left_hand_becomes_the_right_hand() -> None:
    left, right = SMPL_JOINTS.index("left_hand"), SMPL_JOINTS.index("right_hand")
    before = replace(clouds(2, 4), part=torch.tensor([[left, right, 0, -1]]).expand(2, 4))
    after = mirror(before, torch.tensor([True, False]))
    assert after.part.tolist() == [[right, left, 0, -1], [left, right, 0, -1]]
    assert torch.equal(after.points[0], before.points[0] * torch.tensor([-1.0, 1, 1]))
    assert torch.equal(after.points[1], before.points[1])
    every = replace(clouds(1, 24), part=torch.arange(24)[None])
    once = mirror(every, torch.tensor([True]))
    names = [SMPL_JOINTS[part] for part in once.part[0].tolist()]
    swap = {"left": "right", "right": "left"}
    assert names == [
        "_".join(swap.get(word, word) for word in name.split("_")) for name in SMPL_JOINTS
    ]
    assert torch.equal(mirror(once, torch.tensor([True])).part, every.part)


def test_a_cloud_changes_alike_in_any_batch() -> None:
    """Whole batch, every second cloud of it (as a rank has it), one alone, another order."""
    before = clouds(6, 50, hidden=0.2)
    keys = torch.tensor([11, 5, 7, 400, 2, 3])
    whole = tensors(augment(before, STRONG, draws=KeyedRandom.keyed(9, keys)))
    for rows in (slice(1, None, 2), slice(3, 4), torch.tensor([4, 0, 2])):
        part = CloudBatch(*(tensor[rows] for tensor in tensors(before).values()))
        alone = tensors(augment(part, STRONG, draws=KeyedRandom.keyed(9, keys[rows])))
        for name, tensor in alone.items():
            torch.testing.assert_close(tensor, whole[name][rows], atol=1e-6, rtol=1e-6)
    with pytest.raises(ValueError, match="draws must have an item for each of 6 clouds; got 5"):
        augment(before, STRONG, draws=KeyedRandom.keyed(9, keys[:5]))


def test_rotation_by_a_quarter_turns_z_into_x() -> None:
    points = torch.tensor([[[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]]])
    turned = rotate_y(points, torch.tensor([math.pi / 2]))
    expected = torch.tensor([[[1.0, 2.0, 0.0], [0.0, 0.0, -1.0]]])
    torch.testing.assert_close(turned, expected, atol=1e-6, rtol=0)


def test_rotation_keeps_lengths_and_undoes_itself() -> None:
    points = clouds().points
    angle = torch.tensor([0.3, -2.0, 3.1, 0.0])
    turned = rotate_y(points, angle)
    torch.testing.assert_close(turned.norm(dim=-1), points.norm(dim=-1))
    torch.testing.assert_close(rotate_y(turned, -angle), points, atol=1e-5, rtol=1e-5)


def test_small_rotation_stays_small() -> None:
    points = torch.tensor([[[0.0, 0.0, 1.0]]]).expand(500, 1, 3)
    strength = replace(Augmentation.none(), rotate=10.0)
    turned = augment_points(points, strength, draws=draws(points))
    angle = torch.atan2(turned[..., 0], turned[..., 2]).rad2deg()
    assert angle.abs().max() <= 10.001
    assert angle.max() > 8
    assert angle.min() < -8
    full = augment_points(points, replace(strength, rotate_full=1.0), draws=draws(points))
    assert torch.atan2(full[..., 0], full[..., 2]).rad2deg().abs().max() > 170


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 40))
def test_occluders_never_empty_a_cloud(seed: int, count: int) -> None:
    before = clouds(8, count)
    after = hide_points(before, replace(STRONG, occluder_color_leak=0.0), draws=draws(before, seed))
    assert (after.visible.sum(dim=1) >= count / 4).all()


def test_factors_are_drawn_evenly_for_each_axis() -> None:
    """The published U(.75, 1.33), not the even logarithm of `scale`."""
    strength = replace(Augmentation.none(), scale_range=(0.75, 1.33))
    factor = augment_points(torch.ones(4000, 2, 3), strength, draws=draws(torch.ones(4000, 2, 3)))
    assert torch.equal(factor[:, 0], factor[:, 1])
    factor = factor[:, 0]
    assert 0.75 <= factor.min() < 0.752
    assert 1.328 < factor.max() <= 1.33
    # Mean and spread of a uniform variable; .003 is its standard error.
    torch.testing.assert_close(factor.mean(0), torch.full((3,), 1.04), atol=0.01, rtol=0)
    spread = torch.full((3,), 0.58 / math.sqrt(12))
    torch.testing.assert_close(factor.std(0), spread, atol=0.005, rtol=0)
    correlation = torch.corrcoef(factor.T)
    assert (correlation - torch.eye(3)).abs().max() < 0.06, "three independent factors"
    fixed = replace(Augmentation.none(), scale_range=(2.0, 2.0))
    assert torch.equal(
        augment_points(torch.ones(2, 2, 3), fixed, draws=draws(torch.ones(2, 2, 3))).unique(),
        torch.tensor([2.0]),
    )


def test_jitter_is_cut() -> None:
    strength = replace(Augmentation.none(), jitter=0.01, jitter_limit=0.01)
    moved = augment_points(torch.zeros(50, 100, 3), strength, draws=draws(torch.zeros(50, 100, 3)))
    plain = augment_points(
        torch.zeros(50, 100, 3),
        replace(strength, jitter_limit=0.0),
        draws=draws(torch.zeros(50, 100, 3)),
    )
    assert torch.equal(moved, plain.clamp(-0.01, 0.01))
    # A normal variable is beyond one standard deviation in 31.7 % of the draws.
    assert (moved.abs() == torch.tensor(0.01)).float().mean() == pytest.approx(0.317, abs=0.01)


def test_contiguous_dropout_hides_one_run() -> None:
    before = clouds(3000, 40)
    after = hide_points(
        before, replace(Augmentation.none(), contiguous_dropout=0.6), draws=draws(before)
    )
    lost = ~after.visible
    edges = lost.int().diff(dim=1, prepend=torch.zeros(3000, 1), append=torch.zeros(3000, 1))
    assert (edges == 1).sum(dim=1).max() == 1, "a run has one beginning"
    length = lost.sum(dim=1)
    assert length.max() == 24
    assert length.min() == 0
    assert length.float().mean() == pytest.approx(12, abs=0.5)
    share = lost.float().mean(dim=0)
    assert share.min() > 0.02, "runs begin anywhere"
    assert share.argmax() in range(12, 28)


def test_the_centre_of_a_batch_survives_augmentation() -> None:
    before = clouds()
    for centered in (False, True):
        batch = replace(before, centered=centered)
        assert augment(batch, STRONG, draws=draws(batch)).centered is centered


def test_hiding_moves_and_recolours_nothing() -> None:
    before = clouds(hidden=0.2)
    strength = replace(Augmentation.none(), occlude=1.0, occlude_max=0.7, point_dropout=0.5)
    after = hide_points(before, strength, draws=draws(before))
    for name in ("points", "colors", "part"):
        assert torch.equal(getattr(after, name), getattr(before, name)), name
    assert after.visible.sum() < before.visible.sum()


def test_the_restored_points_are_random_visible_ones() -> None:
    """All is erased, a quarter of the seen points must come back: any of them, no other."""
    before = clouds(300, 40, hidden=0.5)
    one = CloudBatch(before.points, before.colors, torch.zeros_like(before.part), before.visible)
    strength = replace(Augmentation.none(), part_erase=1.0)
    after = hide_points(one, strength, draws=draws(one))
    assert torch.equal(after.visible.sum(dim=1), (before.visible.sum(dim=1) / 4).ceil().long())
    share = after.visible.sum(dim=0) / before.visible.sum(dim=0)
    assert share.min() > 0.1
    assert share.max() < 0.5


def test_kept_points_are_not_added_to() -> None:
    """Enough stays visible here, so that nothing is given back."""
    before = clouds(200, 40, hidden=0.5)
    strength = replace(Augmentation.none(), point_dropout=0.2)
    after = hide_points(before, strength, draws=draws(before))
    share = after.visible.sum(dim=1) / before.visible.sum(dim=1)
    # The dropped share is uniform between 0 and 0.2.
    assert 0.87 < share.mean() < 0.93
    assert share.min() > MIN_KEPT


def test_occluders_hide_the_drawn_fraction_of_some_clouds() -> None:
    strength = replace(Augmentation.none(), occlude=0.5, occlude_max=0.6)
    left = (
        hide_points(clouds(400, 50), strength, draws=draws(clouds(400, 50)))
        .visible.float()
        .mean(dim=1)
    )
    assert left.min() >= 0.4
    assert left.min() < 0.45
    assert 0.4 < (left < 1).float().mean() < 0.6


def test_a_leaking_occluder_paints_and_hides_nothing() -> None:
    before = clouds(50, hidden=0.2)
    strength = replace(Augmentation.none(), occlude=1.0, occlude_max=0.5, occluder_color_leak=1.0)
    after = hide_points(before, strength, draws=draws(before))
    for name in ("points", "part", "visible"):
        assert torch.equal(getattr(after, name), getattr(before, name)), name
    painted = (after.colors != before.colors).any(-1).float().mean()
    assert 0.15 < painted < 0.35
    assert after.colors.min() >= 0
    assert after.colors.max() <= 1


def test_part_erase_hides_whole_parts() -> None:
    before = clouds(6, 200)
    strength = replace(Augmentation.none(), part_erase=1.0)
    after = hide_points(before, strength, draws=draws(before))
    for part, visible in zip(before.part, after.visible, strict=True):
        lost = part[~visible].unique()
        assert len(lost) in (1, 2)
        assert torch.equal(visible, ~torch.isin(part, lost))


def test_part_erase_spares_a_cloud_of_one_part() -> None:
    before = clouds()
    one = CloudBatch(before.points, before.colors, torch.zeros_like(before.part), before.visible)
    strength = replace(Augmentation.none(), part_erase=1.0)
    after = hide_points(one, strength, draws=draws(one))
    assert after.visible.sum(dim=1).tolist() == [15] * 4


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), hidden=st.sampled_from([0.0, 0.5, 1.0]))
def test_colours_stay_in_range(seed: int, hidden: float) -> None:
    batch = clouds(hidden=hidden)
    colors = batch.colors.clone()
    colors[0] = 0
    colors[1] = 1
    changed = augment_colors(
        colors, batch.points, STRONG, visible=batch.visible, draws=draws(colors, seed)
    )
    assert torch.isfinite(changed).all()
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_contrast_is_about_the_mean_of_the_visible_colours() -> None:
    """Seen colours .4 and .6: they part or meet about .5, whatever is hidden."""
    colors = torch.tensor([0.4, 0.6, 0.9, 0.9])[None, :, None].expand(50, 4, 3)
    visible = torch.tensor([True, True, False, False]).expand(50, 4)
    strength = replace(Augmentation.none(), contrast=0.5)
    points = torch.zeros(50, 4, 3)
    changed = augment_colors(colors, points, strength, visible=visible, draws=draws(colors))
    torch.testing.assert_close(changed[:, :2].mean(dim=1), torch.full((50, 3), 0.5))
    gap = changed[:, 1] - changed[:, 0]
    assert gap.min() >= 0.1
    assert gap.max() <= 0.3
    assert gap.std() > 0.03


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jitter": -0.1}, "jitter must be finite and at least 0"),
        ({"exposure": math.nan}, "exposure must be finite"),
        ({"mirror": 1.5}, r"mirror must be in \[0, 1\]"),
        ({"occlude_max": 0.9}, "at most 0.75"),
        ({"contiguous_dropout": 0.8}, "at most 0.75"),
        ({"scale_range": (1.2, 0.9)}, "two ascending factors above 0"),
        ({"scale_range": (0.0, 0.9)}, "two ascending factors above 0"),
        ({"scale_range": (1.0, math.inf)}, "two ascending factors above 0"),
        ({"saturation": 2.0}, "saturation and contrast must be at most 1"),
    ],
)
def test_strengths_are_checked(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**changes)
