"""Every operator as torch sees it: registration, compilation, and the same bits on every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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
    pool_neighbors,
    radius_count,
)
from og_reid.ops.soft_gated_pool import soft_gated_max
from og_reid.ops.soft_pool import soft_pool
from tensors import seeded


class Case(NamedTuple):
    operator: str
    arguments: tuple[Any, ...]  # of the operator
    function: Callable[..., Any]  # public function of `tensors`
    tensors: tuple[Tensor, ...]


POINTS, FEATURES, CENTERS = seeded(2, 60, 3), seeded(2, 60, 8, seed=1), seeded(2, 9, 3, seed=2)
ROWS, QUERIES = POINTS.flatten(0, 1), CENTERS.flatten(0, 1)
PTR, QUERY_PTR = torch.tensor([0, 0, 70, 120]), torch.tensor([0, 4, 18, 18])
INDEX = torch.randint(-1, 60, (2, 60, 5), generator=torch.Generator().manual_seed(3))
WHOLE = INDEX.clamp_min(0)
WEIGHT, NUMBERS = seeded(6, 16, seed=4), seeded(6, seed=5)
SHARE = torch.tensor([0.4])
TERMS = tuple(
    seeded(*shape, seed=6) for shape in ((2, 60, 8), (2, 60, 8), (2, 60, 1), (2, 60, 1), (8, 1))
)
GATE = (*TERMS, seeded(8, seed=7))
PROJECTION = seeded(16, 8, seed=8)
FADE, WIDE = seeded(2, 60, 5, seed=10).clamp(0, 1), seeded(16, seed=11)


def ragged(x: Tensor, q: Tensor) -> Any:
    return knn(x, 80, ptr=PTR, query=q, query_ptr=QUERY_PTR, return_distances=True)[1].nan_to_num(
        posinf=0.0
    )


CASES = {
    "knn": Case(
        "knn",
        (ROWS, 60 * torch.arange(3), ROWS, 60 * torch.arange(3), 4, True, True),
        lambda x: knn(x, 4, return_distances=True),
        (POINTS,),
    ),
    "knn of features": Case(
        "knn",
        (FEATURES.flatten(0, 1), PTR, FEATURES.flatten(0, 1), PTR, 4, False, False),
        lambda x: knn(x, 4),
        (FEATURES,),
    ),
    "knn of ragged clouds": Case(
        "knn", (ROWS, PTR, ROWS, PTR, 4, False, True), lambda x: knn(x, 4, ptr=PTR), (ROWS,)
    ),
    "knn of queries": Case(
        "knn", (ROWS, PTR, QUERIES, QUERY_PTR, 80, False, True), ragged, (ROWS, QUERIES)
    ),
    "ball_query": Case(
        "ball_query",
        (POINTS, CENTERS, [0.5, 1.0], [4, 9], "nearest"),
        lambda x, c: ball_query(x, c, (0.5, 1.0), (4, 9)),
        (POINTS, CENTERS),
    ),
    "first of ball_query": Case(
        "ball_query",
        (POINTS, CENTERS, [0.5, 1.0], [4, 9], "first"),
        lambda x, c: ball_query(x, c, (0.5, 1.0), (4, 9), order="first"),
        (POINTS, CENTERS),
    ),
    "radius_count": Case(
        "radius_count",
        (POINTS, CENTERS, [0.5, 1.0]),
        lambda x, c: radius_count(x, c, (0.5, 1.0)),
        (POINTS, CENTERS),
    ),
    "farthest_point_sample": Case(
        "farthest_point_sample",
        (POINTS, 9, "farthest", False),
        lambda x: farthest_point_sample(x, 9),
        (POINTS,),
    ),
    "gather_neighbors": Case(
        "gather_neighbors",
        (FEATURES, INDEX),
        lambda x: gather_neighbors(x, INDEX),
        (FEATURES,),
    ),
    "pool_neighbors": Case(
        "pool_neighbors",
        (FEATURES, INDEX, True),
        lambda x: pool_neighbors(x, INDEX),
        (FEATURES,),
    ),
    "mean_neighbors": Case(
        "mean_neighbors", (FEATURES, INDEX), lambda x: mean_neighbors(x, INDEX), (FEATURES,)
    ),
    "gated_max": Case(
        "gated_max",
        (*GATE, WHOLE, PROJECTION, True),
        lambda *t: gated_max(EdgeTerms(*t[:6]), WHOLE, t[6], moments=True),
        (*GATE, PROJECTION),
    ),
    "soft_pool": Case(
        "soft_pool",
        (FEATURES, WHOLE, FADE, True),
        lambda x, w: soft_pool(x, WHOLE, w),
        (FEATURES, FADE),
    ),
    "soft_gated_max": Case(
        "soft_gated_max",
        (*GATE, WHOLE, FADE, FADE, PROJECTION, WIDE, WIDE, None, None, 1e-5),
        lambda *t: soft_gated_max(EdgeTerms(*t[:6]), WHOLE, FADE, FADE, t[6], EdgeNorm(t[7], t[7])),
        (*GATE, PROJECTION, WIDE),
    ),
    "edge_conv": Case(
        "edge_conv",
        (FEATURES, INDEX, WEIGHT, NUMBERS, NUMBERS, NUMBERS, None, None, 1e-5, SHARE, False),
        lambda x, w, b, s: edge_conv(x, INDEX, w, b, norm=EdgeNorm(b, b), share=s),
        (FEATURES, WEIGHT, NUMBERS, SHARE),
    ),
    "edge_conv with known moments": Case(
        "edge_conv",
        (FEATURES, INDEX, WEIGHT, None, NUMBERS, NUMBERS, NUMBERS, NUMBERS**2, 1e-5, None, False),
        lambda x, w, b: edge_conv(x, INDEX, w, norm=EdgeNorm(b, b, b, b * b)),
        (FEATURES, WEIGHT, NUMBERS),
    ),
}
BY_NAME = pytest.mark.parametrize("name", CASES)


@BY_NAME
def test_registration(name: str) -> None:
    operator, arguments, _, _ = CASES[name]
    made = pytree.tree_map_only(
        Tensor,
        lambda t: t.clone().requires_grad_() if t.is_floating_point() else t,
        (arguments[0].detach(), *arguments[1:]),
    )
    if "knn" in name and name != "knn of queries":  # one tensor, so that it is its own query
        made = (made[0], made[1], made[0], *made[3:])
    torch.library.opcheck(getattr(torch.ops.og_reid, operator).default, made, atol=1e-4, rtol=1e-4)


def results(function: Callable[..., Any], tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """Outputs of a function, and the gradients of what has any."""
    leaves = [each.clone().requires_grad_() for each in tensors]
    outputs = pytree.tree_leaves(function(*leaves))
    loss = sum((y * seeded(*y.shape, seed=9)).sum() for y in outputs if y.requires_grad)
    grads = torch.autograd.grad(loss, leaves) if isinstance(loss, Tensor) else ()
    return [*(y.detach() for y in outputs), *grads]


@BY_NAME
def test_compiled_whole_gives_the_same(name: str) -> None:
    _, _, function, tensors = CASES[name]
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for got, want in zip(results(compiled, tensors), results(function, tensors), strict=True):
        torch.testing.assert_close(got, want)


@BY_NAME
def test_same_bits_on_every_run_and_for_any_number_of_threads(name: str) -> None:
    _, _, function, tensors = CASES[name]
    found = []
    # The gradients of a gate's weights are summed per thread: their bits depend on how many.
    for threads in (2, 2, 2) if "gated_max" in name else (1, 1, 2, 2):
        torch.set_num_threads(threads)
        try:
            found.append(results(function, tensors))
        finally:
            torch.set_num_threads(1)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_operators_check_what_compiled_code_does_not() -> None:
    operators = torch.ops.og_reid
    with pytest.raises(ValueError, match="ptr must end at the number of rows"):
        operators.knn(ROWS, torch.tensor([0, 999]), ROWS, torch.tensor([0, 120]), 2, True, False)
    with pytest.raises(ValueError, match="x must be finite"):
        operators.farthest_point_sample(POINTS * torch.nan, 2, "farthest", False)


@pytest.mark.parametrize(("kind", "training"), [("OGNet", False), ("DGCNN", True)])
def test_networks_compile_whole(kind: str, training: bool) -> None:
    torch.compiler.reset()
    source = torch.Generator().manual_seed(0)
    model: torch.nn.Module
    if kind == "DGCNN":
        model = DGCNN(dims=(6, 8), k=5, embedding_dim=8, generator=source)
    else:
        sizes = {"dims": (6,), "k": 5, "num_points": 20, "embedding_dim": 8}
        model = OGNet(**sizes, ball_counts=(2, 4, 6), generator=source)
    model.train(training)
    colors = FEATURES[..., :3].clamp(-0.5, 0.5)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    want = model(POINTS, colors)
    model.load_state_dict(before)
    got = torch.compile(model, fullgraph=True, backend="aot_eager")(POINTS, colors)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
