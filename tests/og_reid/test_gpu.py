"""Every operator on a GPU against the CPU: `pytest -m gpu` where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from og_reid.models import DGCNN, OGNet
from og_reid.ops import (
    EdgeNorm,
    EdgeTerms,
    ball_query,
    edge_conv,
    farthest_point_sample,
    gated_max,
    gather_neighbors,
    knn,
    mean_neighbors,
    native_info,
    pool_neighbors,
    radius_count,
)
from tensors import seeded

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


POINTS, FEATURES, CENTERS = seeded(3, 700, 3), seeded(3, 700, 40, seed=1), seeded(3, 90, 3, seed=2)
PTR = torch.tensor([0, 0, 900, 901, 2100, 2100])
MANY = seeded(2, 20000, 3, seed=13)  # enough for the spatial index
INDEX = torch.randint(-1, 700, (3, 700, 20), generator=torch.Generator().manual_seed(3))
WEIGHT, NUMBERS = seeded(48, 80, seed=4), seeded(48, seed=5)
GATE = (
    *(seeded(3, 700, 24, seed=6), seeded(3, 700, 24, seed=7)),
    *(seeded(3, 700, 1, seed=8), seeded(3, 700, 1, seed=9)),
    *(seeded(24, 1, seed=10), seeded(24, seed=11), seeded(48, 24, seed=12)),
)


def broken() -> Tensor:
    x = (POINTS * 4).round()
    x[:, ::9, 1], x[:, 5::11, 2] = torch.nan, torch.inf
    return x


# What must be equal bit by bit: indices and distances.
EXACT: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "knn": (lambda x: knn(x, 20, return_distances=True), (POINTS,)),
    "knn of many points": (lambda x: knn(x, 20, return_distances=True), (MANY,)),
    "knn of many broken points": (
        lambda x: knn((x * 9).round().where(x > -2, torch.nan), 33, return_distances=True),
        (MANY,),
    ),
    "ragged knn of many points": (
        lambda x, ptr: knn(x, 40, ptr=ptr),
        (MANY.flatten(0, 1), torch.tensor([0, 0, 9, 30000, 30000, 40000])),
    ),
    "queries to many points": (lambda x, q: knn(x, 9, query=q), (MANY, CENTERS[:2] * 2)),
    "knn far away": (lambda x: knn(x, 20), (POINTS + 1000.0,)),
    "knn of a grid with holes": (lambda x: knn(x, 33, return_distances=True), (broken(),)),
    "knn of features": (lambda x: knn(x, 20, return_distances=True), (FEATURES,)),
    "many neighbours": (lambda x: knn(x, 128), (POINTS,)),
    "very many neighbours": (lambda x: knn(x, 701), (POINTS,)),
    "ragged knn": (lambda x, ptr: knn(x, 9, ptr=ptr), (POINTS.flatten(0, 1), PTR)),
    "queries": (lambda x, q: knn(x, 9, query=q), (POINTS, CENTERS)),
    "first in balls": (
        lambda x, c: ball_query(x, c, (0.1, 0.5, 9.0), (8, 16, 32), order="first"),
        (POINTS, CENTERS),
    ),
    "nearest in balls": (
        lambda x, c: ball_query(x, c, (0.1, 0.5, 9.0), (8, 16, 32)),
        (POINTS, CENTERS),
    ),
    "radius_count": (lambda x, c: radius_count(x, c, (0.1, 0.5, 9.0)), (POINTS, CENTERS)),
    "farthest points": (lambda x: farthest_point_sample(x, 200), (POINTS,)),
    "farthest points, reference": (
        lambda x: farthest_point_sample(x, 200, start="first", dead_zone=True),
        (POINTS * 0.1,),
    ),
    "farthest of many points": (lambda x: farthest_point_sample(x, 50), (seeded(2, 9000, 3),)),
}
# What is rounded on the way.
CLOSE: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "gather": (lambda x, i: gather_neighbors(x, i), (FEATURES, INDEX)),
    "pool": (lambda x, i: pool_neighbors(x, i), (FEATURES, INDEX)),
    "pool in half precision": (lambda x, i: pool_neighbors(x, i), (FEATURES.half(), INDEX)),
    "mean": (lambda x, i: mean_neighbors(x, i), (FEATURES, INDEX)),
    "edge_conv": (
        lambda x, i, w, b: edge_conv(x, i, w, b, norm=EdgeNorm(b, b), share=b[:1].sigmoid()),
        (FEATURES, INDEX, WEIGHT, NUMBERS),
    ),
    "gate": (
        lambda i, *t: gated_max(EdgeTerms(*t[:6]), i, t[6], moments=True),
        (INDEX.clamp_min(0), *GATE),
    ),
    "distances": (lambda x, q: knn(x, 9, query=q, return_distances=True), (POINTS, CENTERS)),
}


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def results(function: Callable[..., Any], tensors: tuple[Tensor, ...], device: str) -> list[Tensor]:
    """Outputs, and gradients of what has any."""
    leaves = [each.to(device) for each in tensors]
    wanted = [each.requires_grad_() for each in leaves if each.is_floating_point()]
    outputs = pytree.tree_leaves(function(*leaves))
    loss = sum((y * seeded(*y.shape, seed=9).to(y)).sum() for y in outputs if y.requires_grad)
    grads = torch.autograd.grad(loss, wanted) if isinstance(loss, Tensor) else ()
    return [*(y.detach() for y in outputs), *grads]


def test_the_library_is_there() -> None:
    assert native_info()["cuda_library"] is not None


@pytest.mark.parametrize("name", EXACT)
def test_indices_equal_those_of_the_cpu(name: str) -> None:
    function, tensors = EXACT[name]
    found = pytree.tree_leaves(function(*(each.cuda() for each in tensors)))
    for got, want in zip(found, pytree.tree_leaves(function(*tensors)), strict=True):
        assert torch.equal(got.cpu(), want)


@pytest.mark.parametrize("name", CLOSE)
def test_values_and_gradients_are_those_of_the_cpu(name: str) -> None:
    found, again = results(*CLOSE[name], "cuda"), results(*CLOSE[name], "cuda")
    for got, repeated, want in zip(found, again, results(*CLOSE[name], "cpu"), strict=True):
        assert torch.equal(got, repeated)
        scale = float(want.float().abs().max())
        torch.testing.assert_close(got.cpu(), want, rtol=1e-3, atol=2e-5 * scale)


@pytest.mark.parametrize("name", [*EXACT, *CLOSE])
def test_nothing_waits_and_graphs_can_be_captured(name: str) -> None:
    function, tensors = {**EXACT, **CLOSE}[name]
    leaves = [each.cuda() for each in tensors]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # work before the capture: libraries set themselves up
        want = pytree.tree_leaves(function(*leaves))
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # refuses whatever waits for the device
        got = pytree.tree_leaves(function(*leaves))
    graph.replay()
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=0.0, equal_nan=True)


@pytest.mark.parametrize("kind", ["OGNet", "DGCNN"])
def test_networks_are_those_of_the_cpu(kind: str) -> None:
    source = torch.Generator().manual_seed(0)
    model: torch.nn.Module
    if kind == "DGCNN":
        model = DGCNN(dims=(8, 16), k=9, embedding_dim=16, generator=source)
    else:
        sizes = {"dims": (8, 16), "k": 9, "num_points": 60, "embedding_dim": 16}
        model = OGNet(**sizes, generator=source)
    model.eval()
    colors = FEATURES[..., :3].clamp(-0.5, 0.5)
    want = model(POINTS, colors)
    got = model.cuda()(POINTS.cuda(), colors.cuda())
    torch.testing.assert_close(got.cpu(), want, rtol=1e-3, atol=1e-3)
