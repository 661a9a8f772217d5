from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from og_reid import Embedding, evaluate
from og_reid.evaluation import rank
from og_reid.rerank import LazyDistances, gnn_rerank, k_reciprocal, k_reciprocal_distances

GOLDEN = Path(__file__).parents[2] / "golden" / "eval" / "torchreid_rerank.npz"


def people(rng: torch.Generator, queries: int = 12, items: int = 70) -> tuple[Tensor, Tensor, dict]:
    pids = torch.randint(8, (queries + items,), generator=rng)
    centers = torch.randn(8, 6, generator=rng)
    rows = normalize(centers[pids] + 0.8 * torch.randn(len(pids), 6, generator=rng), dim=1)
    labels = {"query_pids": pids[:queries], "gallery_pids": pids[queries:]}
    return rows[:queries], rows[queries:], labels


@pytest.mark.parametrize(
    ("name", "k1", "k2", "lambda_value"),
    [
        ("rerank_k20_6_l0.3", 20, 6, 0.3),
        ("rerank_k10_1_l0.5", 10, 1, 0.5),
        ("rerank_k6_3_l0.0", 6, 3, 0.0),
    ],
)
def test_golden_matrices(name: str, k1: int, k2: int, lambda_value: float) -> None:
    golden = np.load(GOLDEN)
    query, gallery = (torch.from_numpy(golden[side]) for side in ("qf", "gf"))
    expected = torch.from_numpy(golden[name])
    parameters = {"k1": k1, "k2": k2, "lambda_value": lambda_value}
    found = k_reciprocal(query, gallery, **parameters)
    torch.testing.assert_close(found.dense(), expected, atol=6e-7, rtol=0)
    given = [torch.cdist(a, b) for a, b in ((query, gallery), (query, query), (gallery, gallery))]
    for own in given[1:]:
        own.fill_diagonal_(0)
    found = k_reciprocal_distances(*given, **parameters)
    torch.testing.assert_close(found.dense(), expected, atol=2e-6, rtol=0)


def test_golden_metrics() -> None:
    golden = np.load(GOLDEN)
    labels = {"query_pids": golden["q_pids"], "gallery_pids": golden["g_pids"]}
    before = evaluate(golden["qf"], golden["gf"], **labels)
    assert before.mAP == pytest.approx(float(golden["mAP_before"]), abs=1e-12)
    after = evaluate(distance=k_reciprocal(golden["qf"], golden["gf"]), **labels)
    assert after.mAP == pytest.approx(float(golden["mAP_after"]), abs=1e-12)
    cmc = torch.from_numpy(golden["cmc_after"]).double()
    torch.testing.assert_close(after.cmc[:50], cmc, atol=1e-6, rtol=0)


def neighbors(order: np.ndarray, image: int, k: int) -> np.ndarray:
    forward = order[image, :k]
    return forward[(order[forward, :k] == image).any(axis=1)]


def dense_twin(
    query: Tensor, gallery: Tensor, k1: int, k2: int, lambda_value: float, variant: str
) -> np.ndarray:
    """Every variant with full matrices and loops, in float64."""
    rows = torch.cat([query, gallery]).double().numpy()
    count, queries = len(rows), len(query)
    squared = 2 - 2 * rows @ rows.T
    squared = np.maximum(squared, 0)
    if variant == "layumi":
        squared = squared**2
    original = squared if variant == "fast-reid" else squared / squared.max(axis=1, keepdims=True)
    order = np.argsort(original, axis=1, kind="stable")
    wide = k1 if variant == "fast-reid" else k1 + 1
    vectors = np.zeros((count, count))
    for i in range(count):
        own = neighbors(order, i, wide)
        members = set(own)
        for candidate in own:
            theirs = neighbors(order, candidate, round(k1 / 2) + 1)
            if len(np.intersect1d(theirs, own)) > 2 / 3 * len(theirs):
                members |= set(theirs)
        chosen = sorted(members)
        weight = np.exp(-original[i, chosen])
        vectors[i, chosen] = weight / weight.sum()
    vectors = np.stack([vectors[order[i, :k2]].mean(axis=0) for i in range(count)])
    shared = np.minimum(vectors[:queries, None], vectors[None, queries:]).sum(axis=2)
    jaccard = 1 - shared / (2 - shared)
    kept = original[:queries, queries:]
    kept = kept / 2 if variant == "fast-reid" else kept
    return (1 - lambda_value) * jaccard + lambda_value * kept


@pytest.mark.parametrize("variant", ["original", "layumi", "fast-reid"])
@pytest.mark.parametrize(("k1", "k2"), [(7, 3), (20, 6), (10, 1), (1, 1)])
def test_variants_equal_their_dense_twins(
    variant: str, k1: int, k2: int, rng: torch.Generator
) -> None:
    query, gallery, _ = people(rng)
    found = k_reciprocal(5 * query, gallery, k1=k1, k2=k2, lambda_value=0.4, variant=variant)
    expected = dense_twin(query, gallery, k1, k2, 0.4, variant)
    np.testing.assert_allclose(found.dense().numpy(), expected, atol=2e-6)
    assert str(found) == f"k-reciprocal, {variant} (k1 = {k1}, k2 = {k2}, lambda = 0.4)"


def test_variants_are_different_functions(rng: torch.Generator) -> None:
    query, gallery, _ = people(rng)
    results = [
        k_reciprocal(query, gallery, variant=name).dense()
        for name in ("original", "layumi", "fast-reid", "transreid")
    ]
    for first in range(4):
        for second in range(first):
            assert not torch.allclose(results[first], results[second], atol=1e-3)
    wide = k_reciprocal(query, gallery, k1=50, k2=15).dense()
    assert torch.equal(wide, results[3])


def gnn_twin(query: Tensor, gallery: Tensor, k1: int, k2: int) -> np.ndarray:
    rows = torch.cat([query, gallery]).double().numpy()
    similarity = rows @ rows.T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k1]
    graph = np.zeros_like(similarity)
    np.put_along_axis(graph, order, 1, axis=1)
    weight = np.take_along_axis(similarity, order, axis=1) ** 2
    if k2 > 1:
        for _ in range(2):
            graph = graph + graph.T
            graph = np.stack([weight[i, :k2] @ graph[order[i, :k2]] for i in range(len(graph))])
            graph /= np.linalg.norm(graph, axis=1, keepdims=True)
    return 1 - graph[: len(query)] @ graph[len(query) :].T


@pytest.mark.parametrize(("k1", "k2"), [(26, 7), (9, 4), (6, 1)])
def test_graph_propagation_equals_its_dense_twin(k1: int, k2: int, rng: torch.Generator) -> None:
    query, gallery, _ = people(rng)
    found = gnn_rerank(3 * query, gallery, k1=k1, k2=k2)
    np.testing.assert_allclose(found.dense().numpy(), gnn_twin(query, gallery, k1, k2), atol=5e-6)


@pytest.mark.parametrize("method", [k_reciprocal, gnn_rerank])
def test_rankings_get_better_and_need_no_dense_matrix(method, rng: torch.Generator) -> None:
    query, gallery, labels = people(rng, 40, 400)
    before = evaluate(query, gallery, **labels)
    calls: list[int] = []
    found = method(query, gallery)
    spied = LazyDistances(
        found.method, found.parameters, found.shape,
        lambda start, stop: (calls.append(stop - start), found.rows(start, stop))[1],
    )  # fmt: skip
    after = evaluate(distance=spied, **labels)
    assert after.mAP > before.mAP + 0.02
    assert torch.equal(evaluate(distance=found.dense(), **labels).step, after.step)
    assert sum(calls) == 40


def test_more_neighbors_than_images(rng: torch.Generator) -> None:
    query, gallery, _ = people(rng, 2, 3)
    found = k_reciprocal(query, gallery, k1=20, k2=6)
    assert found.dense().shape == (2, 3)
    assert found.dense().isfinite().all()
    assert gnn_rerank(query, gallery).dense().isfinite().all()


def test_reversed_arrays(rng: torch.Generator) -> None:
    query = torch.rand(3, 5, generator=rng)
    gallery, own = (torch.cdist(each, each) for each in torch.rand(2, 5, 2, generator=rng))
    own = own[:3, :3]
    expected = k_reciprocal_distances(query.flip(0), own, gallery).dense()
    found = k_reciprocal_distances(query.numpy()[::-1], own.numpy(), gallery.numpy()).dense()
    assert torch.equal(found, expected)


def test_equal_features_stay_finite() -> None:
    ones = torch.ones(30, 4)
    for found in (k_reciprocal(ones[:5], ones), gnn_rerank(ones[:5], ones)):
        assert found.dense().isfinite().all()


def test_visible_parts_are_reranked(rng: torch.Generator) -> None:
    def some(count: int) -> Embedding:
        seen = torch.rand(count, 2, generator=rng).round()
        return Embedding(
            torch.randn(count, 4, generator=rng), torch.randn(count, 2, 3, generator=rng), seen
        )

    query, gallery = some(6), some(40)
    found = k_reciprocal(query, gallery, k1=8, k2=3).dense()
    whole = Embedding.cat([query, gallery])
    similarity = torch.zeros(46, 46)
    near = rank(whole, whole, query_pids=range(46), gallery_pids=range(46), k=46)
    similarity.scatter_(1, near.indices, 1 - near.distances)
    distance = (2 - 2 * similarity).clamp_min(0).sqrt()
    expected = k_reciprocal_distances(
        distance[:6, 6:], distance[:6, :6], distance[6:, 6:], k1=8, k2=3
    )
    torch.testing.assert_close(found, expected.dense(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k1": 0}, "k1 must be at least 1"),
        ({"k1": 3, "k2": 5}, r"k2 in \[1, k1 \+ 1\]; got 3 and 5"),
        ({"lambda_value": 2}, r"lambda_value must be in \[0, 1\]; got 2"),
        ({"variant": "mine"}, "variant must be one of original, layumi, fast-reid, transreid"),
        ({"variant": "transreid", "k1": 20}, "has k1 = 50"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        k_reciprocal(torch.ones(2, 2), torch.ones(9, 2), **arguments)


def test_bad_input_is_refused() -> None:
    ones = torch.ones(3, 2)
    with pytest.raises(ValueError, match="k2 must be in"):
        gnn_rerank(ones, ones, k1=3, k2=4)
    with pytest.raises(ValueError, match="gallery has NaN or infinite values in rows 0, 1, 2"):
        k_reciprocal(ones, ones * torch.nan)
    with pytest.raises(ValueError, match="features of one length"):
        k_reciprocal(ones, torch.ones(3, 4))
    with pytest.raises(ValueError, match="must be an Embedding, a tensor or an array; got list"):
        k_reciprocal(ones, [ones])
    with pytest.raises(ValueError, match=r"query_gallery must be \(Q, G\); got \(3,\)"):
        k_reciprocal_distances(torch.ones(3), torch.ones(3, 3), torch.ones(4, 4))
    with pytest.raises(ValueError, match=r"query_query must be \(3, 3\); got \(2, 2\)"):
        k_reciprocal_distances(torch.ones(3, 4), torch.ones(2, 2), torch.ones(4, 4))
