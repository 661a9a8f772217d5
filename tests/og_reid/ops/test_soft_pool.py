"""Pooling over neighbours that fade: by hand, and native code against the plain-torch twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from og_reid.ops import EdgeNorm, EdgeTerms
from og_reid.ops._native import gated_pool as native
from og_reid.ops.soft_gated_pool import soft_gated_max, soft_gated_max_torch
from og_reid.ops.soft_pool import (
    soft_mean,
    soft_mean_torch,
    soft_moments,
    soft_moments_torch,
    soft_pool,
    soft_pool_torch,
)
from tensors import close, indices, seeded


def weights(*shape: int, seed: int = 4) -> Tensor:
    """Between 0 and 1, some of them 0, some 1; the first centre has none."""
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.rand(*shape, generator=generator) * 1.6 - 0.3).clamp(0, 1)
    weight[0, 0] = 0
    return weight


def results(function: Callable[..., Any], inputs: Sequence[Tensor]) -> list[Tensor]:
    """What a function of some tensors returns, and the gradients of a loss of it."""
    leaves = [each.clone().requires_grad_() for each in inputs]
    outputs = function(*leaves)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    loss = sum((y * seeded(*y.shape, seed=7).to(y)).sum() for y in outputs if y.requires_grad)
    assert isinstance(loss, Tensor)
    return [*outputs, *torch.autograd.grad(loss, leaves)]


def test_pool_by_hand() -> None:
    features = torch.tensor([[[1.0, 4.0], [3.0, 4.0], [9.0, 0.0]]])
    index = torch.tensor([[[0, 1, 2], [2, 2, 1]]])
    weight = torch.tensor([[[1.0, 0.5, 0.5], [0.0, 0.0, 0.0]]])
    mean, highest = soft_pool(features, index, weight)
    assert mean.tolist() == [[[3.5, 3.0], [0.0, 0.0]]]
    assert highest.tolist() == [[[2.75, 1.0], [0.0, 0.0]]]
    assert torch.equal(soft_mean(features, index, weight), mean)


# Channels of whole registers, of none, and more than a block of them; k that needs wide slots.
SHAPES = [(3, 7, 5, 24), (2, 9, 12, 384), (2, 4, 3, 7), (1, 5, 1, 1), (2, 3, 300, 20)]


@pytest.mark.native
@pytest.mark.parametrize(("batch", "centers", "k", "channels"), SHAPES)
@pytest.mark.parametrize("learnt", [False, True])
def test_native_pool_equals_twin(
    batch: int, centers: int, k: int, channels: int, learnt: bool
) -> None:
    features, index = seeded(batch, 11, channels), indices(batch, 11, centers, k)
    weight = weights(batch, centers, k)
    inputs = (features, weight) if learnt else (features,)
    for ours, twin in ((soft_pool, soft_pool_torch), (soft_mean, soft_mean_torch)):
        got, want = (results(lambda x, w=weight, f=f: f(x, index, w), inputs) for f in (ours, twin))
        for one, other in zip(got, want, strict=True):
            assert close(one, other)


@pytest.mark.native
def test_native_pool_takes_a_slice_of_channels() -> None:
    features, index, weight = seeded(2, 6, 40), indices(2, 6, 4, 3), weights(2, 4, 3)
    part = features[..., 5:21]
    got = results(lambda x: soft_pool(x[..., 5:21], index, weight), (features,))
    want = results(lambda x: soft_pool(x, index, weight), (part.contiguous(),))
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[2][..., 5:21], want[2])


@pytest.mark.native
def test_native_pool_is_the_same_for_any_number_of_threads() -> None:
    features, index, weight = seeded(3, 9, 50), indices(3, 9, 8, 6), weights(3, 8, 6)
    one = results(lambda x, w: soft_pool(x, index, w), (features, weight))
    torch.set_num_threads(5)
    try:
        five = results(lambda x, w: soft_pool(x, index, w), (features, weight))
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(one, five, strict=True))


def test_pool_of_one_and_of_equal_points() -> None:
    features, index = seeded(1, 1, 8), torch.zeros(1, 1, 4, dtype=torch.int64)
    mean, highest = soft_pool(features, index, torch.tensor([[[1.0, 0.3, 0.0, 0.0]]]))
    torch.testing.assert_close(mean, features)
    torch.testing.assert_close(highest, torch.zeros_like(features), atol=1e-6, rtol=0)
    empty = soft_pool(features[:0], index[:0], torch.zeros(0, 1, 4))
    assert empty[0].shape == empty[1].shape == (0, 1, 8)


def test_not_a_number_is_passed_on() -> None:
    features, index, weight = seeded(1, 4, 9), indices(1, 4, 3, 5), torch.ones(1, 3, 5)
    index[0, 1] = 2
    index[0, 2] = torch.tensor([0, 1, 2, 3, 0])
    features[0, 3] = torch.nan
    for each in (soft_pool, soft_pool_torch):
        mean, highest = each(features, index, weight)
        assert mean[0, 2].isnan().all()
        assert highest[0, 2].isnan().all()
        assert not highest[0, 1].isnan().any()
    terms, fade, weight, norm = gated(1, 3, 5, 8, 1, 16)
    terms.near[0, 2] = torch.nan
    for function in (soft_gated_max, soft_gated_max_torch):
        highest, *_ = function(terms, index.clamp(max=3), fade, fade, weight, norm)
        assert highest[0, 1].isnan().all()


@pytest.mark.parametrize(
    ("shape", "index", "weight", "message"),
    [
        ((4, 3), (1, 2, 3), (1, 2, 3), "features must be"),
        ((1, 4, 3), (2, 2, 3), (2, 2, 3), "index must be"),
        ((1, 4, 3), (1, 2, 0), (1, 2, 0), "index must be"),
        ((1, 4, 3), (1, 2, 3), (1, 2, 2), "weight must be"),
    ],
)
def test_shapes_are_checked(
    shape: tuple[int, ...], index: tuple[int, ...], weight: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        soft_pool(seeded(*shape), torch.zeros(index, dtype=torch.int64), torch.ones(weight))


@pytest.mark.native
@pytest.mark.parametrize("wrong", [-1, 4])
def test_neighbors_must_be_there(wrong: int) -> None:
    index = torch.tensor([[[0, wrong]]])
    with pytest.raises(IndexError, match="index must be"):
        soft_pool(seeded(1, 4, 8), index, torch.ones(1, 1, 2))
    terms, fade, weight, norm = gated(1, 1, 2, 8, 1, 16, count=4)
    with pytest.raises(IndexError, match="index must be"):
        soft_gated_max(terms, index, fade, fade, weight, norm)


def test_moments_by_hand_and_against_the_twin() -> None:
    near, center = seeded(2, 5, 3, seed=1).double() + 1, seeded(2, 4, 3, seed=2).double()
    index, weight = indices(2, 5, 4, 6), weights(2, 4, 6).double()
    weight[0, 0, 0] = 0.1  # a centre without weight gives its weights no gradient
    inputs = (near, center, weight)
    got = results(lambda n, c, w: soft_moments(n, c, index, w), inputs)
    want = results(lambda n, c, w: soft_moments_torch(n, c, index, w), inputs)
    torch.testing.assert_close(got, want)
    weight = torch.zeros(2, 4, 6, dtype=torch.float64)
    weight[0, 1, 2], weight[1, 3, 0] = 2, 1
    first, second = near[0, index[0, 1, 2]] + center[0, 1], near[1, index[1, 3, 0]] + center[1, 3]
    repeated = torch.stack([first, first, second])
    mean, variance = soft_moments(near, center, index, weight)
    torch.testing.assert_close(mean, repeated.mean(0))
    torch.testing.assert_close(variance, repeated.var(0, correction=0))


def test_moments_of_nothing_are_finite() -> None:
    near, center, index = seeded(1, 2, 3), seeded(1, 2, 3), indices(1, 2, 2, 4)
    mean, variance = soft_moments(near, center, index, torch.zeros(1, 2, 4))
    assert not mean.any()
    assert torch.isfinite(variance).all()


@pytest.mark.native
def test_single_precision_moments_equal_twin() -> None:
    near, center = seeded(3, 9, 24, seed=1), seeded(3, 7, 24, seed=2) + 0.5
    index, weight = indices(3, 9, 7, 6), weights(3, 7, 6)
    inputs: tuple[Tensor, ...] = (near, center)
    got = results(lambda n, c: soft_moments(n, c, index, weight), inputs)
    want = results(lambda n, c: soft_moments_torch(n, c, index, weight), inputs)
    for one, other in zip(got, want, strict=True):
        assert close(one, other)
    weight[0, 0, 0] = 0.1
    inputs = (near, center, weight)
    got = results(lambda n, c, w: soft_moments(n, c, index, w), inputs)
    want = results(lambda n, c, w: soft_moments_torch(n, c, index, w), inputs)
    for one, other in zip(got, want, strict=True):
        assert close(one, other)


Gated = tuple[EdgeTerms, Tensor, Tensor, EdgeNorm]


def gated(
    batch: int, centers: int, k: int, half: int, reduced: int, channels: int, count: int = 11
) -> Gated:
    """Terms, fades, projection and a norm with scales of both signs, one of them 0."""
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
    terms, fade, weight, norm = work
    share = fade * weights(*fade.shape[:2], 1, seed=5)

    def pool(*inputs: Tensor) -> tuple[Tensor, ...]:
        edges, learnt = EdgeTerms(*inputs[:6]), norm._replace(scale=inputs[7], shift=inputs[8])
        found: tuple[Tensor, ...] = function(edges, index, fade, share, inputs[6], learnt)
        return found

    return results(pool, (*terms, weight, norm.scale, norm.shift))


def test_gated_max_by_hand() -> None:
    # Half of 2 * z, as gates without a slope are one half.
    rows = torch.tensor([[[2.0], [8.0], [-18.0]]])
    zeros = torch.zeros(1, 1, 1)
    terms = EdgeTerms(rows, zeros, rows * 0, zeros, zeros[0], torch.zeros(1))
    norm = EdgeNorm(*(torch.tensor([each]) for each in (2.0, 1.0, 1.0, 4.0)), 0.0)
    index, fade = torch.tensor([[[0, 1, 2]]]), torch.tensor([[[1.0, 0.25, 1.0]]])
    highest, *found = soft_gated_max(terms, index, fade, fade, torch.tensor([[1.0]]), norm)
    # Normalised they are 1, 4 and -9; faded 1, 1 and 0.
    assert float(highest) == 1.0
    assert not found[0].numel()
    gone = soft_gated_max(terms, index, fade * 0, fade, torch.tensor([[1.0]]), norm)
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
    terms, fade, weight, norm = gated(2, 3, 4, 4, 2, 6, count=5)
    index = indices(2, 5, 3, 4)
    norm.scale[0] = 0.5  # with 0 all edges of full weight are as good, which is a kink
    if known:
        norm = norm._replace(mean=seeded(6, seed=12), variance=seeded(6, seed=13).square())
    norm = EdgeNorm(*(None if each is None else each.double() for each in norm[:4]))
    fade = 0.8 * fade + 0.1
    leaves = [t.double().requires_grad_() for t in (*terms, weight, norm.scale, norm.shift, fade)]

    def pool(*inputs: Tensor) -> Tensor:
        learnt = norm._replace(scale=inputs[7], shift=inputs[8])
        edges, fade = EdgeTerms(*inputs[:6]), inputs[9]
        return soft_gated_max(edges, index, fade, fade, inputs[6], learnt)[0]

    assert torch.autograd.gradcheck(pool, leaves, fast_mode=True)
    features = seeded(2, 5, 3).double().requires_grad_()
    weight = (weights(2, 3, 4) + 0.1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: soft_pool(x, index, w), (features, weight))


def test_weights_that_are_learnt_take_the_twin() -> None:
    terms, fade, weight, norm = gated(2, 3, 4, 8, 1, 16)
    index, fade = indices(2, 11, 3, 4), fade.requires_grad_()
    highest, *_ = soft_gated_max(terms, index, fade, fade, weight, norm)
    (grad,) = torch.autograd.grad(highest.sum(), fade)
    assert grad.any()


def test_moments_under_autocast_are_in_single_precision() -> None:
    """In bfloat16 the variance of rows far from 0 would be lost."""
    near, center = seeded(2, 11, 6) + 40, seeded(2, 3, 6, seed=1)
    index, weight = indices(2, 11, 3, 4), weights(2, 3, 4)
    terms, fade, *rest = gated(2, 3, 4, 8, 1, 16)
    work = (terms, index, fade, fade, *rest)
    calls = [
        lambda: soft_moments(near, center, index, weight),
        lambda: soft_moments_torch(near, center, index, weight),
        lambda: soft_gated_max(*work)[1:],
    ]
    for call in calls:
        want = call()
        with torch.autocast("cpu", torch.bfloat16):
            got = call()
        for ours, theirs in zip(got, want, strict=True):
            assert ours.dtype == torch.float32
            assert close(ours, theirs)
