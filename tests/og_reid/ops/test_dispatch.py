"""When an operator's kernel is called past torch's dispatcher, and when it must not be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from og_reid.ops import ball_query, farthest_point_sample, knn, radius_count
from og_reid.ops._native import dispatch
from og_reid.ops._native.dispatch import can_bypass_dispatcher

X = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0))
OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "knn": lambda x: knn(x, 4),
    "farthest_point_sample": lambda x: farthest_point_sample(x, 4),
    "ball_query": lambda x: ball_query(x, x, (0.5,), (4,))[0],
    "radius_count": lambda x: radius_count(x, x, (0.5,)),
}


def test_plain_tensors_need_none() -> None:
    assert can_bypass_dispatcher(X)
    assert can_bypass_dispatcher(X.half(), X[:, ::2], X[:0])
    assert can_bypass_dispatcher(torch.nn.Parameter(X).detach())
    wants = X.clone().requires_grad_()
    with torch.no_grad():
        assert can_bypass_dispatcher(wants)
    with torch.inference_mode():
        assert can_bypass_dispatcher(X, X + 1)
    with torch.autocast("cpu"):
        assert can_bypass_dispatcher(X)


def test_other_tensors_need_it() -> None:
    fake = FakeTensorMode().from_tensor(X)
    wants = X.clone().requires_grad_()
    for other in (fake, wants, X.to("meta"), X.to_sparse(), torch._neg_view(X)):
        assert not can_bypass_dispatcher(other)
        assert not can_bypass_dispatcher(X, other)


def test_what_watches_needs_it() -> None:
    for mode in (
        FakeTensorMode(),
        FlopCounterMode(display=False),
        profile(),
        forward_ad.dual_level(),
    ):
        with mode:
            assert not can_bypass_dispatcher(X)
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append(can_bypass_dispatcher(x) or can_bypass_dispatcher(X))
        return x.sum()

    torch.vmap(look)(X)
    torch.func.grad(look)(X)
    torch.func.functionalize(look)(X)
    torch.jit.trace(look, X, check_trace=False)
    make_fx(look)(X)
    assert seen == [False] * 5
    assert can_bypass_dispatcher(X)


@pytest.mark.parametrize("name", OPERATORS)
def test_both_ways_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = OPERATORS[name]
    direct = function(X)
    with profile() as seen:
        dispatched = function(X)
    assert f"og_reid::{name}" in {event.name for event in seen.events()}
    assert torch.equal(direct, dispatched)
    graph = make_fx(function)(X)
    assert f"og_reid.{name}" in graph.code
    assert torch.equal(graph(X), direct)
    # A torch whose keys cannot be asked for.
    monkeypatch.setattr(dispatch, "_keys_without_effect", lambda: 0)
    assert not can_bypass_dispatcher(X)
    assert torch.equal(function(X), direct)


def test_starts_made_in_inference_mode_can_be_saved_for_backward() -> None:
    x = torch.randn(3, 7, 3)
    with torch.inference_mode():
        knn(x, 2)
    query = torch.randn(3, 2, 3, requires_grad=True)
    knn(x, 2, query=query, return_distances=True)[1].sum().backward()
    assert query.grad is not None


def test_operators_work_where_they_are_given_tensors_not_on_the_default_device() -> None:
    points = torch.rand(3, 37, 3, generator=torch.Generator().manual_seed(0))
    features = torch.rand(3, 19, 40, generator=torch.Generator().manual_seed(1))

    def run() -> list[Tensor]:
        return [
            knn(points, 4),
            knn(features, 5),
            farthest_point_sample(points, 6),
            *ball_query(points, points[:, :5], (0.2, 0.4), (3, 5)),
            radius_count(points, points[:, :5], (0.2, 0.4)),
        ]

    with torch.device("meta"):  # first: what is made for a size is kept
        found = run()
    for one, other in zip(found, run(), strict=True):
        assert one.device.type == "cpu"
        assert torch.equal(one, other)
