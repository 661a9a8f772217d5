"""The CUDA kernels without a GPU: compiled for a CPU, whose threads play those of a block."""

from __future__ import annotations

import ctypes
import importlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from local_features import images
from og_reid.ops import (
    ball_query_torch,
    farthest_point_sample_torch,
    fps,
    gather,
    knn_torch,
    late_interaction_torch,
    pool,
    radius_count_torch,
)
from og_reid.ops._native import knn as knn_native
from og_reid.ops._native import library as native_library
from og_reid.ops.gather import gather_neighbors_torch
from og_reid.ops.neighbor_index import edges_csr, in_degree
from og_reid.ops.pool import pool_neighbors_torch
from tensors import seeded

# The package has functions of these names.
KNN, BALL, LATE = (
    importlib.import_module(f"og_reid.ops.{name}")
    for name in ("knn", "ball_query", "late_interaction")
)
ROOT = Path(__file__).resolve().parents[3]
KERNELS = ROOT / "og_reid" / "csrc" / "cuda"
COMPILER = shutil.which("g++")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if COMPILER is None or not KERNELS.is_dir():
        pytest.skip("needs g++ and the sources of the kernels")
    folder = tmp_path_factory.mktemp("cuda_on_cpu")
    flags = ["-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-w"]
    sources = [flag for path in sorted(KERNELS.glob("*.cu")) for flag in ("-x", "c++", str(path))]
    include = f"-I{ROOT / 'tests' / 'shared' / 'cuda_on_cpu'}"
    target = folder / "kernels.so"
    subprocess.run([COMPILER, *flags, include, *sources, "-o", str(target)], check=True)
    library = ctypes.CDLL(str(target))
    library.og_reid_knn_curve_workspace.restype = ctypes.c_int64
    return library


@pytest.fixture(autouse=True)
def _on_this(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the operators' GPU side take tensors on a CPU and run the emulated kernels."""
    monkeypatch.setattr(native_library, "cuda_library", lambda: library)
    for module in (KNN, fps, BALL, pool, gather):
        monkeypatch.setattr(module, "usable_on_gpu", lambda *_: True)
        monkeypatch.setattr(module, "usable_on_cpu", lambda *_: False)
    monkeypatch.setattr(gather, "pool_grad_cpu", gather.pool_grad_cuda)
    for name in ("late_interaction", "late_grad"):
        monkeypatch.setattr(LATE, f"{name}_cpu", getattr(LATE, f"{name}_cuda"))


def kinds(batch: int, count: int, dims: int) -> dict[str, Tensor]:
    plain = seeded(batch, count, dims)
    broken = plain.clone()
    broken[:, ::5, 0], broken[:, 1::7, -1] = torch.nan, torch.inf
    return {
        "plain": plain,
        "grid": (plain * 2).round(),
        "same": torch.zeros_like(plain),
        "not finite": broken,
    }


@pytest.mark.parametrize(
    ("count", "dims", "k"),
    [(1, 3, 1), (70, 3, 9), (65, 17, 33), (65, 3, 70), (40, 2, 128), (30, 3, 140)],
)
def test_knn(count: int, dims: int, k: int) -> None:
    for x in kinds(2, count, dims).values():
        starts = count * torch.arange(3)
        rows = x.flatten(0, 1)
        squared, index = KNN._knn_on_gpu(rows, starts, rows, starts, k, True, True)
        want, near = knn_torch(x, k, return_distances=True)
        assert torch.equal(index.view_as(want), want)
        assert torch.equal(squared.view_as(near), near)


@pytest.mark.parametrize("k", [4, 150])
def test_knn_of_ragged_queries(k: int) -> None:
    # Empty clouds at both ends and between; a tile of queries reaches over several clouds.
    ptr, query_ptr = (
        torch.tensor([0, 0, 7, 90, 90, 91, 91]),
        torch.tensor([0, 3, 9, 80, 85, 86, 86]),
    )
    x, query = seeded(91, 3), seeded(86, 3, seed=1)
    _, index = KNN._knn_on_gpu(x, ptr, query, query_ptr, k, False, False)
    assert torch.equal(index, knn_torch(x, k, ptr=ptr, query=query, query_ptr=query_ptr))


def hard(batch: int, count: int, dims: int) -> dict[str, Tensor]:
    """What is known to be hard for a spatial index."""
    plain = seeded(batch, count, dims, seed=3)
    far, huge, flat = plain.clone(), plain.clone(), plain.clone()
    far[:, 0] = 1e4
    huge[:, ::7] *= 1e19  # their squares overflow
    flat[..., 0] = 2.0
    mostly = plain.clone()
    mostly[:, : count * 2 // 3] = mostly[:, :1]
    return {
        **kinds(batch, count, dims),
        "shifted": plain + 1000.0,
        "every point five times": plain[:, torch.arange(count) // 5],
        "two thirds equal": mostly,
        "outlier": far,
        "huge": huge,
        "flat": flat,
        "tiny": plain * 1e-30,
        "signs of zero": torch.where(plain > 0, 0.0, -0.0),
        "nothing finite": torch.full_like(plain, torch.nan),
    }


@pytest.fixture
def along_curve(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Send clouds of any size to the spatial index; what was started is listed."""
    started: list[str] = []
    start = knn_native.start_on_gpu
    monkeypatch.setattr(knn_native, "CURVE_POINTS", 0)
    monkeypatch.setattr(
        knn_native, "start_on_gpu", lambda name, *rest: (started.append(name), start(name, *rest))
    )
    return started


# 1,100 points are more than one group of leaves.
@pytest.mark.parametrize(
    ("count", "dims", "k"),
    [(1, 3, 1), (33, 3, 33), (70, 3, 9), (40, 1, 20), (40, 2, 70), (40, 3, 128), (1100, 3, 4)],
)
def test_knn_along_a_curve(count: int, dims: int, k: int, along_curve: list[str]) -> None:
    for name, x in hard(2, count, dims).items():
        if count > 1000 and name != "outlier":  # a query costs milliseconds here
            continue
        x = x if count < 1000 else x[:1]
        starts = count * torch.arange(len(x) + 1)
        rows = x.flatten(0, 1).contiguous()
        squared, index = KNN._knn_on_gpu(rows, starts, rows, starts, k, True, True)
        want, near = knn_torch(x, k, return_distances=True)
        assert torch.equal(index.view_as(want), want), name
        assert torch.equal(squared.view_as(near), near), name
    assert set(along_curve) == {"og_reid_knn_curve_places_cuda", "og_reid_knn_curve_cuda"}


@pytest.mark.parametrize("k", [4, 40])
def test_knn_along_a_curve_of_ragged_queries(k: int, along_curve: list[str]) -> None:
    ptr, query_ptr = (
        torch.tensor([0, 0, 7, 89, 89, 90, 90]),
        torch.tensor([0, 3, 9, 20, 25, 28, 28]),
    )
    for name, x in hard(1, 90, 3).items():
        query = torch.cat([x[0, ::9], seeded(18, 3, seed=1) * 3])
        given = (x[0].contiguous(), ptr, query, query_ptr)
        _, index = KNN._knn_on_gpu(*given, k, False, False)
        want = knn_torch(x[0], k, ptr=ptr, query=query, query_ptr=query_ptr)
        assert torch.equal(index, want), name
        own = x[0].contiguous()
        _, index = KNN._knn_on_gpu(own, ptr, own, ptr, k, False, False)
        assert torch.equal(index, knn_torch(own, k, ptr=ptr)), name
    assert "og_reid_knn_cuda" not in along_curve


def test_knn_along_a_curve_does_not_trust_ptr(along_curve: list[str]) -> None:
    x, ptr = seeded(99, 3), torch.tensor([-4, 50, 999])
    _, index = KNN._knn_on_gpu(x, ptr, x, ptr, 3, False, False)
    assert torch.equal(index, knn_torch(x, 3, ptr=torch.tensor([0, 50, 99])))
    for wrong in ([5, 50, 80], [60, 20, 99], [99, 99, 99]):  # no right answer, but an end
        ptr = torch.tensor(wrong)
        _, index = KNN._knn_on_gpu(x, ptr, x, ptr, 3, False, False)
        assert index.min() >= -1
        assert index.max() < 99
    # Rows before the first cloud and after the last are of none.
    ptr = torch.tensor([5, 50, 80])
    _, index = KNN._knn_on_gpu(x, ptr, x, ptr, 3, False, False)
    inside = knn_torch(x[5:80], 3, ptr=torch.tensor([0, 45, 75])) + 5
    assert torch.equal(index[5:80], inside)
    assert bool((index[:5] == -1).all())
    assert bool((index[80:] == -1).all())


def test_small_clouds_and_many_neighbours_are_searched_through(
    along_curve: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, ptr = seeded(150, 3), torch.tensor([0, 150])
    KNN._knn_on_gpu(x, ptr, x, ptr, 129, True, False)
    KNN._knn_on_gpu(x.repeat(1, 2), ptr, x.repeat(1, 2), ptr, 3, True, False)
    monkeypatch.setattr(knn_native, "CURVE_POINTS", 151)
    KNN._knn_on_gpu(x, ptr, x, ptr, 3, True, False)
    assert along_curve == ["og_reid_knn_cuda"] * 3


def test_knn_does_not_trust_ptr() -> None:
    x = seeded(9, 3)
    _, index = KNN._knn_on_gpu(
        x, torch.tensor([-4, 5, 99]), x, torch.tensor([0, 5, 9]), 3, False, 0
    )
    assert torch.equal(index, knn_torch(x, 3, ptr=torch.tensor([0, 5, 9])))


# 1,000 and 5,000 points are kept in 2 and 16 places per thread, 8,200 in the workspace.
@pytest.mark.parametrize(("count", "m"), [(1, 1), (40, 40), (1000, 9), (5000, 3), (8200, 3)])
@pytest.mark.parametrize(("start", "dead"), [("farthest", False), ("first", True)])
def test_sampling(count: int, m: int, start: Any, dead: bool) -> None:
    for name in ("plain", "grid", "same"):
        x = kinds(2, count, 3)[name]
        x[:, : count // 3] *= 0.01
        got = fps._sample_on_gpu(x, m, start, dead)
        assert torch.equal(got, farthest_point_sample_torch(x, m, start=start, dead_zone=dead))


def test_sampling_never_picks_what_is_not_finite() -> None:
    x = seeded(1, 60, 3)
    x[0, 5:20] = torch.nan
    picks = fps._sample_on_gpu(x, 45, "farthest", False)
    assert sorted(picks[0].tolist()) == [*range(5), *range(20, 60)]


@pytest.mark.parametrize("order", ["first", "nearest"])
def test_balls(order: Any) -> None:
    radii, counts = (0.3, 1.0, 50.0), (4, 40, 90)
    for x in kinds(2, 75, 3).values():
        centers = torch.cat([x[:, :9], seeded(2, 4, 3, seed=2) * 3], dim=1)
        got = BALL._ball_on_gpu(x, centers, list(radii), list(counts), order)
        want = ball_query_torch(x, centers, radii, counts, order=order)
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
        number = BALL._count_on_gpu(x, centers, list(radii))
        assert torch.equal(number, radius_count_torch(x, centers, radii))


def missing(batch: int, count: int, *shape: int) -> Tensor:
    return torch.randint(-2, count, (batch, *shape), generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize(("channels", "k"), [(1, 1), (5, 9), (40, 4), (300, 3), (3, 300)])
def test_pooling(channels: int, k: int) -> None:
    x, index = (seeded(3, 20, channels) * 2).round().requires_grad_(), missing(3, 20, 7, k)
    index[:, 0] = -1
    highest, mean, argument = pool._pool(x.detach(), index, True)
    want = pool_neighbors_torch(x, index)
    assert torch.equal(highest, want[0])
    torch.testing.assert_close(mean, want[1])
    torch.testing.assert_close(pool._mean(x.detach(), index), want[1])
    given = seeded(*mean.shape, seed=3), seeded(*mean.shape, seed=4)
    rule = pool.pool_grad_chunks(*given, argument, index, 20)
    torch.testing.assert_close(pool._grad(*given, argument, index, 20), rule)
    (alone,) = torch.autograd.grad(want[1], x, given[1])
    torch.testing.assert_close(pool._grad(None, given[1], None, index, 20), alone)


def test_pooling_of_a_view_and_of_what_is_beyond() -> None:
    wide, index = seeded(2, 9, 24), missing(2, 9, 4, 3)
    got = pool._pool(wide[..., 5:14], index, True)[:2]
    torch.testing.assert_close(got, pool_neighbors_torch(wide[..., 5:14], index))
    far = torch.where(index < 0, 9 + index.abs() * 1000, index)  # no neighbours either
    again = pool._pool(wide[..., 5:14], far, True)[:2]
    assert all(torch.equal(a, b) for a, b in zip(got, again, strict=True))


def test_gathering() -> None:
    x, index = seeded(2, 9, 5).requires_grad_(), missing(2, 9, 4, 3)
    want = gather_neighbors_torch(x, index)
    assert torch.equal(gather._gather(x.detach(), index), want)
    given = seeded(*want.shape, seed=3)
    (grad,) = torch.autograd.grad(want, x, given)
    torch.testing.assert_close(gather._gather_grad(given, index, 9), grad)


def test_edges_by_their_ends() -> None:
    index = missing(2, 9, 6, 4)
    order, ends = edges_csr(index, 9)
    assert torch.equal(ends.diff(prepend=ends.new_zeros(1)), in_degree(index, 9).flatten())
    row = index + torch.tensor([0, 9]).view(2, 1, 1)
    for j in range(18):
        found = order[0 if j == 0 else int(ends[j - 1]) : int(ends[j])]
        assert found.tolist() == [
            e for e in range(48) if row.flatten()[e] == j and index.flatten()[e] >= 0
        ]


@pytest.mark.native
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 37, 40, 3), (40, 33, 70, 6)])
def test_late_interaction(shape: tuple[int, int, int, int], symmetric: bool) -> None:
    cells, others, channels, parts = shape
    query = images(3, cells, channels, parts, seed=cells)
    gallery = images(2, others, channels, parts, seed=others)
    query[1][1] = 0
    query[2][2:] = gallery[2][1:] = 1
    gallery[0][0, 0, 0] = torch.nan
    for got, want in zip(
        LATE.late_interaction(*query, *gallery, symmetric=symmetric),
        late_interaction_torch(*query, *gallery, symmetric=symmetric),
        strict=True,
    ):
        torch.testing.assert_close(got, want, equal_nan=True, atol=3e-6, rtol=0)


@pytest.mark.native
@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gradient_of_late_interaction(symmetric: bool, every: bool) -> None:
    sides = [*images(3, 9, 20, 3), *images(2, 11, 20, 3, seed=1)]
    sides[1][2] = 0
    given = seeded(2, 3, 2, seed=3)
    found = []
    for body in (LATE.late_interaction, late_interaction_torch):
        leaves = [each.clone() for each in sides]
        wanted = leaves if every else [leaves[0], leaves[3], leaves[4], leaves[7]]
        for each in wanted:
            each.requires_grad_()
        results = body(*leaves, symmetric=symmetric)
        found.append(
            torch.autograd.grad(results, wanted, list(given), materialize_grads=True)
            if every
            else torch.autograd.grad(results[0], wanted, given[0])
        )
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_wrong_sizes_are_refused() -> None:
    x, ptr = seeded(5, 3), torch.tensor([0, 5])
    with pytest.raises(RuntimeError, match="refused its sizes"):
        KNN._knn_on_gpu(x, ptr, x, ptr, 0, True, True)
