"""Pooling over neighbours: native code and chunks against the plain-torch twin."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from og_reid.ops import gather_neighbors, in_degree, mean_neighbors, pool_neighbors
from og_reid.ops._torch import chunks
from og_reid.ops.pool import pool_neighbors_torch
from tensors import indices, seeded


def test_pooling_by_hand() -> None:
    x = torch.tensor([[[1.0, 5.0], [2.0, -4.0], [9.0, 0.0]]])
    index = torch.tensor([[[0, 1], [2, 2]]])
    highest, mean = pool_neighbors(x, index)
    assert highest.tolist() == [[[2.0, 5.0], [9.0, 0.0]]]
    assert mean.tolist() == [[[1.5, 0.5], [9.0, 0.0]]]
    assert mean_neighbors(x, index).tolist() == mean.tolist()
    assert gather_neighbors(x, index).shape == (1, 2, 2, 2)
    assert in_degree(index, 3).tolist() == [[1, 1, 2]]


def test_tied_maximum_sends_its_gradient_to_the_first() -> None:
    x = torch.zeros(1, 3, 8, requires_grad=True)
    highest, _ = pool_neighbors(x, torch.tensor([[[2, 1, 2]]]))
    highest.sum().backward()
    assert x.grad is not None
    assert x.grad[0].sum(1).tolist() == [0.0, 0.0, 8.0]


@pytest.mark.native
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


@pytest.mark.native
def test_pooling_of_a_slice_of_channels() -> None:
    wide, index = seeded(2, 9, 24), indices(2, 9, 4, 3)
    for x in (wide[..., 5:14], wide.transpose(0, 1)[:2].transpose(1, 2)[..., :8]):
        rows = index.clamp(max=x.shape[1] - 1)
        for got, want in zip(pool_neighbors(x, rows), pool_neighbors_torch(x, rows), strict=True):
            torch.testing.assert_close(got, want)
        torch.testing.assert_close(mean_neighbors(x, rows), gather_neighbors(x, rows).mean(2))


@pytest.mark.native
def test_pooling_of_clouds_of_one_point() -> None:
    """The stride of a dimension of length 1 means nothing; torch calls such a tensor contiguous."""
    x, index = seeded(1, 4, 8).transpose(0, 1), torch.zeros(4, 3, 2, dtype=torch.int64)
    assert x.is_contiguous()
    assert x.stride(1) == 32
    for got, want in zip(pool_neighbors(x, index), pool_neighbors_torch(x, index), strict=True):
        torch.testing.assert_close(got, want)


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
    monkeypatch.setattr(chunks, "CHUNK_ENTRIES", entries)
    index, x = indices(3, 20, 7, k), seeded(3, 20, channels).double()
    # Rounded, so that maxima tie and the first of them must be found.
    for values in (x, x.round(), torch.cat([x, x], dim=-1)[..., channels:]):
        results = (pooled(function, values, index) for function in CHUNKED)
        for got, want in zip(*results, strict=True):
            torch.testing.assert_close(got, want)
    mean = mean_neighbors(x, index)
    torch.testing.assert_close(mean, gather_neighbors(x, index).mean(2))


CHUNKED = (pool_neighbors, pool_neighbors_torch)


def test_pooling_by_chunks_of_nan_and_inf() -> None:
    x = seeded(1, 6, 2).double()
    x[0, 1, 0], x[0, 2, 1], x[0, 3, 1] = torch.nan, torch.inf, -torch.inf
    index = torch.tensor([[[0, 1, 4], [2, 0, 5], [3, 3, 3]]])
    got, want = (pooled(function, x, index) for function in CHUNKED)
    assert torch.equal(got[0].isnan(), want[0].isnan())
    torch.testing.assert_close(got[:2], want[:2], equal_nan=True)


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
    assert sum(saved) <= 2 * index.nbytes + 2 * 50 * 8  # one byte per maximum


def test_pooling_gradient_in_double() -> None:
    x = seeded(2, 6, 3).double().requires_grad_()
    index = indices(2, 6, 4, 3)
    assert torch.autograd.gradcheck(lambda y: pool_neighbors(y, index), (x,))
    assert torch.autograd.gradcheck(lambda y: mean_neighbors(y, index), (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pooling_twice_differentiable(dtype: torch.dtype) -> None:
    """Native code is no graph that torch could follow: its gradient has a formula of its own."""
    x, index = seeded(2, 6, 3).to(dtype).requires_grad_(), missing(2, 6, 4, 3)
    seconds = []
    for pooling in (pool_neighbors, pool_neighbors_torch):
        highest, mean = pooling(x, index)
        loss = (highest**3 + mean**3 * highest).sum()
        (first,) = torch.autograd.grad(loss, x, create_graph=True)
        seconds.append(torch.autograd.grad((first**2).sum(), x)[0])
    torch.testing.assert_close(*seconds, rtol=1e-4, atol=1e-4)


def test_index_outside_the_cloud_is_refused() -> None:
    index = torch.tensor([[[0, 5]]])
    for function in (gather_neighbors, pool_neighbors, mean_neighbors):
        for dtype in (torch.float32, torch.float64):
            with pytest.raises(IndexError, match="below the number of rows, 5; got 5"):
                function(torch.zeros(1, 5, 8, dtype=dtype), index)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="features must be"):
        pool_neighbors(torch.zeros(5, 8), indices(1, 5, 2, 2))
    with pytest.raises(ValueError, match="index must be"):
        pool_neighbors(torch.zeros(2, 5, 8), indices(1, 5, 2, 2))


def missing(batch: int, count: int, centers: int, k: int) -> Tensor:
    """An index with missing neighbours: some, all of the first centre, all but the last of one."""
    index = indices(batch, count, centers, k)
    index[seeded(batch, centers, k, seed=4) > 0.5] = -1
    index[:, 0], index[:, 1, :-1] = -1, -1
    return index


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("channels", "k"), [(1, 2), (5, 9), (50, 20), (3, 300)])
def test_missing_neighbors_are_left_out(dtype: torch.dtype, channels: int, k: int) -> None:
    x, index = seeded(3, 20, channels).to(dtype) - 2.0, missing(3, 20, 7, k)
    got, want = (pooled(function, x, index) for function in CHUNKED)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(mean_neighbors(x, index), want[1])
    assert not got[0][:, 0].any()
    assert not got[1][:, 0].any()


def test_missing_neighbors_by_hand() -> None:
    x = torch.tensor([[[-1.0], [-2.0], [-9.0]]], requires_grad=True)
    index = torch.tensor([[[-1, 1, 0], [-1, -1, -1]]])
    highest, mean = pool_neighbors(x, index)
    assert highest.flatten().tolist() == [-1.0, 0.0]
    assert mean.flatten().tolist() == [-1.5, 0.0]
    (highest.sum() + 4.0 * mean.sum()).backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [3.0, 2.0, 0.0]
    assert gather_neighbors(x, index).flatten().tolist() == [0.0, -2.0, -1.0, 0.0, 0.0, 0.0]
    assert in_degree(index, 3).tolist() == [[1, 1, 0]]


@pytest.mark.native
def test_native_pooling_of_nan() -> None:
    x, index = seeded(1, 6, 20), torch.tensor([[[0, 1, 4, 1], [2, 0, 5, 3]]])
    x[0, 1, ::3] = torch.nan
    got, want = pool_neighbors(x, index), pool_neighbors_torch(x, index)
    torch.testing.assert_close(got, want, equal_nan=True)


def test_ragged_and_empty() -> None:
    x, index = seeded(7, 4), torch.tensor([[0, 2], [1, -1], [6, 4]])
    assert torch.equal(gather_neighbors(x, index), gather_neighbors(x[None], index[None])[0])
    assert torch.equal(pool_neighbors(x, index)[0], pool_neighbors(x[None], index[None])[0][0])
    assert torch.equal(mean_neighbors(x, index), mean_neighbors(x[None], index[None])[0])
    nothing = torch.full((2, 3, 4), -1)
    empty = torch.zeros(2, 0, 5, requires_grad=True)
    results = (gather_neighbors(empty, nothing), *pool_neighbors(empty, nothing))
    assert all(not each.any() for each in results)
    torch.autograd.grad(sum(each.sum() for each in results), empty)
    assert pool_neighbors(seeded(2, 6, 5), nothing[:, :0])[0].shape == (2, 0, 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_is_pooled_as_float32(dtype: torch.dtype) -> None:
    x, index = seeded(2, 9, 8).to(dtype), indices(2, 9, 4, 3)
    got, want = (pooled(f, y, index) for f, y in ((pool_neighbors, x), (pool_neighbors, x.float())))
    assert got[0].dtype == got[2].dtype == dtype
    for one, other in zip(got[:2], want, strict=False):
        assert torch.equal(one, other.to(dtype))


@pytest.mark.native
@pytest.mark.parametrize("batch", [1, 3])
def test_threads_do_not_change_pooling(batch: int) -> None:
    x, index = seeded(batch, 40, 23), missing(batch, 40, 30, 9)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        try:
            results.append(pooled(pool_neighbors, x, index))
        finally:
            torch.set_num_threads(1)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.native
def test_offsets_beyond_32_bits() -> None:
    """Rows 2^31 entries and more apart: a view of a file without content, which takes no memory."""
    stride = (1 << 31) + 64
    with tempfile.TemporaryFile() as file:
        file.truncate(4 * 2 * stride)
        sparse = torch.from_file(f"/proc/self/fd/{file.fileno()}", shared=True, size=2 * stride)
        far = sparse.as_strided((1, 2, 8), (2 * stride, stride, 1))
        far.copy_(seeded(1, 2, 8))
        index = torch.tensor([[[1, 0], [1, 1]]])
        near = far.contiguous()
        for got, want in zip(pool_neighbors(far, index), pool_neighbors(near, index), strict=True):
            assert torch.equal(got, want)
        assert torch.equal(mean_neighbors(far, index), mean_neighbors(near, index))
        del sparse, far
