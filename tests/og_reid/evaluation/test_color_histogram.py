from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.evaluation.color_histogram import (
    PARTS,
    PartHistograms,
    histogram_distance,
    part_histograms,
    rgb_to_lab,
)

CHEST, FEET = PARTS.index("chest"), PARTS.index("feet")


def cloud_set(clouds: list[tuple[Tensor, Tensor, Tensor]]) -> CloudSet:
    """Of (points, colours in [0, 255], part) each."""
    counts = torch.tensor([0, *(len(points) for points, _, _ in clouds)])
    return CloudSet(
        points=torch.cat([points for points, _, _ in clouds]).half(),
        colors=torch.cat([colors for _, colors, _ in clouds]).to(torch.uint8),
        part=torch.cat([part for _, _, part in clouds]).to(torch.int8),
        visible=torch.ones(int(counts.sum()), dtype=torch.bool),
        ptr=counts.cumsum(0),
        pids=torch.arange(len(clouds)),
        camids=torch.zeros(len(clouds), dtype=torch.int64),
        names=tuple(map(str, range(len(clouds)))),
    )


def person(
    color: tuple[int, int, int], rng: torch.Generator, joints: tuple[int, ...] = tuple(range(24))
) -> tuple[Tensor, Tensor, Tensor]:
    """A person of one colour, 40 points for each of the joints."""
    part = torch.tensor(joints).repeat_interleave(40)
    points = torch.rand(len(part), 3, generator=rng) * 0.4 + part[:, None] * 0.05
    return points, torch.tensor(color).expand(len(part), 3), part


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (53.24, 80.09, 67.20)),
        ((0.0, 0.0, 1.0), (32.30, 79.19, -107.86)),
        ((0.5, 0.5, 0.5), (53.39, 0.0, 0.0)),
        ((0.2, 0.6, 0.9), (60.93, -3.06, -46.84)),
        ((0.02, 0.05, 0.03), (2.99, -2.80, 1.29)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    torch.testing.assert_close(rgb_to_lab(torch.tensor(rgb)), torch.tensor(lab), atol=0.05, rtol=0)


def test_each_seen_part_sums_to_one(rng: torch.Generator) -> None:
    clouds = cloud_set([person((200, 30, 90), rng), person((20, 30, 90), rng, (9, 13, 7))])
    described = part_histograms(clouds)
    assert described.histogram.shape == (2, 13, 6 * 7 * 7)
    sums = described.histogram.sum(-1)
    torch.testing.assert_close(sums[0], torch.ones(13))
    assert (sums[1] > 0.5).nonzero().squeeze(1).tolist() == [CHEST, FEET]
    assert (described.histogram >= 0).all()
    assert (described.visibility[1] > 0).nonzero().squeeze(1).tolist() == [CHEST, FEET]


def test_background_is_left_out(rng: torch.Generator) -> None:
    points, colors, part = person((200, 30, 90), rng)
    wall_colors = torch.cat([colors, torch.full_like(colors, 9)])
    wall_part = torch.cat([part, torch.full_like(part, -1)])
    wall = torch.cat([points, points]), wall_colors, wall_part
    alone = part_histograms(cloud_set([(points, colors, part)]), brightness=0)
    to_device_of = part_histograms(cloud_set([wall]), brightness=0)
    assert torch.equal(alone.histogram, to_device_of.histogram)
    assert torch.equal(alone.visibility, to_device_of.visibility)


@pytest.mark.parametrize("brightness", [0.0, 0.5])
def test_hidden_points_are_left_out(brightness: float, rng: torch.Generator) -> None:
    """White hidden points change neither histograms, nor brightness, nor what counts as seen."""
    shown = person((200, 30, 90), rng)
    white = person((255, 255, 255), rng)
    seen = torch.tensor([True, False]).repeat_interleave(len(shown[2]))
    points, colors, part = map(torch.cat, zip(shown, white, strict=True))
    clouds = cloud_set([(points, colors, part)])
    both = part_histograms(replace(clouds, visible=seen), brightness=brightness)
    alone = part_histograms(cloud_set([shown]), brightness=brightness)
    torch.testing.assert_close(both.histogram, alone.histogram)
    assert torch.equal(both.visibility, alone.visibility)
    everything = part_histograms(clouds, brightness=brightness)
    assert not torch.allclose(everything.histogram, alone.histogram, atol=0.01)


def test_a_part_that_is_hidden_is_not_seen(rng: torch.Generator) -> None:
    points, colors, part = person((200, 30, 90), rng)
    clouds = cloud_set([(points, colors, part)])
    described = part_histograms(replace(clouds, visible=(part == 9) | (part == 7)))
    assert (described.visibility[0] > 0).nonzero().squeeze(1).tolist() == [CHEST, FEET]
    assert (described.histogram[0].sum(-1) > 0.5).nonzero().squeeze(1).tolist() == [CHEST, FEET]
    nothing = part_histograms(replace(clouds, visible=torch.zeros_like(clouds.visible)))
    assert not nothing.histogram.any()
    assert histogram_distance(nothing, described).tolist() == [[1.0]]


def test_visibility_counts_volume_and_not_points(rng: torch.Generator) -> None:
    points, colors, part = person((9, 9, 9), rng, (9,))
    small = (torch.zeros_like(points), colors, part)
    described = part_histograms(cloud_set([(points, colors, part), small]))
    # All 40 points of the second cloud lie in one voxel of the 50 of a whole chest.
    assert described.visibility[1, CHEST] == pytest.approx(1 / 50)
    assert 10 / 50 < described.visibility[0, CHEST] <= 40 / 50


def test_distance_by_hand() -> None:
    histogram = torch.zeros(3, 2, 4)
    histogram[0, 0, 0] = histogram[0, 1, 2] = histogram[1, 1, 3] = histogram[2, 1, 2] = 1
    histogram[1, 0, :2] = 0.5
    visibility = torch.tensor([[1.0, 0.25], [0.25, 1.0], [0.0, 0.0]])
    both = PartHistograms(histogram, visibility)
    distances = histogram_distance(both, both)
    # Part 0: affinity sqrt(1/2), weight 1/2; part 1: affinity 0, weight 1/2.
    expected = (0.5 * math.sqrt(1 - math.sqrt(0.5)) + 0.5 * 1 + 1) / (0.5 + 0.5 + 1)
    assert distances[0, 1].item() == pytest.approx(expected)
    assert distances[0, 0].item() == pytest.approx(1 / (1 + 0.25 + 1), abs=1e-3)
    assert distances[0, 2] == distances[2, 2] == 1


def test_distance_is_symmetric_and_chunks_change_nothing(rng: torch.Generator) -> None:
    clouds = cloud_set(
        [
            person(
                tuple(torch.randint(256, (3,), generator=rng).tolist()), rng, tuple(range(k, 24))
            )
            for k in range(6)
        ]
    )
    described = part_histograms(clouds)
    distances = histogram_distance(described, described)
    torch.testing.assert_close(distances, distances.T)
    assert distances.min() >= 0
    assert distances.max() <= 1
    chunked = part_histograms(clouds, chunk=2)
    torch.testing.assert_close(chunked.histogram, described.histogram)
    again = histogram_distance(chunked, described, chunk=1)
    # The root at an affinity of 1 turns a rounding error of 1e-7 into one of 3e-4.
    torch.testing.assert_close(again, distances, atol=1e-3, rtol=0)


def test_brightness_goes_half_of_the_way(rng: torch.Generator) -> None:
    """Two images of one coat, one twice as bright."""
    dark, light, other = ((40, 60, 30), (80, 120, 60), (60, 30, 80))
    clouds = cloud_set([person(color, rng) for color in (dark, light, other)])

    def distance(brightness: float) -> Tensor:
        described = part_histograms(clouds, brightness=brightness)
        return histogram_distance(described, described)[0]

    plain, half, full = distance(0.0), distance(0.5), distance(1.0)
    assert full[1] < half[1] < plain[1]
    assert full[1] == pytest.approx(full[0].item(), abs=0.01)
    assert half[1] < half[2]


def test_likeness_all_over_beats_likeness_of_a_sleeve(rng: torch.Generator) -> None:
    query = part_histograms(cloud_set([person((90, 20, 20), rng)]))
    gallery = part_histograms(
        cloud_set([person((90, 20, 20), rng, (18,)), person((90, 20, 20), rng)])
    )
    distances = histogram_distance(query, gallery)[0]
    assert distances[1] < distances[0]


def test_bad_input_is_refused(rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match="at least one cloud"):
        part_histograms(cloud_set([person((1, 2, 3), rng)]).select([]))
    with pytest.raises(ValueError, match=r"visibility \(n, parts\)"):
        PartHistograms(torch.zeros(2, 3, 4), torch.zeros(2, 4))
    small = PartHistograms(torch.zeros(2, 3, 4), torch.zeros(2, 3))
    large = PartHistograms(torch.zeros(2, 3, 5), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="same parts and bins"):
        histogram_distance(small, large)
