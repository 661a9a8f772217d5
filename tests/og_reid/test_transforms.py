from __future__ import annotations

import colorsys
import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from og_reid.data.transforms import (
    Augmentation,
    augment,
    augment_colors,
    augment_points,
    hide_points,
    mirror_x,
    recolor_identities,
    rotate_y,
    shift_hue,
)

STRONG = Augmentation(
    rotate_full=0.5, scale=0.3, drop=0.75, occlude=1.0, occlude_max=0.75, part_erase=1.0,
    gain=2.0, gamma=1.0, white_balance=1.0, saturation=1.0, contrast=1.0, brightness=1.0, noise=1.0,
)  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(batch: int = 4, count: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded(9)
    points = torch.randn(batch, count, 3, generator=generator)
    colors = torch.rand(batch, count, 3, generator=generator)
    return points, colors, torch.randint(24, (batch, count), generator=generator)


def test_no_strength_is_the_identity() -> None:
    before = clouds()
    after = augment(*before, Augmentation.none(), generator=seeded())
    for left, right in zip(before, after, strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("strength", [Augmentation(), STRONG])
def test_the_generator_decides(strength: Augmentation) -> None:
    before = clouds()
    copies = [tensor.clone() for tensor in before]
    first = augment(*before, strength, generator=seeded(1))
    again = augment(*before, strength, generator=seeded(1))
    other = augment(*before, strength, generator=seeded(2))
    for left, right, different in zip(first, again, other, strict=True):
        assert torch.equal(left, right)
        assert not torch.equal(left, different)
    for left, right in zip(before, copies, strict=True):
        assert torch.equal(left, right), "inputs must not change"


@pytest.mark.parametrize("name", [field.name for field in fields(Augmentation)])
def test_every_strength_does_something(name: str) -> None:
    helpers = {
        "occlude_max": {"occlude": 1.0},
        "leak": {"occlude": 1.0, "occlude_max": 0.5},
        "occlude": {"occlude_max": 0.5},
    }
    without = replace(Augmentation.none(), **helpers.get(name, {}))
    value = 0.5 if name != "rotate" else 40.0
    changed = augment(*clouds(), replace(without, **{name: value}), generator=seeded(3))
    plain = augment(*clouds(), without, generator=seeded(3))
    assert any(not torch.equal(left, right) for left, right in zip(changed, plain, strict=True))


def test_mirror_undoes_itself() -> None:
    points, _, _ = clouds()
    flip = torch.tensor([True, False, True, False])
    once = mirror_x(points, flip)
    assert torch.equal(once[1], points[1])
    assert torch.equal(once[0, :, 0], -points[0, :, 0])
    assert torch.equal(once[..., 1:], points[..., 1:])
    assert torch.equal(mirror_x(once, flip), points)


def test_rotation_by_a_quarter_turns_z_into_x() -> None:
    points = torch.tensor([[[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]]])
    turned = rotate_y(points, torch.tensor([math.pi / 2]))
    expected = torch.tensor([[[1.0, 2.0, 0.0], [0.0, 0.0, -1.0]]])
    torch.testing.assert_close(turned, expected, atol=1e-6, rtol=0)


def test_rotation_keeps_lengths_and_undoes_itself() -> None:
    points, _, _ = clouds()
    angle = torch.tensor([0.3, -2.0, 3.1, 0.0])
    turned = rotate_y(points, angle)
    torch.testing.assert_close(turned.norm(dim=-1), points.norm(dim=-1))
    torch.testing.assert_close(rotate_y(turned, -angle), points, atol=1e-5, rtol=1e-5)


def test_small_rotation_stays_small() -> None:
    points = torch.tensor([[[0.0, 0.0, 1.0]]]).expand(500, 1, 3)
    strength = replace(Augmentation.none(), rotate=10.0)
    turned = augment_points(points, strength, generator=seeded())
    angle = torch.atan2(turned[..., 0], turned[..., 2]).rad2deg()
    assert angle.abs().max() <= 10.001
    assert angle.max() > 8
    assert angle.min() < -8
    full = augment_points(points, replace(strength, rotate_full=1.0), generator=seeded())
    assert torch.atan2(full[..., 0], full[..., 2]).rad2deg().abs().max() > 170


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 40))
def test_occluders_never_empty_a_cloud(seed: int, count: int) -> None:
    points, colors, part = clouds(8, count)
    strength = replace(STRONG, leak=0.0, jitter=0.0)
    hidden, _, _ = hide_points(points, colors, part, strength, generator=seeded(seed))
    for before, after in zip(points, hidden, strict=True):
        rows = {tuple(row) for row in after.tolist()}
        assert rows <= {tuple(row) for row in before.tolist()}
        assert len(rows) >= count / 4


def test_points_keep_their_colour_and_part() -> None:
    points, colors, part = clouds()
    strength = replace(Augmentation.none(), occlude=1.0, occlude_max=0.7, drop=0.5)
    after = hide_points(points, colors, part, strength, generator=seeded())
    before = torch.cat([points, colors, part[..., None]], dim=-1)
    joined = torch.cat([after[0], after[1], after[2][..., None]], dim=-1)
    for row in range(len(points)):
        assert (joined[row][:, None] == before[row]).all(-1).any(1).all()


def test_occluders_hide_the_drawn_share_of_some_clouds() -> None:
    points, colors, part = clouds(400, 50)
    strength = replace(Augmentation.none(), occlude=0.5, occlude_max=0.6)
    hidden, _, _ = hide_points(points, colors, part, strength, generator=seeded())
    left = torch.tensor([len(cloud.unique(dim=0)) for cloud in hidden]) / 50
    assert left.min() >= 0.4
    assert left.min() < 0.45
    assert 0.4 < (left < 1).float().mean() < 0.6


def test_a_leaking_occluder_paints_and_removes_nothing() -> None:
    points, colors, part = clouds(50)
    strength = replace(Augmentation.none(), occlude=1.0, occlude_max=0.5, leak=1.0)
    after = hide_points(points, colors, part, strength, generator=seeded())
    assert torch.equal(after[0], points)
    assert torch.equal(after[2], part)
    painted = (after[1] != colors).any(-1).float().mean()
    assert 0.15 < painted < 0.35
    assert after[1].min() >= 0
    assert after[1].max() <= 1


def test_part_erase_removes_whole_parts() -> None:
    points, colors, part = clouds(6, 200)
    strength = replace(Augmentation.none(), part_erase=1.0)
    after = hide_points(points, colors, part, strength, generator=seeded())
    for row in range(6):
        lost = set(part[row].tolist()) - set(after[2][row].tolist())
        assert len(lost) in (1, 2)
        kept = int((~torch.isin(part[row], torch.tensor(sorted(lost)))).sum())
        assert len(after[0][row].unique(dim=0)) == kept


def test_part_erase_spares_a_cloud_of_one_part() -> None:
    points, colors, part = clouds()
    strength = replace(Augmentation.none(), part_erase=1.0)
    after = hide_points(points, colors, torch.zeros_like(part), strength, generator=seeded())
    assert all(len(cloud.unique(dim=0)) == 15 for cloud in after[0])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_colours_stay_in_range(seed: int) -> None:
    points, colors, _ = clouds()
    colors[0] = 0
    colors[1] = 1
    changed = augment_colors(colors, points, STRONG, generator=seeded(seed))
    assert torch.isfinite(changed).all()
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_hue_shift_matches_colorsys() -> None:
    colors = torch.rand(3, 50, 3, generator=seeded())
    colors[0, :3] = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [1.0, 0.0, 1.0]])
    shift = torch.tensor([0.0, 1 / 3, 0.77])
    shifted = shift_hue(colors, shift)
    for row in range(3):
        for color, result in zip(colors[row].tolist(), shifted[row].tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*color)
            expected = colorsys.hsv_to_rgb((hue + float(shift[row])) % 1, saturation, value)
            assert result == pytest.approx(expected, abs=2e-6)


def test_a_third_of_a_turn_is_a_channel_rotation() -> None:
    colors = torch.rand(1, 20, 3, generator=seeded(1))
    shifted = shift_hue(colors, torch.tensor([1 / 3]))
    torch.testing.assert_close(shifted, colors.roll(1, dims=-1), atol=1e-5, rtol=0)


def test_an_identity_is_recoloured_as_one() -> None:
    one = torch.rand(1, 30, 3, generator=seeded(5))
    pids = torch.tensor([4, 9, 4, 7, 9])
    changed = recolor_identities(one.expand(5, -1, -1), pids, seeded(2))
    assert torch.equal(changed[0], changed[2])
    assert torch.equal(changed[1], changed[4])
    assert not torch.allclose(changed[0], changed[1], atol=0.05)
    assert not torch.allclose(changed[0], changed[3], atol=0.05)
    assert changed.min() >= 0
    assert changed.max() <= 1
    # Brightness in the sense of HSV survives, whatever the hue.
    torch.testing.assert_close(changed.amax(-1), one.expand(5, -1, -1).amax(-1))


def test_recolouring_by_probability() -> None:
    colors = torch.rand(200, 4, 3, generator=seeded(5))
    pids = torch.arange(200)
    same = (recolor_identities(colors, pids, seeded(), probability=0.3) == colors).all(2).all(1)
    assert 0.6 < same.float().mean() < 0.8
    assert torch.equal(recolor_identities(colors, pids, seeded(), probability=0.0), colors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jitter": -0.1}, "jitter must be finite and at least 0"),
        ({"gain": math.nan}, "gain must be finite"),
        ({"mirror": 1.5}, r"mirror must be in \[0, 1\]"),
        ({"occlude_max": 0.9}, "at most 0.75"),
        ({"saturation": 2.0}, "saturation and contrast must be at most 1"),
    ],
)
def test_strengths_are_checked(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**changes)
