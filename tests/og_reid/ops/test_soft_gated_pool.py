"""Soft gated pooling: by hand, and native code against the plain-torch twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from og_reid.ops import EdgeNorm, EdgeTerms
from og_reid.ops._native import gated_pool as native
from og_reid.ops.soft_gated_pool import soft_gated_max, soft_gated_max_torch
from tensors import close, indices, results, seeded, weights

Gated = tuple[EdgeTerms, Tensor, Tensor, EdgeNorm]


def gated(
    batch: int, centers: int, k: int, half: int, reduced: int, channels: int, count: int = 11
) -> Gated:
    """Terms, edge weights, projection and a norm with scales of both signs, one of them 0."""
    terms = EdgeTerms(
        seeded(batch, count, half, seed=1),
        seeded(batch, centers, half, seed=2),
        seeded(batch, count, reduced, seed=3),
        seeded(batch, centers, reduced, seed=4),
        seeded(half, reduced, seed=5),
        seeded(half, seed=6),
    )
    norm = EdgeNorm(seeded(channels, seed=10), seeded(channels, seed=11))
    norm.scale[0] = 0
    return terms, weights(batch, centers, k), seeded(channels, half, seed=8) * half**-0.5, norm


def gated_results(function: Callable[..., Any], work: Gated, index: Tensor) -> list[Tensor]:
    terms, edge_weight, weight, norm = work
    moment_weight = edge_weight * weights(*edge_weight.shape[:2], 1, seed=5)

    def pool(*inputs: Tensor) -> tuple[Tensor, ...]:
        edges, learnt = EdgeTerms(*inputs[:6]), norm._replace(scale=inputs[7], shift=inputs[8])
        found: tuple[Tensor, ...] = function(
            edges, index, edge_weight, moment_weight, inputs[6], learnt
        )
        return found

    return results(pool, (*terms, weight, norm.scale, norm.shift))


def test_gated_max_by_hand() -> None:
    # Half of 2 * z, as gates without a slope are one half.
    rows = torch.tensor([[[2.0], [8.0], [-18.0]]])
    zeros = torch.zeros(1, 1, 1)
    terms = EdgeTerms(rows, zeros, rows * 0, zeros, zeros[0], torch.zeros(1))
    norm = EdgeNorm(*(torch.tensor([each]) for each in (2.0, 1.0, 1.0, 4.0)), 0.0)
    index, edge_weight = torch.tensor([[[0, 1, 2]]]), torch.tensor([[[1.0, 0.25, 1.0]]])
    highest, *found = soft_gated_max(
        terms, index, edge_weight, edge_weight, torch.tensor([[1.0]]), norm
    )
    # Normalised they are 1, 4 and -9; weighted 1, 1 and 0.
    assert float(highest) == 1.0
    assert not found[0].numel()
    gone = soft_gated_max(terms, index, edge_weight * 0, edge_weight, torch.tensor([[1.0]]), norm)
    assert float(gone[0]) == 0.0


# Published sizes, one of the general path, edges over, one edge.
@pytest.mark.native
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("batch", "centers", "k", "half", "reduced", "channels"),
    [
        (3, 7, 5, 24, 1, 48),
        (2, 9, 8, 48, 2, 96),
        (3, 4, 40, 32, 3, 16),
        (2, 5, 9, 192, 8, 384),
        (3, 9, 1, 8, 8, 32),
    ],
)
def test_native_gate_equals_twin(
    batch: int, centers: int, k: int, half: int, reduced: int, channels: int, known: bool
) -> None:
    work, index = gated(batch, centers, k, half, reduced, channels), indices(batch, 11, centers, k)
    if known:
        moments = {
            "mean": seeded(channels, seed=12),
            "variance": seeded(channels, seed=13).square(),
        }
        work = (*work[:3], work[3]._replace(**moments))
    got, want = (gated_results(f, work, index) for f in (soft_gated_max, soft_gated_max_torch))
    for one, other in zip(got, want, strict=True):
        assert close(one, other)


@pytest.mark.native
def test_native_gate_by_chunks_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    work, index = gated(5, 4, 6, 24, 1, 48), indices(5, 11, 4, 6)
    want = gated_results(soft_gated_max, work, index)
    monkeypatch.setattr(native, "CHUNK_ENTRIES", 2 * 4 * 6 * 24)  # chunks of two clouds, one over
    torch.set_num_threads(2)
    try:
        got = gated_results(soft_gated_max, work, index)
    finally:
        torch.set_num_threads(1)
    for one, other in zip(got, want, strict=True):
        assert close(one, other)


@pytest.mark.parametrize("known", [False, True])
def test_gradients_in_double(known: bool) -> None:
    terms, edge_weight, weight, norm = gated(2, 3, 4, 4, 2, 6, count=5)
    index = indices(2, 5, 3, 4)
    norm.scale[0] = 0.5  # with 0 all edges of full weight are as good, which is a kink
    if known:
        norm = norm._replace(mean=seeded(6, seed=12), variance=seeded(6, seed=13).square())
    norm = EdgeNorm(*(None if each is None else each.double() for each in norm[:4]))
    edge_weight = 0.8 * edge_weight + 0.1
    leaves = [
        t.double().requires_grad_() for t in (*terms, weight, norm.scale, norm.shift, edge_weight)
    ]

    def pool(*inputs: Tensor) -> Tensor:
        learnt = norm._replace(scale=inputs[7], shift=inputs[8])
        edges, edge_weight = EdgeTerms(*inputs[:6]), inputs[9]
        return soft_gated_max(edges, index, edge_weight, edge_weight, inputs[6], learnt)[0]

    assert torch.autograd.gradcheck(pool, leaves, fast_mode=True)


def test_weights_that_are_learnt_take_the_twin() -> None:
    terms, edge_weight, weight, norm = gated(2, 3, 4, 8, 1, 16)
    index, edge_weight = indices(2, 11, 3, 4), edge_weight.requires_grad_()
    highest, *_ = soft_gated_max(terms, index, edge_weight, edge_weight, weight, norm)
    (grad,) = torch.autograd.grad(highest.sum(), edge_weight)
    assert grad.any()


def test_nan_is_passed_on() -> None:
    terms, edge_weight, weight, norm = gated(1, 3, 5, 8, 1, 16)
    index = indices(1, 4, 3, 5)
    index[0, 1] = 2
    terms.near[0, 2] = torch.nan
    for function in (soft_gated_max, soft_gated_max_torch):
        highest, *_ = function(terms, index, edge_weight, edge_weight, weight, norm)
        assert highest[0, 1].isnan().all()


@pytest.mark.native
@pytest.mark.parametrize("wrong", [-1, 4])
def test_neighbors_must_be_there(wrong: int) -> None:
    terms, edge_weight, weight, norm = gated(1, 1, 2, 8, 1, 16, count=4)
    with pytest.raises(IndexError, match="index must be"):
        soft_gated_max(terms, torch.tensor([[[0, wrong]]]), edge_weight, edge_weight, weight, norm)


def test_moments_under_autocast_are_in_single_precision() -> None:
    terms, edge_weight, *rest = gated(2, 3, 4, 8, 1, 16)
    work = (terms, indices(2, 11, 3, 4), edge_weight, edge_weight, *rest)
    want = soft_gated_max(*work)[1:]
    with torch.autocast("cpu", torch.bfloat16):
        got = soft_gated_max(*work)[1:]
    for ours, theirs in zip(got, want, strict=True):
        assert ours.dtype == torch.float32
        assert close(ours, theirs)
