"""Farthest point sampling: golden vectors, hand-worked cases, properties."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from og_reid.ops import farthest_point_sample, farthest_point_sample_torch
from tensors import seeded

GOLDEN = Path(__file__).parents[2] / "golden" / "ognet"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "ops.safetensors")


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
        assert torch.equal(native, farthest_point_sample_torch(points, m))
        assert all(len(row.unique()) == m for row in native)
    for scale in (1.0, 0.05):  # the smaller one lies in the dead zone for the most part
        for dead_zone in (False, True):
            given = points * scale, count + 3
            native = farthest_point_sample(*given, start="first", dead_zone=dead_zone)
            twin = farthest_point_sample_torch(*given, start="first", dead_zone=dead_zone)
            assert torch.equal(native, twin)


def test_threads_do_not_change_the_samples() -> None:
    x = seeded(5, 90, 3)
    alone = farthest_point_sample(x, 40)
    torch.set_num_threads(3)
    try:
        assert torch.equal(farthest_point_sample(x, 40), alone)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_points_are_refused(value: float) -> None:
    x = torch.zeros(1, 5, 3)
    x[0, 2, 1] = value
    with pytest.raises(ValueError, match="x must be finite"):
        farthest_point_sample(x, 2)


def test_registration() -> None:
    operator = torch.ops.og_reid.farthest_point_sample.default
    torch.library.opcheck(operator, (seeded(2, 9, 3), 4, "farthest", False))
    torch.library.opcheck(operator, (seeded(2, 9, 3), 4, "first", True))
