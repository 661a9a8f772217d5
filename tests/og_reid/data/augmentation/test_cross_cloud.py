from __future__ import annotations

import pytest
import torch
from torch import Tensor

from og_reid.data.augmentation.cross_cloud import CameraStyles, swap_background
from og_reid.data.clouds.batch import CloudBatch
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.data.keyed_random import KeyedRandom


def cloud(part: list[list[int]], seed: int) -> CloudBatch:
    generator = torch.Generator().manual_seed(seed)
    parts = torch.tensor(part)
    return CloudBatch(
        torch.randn(*parts.shape, 3, generator=generator),
        torch.rand(*parts.shape, 3, generator=generator),
        parts,
        torch.rand(parts.shape, generator=generator) < 0.5,
    )


def test_backgrounds_are_swapped_point_by_point() -> None:
    mine = cloud([[0, -1, 3, -1, -1], [-1, -1, 2, 2, 2], [0, 1, 2, -1, -1]], 1)
    other = cloud([[-1, 5, 5, -1, 5], [4, 4, 4, 4, -1], [0, 0, 0, 0, 0]], 2)
    swapped = swap_background(mine, other, torch.tensor([True, False, True]))
    source = [[None, 0, None, 3, 0], [None] * 5, [None] * 5]
    for row in range(3):
        for place in range(5):
            origin, at = (
                (mine, place) if source[row][place] is None else (other, source[row][place])
            )
            for name in ("points", "colors", "visible"):
                expected = getattr(origin, name)[row, at]
                assert torch.equal(getattr(swapped, name)[row, place], expected), (row, place)
    assert torch.equal(swapped.part, mine.part)


def camera_set(casts: Tensor) -> CloudSet:
    """Grey clouds with noise, shifted by the cast of their camera; four of each."""
    generator = torch.Generator().manual_seed(0)
    count, points = 4 * len(casts), 50
    colors = 0.5 + 0.1 * torch.randn(count, points, 3, generator=generator)
    colors = colors + casts.repeat(4, 1)[:, None]
    return CloudSet(
        points=torch.randn(count * points, 3, generator=generator).half(),
        colors=(colors.clamp(0, 1) * 255).to(torch.uint8).flatten(0, 1),
        part=torch.zeros(count * points, dtype=torch.int8),
        visible=torch.ones(count * points, dtype=torch.bool),
        ptr=torch.arange(count + 1) * points,
        pids=torch.arange(count),
        camids=torch.tensor([3, 8]).repeat(4),
        names=tuple(map(str, range(count))),
    )


def test_colours_move_to_another_camera() -> None:
    casts = torch.tensor([[0.1, 0.0, -0.1], [-0.1, 0.05, 0.1]])
    clouds = camera_set(casts)
    styles = CameraStyles.measure(clouds, num_points=50)
    assert styles.camids.tolist() == [3, 8]
    torch.testing.assert_close(styles.mean, 0.5 + casts, atol=0.025, rtol=0)
    torch.testing.assert_close(styles.spread, torch.full((2, 3), 0.1), atol=0.02, rtol=0)
    batch = clouds.batch(torch.arange(8), 50)
    styled = styles.restyle(batch, clouds.camids, KeyedRandom.keyed(1, torch.arange(8)))
    mean = styled.colors.mean(1)
    near = (mean[:, None] - styles.mean).norm(dim=2)
    target = near.argmin(1)
    assert near.amin(1).max() < 0.06, "each has the look of one of the cameras"
    source = torch.tensor([0, 1]).repeat(4)
    moved = target != source
    assert 0 < moved.sum() < 8, "some stay with their own"
    assert torch.equal(styled.colors[~moved], batch.colors[~moved])
    # Of one pixel, by hand: (c - m) * s' / s + m'.
    row = int(moved.nonzero()[0])
    a, b = int(source[row]), int(target[row])
    expected = (batch.colors[row, 0] - styles.mean[a]) * styles.spread[b] / styles.spread[a]
    torch.testing.assert_close(styled.colors[row, 0], (expected + styles.mean[b]).clamp(0, 1))


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_one_camera_or_none_changes_nothing(probability: float) -> None:
    clouds = camera_set(torch.zeros(2, 3))
    one = CameraStyles(torch.tensor([3, 8]), torch.zeros(2, 3), torch.ones(2, 3))
    batch = clouds.batch(torch.arange(8), 50)
    same = one.restyle(
        batch, clouds.camids, KeyedRandom.keyed(1, torch.arange(8)), probability=probability
    )
    torch.testing.assert_close(same.colors, batch.colors)
