"""Edge convolution of plain tensors: the split form against the edges themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from og_reid.ops import EdgeNorm, edge_conv, knn
from og_reid.ops.edge_conv import edge_conv_torch
from tensors import seeded


def graph(kind: str, batch: int, count: int, k: int) -> Tensor:
    """Neighbours of each point: all there, or some missing, of the first point all."""
    index = torch.randint(0, count, (batch, count, k), generator=torch.Generator().manual_seed(9))
    if kind == "missing":
        index[seeded(batch, count, k, seed=4) > 0.8] = -1
        index[:, 0] = -1
    return index


def inputs(dtype: torch.dtype, norm: str) -> tuple[list[Tensor], Callable[..., EdgeNorm | None]]:
    """Features, weight, bias, share, and what a normalisation has; scales of both signs."""
    made = [seeded(2, 9, 5), seeded(6, 10, seed=1), seeded(6, seed=2), torch.tensor([0.3])]
    if norm != "none":
        made += [seeded(6, seed=3), seeded(6, seed=4)]
    if norm == "known":
        made += [seeded(6, seed=5), seeded(6, seed=6).abs() + 0.1]
    leaves = [each.to(dtype).requires_grad_() for each in made]
    return leaves, lambda *parts: EdgeNorm(*parts, eps=1e-3) if parts else None


def run(function: Callable[..., Any], leaves: list[Tensor], index: Tensor, make: Any) -> Any:
    features, weight, bias, share, *parts = leaves
    return function(features, index, weight, bias, norm=make(*parts), share=share)


@pytest.mark.parametrize("kind", ["whole", "missing"])
@pytest.mark.parametrize("norm", ["none", "known", "batch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_twin(dtype: torch.dtype, norm: str, kind: str) -> None:
    index, results = graph(kind, 2, 9, 4), []
    for function in (edge_conv, edge_conv_torch):
        leaves, make = inputs(dtype, norm)
        output = run(function, leaves, index, make)
        loss = sum((y * seeded(*y.shape, seed=7).to(dtype)).sum() for y in output)
        results.append([*output, *torch.autograd.grad(loss, leaves)])
    tolerance = 1e-9 if dtype == torch.float64 else 3e-5
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["whole", "missing"])
@pytest.mark.parametrize("norm", ["none", "known", "batch"])
def test_gradients_against_differences(norm: str, kind: str) -> None:
    index = graph(kind, 2, 9, 4)
    leaves, make = inputs(torch.float64, norm)
    assert torch.autograd.gradcheck(lambda *each: run(edge_conv, list(each), index, make), leaves)


def test_maximum_alone_and_no_bias() -> None:
    x, index, weight = seeded(2, 9, 5), graph("missing", 2, 9, 4), seeded(6, 10, seed=1)
    got, want = edge_conv(x, index, weight), edge_conv_torch(x, index, weight)
    torch.testing.assert_close(got[0], want[0])
    assert got[1].shape == got[2].shape == (0,)


def test_the_promise_that_all_are_there_changes_nothing() -> None:
    index = graph("whole", 2, 9, 4)
    leaves, make = inputs(torch.float64, "batch")
    got = edge_conv(leaves[0], index, leaves[1], norm=make(*leaves[4:]), complete=True)
    want = edge_conv(leaves[0], index, leaves[1], norm=make(*leaves[4:]))
    torch.testing.assert_close(got, want)


def test_ragged_clouds_equal_their_own() -> None:
    sizes = [0, 5, 1, 0, 12, 0]  # of the second cloud, neighbours are missing: k > N
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    points, x, weight = seeded(18, 3), seeded(18, 5, seed=1), seeded(6, 10, seed=2)
    index = knn(points, 7, ptr=ptr)
    assert (index < 0).any()
    got, _, _ = edge_conv(x, index, weight, share=torch.tensor(0.3))
    for begin, end in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        if begin == end:
            continue
        own = knn(points[None, begin:end], 7)
        want, _, _ = edge_conv_torch(x[None, begin:end], own, weight, share=torch.tensor(0.3))
        torch.testing.assert_close(got[begin:end], want[0])


def test_keeps_one_byte_per_maximum_and_no_edges() -> None:
    batch, count, k, channels = 2, 60, 30, 16
    x = seeded(batch, count, 8).requires_grad_()
    index = graph("whole", batch, count, k)
    weight = seeded(channels, 16, seed=1).requires_grad_()
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        edge_conv(x, index, weight)
    assert sum(saved.values()) <= index.nbytes + x.nbytes + 3 * weight.nbytes + 2 * 60 * channels


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"features": seeded(9)}, "features must be"),
        ({"index": torch.zeros(2, 8, 4, dtype=torch.int64)}, "index must be"),
        ({"weight": seeded(6, 9)}, "weight must be"),
        ({"bias": seeded(5)}, "bias must be"),
        ({"norm": EdgeNorm(seeded(5), seeded(6))}, "scale must be"),
        ({"norm": EdgeNorm(seeded(6), seeded(6), seeded(6))}, "both mean and variance"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, Any], match: str) -> None:
    given = {
        "features": seeded(2, 9, 5),
        "index": graph("whole", 2, 9, 4),
        "weight": seeded(6, 10),
        **change,
    }
    with pytest.raises(ValueError, match=match):
        edge_conv(**given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["whole", "missing"])
def test_twice_differentiable(kind: str, dtype: torch.dtype) -> None:
    index, seconds = graph(kind, 2, 9, 4), []
    for function in (edge_conv, edge_conv_torch):
        leaves, make = inputs(dtype, "batch")
        features, weight, bias, share, *norm = leaves
        result, mean, variance = function(
            features, index, weight, bias, norm=make(*norm), share=share
        )
        loss = (result**3).sum() + (mean**3 + variance**2).sum()
        first = torch.autograd.grad(loss, [features, weight], create_graph=True)
        seconds.append(torch.autograd.grad(sum((g**2).sum() for g in first), [features, weight]))
    for got, want in zip(*seconds, strict=True):
        assert float((got - want).norm() / want.norm()) < 1e-4
