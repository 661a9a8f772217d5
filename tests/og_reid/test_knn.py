"""kNN: the native kernel equals the twin, the twin equals arithmetic done by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from og_reid.ops import knn, knn_torch, native_info

needs_native = pytest.mark.skipif(
    native_info()["cpu_library"] is None, reason="the native CPU library is not built"
)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_points_on_a_line() -> None:
    # 0, 1, 3, 7: each point's neighbours can be read off; point 1 is 1 from 0 and 2 from 3.
    x = torch.tensor([0.0, 1.0, 3.0, 7.0]).view(1, 4, 1)
    expected = [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 2, 1]]
    assert knn(x, 3)[0].tolist() == expected
    assert knn_torch(x, 3)[0].tolist() == expected


def test_ties_go_to_the_lowest_index() -> None:
    # The centre of a square is equally far from its corners; duplicates tie at distance 0.
    square = torch.tensor([[1.0, 1, 0], [-1, 1, 0], [0, 0, 0], [1, -1, 0], [-1, -1, 0]])
    assert knn(square[None], 5)[0, 2].tolist() == [2, 0, 1, 3, 4]
    assert knn(torch.zeros(1, 6, 3), 4)[0].tolist() == [[0, 1, 2, 3]] * 6


def cloud_of(kind: str, count: int, dims: int) -> Tensor:
    """Two clouds that stress one property each."""
    x = seeded(2, count, dims)
    if kind == "far":
        return x + 1000.0
    if kind == "grid":  # ties everywhere
        return (x * 2).round()
    if kind == "duplicates":
        return x[:, torch.arange(count) // 3]
    if kind == "same":
        return torch.zeros_like(x)
    if kind == "outlier":
        x[:, 0] = 1e6
    return x * (1e-20 if kind == "tiny" else 1.0)


@needs_native
@pytest.mark.parametrize("kind", ["plain", "far", "grid", "duplicates", "same", "outlier", "tiny"])
@pytest.mark.parametrize(
    ("count", "dims", "k"),
    [(1, 3, 1), (7, 3, 7), (64, 3, 20), (65, 3, 48), (200, 3, 49), (513, 3, 32), (90, 200, 20)],
)
def test_native_equals_twin(kind: str, count: int, dims: int, k: int) -> None:
    x = cloud_of(kind, count, dims)
    assert torch.equal(knn(x, k), knn_torch(x, k))


@needs_native
@pytest.mark.parametrize("k", [1, 2, 31, 64, 130])
def test_native_equals_twin_up_to_all_points(k: int) -> None:
    x = cloud_of("grid", 130, 2)
    assert torch.equal(knn(x, k), knn_torch(x, k))


@needs_native
def test_threads_do_not_change_the_result() -> None:
    x = seeded(3, 150, 3)
    alone = knn(x, 9)
    torch.set_num_threads(2)
    try:
        assert torch.equal(knn(x, 9), alone)
    finally:
        torch.set_num_threads(1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 6), st.integers(1, 3))
def test_rows_are_sorted_complete_and_exact(seed: int, count: int, k: int, spread: int) -> None:
    k = min(k, count)
    # Multiples of 1/4 up to 8: squared distances are exact in float32 and in float64.
    x = (seeded(1, count, 3, seed=seed) * spread).clamp(-8, 8).mul(4).round().div(4)
    index = knn(x, k)[0]
    exact = (x[0, :, None].double() - x[0].double()).square().sum(-1)
    order = exact.argsort(dim=1, stable=True)  # stable: ties stay in index order
    assert torch.equal(index, order[:, :k])


def test_offset_loses_nothing() -> None:
    # On multiples of 2^-7 an offset of 1000 m is exact, so the neighbours must be the same. The
    # expanded form |a|^2 - 2ab + |b|^2 finds few of them there.
    x = seeded(1, 300, 3).mul(128).round().div(128)
    assert torch.equal(knn(x + 1000.0, 9), knn(x, 9))


def test_far_from_all_ties_float64_agrees() -> None:
    x = seeded(1, 200, 16)
    exact = torch.cdist(x.double(), x.double(), compute_mode="donot_use_mm_for_euclid_dist")
    near = exact.sort(dim=-1)
    gap = (near.values[..., 1:9] - near.values[..., :8]).amin()
    assert gap > 1e-6, "the sample has near-ties: take another seed"
    assert torch.equal(knn(x, 8), near.indices[..., :8])


def test_other_dtypes_and_strides() -> None:
    x = seeded(2, 3, 40)
    view = x.transpose(1, 2)
    assert torch.equal(knn(view, 5), knn(view.contiguous(), 5))
    assert torch.equal(knn(view.double(), 5), knn(view, 5))
    half = view.half()
    assert torch.equal(knn(half, 5), knn(half.float(), 5))


def test_empty_batch() -> None:
    assert knn(torch.zeros(0, 5, 3), 2).shape == (0, 5, 2)


@pytest.mark.parametrize("k", [0, -1, 6])
def test_k_outside_the_cloud_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=r"k must be in 1\.\.N.*N=5"):
        knn(torch.zeros(1, 5, 3), k)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e19])
def test_values_without_a_distance_are_refused(value: float) -> None:
    x = torch.zeros(1, 5, 3)
    x[0, 3, 1] = value
    with pytest.raises(ValueError, match="x must be finite"):
        knn(x, 2)


def test_wrong_shape_and_dtype_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x must be \(B, N, D\)"):
        knn(torch.zeros(5, 3), 2)
    with pytest.raises(ValueError, match="floating point"):
        knn(torch.zeros(1, 5, 3, dtype=torch.int64), 2)


def test_registration() -> None:
    torch.library.opcheck(torch.ops.og_reid.knn.default, (seeded(2, 9, 3), 4))


def test_native_info_names_what_is_there() -> None:
    info = native_info()
    assert set(info) == {"cpu_library", "cpu_level", "cuda_library", "cuda_device"}
    assert (info["cpu_library"] is None) == (info["cpu_level"] is None)


def test_missing_library_falls_back_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from og_reid.ops import _library

    monkeypatch.setattr(_library, "_load", lambda name: None)
    _library.cpu_library.cache_clear()
    x = seeded(1, 30, 3)
    try:
        with pytest.warns(RuntimeWarning, match="native CPU library") as caught:
            first, second = knn(x, 4), knn(x, 4)
        assert len(caught) == 1
        assert torch.equal(first, knn_torch(x, 4))
        assert torch.equal(second, first)
    finally:
        _library.cpu_library.cache_clear()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("count", "dims", "k"), [(1, 3, 1), (513, 3, 32), (4096, 3, 20), (90, 200, 90)]
)
def test_cuda_equals_twin(count: int, dims: int, k: int) -> None:
    for kind in ("plain", "far", "grid", "same"):
        x = cloud_of(kind, count, dims)
        assert torch.equal(knn(x.cuda(), k).cpu(), knn_torch(x, k))
