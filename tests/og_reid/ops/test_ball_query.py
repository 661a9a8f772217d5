"""Ball query: golden vectors, hand-worked cases, the native kernel equals the twin."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from og_reid.ops import (
    ball_query,
    ball_query_torch,
    nearest_in_radius,
    radius_count,
    radius_count_torch,
)
from tensors import seeded

GOLDEN = Path(__file__).parents[2] / "golden" / "ognet"
ORDERS: tuple[Literal["first", "nearest"], ...] = ("first", "nearest")


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "ops.safetensors")


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
    module = importlib.import_module("og_reid.ops.ball_query")  # the package names the function
    x, centers = seeded(2, 60, 3) * 0.2, seeded(2, 17, 3, seed=1) * 0.2
    radii, counts = (0.1, 0.3), (4, 9)
    whole = {order: ball_query(x, centers, radii, counts, order=order) for order in ORDERS}
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 700)  # several blocks of centres
    for order, expected in whole.items():
        for got, want in zip(
            ball_query_torch(x, centers, radii, counts, order=order), expected, strict=True
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
        ((1, 5, 3), (1, 2, 3), (-0.1,), (3,), "radii must be at least 0"),
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


def cloud_of(kind: str, count: int) -> Tensor:
    """Two clouds that stress one property each."""
    x = seeded(2, count, 3) * 0.5
    if kind == "grid":
        return (x * 4).round() / 4
    if kind == "duplicates":
        return x[:, torch.arange(count) // 3]
    if kind == "same":
        return torch.ones_like(x)
    if kind == "outlier":
        x[:, 0] = 1e6
    if kind == "broken":
        x[:, ::2] = float("nan")
        x[:, 1::4, 0] = float("inf")
    return x + 1000 if kind == "far" else x


@pytest.mark.parametrize(
    "kind", ["plain", "far", "grid", "duplicates", "same", "outlier", "broken"]
)
@pytest.mark.parametrize("count", [1, 2, 9, 300])
@pytest.mark.parametrize(
    ("radii", "counts"),
    [
        ((0.1, 0.2, 0.4), (8, 16, 32)),
        ((0.5,), (64,)),
        ((0.0, 0.25, 1e30, float("inf")), (3, 4, 400, 5)),
    ],
)
def test_native_equals_twin(
    kind: str, count: int, radii: tuple[float, ...], counts: tuple[int, ...]
) -> None:
    x, centers = cloud_of(kind, count), seeded(2, 21, 3, seed=1) * 0.5
    centers[:, : min(count, 5)] = x[:, :5]
    centers[0, 7] = float("nan")
    for order in ORDERS:
        native = ball_query(x, centers, radii, counts, order=order)
        twin = ball_query_torch(x, centers, radii, counts, order=order)
        for one, other in zip(native, twin, strict=True):
            assert torch.equal(one, other)
    assert torch.equal(radius_count(x, centers, radii), radius_count_torch(x, centers, radii))


def test_counts_by_hand() -> None:
    x = torch.zeros(1, 4, 3)
    x[0, :, 0] = torch.tensor([0.0, 0.5, 1.0, 1.0])
    # Strictly inside: the points at exactly 1 are not within radius 1.
    assert radius_count(x, torch.zeros(1, 1, 3), (0.5, 1.0, 1.01)).tolist() == [[[1, 2, 4]]]


def test_more_radii_than_the_kernel_takes() -> None:
    x = seeded(1, 50, 3)
    radii = tuple(0.1 * number for number in range(20))
    assert torch.equal(radius_count(x, x, radii), radius_count_torch(x, x, radii))


def test_threads_do_not_change_the_balls() -> None:
    x = seeded(3, 80, 3)
    alone = [ball_query(x, x, (0.5, 1.0), (5, 20), order=order) for order in ORDERS]
    torch.set_num_threads(3)
    try:
        again = [ball_query(x, x, (0.5, 1.0), (5, 20), order=order) for order in ORDERS]
    finally:
        torch.set_num_threads(1)
    for one, other in zip(alone, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_registration() -> None:
    x, centers = seeded(2, 9, 3), seeded(2, 4, 3)
    for order in ORDERS:
        torch.library.opcheck(
            torch.ops.og_reid.ball_query.default, (x, centers, [0.5, 1.0], [2, 3], order)
        )
    torch.library.opcheck(torch.ops.og_reid.radius_count.default, (x, centers, [0.5, 1.0]))
