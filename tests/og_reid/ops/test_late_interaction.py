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

from interpreter import run_python
from local_features import Side, images
from og_reid.ops import int8_features, late_interaction, late_interaction_torch

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
    module = importlib.import_module("og_reid.ops._torch.late_interaction")
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


@pytest.mark.native
@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(*(st.integers(1, top) for top in (7, 9, 150, 150, 200, 7))),
    symmetric=st.booleans(),
    storage=st.sampled_from([torch.float32, torch.bfloat16, torch.int8]),
    mixed=st.booleans(),
)
def test_the_kernel_equals_its_twin(
    seed: int, shape: tuple[int, ...], symmetric: bool, storage: torch.dtype, mixed: bool
) -> None:
    q, g, cells, others, channels, parts = shape
    query = images(q, cells, channels, parts, seed=seed)
    gallery = images(g, others, channels, parts, seed=seed + 1)
    gallery[0] = stored(gallery[0], storage)
    query[0] = query[0] if mixed else stored(query[0], storage)
    want = late_interaction_torch(*query, *gallery, symmetric=symmetric)
    for got, expected in zip(
        late_interaction(*query, *gallery, symmetric=symmetric), want, strict=True
    ):
        assert torch.allclose(got, expected, rtol=0, atol=2e-6)


def stored(features: Tensor, dtype: torch.dtype) -> Tensor:
    return int8_features(features) if dtype == torch.int8 else features.to(dtype)


@pytest.mark.native
@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gradients_of_the_kernel_equal_those_of_its_twin(symmetric: bool, every: bool) -> None:
    """Of features and positions alone, cells without weight are left out."""
    sides = images(5, 37, 21, 3, seed=2), images(6, 30, 21, 3, seed=3)
    sides[0][1][2] = 0
    draw = torch.Generator().manual_seed(0)
    grads = torch.randn(2, 5, 6, generator=draw)
    found = []
    for body in BODIES:
        leaves = [each.clone() for side in sides for each in side]
        wanted = leaves if every else [leaves[0], leaves[3], leaves[4], leaves[7]]
        for each in wanted:
            each.requires_grad_()
        results = body(*leaves, symmetric=symmetric)
        loss = sum((each * grad).sum() for each, grad in zip(results, grads, strict=True))
        assert isinstance(loss, Tensor)
        found.append(torch.autograd.grad(loss, wanted, allow_unused=True))
    for got, want in zip(*found, strict=True):
        assert torch.allclose(got, torch.zeros_like(got) if want is None else want, atol=2e-5)
        assert want is None or bool(want.any())


@pytest.mark.native
def test_gradients_repeat_with_any_number_of_threads() -> None:
    sides = [*images(9, 20, 32), *images(8, 24, 32, seed=1)]
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            leaves = [each.clone().requires_grad_() for each in sides]
            late_interaction(*leaves)[0].square().sum().backward()
            found.append([each.grad for each in leaves])
        finally:
            torch.set_num_threads(1)
    assert all(map(torch.equal, *found))


def test_half_of_each_equal_share_is_its_gradient() -> None:
    """Both sides show the same fraction: as torch.minimum, half of the gradient to each."""
    sides = [*images(2, 6, 8), *images(2, 6, 8)]
    for weights, visibility in ((sides[1], sides[2]), (sides[5], sides[6])):
        weights.fill_(0.125)
        visibility.fill_(1.0)
    grads = []
    for body in BODIES:
        leaves = [each.clone().requires_grad_() for each in sides]
        body(*leaves)[1].sum().backward()
        grads.append([leaves[at].grad for at in (1, 2, 5, 6)])
    assert all(torch.allclose(got, want) for got, want in zip(*grads, strict=True))


def test_types_of_features_with_gradients() -> None:
    """Weights have gradients beside features of less memory; bfloat16 features have theirs."""
    query, gallery = images(2, 9, 16), images(3, 8, 16, seed=1)
    weights = query[1].clone().requires_grad_()
    args = (int8_features(query[0]), weights, *query[2:], *gallery)
    late_interaction(*args)[0].sum().backward()
    assert weights.grad is not None
    want = torch.autograd.grad(late_interaction_torch(*args)[0].sum(), weights)[0]
    assert torch.allclose(weights.grad, want, atol=1e-5)
    short = query[0].bfloat16().requires_grad_()
    late_interaction(short, *query[1:], *gallery)[0].sum().backward()
    assert short.grad is not None
    assert short.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("channels", [1, 8, 128, 200])
@pytest.mark.parametrize("kind", ["random", "few", "one"])
def test_bounds_of_stored_features(channels: int, kind: str) -> None:
    """Products of int8 features are within (1 + e) e of each side, those of bfloat16 in 2^-8."""
    query, gallery = images(4, 40, channels), images(5, 30, channels, seed=1)
    for side in (query, gallery):
        if kind != "random":
            side[0][..., (1 if kind == "one" else 3) :] *= 1e-3
            side[0] = torch.nn.functional.normalize(side[0], dim=2)
    want = late_interaction(*query, *gallery)[0]
    short = late_interaction(query[0].bfloat16(), *query[1:], gallery[0].bfloat16(), *gallery[1:])
    assert float((short[0] - want).abs().max()) <= 2**-8 + 2**-16
    bound = 0.0
    for side in (query, gallery):
        error = channels**0.5 * float(side[0].abs().max()) / 254
        bound += (1 + error) * error
    small = late_interaction(
        int8_features(query[0]), *query[1:], int8_features(gallery[0]), *gallery[1:]
    )
    assert float((small[0] - want).abs().max()) <= bound + 1e-6
    if kind == "random" and channels == 128:
        assert float((small[0] - want).abs().max()) < 2e-3


def test_int8_features() -> None:
    features = torch.tensor([[0.6, -0.8, 0.0], [0.0, 0.0, 0.0], [1e-30, 0.0, 0.0]])
    assert int8_features(features).tolist() == [[95, -127, 0], [0, 0, 0], [127, 0, 0]]
    assert int8_features(torch.zeros(3, 0, 4)).shape == (3, 0, 4)
    with pytest.raises(ValueError, match=r"features must be .* floating point"):
        int8_features(torch.ones(2, 3, dtype=torch.int64))


@pytest.mark.native
@pytest.mark.parametrize("level", ["baseline", "x86-64-v3", "x86-64-v4"])
def test_all_levels_agree(level: str) -> None:
    script = (
        "import sys; sys.path[:0] = ['.', 'tests/shared']; import torch;"
        "from local_features import images; from og_reid.ops import *;"
        "q, g = images(5, 40, 70), images(6, 37, 70, seed=1); torch.set_num_threads(1);"
        "kinds = (torch.clone, torch.Tensor.bfloat16, int8_features);\n"
        "for kind in kinds:\n"
        "    pair = kind(q[0]), *q[1:], kind(g[0]), *g[1:]\n"
        "    for got, want in zip(late_interaction(*pair), late_interaction_torch(*pair)):\n"
        "        assert torch.allclose(got, want, rtol=0, atol=2e-6)\n"
        "leaves = [each.requires_grad_() for each in (*q, *g)]\n"
        "for body in (late_interaction, late_interaction_torch):\n"
        "    body(*leaves)[0].square().sum().backward()\n"
        "    found = [each.grad for each in leaves]\n"
        "    for each in leaves: each.grad = None\n"
        "    last = found if body is late_interaction else last\n"
        "assert all(torch.allclose(a, b, atol=2e-5) for a, b in zip(found, last))\n"
        "print(native_info()['cpu_level'])"
    )
    done = run_python(script, OG_REID_CPU_LEVEL=level)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("baseline", "x86-64-v3", level)


@pytest.mark.native
def test_equal_cells_are_ties() -> None:
    """The gradient goes to one of the best cells, and only to best cells."""
    query, gallery = images(1, 3, 8), images(1, 40, 8, seed=1)
    gallery[0][:] = gallery[0][:, :1].clone()
    gallery[3].fill_(0.5)
    gallery[1].fill_(1 / 6)
    query[1].fill_(1 / 6)
    query[2].fill_(1.0)
    features = gallery[0].clone().requires_grad_()
    similarity, _ = late_interaction(*query, features, *gallery[1:], symmetric=False)
    assert close(similarity, late_interaction_torch(*query, *gallery, symmetric=False)[0])
    similarity.sum().backward()
    assert features.grad is not None
    total = torch.autograd.grad(
        late_interaction_torch(*query, features, *gallery[1:], symmetric=False)[0].sum(), features
    )[0]
    assert torch.allclose(features.grad.sum(1), total.sum(1), atol=1e-6)


@pytest.mark.native
def test_overflowing_scores_do_not_leave_memory() -> None:
    query, gallery = images(2, 20, 8), images(2, 20, 8, seed=1)
    query[0] *= 1e30
    gallery[0] *= 1e30
    leaves = [each.clone().requires_grad_() for each in (*query, *gallery)]
    late_interaction(*leaves)[0].sum().backward()


@pytest.mark.native
def test_registration() -> None:
    tensors = [*images(2, 9, 12), *images(3, 8, 12, seed=1)]
    operator = torch.ops.og_reid.late_interaction.default
    torch.library.opcheck(operator, (*tensors, 1.0, 0.5, True, False, False))
    leaves = [each.requires_grad_() for each in tensors]
    for symmetric in (True, False):
        torch.library.opcheck(operator, (*leaves, 1.0, 0.5, symmetric, True, True))
    compiled = torch.compile(late_interaction, backend="aot_eager", fullgraph=True)
    for got, want in zip(compiled(*leaves), late_interaction(*leaves), strict=True):
        assert torch.equal(got, want)
    fake = [each.detach().to("meta") for each in tensors]
    assert [each.shape for each in late_interaction(*fake)] == [(2, 3), (2, 3)]
