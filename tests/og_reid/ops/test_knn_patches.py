"""Neighbours by patches: bit by bit those of the exhaustive search, on clouds that stress it."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from og_reid.ops import knn, knn_torch
from og_reid.ops._torch import knn_patches as patches
from og_reid.ops._torch.knn_patches import nearest_in_patches, patches_apply


class Exhaustive:
    """Every distance and a stable sort; counts the points it was asked about."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, points: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        self.asked += queries.shape[1]
        squared = torch.zeros(*queries.shape[:2], points.shape[1])
        for axis in range(points.shape[2]):
            squared += (queries[:, :, axis, None] - points[:, None, :, axis]).square()
        near, index = squared.sort(dim=-1, stable=True)
        return near[..., :k], index[..., :k]


def seeded(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def cloud_of(kind: str, count: int, dims: int = 3) -> Tensor:
    """Two clouds that stress one property each; a surface is what the patches are made for."""
    x = seeded(2, count, dims)
    surface = torch.nn.functional.normalize(x, dim=-1)
    changed = {
        "volume": x,
        "surface": surface,
        "far": surface + 1000.0,
        "half": surface.half().float(),  # some ties
        "grid": (x * 2).round(),  # ties everywhere
        "duplicates": surface[:, torch.arange(count) // 3],
        "same": torch.ones_like(x),
        "line": x[..., :1] * torch.ones(dims),
        "tiny": surface * 1e-20,  # squares underflow
        "huge": surface * 3e18,
        "outlier": torch.cat([surface[:, 1:], torch.full((2, 1, dims), 1e6)], dim=1),
        "clusters": surface * 1e-3 + (x > 0) * 10.0,
    }
    return changed[kind].contiguous()


KINDS = "volume surface far half grid duplicates same line tiny huge outlier clusters".split()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "k"), [(512, 1), (1000, 20), (777, 64)])
def test_equals_exhaustive_search(kind: str, count: int, k: int) -> None:
    x = cloud_of(kind, count)
    assert patches_apply(x, k)
    near, index = nearest_in_patches(x, k, Exhaustive())
    want_near, want_index = Exhaustive()(x, x, k)
    assert torch.equal(index, want_index)
    assert torch.equal(near, want_near)


# Sizes below LEAST_POINTS are slower but right, too: one patch, one point, k = N.
@pytest.mark.parametrize(("count", "k"), [(1, 1), (5, 5), (40, 40), (65, 9), (130, 64)])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_small_clouds_and_dimensions(count: int, k: int, dims: int) -> None:
    for kind in ("volume", "grid"):
        x = cloud_of(kind, count, dims)
        for got, want in zip(
            nearest_in_patches(x, k, Exhaustive()), Exhaustive()(x, x, k), strict=True
        ):
            assert torch.equal(got, want)


def test_few_points_of_a_surface_are_left_over() -> None:
    exhaustive = Exhaustive()
    nearest_in_patches(cloud_of("surface", 2000), 20, exhaustive)
    assert exhaustive.asked < 40


@pytest.mark.parametrize("searched", [1, 2])
def test_too_few_patches_leave_points_over_and_stay_right(
    searched: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "SEARCHED", searched)
    x, exhaustive = cloud_of("surface", 600), Exhaustive()
    _, index = nearest_in_patches(x, 12, exhaustive)
    assert exhaustive.asked > 100
    assert torch.equal(index, Exhaustive()(x, x, 12)[1])


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    x = cloud_of("half", 700)
    want = nearest_in_patches(x, 9, Exhaustive())
    monkeypatch.setattr(patches, "CHUNK_ENTRIES", 1)
    for got, expected in zip(nearest_in_patches(x, 9, Exhaustive()), want, strict=True):
        assert torch.equal(got, expected)


def test_which_clouds_are_taken() -> None:
    x = cloud_of("surface", 600)
    assert patches_apply(x, 20)
    assert not patches_apply(x, 65)
    assert not patches_apply(x[:, :511], 20)
    assert not patches_apply(x[:0], 20)
    assert not patches_apply(x.double(), 20)
    assert not patches_apply(x.repeat(1, 1, 2), 20)
    assert not patches_apply(x.to("meta"), 20)
    for value in (float("nan"), float("inf"), -float("inf"), 1e19):
        bad = x.clone()
        bad[1, 3, 1] = value
        assert not patches_apply(bad, 20)


@pytest.mark.parametrize("distances", [False, True])
def test_knn_takes_patches_where_the_native_library_is_missing(
    monkeypatch: pytest.MonkeyPatch, distances: bool
) -> None:
    taken: list[int] = []

    def watched(points: Tensor, k: int, exhaustive: patches.Search) -> tuple[Tensor, Tensor]:
        taken.append(k)
        return nearest_in_patches(points, k, exhaustive)

    module = sys.modules["og_reid.ops.knn"]  # the package has a function of that name
    monkeypatch.setattr(module, "usable_on_cpu", lambda *_: False)
    monkeypatch.setattr(module, "nearest_in_patches", watched)
    x = cloud_of("surface", 600)
    found = knn(x, 9, return_distances=distances)
    expected = knn_torch(x, 9, return_distances=distances)
    for one, other in zip(
        *((found, expected) if distances else ([found], [expected])), strict=True
    ):
        assert torch.equal(one, other)
    first = x[:1]  # its first rows have the address of the cloud
    assert torch.equal(knn(first, 9, query=first[:, :5]), knn_torch(first, 9, query=first[:, :5]))
    assert taken == [9]
