from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from og_reid.ops import late_interaction, late_interaction_torch
from tests.shared.local_features import Side, images

BODIES = [late_interaction, late_interaction_torch]


def naive(
    query: Side, gallery: Side, penalty: float, background: float, symmetric: bool
) -> tuple[Tensor, Tensor]:
    """Pair by pair and cell by cell, in float64."""
    query, gallery = ([each.double() for each in side] for side in (query, gallery))
    similarity = torch.zeros(len(query[0]), len(gallery[0]), dtype=torch.float64)
    shared = similarity.clone()
    for q in range(len(query[0])):
        for g in range(len(gallery[0])):
            pair = [each[q] for each in query], [each[g] for each in gallery]
            sides = [one_way(*pair, penalty, background)]
            if symmetric:
                sides.append(one_way(*pair[::-1], penalty, background))
            similarity[q, g] = sum(mean for mean, _ in sides) / len(sides)
            shared[q, g] = min(mass for _, mass in sides)
            if shared[q, g] == 0:
                similarity[q, g] = -1 - penalty - background
            if not all(each.isfinite().all() for side in pair for each in side):
                similarity[q, g] = shared[q, g] = math.nan
    return similarity, shared


def one_way(
    this: list[Tensor], other: list[Tensor], penalty: float, background: float
) -> tuple[float, float]:
    features, weights, _, positions = this
    total = mass = 0.0
    for i in range(len(features)):
        u = float(weights[i] @ other[2])
        scores = [
            float(features[i] @ other[0][j])
            - penalty * abs(float(positions[i] - other[3][j]))
            - background * (1 - min(1.0, float(other[1][j].sum())))
            for j in range(len(other[0]))
        ]
        total, mass = total + u * max(scores), mass + u
    return total / (mass + 1e-6), mass / len(features)


def close(got: Tensor, want: Tensor) -> bool:
    return torch.allclose(got.double(), want.double(), rtol=0, atol=3e-6, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(*(st.integers(1, top) for top in (4, 5, 21, 23, 37, 7))),
    rules=st.tuples(st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.5]), st.booleans()),
)
def test_both_equal_the_naive_twin(
    seed: int, shape: tuple[int, ...], rules: tuple[float, float, bool]
) -> None:
    q, g, cells, others, channels, parts = shape
    query = images(q, cells, channels, parts, seed=seed)
    gallery = images(g, others, channels, parts, seed=seed + 1)
    want = naive(query, gallery, *rules)
    for body in BODIES:
        got = body(*query, *gallery, penalty=rules[0], background=rules[1], symmetric=rules[2])
        assert close(got[0], want[0])
        assert close(got[1], want[1])


@pytest.mark.parametrize("body", BODIES)
def test_an_image_is_most_similar_to_itself(body: Callable[..., Any]) -> None:
    side = images(6, 32, 64)
    side[1].fill_(1 / 6)
    side[2].fill_(1.0)
    similarity, shared = body(*side, *side)
    assert torch.equal(similarity.argmax(1), torch.arange(6))
    assert torch.allclose(similarity.diagonal(), torch.ones(6), atol=1e-5)
    assert torch.allclose(shared, torch.ones(6, 6))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("symmetric", [True, False])
def test_nothing_in_common(body: Callable[..., Any], symmetric: bool) -> None:
    """A query of nothing, one of parts the gallery lacks, and one that shares a part."""
    query, gallery = images(3, 5, 8, 2), images(2, 4, 8, 2, seed=1)
    query[1].fill_(0.5)
    query[1][0] = 0
    query[1][1, :, 1] = 0
    gallery[2][:] = torch.tensor([0.0, 1.0])
    query[2].fill_(1.0)
    gallery[1].fill_(0.5)
    similarity, shared = body(*query, *gallery, penalty=0.3, symmetric=symmetric)
    assert torch.equal(similarity[:2], torch.full((2, 2), -1.8))
    assert torch.equal(shared[:2], torch.zeros(2, 2))
    assert bool((similarity[2] > -1.3).all())
    assert bool((shared[2] > 0).all())


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("field", range(4))
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_broken_image_has_no_similarity(
    body: Callable[..., Any], field: int, value: float
) -> None:
    query, gallery = images(3, 5, 9), images(4, 6, 9, seed=1)
    whole = body(*query, *gallery)
    query[field][1].view(-1)[-1] = value
    gallery[field][2].view(-1)[0] = value
    for got, want in zip(body(*query, *gallery), whole, strict=True):
        assert bool(got[1].isnan().all())
        assert bool(got[:, 2].isnan().all())
        rows, columns = torch.tensor([[0], [2]]), torch.tensor([0, 1, 3])
        assert torch.equal(got[rows, columns], want[rows, columns])


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("queries", "items"), [(0, 3), (3, 0), (0, 0)])
def test_no_images(body: Callable[..., Any], queries: int, items: int) -> None:
    for each in body(*images(queries, 5, 8), *images(items, 6, 8)):
        assert each.shape == (queries, items)
        assert each.dtype == torch.float32


@pytest.mark.parametrize("body", BODIES)
def test_one_cell_of_each(body: Callable[..., Any]) -> None:
    query = [torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, 1), torch.ones(1, 1)]
    gallery = [torch.tensor([[[0.6, 0.8]]]), torch.full((1, 1, 1), 0.5), torch.ones(1, 1)]
    places = torch.tensor([[0.25]]), torch.tensor([[0.75]])
    similarity, shared = body(*query, places[0], *gallery, places[1], background=0.2)
    # There 0.6 - 0.5 - 0.2 * 0.5; back 0.6 - 0.5.
    assert torch.allclose(similarity, torch.tensor([[0.05]]), atol=1e-5)
    assert float(shared) == 0.5


@pytest.mark.parametrize("body", BODIES)
def test_rows_apart_and_other_types(body: Callable[..., Any]) -> None:
    query, gallery = images(4, 9, 17), images(3, 10, 17, seed=1)
    want = body(*query, *gallery)
    apart = [torch.stack([each, -each], -1)[..., 0] for each in query]
    assert not apart[0].is_contiguous()
    turned = [each.transpose(0, 1).contiguous().transpose(0, 1) for each in gallery]
    for got, expected in zip(body(*apart, *turned), want, strict=True):
        assert torch.equal(got, expected)
    doubled = body(*(each.double() for each in query), *gallery)
    assert {each.dtype for each in doubled} == {torch.float64}
    assert close(doubled[0], want[0])
    halved = body(query[0].bfloat16(), *query[1:], *gallery)
    assert halved[0].dtype == torch.float32
    assert torch.allclose(halved[0], want[0], atol=2**-7)


def test_tiles_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery = images(7, 9, 20), images(11, 8, 20, seed=1)
    want = late_interaction(*query, *gallery)
    module = importlib.import_module("og_reid.ops.late_interaction")
    monkeypatch.setattr(module, "TILE_ENTRIES", 200)
    torch.set_num_threads(3)
    try:
        for body in BODIES:
            for got, expected in zip(body(*query, *gallery), want, strict=True):
                assert close(got, expected)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("symmetric", [True, False])
def test_gradients(symmetric: bool) -> None:
    query = [each.double() for each in images(3, 5, 7, 3, seed=4)]
    gallery = [each.double() for each in images(2, 6, 7, 3, seed=5)]
    leaves = [each.clone().requires_grad_() for each in (*query, *gallery)]

    def both(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return late_interaction(*tensors, symmetric=symmetric)

    assert torch.autograd.gradcheck(both, leaves)


def test_no_gradient_from_nothing() -> None:
    query, gallery = images(2, 5, 8), images(2, 5, 8, seed=1)
    query[1][0] = 0
    leaves = [each.clone().requires_grad_() for each in (*query, *gallery)]
    late_interaction(*leaves)[0][0].sum().backward()
    for leaf in leaves:
        assert leaf.grad is None or not bool(leaf.grad.any())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"query_features": torch.rand(2, 5)}, "query_features must be .*cells >= 1"),
        ({"query_features": torch.rand(2, 0, 8)}, "query_features must be .*cells >= 1"),
        ({"query_features": torch.rand(3, 5, 8)}, "query_weights must be"),
        ({"gallery_weights": torch.rand(3, 4, 5)}, "gallery_visibility must be"),
        ({"gallery_weights": torch.rand(3, 5)}, "gallery_weights must be"),
        ({"query_visibility": torch.rand(2)}, "query_visibility must be"),
        ({"gallery_positions": torch.rand(3, 5)}, "gallery_positions must be"),
        ({"gallery_features": torch.rand(3, 4, 9)}, "as many channels.*9 and 8"),
        (
            {"gallery_weights": torch.rand(3, 4, 5), "gallery_visibility": torch.rand(3, 5)},
            "as many parts.*5 and 6",
        ),
        ({"query_features": torch.ones(2, 5, 8, dtype=torch.int64)}, "must be floating point"),
        ({"penalty": -1.0}, "penalty must be"),
        ({"penalty": torch.nan}, "penalty must be"),
        ({"background": torch.inf}, "background must be"),
    ],
)
def test_wrong_arguments_are_refused(changed: dict[str, Any], message: str) -> None:
    names = ("features", "weights", "visibility", "positions")
    given = {
        **{f"query_{name}": each for name, each in zip(names, images(2, 5, 8), strict=True)},
        **{f"gallery_{name}": each for name, each in zip(names, images(3, 4, 8), strict=True)},
    }
    for body in BODIES:
        with pytest.raises(ValueError, match=message):
            body(**{**given, **changed})
