from __future__ import annotations

import colorsys

import pytest
import torch

from og_reid.data.augmentation.identity_color import (
    CHANNEL_ORDERS,
    permute_identities,
    recolor_identities,
    shift_hue,
)
from og_reid.data.keyed_random import KeyedRandom


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(pids: torch.Tensor, seed: int = 0) -> KeyedRandom:
    return KeyedRandom.keyed(seed, pids)


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
    changed, new = recolor_identities(one.expand(5, -1, -1), draws(pids, 2))
    assert new.all()
    assert torch.equal(changed[0], changed[2])
    assert torch.equal(changed[1], changed[4])
    assert not torch.allclose(changed[0], changed[1], atol=0.05)
    assert not torch.allclose(changed[0], changed[3], atol=0.05)
    assert changed.min() >= 0
    assert changed.max() <= 1
    # Brightness in the sense of HSV survives, whatever the hue.
    torch.testing.assert_close(changed.amax(-1), one.expand(5, -1, -1).amax(-1))


def test_permuted_channels_make_new_identities() -> None:
    colors = torch.rand(1, 30, 3, generator=seeded(5)).expand(400, -1, -1)
    labels = torch.arange(200).repeat(2)
    changed, people = permute_identities(colors, labels, draws(labels), probability=0.6)
    assert torch.equal(people // 6, labels)
    assert torch.equal(people[:200], people[200:])
    for order, channels in enumerate(CHANNEL_ORDERS):
        where = people % 6 == order
        assert where.any()
        assert torch.equal(changed[where], colors[where][..., list(channels)])
    assert 0.3 < float((people % 6 == 0).float().mean()) < 0.5
    same, people = permute_identities(colors, labels, draws(labels), probability=0.0)
    assert torch.equal(same, colors)
    assert torch.equal(people, labels * 6)


def test_recolouring_by_probability() -> None:
    colors = torch.rand(200, 4, 3, generator=seeded(5))
    pids = torch.arange(200)
    changed, new = recolor_identities(colors, draws(pids), probability=0.3)
    assert torch.equal((changed == colors).all(2).all(1), ~new)
    assert 0.2 < new.float().mean() < 0.4
    same, new = recolor_identities(colors, draws(pids), probability=0.0)
    assert torch.equal(same, colors)
    assert not new.any()
