"""Gated neighbourhoods: every way against the plain-torch twin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from og_reid.ops import gated_max
from og_reid.ops._torch import chunks
from og_reid.ops._torch.gated_pool import gated_max_chunks, gated_max_grad_chunks
from og_reid.ops.gated_pool import EdgeTerms, gated_max_torch
from tensors import close, indices, seeded


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
@pytest.mark.native
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
    monkeypatch.setattr(chunks, "CHUNK_ENTRIES", entries)
    terms = EdgeTerms(*(t.to(dtype) for t in gate_terms(3, 11, 7, 24, 2)))
    index, weight = indices(3, 11, 7, 5), seeded(18, 24, seed=8).to(dtype)  # 18: not native
    index[..., 3:] = index[..., :1]  # as where a ball has few points: the maximum ties

    def run(terms: EdgeTerms, index: Tensor, weight: Tensor, **_: bool) -> tuple[Tensor, ...]:
        return gated_max(terms, index, weight, moments=moments)

    def twin(terms: EdgeTerms, index: Tensor, weight: Tensor, **_: bool) -> tuple[Tensor, ...]:
        return gated_max_torch(terms, index, weight, moments=moments)

    want = gate_results(twin, terms, index, weight)
    got = gate_results(run, terms, index, weight)
    for one, other in zip(got, want, strict=True):
        assert close(one, other) if dtype == torch.float32 else torch.allclose(one, other)


@pytest.mark.native
def test_native_gate_and_chunks_agree() -> None:
    terms, weight = gate_terms(2, 11, 5, 24, 2), seeded(32, 24, seed=8)
    index = indices(2, 11, 5, 6)
    native = torch.ops.og_reid.gated_max(*terms, index, weight, True)
    other = gated_max_chunks(terms, index, weight, True)
    assert all(close(a.float(), b.float()) for a, b in zip(native, other, strict=True))
    given = (seeded(2, 5, 32), seeded(32, seed=1), seeded(32, seed=2))
    inputs, results = [*terms, index, weight], list(native[3:])
    native = torch.ops.og_reid.gated_max_grad(inputs, results, *given)
    other = gated_max_grad_chunks(inputs, results, *given)
    assert all(close(a, b) for a, b in zip(native, other, strict=True))


def test_gate_stays_in_float32_under_autocast() -> None:
    terms, weight = gate_terms(2, 11, 5, 24, 2), seeded(32, 24, seed=8)
    index = indices(2, 11, 5, 6)
    want = gated_max(terms, index, weight, moments=True)
    with torch.autocast("cpu"):
        got = gated_max(terms, index, weight, moments=True)
        mixed = terms._replace(near=terms.near.bfloat16())
        close_by = gated_max(mixed, index, weight, moments=True)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    torch.testing.assert_close(close_by, want, rtol=0.1, atol=0.3)


def test_wrong_gates_are_refused() -> None:
    terms, index, weight = gate_terms(1, 5, 1, 8, 1), torch.tensor([[[0, 5]]]), seeded(16, 8)
    with pytest.raises(IndexError, match="below the number of rows, 5"):
        gated_max(terms, index, weight, moments=False)
    with pytest.raises(IndexError, match=r"0\.\.4"):
        gated_max(terms, -index, weight, moments=False)
    with pytest.raises(ValueError, match="index must be"):
        gated_max(terms, index[0], weight, moments=False)
    leaf = weight.clone().requires_grad_()
    highest, _, _ = gated_max(terms, index.clamp(max=4), leaf, moments=False)
    (first,) = torch.autograd.grad((highest**2).sum(), leaf, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        first.sum().backward()
    with pytest.raises(ValueError, match=r"index must be int64; got torch\.int32"):
        gated_max(terms, index.int(), weight, moments=False)
    with pytest.raises(ValueError, match="must have the shapes"):
        gated_max(terms._replace(bias=seeded(9)), index, weight, moments=False)


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
    assert sum(saved) <= given + 4 * 2 * 30 * 16 + 8 * (24 + 24 * 24)


@pytest.mark.native
def test_native_gate_chunks_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from og_reid.ops._native import gated_pool as native

    terms, weight = gate_terms(5, 11, 4, 24, 1), seeded(48, 24, seed=8)
    index = indices(5, 11, 4, 6)
    want = gate_results(gated_max, terms, index, weight)
    monkeypatch.setattr(native, "CHUNK_ENTRIES", 2 * 4 * 6 * 24)  # chunks of two clouds, one over
    torch.set_num_threads(2)
    try:
        got = gate_results(gated_max, terms, index, weight)
    finally:
        torch.set_num_threads(1)
    for one, other in zip(got, want, strict=True):
        assert close(one, other)


@pytest.mark.native
def test_gate_saturates_without_overflow() -> None:
    terms = gate_terms(1, 5, 2, 8, 1)
    terms = terms._replace(bias=torch.tensor([200.0, -200, 90, -90, 1, -1, 0, 50]))
    index, weight = indices(1, 5, 2, 3), torch.eye(16, 8)
    got, _, _ = gated_max(terms, index, weight, moments=False)
    want, _, _ = gated_max_torch(terms, index, weight, moments=False)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def test_gate_gradient_in_double_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ENTRIES", 40)
    test_gate_gradient_in_double()


def test_gate_gradient_in_double() -> None:
    terms = EdgeTerms(*(t.double().requires_grad_() for t in gate_terms(2, 5, 3, 4, 2)))
    weight = seeded(6, 4, seed=8).double().requires_grad_()
    index = indices(2, 5, 3, 3)
    assert torch.autograd.gradcheck(
        lambda *t: gated_max(EdgeTerms(*t[:6]), index, t[6], moments=True), (*terms, weight)
    )
