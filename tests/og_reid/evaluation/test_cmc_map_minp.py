from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from og_reid import Embedding
from og_reid.evaluation import evaluate, evaluate_distances, rank, rank_distances
from og_reid.ops import rank_counts as counting
from og_reid.retrieval import distance_blocks as products

FOLDER = Path(__file__).parents[2] / "golden" / "eval"
GOLDEN = FOLDER / "torchreid_eval.npz"


def ids(*values: int) -> Tensor:
    return torch.tensor(values)


def slow_twin(
    distances: np.ndarray, q_pids: list, g_pids: list, q_cams: list | None, g_cams: list | None
) -> list[list[int]]:
    """Ranks of the matches of each query by sorting; among equals, wrong answers come first."""
    result = []
    for query, row in enumerate(distances):
        entries = []
        for item, distance in enumerate(row):
            same = q_pids[query] == g_pids[item]
            camera = q_cams is not None and q_cams[query] == g_cams[item]
            if g_pids[item] != -1 and not (same and camera):
                entries.append((distance, same))
        entries.sort()
        result.append([place for place, (_, same) in enumerate(entries, 1) if same])
    return result


def test_golden_market_metrics() -> None:
    golden = np.load(GOLDEN)
    labels = {
        "query_pids": torch.tensor(golden["q_pids"]),
        "gallery_pids": torch.tensor(golden["g_pids"]),
        "query_camids": torch.tensor(golden["q_camids"]),
        "gallery_camids": torch.tensor(golden["g_camids"]),
    }
    metrics = evaluate_distances(torch.tensor(golden["distmat"]), **labels)
    assert metrics.mAP == pytest.approx(float(golden["market_mAP"]), abs=1e-12)
    torch.testing.assert_close(
        metrics.cmc[:50], torch.tensor(golden["market_cmc"]).double(), atol=1e-7, rtol=0
    )
    assert metrics.rank(1) == pytest.approx(0.42857, abs=1e-5)
    assert metrics.num_queries == 100
    assert metrics.num_valid == 98
    assert metrics.num_ties == 0
    assert metrics.mAP_all == pytest.approx(metrics.mAP * 0.98)


# One query; the gallery by distance: right, wrong, right, wrong.
FOUR = torch.tensor([[0.3, 0.1, 0.2, 0.4]])
FOUR_PIDS = {"query_pids": ids(1), "gallery_pids": ids(1, 1, 2, 3)}


def test_four_images_by_hand() -> None:
    step = evaluate_distances(FOUR, **FOUR_PIDS)
    assert step.mAP == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert step.mINP == pytest.approx(2 / 3)
    assert step.cmc.tolist() == [1, 1, 1, 1]
    assert step.first_match.tolist() == [1]
    assert (step.num_queries, step.num_valid, step.num_ties) == (1, 1, 0)
    trapezoid = evaluate_distances(FOUR, **FOUR_PIDS, ap="trapezoid")
    # Rank 1: (1 + 1) / 2; rank 3: (2/3 + 1/2) / 2.
    assert trapezoid.mAP == pytest.approx((1 + (2 / 3 + 1 / 2) / 2) / 2)
    assert trapezoid.ap == "trapezoid"


def test_four_images_with_cameras_by_hand() -> None:
    # The nearest right answer is of the query's own camera: wrong, right remain before the last.
    metrics = evaluate_distances(
        FOUR, **FOUR_PIDS, query_camids=ids(7), gallery_camids=ids(1, 7, 7, 1)
    )
    assert metrics.mAP == pytest.approx(1 / 2)
    assert metrics.mINP == pytest.approx(1 / 2)
    assert metrics.cmc.tolist() == [0, 1, 1, 1]
    assert metrics.rank(1) == 0
    assert metrics.rank(2) == 1
    assert metrics.rank(99) == 1


def test_junk_is_not_ranked_and_distractors_are() -> None:
    distances = torch.tensor([[0.1, 0.2, 0.3]])
    junk = evaluate_distances(distances, query_pids=ids(5), gallery_pids=ids(-1, 5, 6))
    assert junk.mAP == 1
    distractor = evaluate_distances(distances, query_pids=ids(5), gallery_pids=ids(0, 5, 6))
    assert distractor.mAP == 1 / 2


def test_queries_without_a_match_are_counted() -> None:
    distances = torch.tensor([[0.1, 0.2], [0.1, 0.2]])
    metrics = evaluate_distances(distances, query_pids=ids(1, 9), gallery_pids=ids(2, 1))
    assert (metrics.num_queries, metrics.num_valid) == (2, 1)
    assert metrics.mAP == 1 / 2
    assert metrics.mAP_all == 1 / 4
    assert math.isnan(metrics.average_precision[1])
    assert metrics.first_match.tolist() == [2, 0]


def test_ties_count_against_us_in_any_order() -> None:
    features = torch.ones(40, 512)
    pids = torch.arange(40) % 20
    for order in (torch.arange(40), torch.arange(40).flip(0)):
        metrics = evaluate(features, features, query_pids=pids, gallery_pids=pids[order])
        # 38 wrong answers tie with both right ones.
        assert metrics.mAP == pytest.approx((1 / 39 + 2 / 40) / 2)
        assert metrics.rank(1) == 0
        assert metrics.num_ties == 80


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), cameras=st.booleans(), levels=st.integers(2, 40))
def test_slow_twin(seed: int, cameras: bool, levels: int) -> None:
    """Few distance levels make many ties."""
    draw = np.random.default_rng(seed)
    queries, items = draw.integers(1, 8), draw.integers(1, 30)
    distances = draw.integers(0, levels, (queries, items)) / levels
    q_pids, g_pids = draw.integers(0, 4, queries), draw.integers(-1, 4, items)
    q_cams = draw.integers(1, 3, queries) if cameras else None
    g_cams = draw.integers(1, 3, items) if cameras else None
    expected = slow_twin(distances, q_pids, g_pids, q_cams, g_cams)
    labels = {
        "query_pids": torch.tensor(q_pids),
        "gallery_pids": torch.tensor(g_pids),
        "query_camids": torch.tensor(q_cams) if cameras else None,
        "gallery_camids": torch.tensor(g_cams) if cameras else None,
    }
    matrix = torch.tensor(distances)
    valid = [ranks for ranks in expected if ranks]
    if not valid:
        with pytest.raises(ValueError, match=r"removed every|no identity of|only -1"):
            evaluate_distances(matrix, **labels)
        return
    for ap in ("step", "trapezoid"):
        metrics = evaluate_distances(matrix, **labels, ap=ap)
        precision = [average_precision(ranks, ap) for ranks in valid]
        assert metrics.mAP == pytest.approx(np.mean(precision), abs=1e-12)
    assert metrics.mINP == pytest.approx(np.mean([len(ranks) / ranks[-1] for ranks in valid]))
    assert metrics.num_valid == len(valid)
    assert metrics.first_match.tolist() == [ranks[0] if ranks else 0 for ranks in expected]
    cmc = [np.mean([ranks[0] <= k for ranks in valid]) for k in range(1, items + 1)]
    assert metrics.cmc.tolist() == pytest.approx(cmc)


def average_precision(ranks: list[int], ap: str) -> float:
    total = 0.0
    for order, place in enumerate(ranks, 1):
        before = 1.0 if place == 1 else (order - 1) / (place - 1)
        total += order / place if ap == "step" else (order / place + before) / 2
    return total / len(ranks)


def test_features_are_ranked_by_cosine(
    rng: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = torch.randn(9, 6, generator=rng)
    gallery = torch.randn(50, 6, generator=rng)
    labels = {
        "query_pids": torch.randint(5, (9,), generator=rng),
        "gallery_pids": torch.randint(5, (50,), generator=rng),
        "query_camids": torch.randint(2, (9,), generator=rng),
        "gallery_camids": torch.randint(2, (50,), generator=rng),
    }
    cosine = torch.nn.functional.cosine_similarity(query[:, None], gallery, dim=2)
    expected = evaluate_distances(1 - cosine, **labels)
    metrics = evaluate(3 * query, gallery, **labels)
    assert metrics.mAP == pytest.approx(expected.mAP, abs=1e-12)
    # Small blocks change nothing.
    monkeypatch.setattr(products, "BLOCK_ENTRIES", 1)
    blocked = evaluate(query, gallery, **labels)
    assert torch.equal(blocked.average_precision, metrics.average_precision)
    assert torch.equal(blocked.cmc, metrics.cmc)


class Blocks:
    """A gallery that is read piece by piece, as often as needed."""

    def __init__(self, rows: Tensor | Embedding, size: int) -> None:
        self.rows, self.size = rows, size

    def __iter__(self) -> Iterator[Tensor | Embedding]:
        for start in range(0, len(self.rows), self.size):
            yield self.rows[start : start + self.size]


def crowd(rng: torch.Generator, queries: int, items: int) -> tuple[Tensor, Tensor, dict]:
    """Coarse features, so that many distances are equal, with junk and cameras."""
    coarse = [torch.randint(-2, 3, (n, 4), generator=rng).float() for n in (queries, items)]
    for each in coarse:
        each[(each == 0).all(dim=1)] = 1
    labels = {
        "query_pids": torch.randint(0, 9, (queries,), generator=rng),
        "gallery_pids": torch.randint(-1, 9, (items,), generator=rng),
        "query_camids": torch.randint(3, (queries,), generator=rng),
        "gallery_camids": torch.randint(3, (items,), generator=rng),
    }
    return *coarse, labels


@pytest.mark.parametrize("size", [1, 7, 300, 1000])
def test_a_gallery_in_blocks_is_the_same_gallery(size: int, rng: torch.Generator) -> None:
    query, gallery, labels = crowd(rng, 40, 600)
    whole = evaluate(query, gallery, **labels)
    assert whole.num_ties > 100
    blocked = evaluate(query, Blocks(gallery, size), **labels)
    assert torch.equal(whole.step, blocked.step)
    assert torch.equal(whole.ties, blocked.ties)


def test_a_gallery_on_the_disk(tmp_path: Path, rng: torch.Generator) -> None:
    query, gallery, labels = crowd(rng, 20, 5000)
    file = np.memmap(tmp_path / "gallery", np.float16, "w+", shape=tuple(gallery.shape))
    file[:] = gallery.numpy()
    metrics = evaluate(query.numpy(), file, **{name: x.numpy() for name, x in labels.items()})
    assert torch.equal(metrics.step, evaluate(query, gallery, **labels).step)


def test_threads_change_nothing(rng: torch.Generator) -> None:
    query, gallery, labels = crowd(rng, 40, 3000)
    one = evaluate(query, gallery, **labels)
    torch.set_num_threads(2)
    try:
        two = evaluate(query, gallery, **labels)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one.step, two.step)
    assert torch.equal(one.inverse_penalty, two.inverse_penalty)


def test_without_the_native_kernel(rng: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery, labels = crowd(rng, 30, 900)
    native = evaluate(query, gallery, **labels)
    monkeypatch.setattr(counting, "usable_on_cpu", lambda *tensors: False)
    twin = evaluate(query, gallery, **labels)
    assert torch.equal(native.step, twin.step)
    assert torch.equal(native.ties, twin.ties)


def test_blocks_that_cannot_be_used_are_refused(rng: torch.Generator) -> None:
    query, gallery, labels = crowd(rng, 5, 60)
    with pytest.raises(ValueError, match="gallery must be readable in every pass"):
        evaluate(query, iter(Blocks(gallery, 9)), **labels)
    with pytest.raises(ValueError, match="blocks of gallery must have 60 rows together"):
        evaluate(query, Blocks(gallery[:50], 9), **labels)
    gallery[41] = torch.nan
    labels["gallery_pids"][41] = 1
    with pytest.raises(ValueError, match="gallery has NaN or infinite values in rows 41"):
        evaluate(query, Blocks(gallery, 9), **labels)


def test_order_of_the_gallery_changes_nothing(rng: torch.Generator) -> None:
    query, gallery, labels = crowd(rng, 30, 400)
    order = torch.randperm(400, generator=rng)
    turned = {n: x[order] if n.startswith("gallery") else x for n, x in labels.items()}
    first, second = evaluate(query, gallery, **labels), evaluate(query, gallery[order], **turned)
    assert torch.equal(first.step, second.step)
    assert torch.equal(first.inverse_penalty, second.inverse_penalty)


def parts_loop(query: Embedding, gallery: Embedding) -> np.ndarray:
    """Similarities one by one in float64, as the PGFA paper writes them."""

    def cosine(a: Tensor, b: Tensor) -> float:
        a, b = a.double(), b.double()
        return float(a @ b / (a.norm() * b.norm()))

    result = np.zeros((len(query), len(gallery)))
    for i in range(len(query)):
        for j in range(len(gallery)):
            above = below = 0.0
            for part in range(query.parts.shape[1]):
                shared = float(query.visibility[i, part] * gallery.visibility[j, part])
                above += shared * (1 + cosine(query.parts[i, part], gallery.parts[j, part])) / 2
                below += shared
            if query.features is not None:
                above += (1 + cosine(query.features[i], gallery.features[j])) / 2
                below += 1
            result[i, j] = above / below if below else 0
    return result


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("soft", [True, False])
def test_visible_parts_are_compared(whole: bool, soft: bool, rng: torch.Generator) -> None:
    def some(count: int) -> Embedding:
        seen = torch.rand(count, 3, generator=rng)
        return Embedding(
            torch.randn(count, 5, generator=rng) if whole else None,
            torch.randn(count, 3, 4, generator=rng),
            seen if soft else seen.round(),
        )

    query, gallery = some(7), some(30)
    pids = {"query_pids": torch.arange(7) % 3, "gallery_pids": torch.arange(30) % 3}
    similarity = parts_loop(query, gallery)
    result = rank(query, gallery, **pids, k=30)
    expected = torch.from_numpy(similarity).gather(1, result.indices)
    torch.testing.assert_close(1 - result.distances.double(), expected, atol=1e-6, rtol=0)
    metrics = evaluate(query, gallery, **pids)
    twin = evaluate(distance=1 - similarity, **pids)
    torch.testing.assert_close(metrics.step, twin.step, atol=1e-12, rtol=0)
    assert torch.equal(evaluate(query, Blocks(gallery, 4), **pids).step, metrics.step)


def test_hidden_parts_may_be_zero_and_visible_ones_may_not() -> None:
    parts, seen = torch.ones(2, 2, 3), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    parts[0, 1] = 0
    pids = {"query_pids": [1, 2], "gallery_pids": [1, 2]}
    embedding = Embedding(parts=parts, visibility=seen)
    assert evaluate(embedding, embedding, **pids).num_ties == 2
    everywhere = Embedding(parts=parts, visibility=torch.ones(2, 2))
    with pytest.raises(ValueError, match=r"zeros, which have no direction: 0; give such parts"):
        evaluate(everywhere, embedding, **pids)


def test_golden_pgfa_metrics() -> None:
    """The authors' code: trapezoid, junk, queries without an answer, CMC as long as the gallery."""
    golden = np.load(FOLDER / "pgfa_matching.npz")
    metrics = evaluate(
        distance=-golden["similarity"],
        query_pids=golden["q_pids"],
        gallery_pids=golden["g_pids"],
        query_camids=golden["q_cams"],
        gallery_camids=golden["g_cams"],
        ap="trapezoid",
    )
    assert metrics.mAP == pytest.approx(float(golden["mAP"]), abs=1e-12)
    assert metrics.valid.tolist() == golden["valid"].tolist()
    ap = torch.from_numpy(golden["ap"])[metrics.valid]
    torch.testing.assert_close(metrics.average_precision[metrics.valid], ap, atol=1e-12, rtol=0)
    cmc = torch.from_numpy(golden["cmc"]).double()
    torch.testing.assert_close(metrics.cmc, cmc, atol=1e-6, rtol=0)
    assert metrics.num_junk == 10


def test_rank_leaves_junk_out() -> None:
    distances = torch.tensor([[0.5, 0.1, 0.5, 0.2, 0.3]])
    result = rank_distances(
        distances,
        query_pids=ids(1),
        gallery_pids=ids(1, -1, 2, 1, 3),
        query_camids=ids(4),
        gallery_camids=ids(3, 3, 3, 4, 3),
        k=4,
    )
    # Equal distances: the lower index first. Only three may be ranked.
    assert result.indices.tolist() == [[4, 0, 2, -1]]
    torch.testing.assert_close(result.distances, torch.tensor([[0.3, 0.5, 0.5, math.inf]]))


def test_rank_of_features() -> None:
    query = torch.tensor([[1.0, 0.0]])
    gallery = torch.tensor([[0.0, 2.0], [3.0, 0.1], [-1.0, 0.0]])
    result = rank(query, gallery, query_pids=ids(1), gallery_pids=ids(1, 2, 3), k=9)
    assert result.indices.tolist() == [[1, 0, 2]]
    assert result.distances[0, 1] == 1
