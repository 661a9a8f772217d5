"""Soft pooling: by hand, and native code against the plain-torch twins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from og_reid.ops.soft_pool import (
    soft_mean,
    soft_mean_torch,
    soft_moments,
    soft_moments_torch,
    soft_pool,
    soft_pool_torch,
)
from tensors import close, indices, results, seeded, weights


def test_gradients_in_double() -> None:
    index = indices(2, 5, 3, 4)
    features = seeded(2, 5, 3).double().requires_grad_()
    weight = (weights(2, 3, 4) + 0.1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: soft_pool(x, index, w), (features, weight))


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


def test_nan_is_passed_on() -> None:
    features, index, weight = seeded(1, 4, 9), indices(1, 4, 3, 5), torch.ones(1, 3, 5)
    index[0, 1] = 2
    index[0, 2] = torch.tensor([0, 1, 2, 3, 0])
    features[0, 3] = torch.nan
    for each in (soft_pool, soft_pool_torch):
        mean, highest = each(features, index, weight)
        assert mean[0, 2].isnan().all()
        assert highest[0, 2].isnan().all()
        assert not highest[0, 1].isnan().any()


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


def test_moments_under_autocast_are_in_single_precision() -> None:
    """In bfloat16 the variance of rows far from 0 would be lost."""
    near, center = seeded(2, 11, 6) + 40, seeded(2, 3, 6, seed=1)
    index, weight = indices(2, 11, 3, 4), weights(2, 3, 4)
    calls = [
        lambda: soft_moments(near, center, index, weight),
        lambda: soft_moments_torch(near, center, index, weight),
    ]
    for call in calls:
        want = call()
        with torch.autocast("cpu", torch.bfloat16):
            got = call()
        for ours, theirs in zip(got, want, strict=True):
            assert ours.dtype == torch.float32
            assert close(ours, theirs)
