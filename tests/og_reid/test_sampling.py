"""Farthest point sampling and ball query: golden vectors, hand-worked cases, properties."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from og_reid.ops import ball_query, farthest_point_sample, nearest_in_radius
from og_reid.ops.sampling import _sample_torch

GOLDEN = Path(__file__).parents[1] / "golden" / "ognet"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "ops.safetensors")


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("cloud", "m", "expected"),
    [
        ("a.xyz", 64, "a.fps64"),
        ("a.xyz", 300, "a.fps300"),
        ("b.xyz", 40, "b.fps40"),
        ("c.xyz", 12, "c.fps12"),
    ],
)
def test_reference_sampling_is_golden(
    golden: dict[str, Tensor], cloud: str, m: int, expected: str
) -> None:
    picked = farthest_point_sample(golden[cloud], m, start="first", dead_zone=True)
    assert torch.equal(picked, golden[expected].long())


def test_reference_sampling_of_dead_points_is_golden(golden: dict[str, Tensor]) -> None:
    zeros = torch.zeros(1, 40, 3)
    picked = farthest_point_sample(zeros, 5, start="first", dead_zone=True)
    assert torch.equal(picked, golden["c.zero_fps5"].long())


def test_sampling_a_line() -> None:
    # Centroid 3.2: 10 is farthest from it, then 0, then 3 (3 from 0), then 2 and 1 tie at 1.
    x = torch.zeros(1, 5, 3)
    x[0, :, 0] = torch.tensor([0.0, 1, 2, 3, 10])
    assert farthest_point_sample(x, 5).tolist() == [[4, 0, 3, 1, 2]]
    assert farthest_point_sample(x, 3, start="first").tolist() == [[0, 4, 3]]


def test_dead_zone_skips_points_near_the_origin() -> None:
    x = torch.tensor([[[1.0, 0, 0], [0.031, 0, 0], [0.032, 0, 0], [0.5, 0, 0]]])
    # 0.031^2 < 1e-3 < 0.032^2: point 1 is dead, point 2 is live and the farthest from point 0.
    assert farthest_point_sample(x, 3, start="first", dead_zone=True).tolist() == [[0, 2, 3]]
    assert farthest_point_sample(x, 2, start="first").tolist() == [[0, 1]]


def test_robust_sampling_never_repeats_and_is_a_prefix() -> None:
    x = seeded(2, 50, 3)
    x[:, 25:] = x[:, :25]  # every point twice
    full = farthest_point_sample(x, 50)
    assert torch.equal(full.sort(1).values, torch.arange(50).expand(2, 50))
    assert torch.equal(farthest_point_sample(x, 20), full[:, :20])


def test_robust_sampling_ignores_order_and_place() -> None:
    x = seeded(1, 80, 3)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    picked = farthest_point_sample(x, 30)
    permuted = farthest_point_sample(x[:, order] + 4.0, 30)
    assert torch.equal(order[permuted], picked)


def test_samples_cover_the_cloud() -> None:
    # After m picks every point is at most as far from a pick as the last pick was.
    x = seeded(1, 100, 3)
    picked = farthest_point_sample(x, 12)[0]
    distance = torch.cdist(x[0], x[0, picked])
    assert distance.amin(1).amax() <= distance[picked[-1], :-1].amin() + 1e-6


@pytest.mark.parametrize(("shape", "m"), [((1, 5, 3), 6), ((1, 5, 3), 0), ((1, 0, 3), 1)])
def test_impossible_samples_are_refused(shape: tuple[int, ...], m: int) -> None:
    with pytest.raises(ValueError, match=r"m must be in 1\.\.N"):
        farthest_point_sample(torch.zeros(shape), m)


def test_sampling_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, N, 3\)"):
        farthest_point_sample(torch.zeros(5, 3), 2)


def test_reference_balls_are_golden(golden: dict[str, Tensor]) -> None:
    balls = ball_query(
        golden["a.xyz"], golden["d.new_xyz"], (0.1, 0.2, 0.4), (8, 16, 32), order="first"
    )
    for ball, name in zip(balls, ("0.1_8", "0.2_16", "0.4_32"), strict=True):
        assert torch.equal(ball, golden[f"d.ball_{name}"].long())


def test_reference_ball_is_strict_and_pads_small_clouds(golden: dict[str, Tensor]) -> None:
    x = golden["d.strict_xyz"]
    (ball,) = ball_query(x, x, (0.5,), (4,), order="first")
    assert torch.equal(ball, golden["d.strict_r0.5_n4"].long())


def test_ball_orders_differ_where_they_should() -> None:
    x = torch.zeros(1, 5, 3)
    x[0, :, 0] = torch.tensor([0.3, 0.0, 0.1, 0.2, 0.9])
    center = torch.zeros(1, 1, 3)
    (first,) = ball_query(x, center, (0.5,), (3,), order="first")
    (nearest,) = ball_query(x, center, (0.5,), (3,), order="nearest")
    assert first.tolist() == [[[0, 1, 2]]]
    assert nearest.tolist() == [[[1, 2, 3]]]


def test_nearest_ball_pads_with_the_nearest() -> None:
    x = torch.zeros(1, 3, 3)
    x[0, :, 0] = torch.tensor([0.3, 0.05, 2.0])
    balls = ball_query(x, torch.zeros(1, 1, 3), (0.1, 0.5), (2, 5), order="nearest")
    assert balls[0].tolist() == [[[1, 1]]]
    assert balls[1].tolist() == [[[1, 0, 1, 1, 1]]]
    # Without any hit: reference zeros, robust the nearest point all the same.
    far = torch.full((1, 1, 3), 9.0)
    assert ball_query(x, far, (0.1,), (2,), order="first")[0].tolist() == [[[0, 0]]]
    assert ball_query(x, far, (0.1,), (2,), order="nearest")[0].tolist() == [[[2, 2]]]


def test_balls_equal_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    from og_reid.ops import sampling

    x, centers = seeded(2, 60, 3) * 0.2, seeded(2, 17, 3, seed=1) * 0.2
    radii, counts = (0.1, 0.3), (4, 9)
    whole = {
        order: ball_query(x, centers, radii, counts, order=order) for order in ("first", "nearest")
    }
    monkeypatch.setattr(sampling, "BLOCK_ENTRIES", 700)  # several blocks of centres
    for order, expected in whole.items():
        for got, want in zip(
            ball_query(x, centers, radii, counts, order=order), expected, strict=True
        ):
            assert torch.equal(got, want)
    squared = (centers[:, :, None] - x[:, None]).square().sum(-1)
    for scale, (radius, count) in enumerate(zip(radii, counts, strict=True)):
        for b in range(2):
            for i in range(17):
                hits = (squared[b, i] < radius * radius).nonzero().flatten().tolist()
                row = ([*hits, *([hits[0]] * count)] if hits else [0] * count)[:count]
                assert whole["first"][scale][b, i].tolist() == row
                near = sorted(hits, key=lambda j: float(squared[b, i, j]))
                pad = int(squared[b, i].argmin())
                row = [*near, *([pad] * count)][:count]
                assert whole["nearest"][scale][b, i].tolist() == row


def test_nested_radii_from_one_neighbour_list() -> None:
    index = torch.tensor([[[4, 7, 1]]])
    squared = torch.tensor([[[0.0, 0.02, 0.5]]])
    small, large = nearest_in_radius(index, squared, (0.1, 0.2), (2, 4))
    assert small.tolist() == [[[4, 4]]]
    assert large.tolist() == [[[4, 7, 4, 4]]]


def test_no_centres() -> None:
    (ball,) = ball_query(torch.zeros(2, 5, 3), torch.zeros(2, 0, 3), (0.1,), (3,))
    assert ball.shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("x", "centers", "radii", "counts", "match"),
    [
        ((1, 0, 3), (1, 2, 3), (0.1,), (3,), "N >= 1"),
        ((1, 5, 3), (2, 2, 3), (0.1,), (3,), "centers must be"),
        ((1, 5, 3), (1, 2, 3), (0.1,), (3, 4), "pair up"),
        ((1, 5, 3), (1, 2, 3), (0.1,), (0,), "pair up"),
    ],
)
def test_wrong_balls_are_refused(
    x: tuple[int, ...],
    centers: tuple[int, ...],
    radii: tuple[float, ...],
    counts: tuple[int, ...],
    match: str,
) -> None:
    with pytest.raises(ValueError, match=match):
        ball_query(torch.zeros(x), torch.zeros(centers), radii, counts)


@pytest.mark.parametrize("kind", ["random", "grid", "duplicates", "same", "far"])
@pytest.mark.parametrize("count", [1, 2, 7, 100, 1000])
def test_native_sampler_equals_its_twin(kind: str, count: int, rng: torch.Generator) -> None:
    points = torch.randn(3, count, 3, generator=rng)
    if kind == "grid":
        points = (points * 2).round()
    elif kind == "duplicates":
        points = points[:, torch.randint(count, (count,), generator=rng) // 2]
    elif kind == "same":
        points = points[:, :1].expand(3, count, 3)
    elif kind == "far":
        points = points + 1000
    for m in {1, (count + 1) // 2, count}:
        native = farthest_point_sample(points, m, start="farthest")
        assert torch.equal(native, _sample_torch(points, m, "farthest", False))
        assert all(len(row.unique()) == m for row in native)
