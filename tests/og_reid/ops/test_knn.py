"""kNN: the native kernel equals the twin, the twin equals arithmetic done by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from interpreter import run_python
from og_reid.ops import knn, knn_torch, native_info
from tensors import seeded


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


def cloud_of(kind: str, count: int, dims: int, seed: int = 0) -> Tensor:
    """Two clouds that stress one property each."""
    x = seeded(2, count, dims, seed=seed)
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


@pytest.mark.native
@pytest.mark.parametrize("kind", ["plain", "far", "grid", "duplicates", "same", "outlier", "tiny"])
@pytest.mark.parametrize(
    ("count", "dims", "k"),
    [(1, 3, 1), (7, 3, 7), (64, 3, 20), (65, 3, 48), (200, 3, 49), (513, 3, 32), (90, 200, 20)],
)
def test_native_equals_twin(kind: str, count: int, dims: int, k: int) -> None:
    x = cloud_of(kind, count, dims)
    assert torch.equal(knn(x, k), knn_torch(x, k))


@pytest.mark.native
@pytest.mark.parametrize("k", [1, 2, 31, 64, 130])
def test_native_equals_twin_up_to_all_points(k: int) -> None:
    x = cloud_of("grid", 130, 2)
    assert torch.equal(knn(x, k), knn_torch(x, k))


@pytest.mark.native
def test_threads_do_not_change_the_result() -> None:
    x, features = seeded(3, 150, 3), seeded(3, 50, 9)
    alone, wide = knn(x, 9), knn(features, 9)
    for threads in (2, 3, 5):
        torch.set_num_threads(threads)
        try:
            assert torch.equal(knn(x, 9), alone)
            assert torch.equal(knn(features, 9), wide)
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


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        knn(torch.zeros(1, 5, 3), k)


@pytest.mark.parametrize("dims", [1, 3, 5])
@pytest.mark.parametrize("find", [knn, knn_torch])
def test_more_neighbors_than_points(find: Callable[..., Any], dims: int) -> None:
    x = torch.zeros(2, 3, dims)
    x[..., 0] = torch.tensor([0.0, 2.0, 5.0])
    index, squared = find(x, 5, return_distances=True)
    assert index[1].tolist() == [[0, 1, 2, -1, -1], [1, 0, 2, -1, -1], [2, 1, 0, -1, -1]]
    inf = float("inf")
    assert squared[0].tolist() == [[0, 4, 25, inf, inf], [0, 4, 9, inf, inf], [0, 9, 25, inf, inf]]


@pytest.mark.parametrize("dims", [1, 3, 5])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("find", [knn, knn_torch])
def test_non_finite_points_have_no_neighbors(
    find: Callable[..., Any], value: float, dims: int
) -> None:
    x = torch.zeros(1, 4, dims)
    x[0, :, 0] = torch.tensor([0.0, 1.0, 0.0, 3.0])
    x[0, 2, -1] = value
    index, squared = find(x, 3, return_distances=True)
    inf = float("inf")
    assert index[0].tolist() == [[0, 1, 3], [1, 0, 3], [-1, -1, -1], [3, 1, 0]]
    assert squared[0, 2].tolist() == [inf, inf, inf]


@pytest.mark.parametrize("find", [knn, knn_torch])
def test_overflowing_distances_are_none(find: Callable[..., Any]) -> None:
    x = torch.tensor([0.0, 3e19, 3e19]).view(1, 3, 1)
    assert find(x, 2)[0].tolist() == [[0, -1], [1, 2], [1, 2]]


@pytest.mark.parametrize("dims", [2, 3, 6])
@pytest.mark.parametrize("find", [knn, knn_torch])
def test_ragged_clouds(find: Callable[..., Any], dims: int) -> None:
    sizes = [0, 5, 1, 0, 40, 0]
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    x = seeded(int(ptr[-1]), dims)
    index, squared = find(x, 4, ptr=ptr, return_distances=True)
    for begin, end in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        alone, near = knn_torch(x[None, begin:end], 4, return_distances=True)
        assert torch.equal(index[begin:end], torch.where(alone[0] < 0, -1, alone[0] + begin))
        assert torch.equal(squared[begin:end], near[0])


@pytest.mark.parametrize("dims", [3, 6])
@pytest.mark.parametrize("find", [knn, knn_torch])
def test_ragged_queries(find: Callable[..., Any], dims: int) -> None:
    ptr, query_ptr = torch.tensor([0, 0, 7, 30]), torch.tensor([0, 2, 6, 6])
    x, query = seeded(30, dims), seeded(6, dims, seed=1)
    index = find(x, 3, ptr=ptr, query=query, query_ptr=query_ptr)
    assert index[:2].tolist() == [[-1] * 3] * 2  # queries to an empty cloud
    expected = knn_torch(x[None, :7], 3, query=query[None, 2:6])
    assert torch.equal(index[2:], expected[0])


@pytest.mark.native
@pytest.mark.parametrize("kind", ["plain", "far", "grid", "duplicates", "same", "outlier", "tiny"])
@pytest.mark.parametrize(
    ("count", "dims", "k"), [(1, 3, 2), (300, 3, 20), (300, 2, 60), (40, 7, 9)]
)
def test_queries_equal_twin(kind: str, count: int, dims: int, k: int) -> None:
    x, query = cloud_of(kind, count, dims), cloud_of("plain", 33, dims) * 2
    found = knn(x, k, query=query, return_distances=True)
    expected = knn_torch(x, k, query=query, return_distances=True)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dims", [3, 6])
def test_gradients_of_distances(dims: int) -> None:
    x, query = seeded(2, 9, dims).requires_grad_(), seeded(2, 4, dims, seed=1).requires_grad_()
    index, squared = knn(x, 12, query=query, return_distances=True)
    weight = seeded(*squared.shape, seed=2).masked_fill(index < 0, 0.0)
    kept = squared.masked_fill(index < 0, 0.0)
    got = torch.autograd.grad((kept * weight).sum(), (x, query))
    rows = torch.arange(2)[:, None, None]
    naive = (query[:, :, None] - x[rows, index.clamp(min=0)]).square().sum(-1)
    expected = torch.autograd.grad((naive * weight).sum(), (x, query))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_gradient_of_own_distances_and_ragged() -> None:
    x = seeded(9, 3).requires_grad_()
    index, squared = knn(x, 3, ptr=torch.tensor([0, 4, 9]), return_distances=True)
    (got,) = torch.autograd.grad(squared.sum(), x)
    (expected,) = torch.autograd.grad((x[:, None] - x[index]).square().sum(), x)
    torch.testing.assert_close(got, expected)
    assert not knn(x, 3, ptr=torch.tensor([0, 4, 9])).requires_grad


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"x": (5, 3)}, "need ptr"),
        ({"x": (1, 5, 3), "query": (2, 4, 3)}, "query must have the clouds"),
        ({"x": (1, 5, 3), "query": (1, 4, 2)}, "query must have the clouds"),
        ({"x": (5, 3), "ptr": [0, 4]}, "ptr must start at 0"),
        ({"x": (5, 3), "ptr": [0, 4, 3, 5]}, "ptr must start at 0"),
        ({"x": (5, 3), "ptr": [1, 5]}, "ptr must start at 0"),
        ({"x": (5, 3), "ptr": [0, 5], "query": (2, 3)}, "come together"),
        ({"x": (5, 3), "ptr": [0, 5], "query_ptr": [0, 5]}, "come with query"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any], match: str) -> None:
    made = {
        name: torch.tensor(value) if "ptr" in name else torch.zeros(value)
        for name, value in arguments.items()
    }
    with pytest.raises(ValueError, match=match):
        knn(made.pop("x"), 2, **made)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 120),
    st.integers(1, 5),
    st.integers(1, 25),
    st.sampled_from(["plain", "far", "grid", "duplicates", "outlier"]),
)
def test_float64_agrees_wherever_float32_can_tell(
    seed: int, count: int, dims: int, k: int, kind: str
) -> None:
    x = cloud_of(kind, count, dims, seed=seed)[:1]
    index, squared = knn(x, k, return_distances=True)
    assert torch.equal(index, knn_torch(x, k))
    kept = min(k, count)
    exact = (x[0, :, None].double() - x[0].double()).square().sum(-1)
    error = 4 * (dims + 2) * torch.finfo(torch.float32).eps * exact  # of a float32 distance
    found = exact.gather(1, index[0, :, :kept])
    best = exact.sort(dim=1).values[:, :kept]
    tolerance = error.gather(1, index[0, :, :kept]) + 1e-30
    assert ((found - best).abs() <= tolerance).all()
    assert ((squared[0, :, :kept].double() - found).abs() <= tolerance).all()


@pytest.mark.native
@pytest.mark.parametrize("level", ["baseline", "x86-64-v3"])
def test_all_levels_agree(level: str) -> None:
    script = (
        "import torch; from og_reid.ops import *;"
        "g = torch.Generator().manual_seed(3); torch.set_num_threads(1);"
        "x = torch.randn(2, 300, 3, generator=g); x[:, ::7] = x[:, 1::7]; x[:, 5] *= 1000;"
        "c = x[:, :40]; f = torch.randn(2, 70, 20, generator=g);"
        "assert torch.equal(knn(x, 20), knn_torch(x, 20));"
        "assert torch.equal(knn(f, 9), knn_torch(f, 9));"
        "assert torch.equal(farthest_point_sample(x, 99), farthest_point_sample_torch(x, 99));"
        "r = ((0.2, 0.7), (5, 40));"
        "assert all(torch.equal(a, b) for o in ('first', 'nearest') for a, b in"
        " zip(ball_query(x, c, *r, order=o), ball_query_torch(x, c, *r, order=o)));"
        "assert torch.equal(radius_count(x, c, r[0]), radius_count_torch(x, c, r[0]));"
        "print(native_info()['cpu_level'])"
    )
    done = run_python(script, OG_REID_CPU_LEVEL=level)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("baseline", level)


def test_wrong_shape_and_dtype_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x must be \(B, N, D\)"):
        knn(torch.zeros(5, 3), 2)
    with pytest.raises(ValueError, match="floating point"):
        knn(torch.zeros(1, 5, 3, dtype=torch.int64), 2)


def test_registration() -> None:
    x, query = seeded(18, 3), seeded(5, 3, seed=1)
    ptr, query_ptr = torch.tensor([0, 9, 18]), torch.tensor([0, 3, 5])
    operator = torch.ops.og_reid.knn.default
    torch.library.opcheck(operator, (x, ptr, x, ptr, 4, True, False))
    x, query = x.requires_grad_(), query.requires_grad_()
    torch.library.opcheck(operator, (x, ptr, query, query_ptr, 4, False, True))


def test_native_info_names_what_is_there() -> None:
    info = native_info()
    assert set(info) == {"cpu_library", "cpu_level", "cuda_library", "cuda_device"}
    assert (info["cpu_library"] is None) == (info["cpu_level"] is None)


def test_missing_library_falls_back_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from og_reid.ops._native import library as native_library

    monkeypatch.delenv("OG_REID_NATIVE", raising=False)
    monkeypatch.setattr(native_library, "_load", lambda name: None)
    native_library.cpu_library.cache_clear()
    x = seeded(1, 30, 3)
    try:
        with pytest.warns(RuntimeWarning, match="native CPU library") as caught:
            first, second = knn(x, 4), knn(x, 4)
        assert len(caught) == 1
        assert torch.equal(first, knn_torch(x, 4))
        assert torch.equal(second, first)
    finally:
        native_library.cpu_library.cache_clear()
