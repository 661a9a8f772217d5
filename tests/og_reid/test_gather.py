"""Pooling over neighbours and gated neighbourhoods: native against the plain-torch twin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from og_reid.ops import gather_rows, in_degree, mean_neighbors, native_info, pool_neighbors
from og_reid.ops.gate import EdgeTerms, gated_max, gated_max_torch
from og_reid.ops.gather import pool_neighbors_torch

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
