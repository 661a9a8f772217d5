"""Pooling over neighbours and gated neighbourhoods: native against the plain-torch twin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from og_reid.ops import gather, gather_rows, in_degree, mean_neighbors, native_info, pool_neighbors
from og_reid.ops.gate import EdgeTerms, gated_max, gated_max_torch
from og_reid.ops.gate_chunks import gated_max_chunks
from og_reid.ops.gather import pool_neighbors_torch, takes_chunks

needs_native = pytest.mark.skipif(
    native_info()["cpu_library"] is None, reason="the native CPU library is not built"
)


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def indices(batch: int, count: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randint(0, count, (batch, *shape), generator=generator)


def close(got: Tensor, want: Tensor) -> bool:
    """Equal up to rounding of sums whose size is that of the largest entry."""
    return bool((got - want).abs().max() <= 2e-5 * want.abs().max() + 1e-6)


def test_pooling_by_hand() -> None:
    x = torch.tensor([[[1.0, 5.0], [2.0, -4.0], [9.0, 0.0]]])
    index = torch.tensor([[[0, 1], [2, 2]]])
    highest, mean = pool_neighbors(x, index)
    assert highest.tolist() == [[[2.0, 5.0], [9.0, 0.0]]]
    assert mean.tolist() == [[[1.5, 0.5], [9.0, 0.0]]]
    assert mean_neighbors(x, index).tolist() == mean.tolist()
    assert gather_rows(x, index).shape == (1, 2, 2, 2)
    assert in_degree(index, 3).tolist() == [[1, 1, 2]]


def test_tied_maximum_sends_its_gradient_to_the_first() -> None:
    x = torch.zeros(1, 3, 8, requires_grad=True)
    highest, _ = pool_neighbors(x, torch.tensor([[[2, 1, 2]]]))
    highest.sum().backward()
    assert x.grad is not None
    assert x.grad[0].sum(1).tolist() == [0.0, 0.0, 8.0]


@needs_native
@pytest.mark.parametrize("channels", [1, 3, 4, 24, 50])
@pytest.mark.parametrize("k", [1, 9, 40])
def test_native_pooling_equals_twin(channels: int, k: int) -> None:
    index = indices(3, 20, 7, k)
    results = []
    for function in (pool_neighbors, pool_neighbors_torch):
        x = seeded(3, 20, channels).requires_grad_()
        outputs = function(x, index)
        loss = sum((y * seeded(*y.shape, seed=5)).sum() for y in outputs)
        results.append([*outputs, *torch.autograd.grad(loss, x)])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@needs_native
def test_pooling_of_a_slice_of_channels() -> None:
    wide, index = seeded(2, 9, 24), indices(2, 9, 4, 3)
    for x in (wide[..., 5:14], wide.transpose(0, 1)[:2].transpose(1, 2)[..., :8]):
        rows = index.clamp(max=x.shape[1] - 1)
        for got, want in zip(pool_neighbors(x, rows), pool_neighbors_torch(x, rows), strict=True):
            torch.testing.assert_close(got, want)
        torch.testing.assert_close(mean_neighbors(x, rows), gather_rows(x, rows).mean(2))


def pooled(function: Callable[..., tuple[Tensor, ...]], x: Tensor, index: Tensor) -> list[Tensor]:
    leaf = x.clone().requires_grad_()
    outputs = function(leaf, index)
    loss = sum((y * seeded(*y.shape, seed=5)).sum() for y in outputs)
    return [*outputs, *torch.autograd.grad(loss, leaf)]


# The native code takes no float64, so these go by chunks wherever they run.
@pytest.mark.parametrize("entries", [1, 500, 1 << 18])
@pytest.mark.parametrize(("channels", "k"), [(1, 1), (3, 9), (48, 20), (5, 255)])
def test_pooling_by_chunks_equals_twin(
    entries: int, channels: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "CHUNK_ENTRIES", entries)
    index, x = indices(3, 20, 7, k), seeded(3, 20, channels).double()
    assert takes_chunks(index, x)
    # Rounded, so that maxima tie and the first of them must be found.
    for values in (x, x.round(), torch.cat([x, x], dim=-1)[..., channels:]):
        results = (pooled(function, values, index) for function in CHUNKED)
        for got, want in zip(*results, strict=True):
            torch.testing.assert_close(got, want)
    mean = mean_neighbors(x, index)
    torch.testing.assert_close(mean, gather_rows(x, index).mean(2))


CHUNKED = (pool_neighbors, pool_neighbors_torch)


def test_pooling_by_chunks_of_nan_and_inf() -> None:
    x = seeded(1, 6, 2).double()
    x[0, 1, 0], x[0, 2, 1], x[0, 3, 1] = torch.nan, torch.inf, -torch.inf
    index = torch.tensor([[[0, 1, 4], [2, 0, 5], [3, 3, 3]]])
    got, want = (pooled(function, x, index) for function in CHUNKED)
    assert torch.equal(got[0].isnan(), want[0].isnan())
    torch.testing.assert_close(got[:2], want[:2], equal_nan=True)


def test_what_goes_by_chunks() -> None:
    index, x = indices(1, 5, 2, 2), seeded(1, 5, 4)
    assert takes_chunks(index, x, x)
    assert not takes_chunks(index, x, x.double())
    assert not takes_chunks(index, x.half())
    assert not takes_chunks(index, x.to("meta"))
    assert not takes_chunks(index[:, :0], x)
    assert not takes_chunks(indices(1, 5, 2, 256), x)
    with torch.autocast("cpu"):
        assert not takes_chunks(index, x)


def test_more_slots_than_a_byte_counts() -> None:
    x, index = seeded(1, 5, 4).double(), indices(1, 5, 2, 300)
    got, want = (pooled(function, x, index) for function in CHUNKED)
    torch.testing.assert_close(got, want)


def test_pooling_keeps_no_gathered_rows() -> None:
    x, index = seeded(2, 50, 8).double().requires_grad_(), indices(2, 50, 50, 40)
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (saved.append(t.nbytes), t)[1], lambda t: t
    ):
        pool_neighbors(x, index)
        mean_neighbors(x, index)
    assert sum(saved) <= 2 * index.nbytes + 2 * 50 * 8


def test_pooling_gradient_in_double() -> None:
    x = seeded(2, 6, 3).double().requires_grad_()
    index = indices(2, 6, 4, 3)
    assert torch.autograd.gradcheck(lambda y: pool_neighbors(y, index), (x,))
    assert torch.autograd.gradcheck(lambda y: mean_neighbors(y, index), (x,))


@needs_native
def test_index_outside_the_cloud_is_refused() -> None:
    index = torch.tensor([[[0, 5]]])
    with pytest.raises(IndexError, match=r"0\.\.4"):
        pool_neighbors(torch.zeros(1, 5, 8), index)
    with pytest.raises(IndexError, match=r"0\.\.4"):
        mean_neighbors(torch.zeros(1, 5, 8), -index)
    with pytest.raises(IndexError, match=r"0\.\.4"):
        gated_max(gate_terms(1, 5, 1, 8, 1), index, seeded(16, 8), moments=False)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="features must be"):
        pool_neighbors(torch.zeros(5, 8), indices(1, 5, 2, 2))
    with pytest.raises(ValueError, match="index must be"):
        pool_neighbors(torch.zeros(2, 5, 8), indices(1, 5, 2, 2))


def gate_terms(batch: int, count: int, centers: int, half: int, reduced: int) -> EdgeTerms:
    return EdgeTerms(
        seeded(batch, count, half, seed=1),
        seeded(batch, centers, half, seed=2),
        seeded(batch, count, reduced, seed=3),
        seeded(batch, centers, reduced, seed=4),
        seeded(half, reduced, seed=5),
        seeded(half, seed=6),
    )


def gate_results(
    function: Callable[..., tuple[Tensor, ...]], terms: EdgeTerms, index: Tensor, weight: Tensor
) -> list[Tensor]:
    leaves = [t.clone().requires_grad_() for t in (*terms, weight)]
    outputs = function(EdgeTerms(*leaves[:6]), index, leaves[6], moments=True)
    loss = sum((y * seeded(*y.shape, seed=7)).sum() for y in outputs)
    return [*outputs, *torch.autograd.grad(loss, leaves)]


# half 24, 48, 96, 192 with reduced 1, 2, 4, 8 are the published sizes; the others take the
# general path; k = 40 is more than one tile of edges, k = 3 and 5 leave edges over.
@needs_native
@pytest.mark.parametrize(
    ("batch", "centers", "k", "half", "reduced", "channels"),
    [
        (3, 7, 5, 24, 1, 48),
        (2, 9, 8, 48, 2, 96),
        (2, 6, 32, 96, 4, 192),
        (3, 4, 40, 32, 3, 16),
        (2, 3, 1, 8, 8, 32),
        (5, 9, 3, 192, 8, 384),
        (2, 5, 16, 128, 5, 256),
    ],
)
def test_native_gate_equals_twin(
    batch: int, centers: int, k: int, half: int, reduced: int, channels: int
) -> None:
    terms = gate_terms(batch, 11, centers, half, reduced)
    index, weight = indices(batch, 11, centers, k), seeded(channels, half, seed=8)
    want = gate_results(gated_max_torch, terms, index, weight)
    for got, expected in zip(gate_results(gated_max, terms, index, weight), want, strict=True):
        assert close(got, expected)


@pytest.mark.parametrize("entries", [1, 700, 1 << 18])
@pytest.mark.parametrize("moments", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gate_by_chunks_equals_twin(
    entries: int, moments: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "CHUNK_ENTRIES", entries)
    terms = EdgeTerms(*(t.to(dtype) for t in gate_terms(3, 11, 7, 24, 2)))
    index, weight = indices(3, 11, 7, 5), seeded(18, 24, seed=8).to(dtype)
    index[..., 3:] = index[..., :1]  # as where a ball has few points: the maximum ties

    def chunks(terms: EdgeTerms, index: Tensor, weight: Tensor, **_: bool) -> tuple[Tensor, ...]:
        return gated_max_chunks(terms, index, weight, moments)

    def twin(terms: EdgeTerms, index: Tensor, weight: Tensor, **_: bool) -> tuple[Tensor, ...]:
        return gated_max_torch(terms, index, weight, moments=moments)

    want = gate_results(twin, terms, index, weight)
    got = gate_results(chunks, terms, index, weight)
    with torch.no_grad():
        without = gated_max_chunks(terms, index, weight, moments)
    for one, other in zip(got, want, strict=True):
        assert close(one, other) if dtype == torch.float32 else torch.allclose(one, other)
    assert all(torch.equal(one, other) for one, other in zip(without, got, strict=False))


def test_gate_by_chunks_keeps_no_rows_of_edges() -> None:
    terms, index = gate_terms(2, 11, 30, 24, 1), indices(2, 11, 30, 32)
    leaves = [t.double().requires_grad_() for t in terms]
    weight = seeded(16, 24, seed=8).double()
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (saved.append(t.nbytes), t)[1], lambda t: t
    ):
        gated_max(EdgeTerms(*leaves), index, weight, moments=True)
    given = sum(t.nbytes for t in (*leaves, index, weight))
    assert sum(saved) <= given + 2 * 30 * 16 + 8 * (24 + 24 * 24)


@needs_native
def test_native_gate_chunks_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from og_reid.ops import gate

    terms, weight = gate_terms(5, 11, 4, 24, 1), seeded(48, 24, seed=8)
    index = indices(5, 11, 4, 6)
    want = gate_results(gated_max, terms, index, weight)
    monkeypatch.setattr(gate, "CHUNK_ENTRIES", 2 * 4 * 6 * 24)  # chunks of two clouds, one over
    torch.set_num_threads(2)
    try:
        got = gate_results(gated_max, terms, index, weight)
    finally:
        torch.set_num_threads(1)
    for one, other in zip(got, want, strict=True):
        assert close(one, other)


@needs_native
def test_gate_saturates_without_overflow() -> None:
    terms = gate_terms(1, 5, 2, 8, 1)
    terms = terms._replace(bias=torch.tensor([200.0, -200, 90, -90, 1, -1, 0, 50]))
    index, weight = indices(1, 5, 2, 3), torch.eye(16, 8)
    got, _, _ = gated_max(terms, index, weight, moments=False)
    want, _, _ = gated_max_torch(terms, index, weight, moments=False)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def test_gate_gradient_in_double_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "CHUNK_ENTRIES", 40)
    test_gate_gradient_in_double()


def test_gate_gradient_in_double() -> None:
    terms = EdgeTerms(*(t.double().requires_grad_() for t in gate_terms(2, 5, 3, 4, 2)))
    weight = seeded(6, 4, seed=8).double().requires_grad_()
    index = indices(2, 5, 3, 3)
    assert torch.autograd.gradcheck(
        lambda *t: gated_max(EdgeTerms(*t[:6]), index, t[6], moments=True), (*terms, weight)
    )


@needs_native
def test_registration() -> None:
    x, index = seeded(2, 9, 8).requires_grad_(), indices(2, 9, 4, 3)
    torch.library.opcheck(torch.ops.og_reid.pool_neighbors.default, (x, index))
    torch.library.opcheck(torch.ops.og_reid.mean_neighbors.default, (x, index))
    terms = gate_terms(2, 9, 4, 8, 1)
    leaves = [t.requires_grad_() for t in terms]
    arguments = (*leaves, index, seeded(16, 8).requires_grad_(), True)
    torch.library.opcheck(torch.ops.og_reid.gated_max.default, arguments, atol=1e-4, rtol=1e-4)
