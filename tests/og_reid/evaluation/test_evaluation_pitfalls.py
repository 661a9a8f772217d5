"""Known pitfalls of evaluation: each naive implementation and ours on the same input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from og_reid.evaluation import Metrics, Protocol, evaluate, verify
from og_reid.rerank import gnn_rerank, k_reciprocal


def sorted_precision(distance: Tensor, query: int, pids: list[int], top: int = 10**9) -> float:
    """Average precision of one query by sorting, among the first ``top`` images only."""
    right = torch.tensor(pids)[distance.argsort(stable=True)][:top] == query
    ranks = right.nonzero()[:, 0] + 1
    return float((torch.arange(1, len(ranks) + 1) / ranks).mean())


def test_equal_features_do_not_depend_on_the_order() -> None:
    """Sorting ranks them by place, counting what is strictly nearer gives 1."""
    distance = torch.ones(8)
    pids = [1, 1, 2, 3, 4, 5, 6, 7]
    naive = [sorted_precision(distance, 1, each) for each in (pids, pids[::-1])]
    assert naive[0] == 1
    assert naive[1] < 0.25
    ours = [
        evaluate(distance=distance[None], query_pids=[1], gallery_pids=each)
        for each in (pids, pids[::-1])
    ]
    assert ours[0].mAP == ours[1].mAP == pytest.approx((1 / 7 + 2 / 8) / 2)
    assert ours[0].num_ties == 2


def test_one_number_called_map_is_two() -> None:
    """The same order: 0.83 by one convention, 0.79 by the other; both are reported by name."""
    metrics = evaluate(distance=[[0.1, 0.2, 0.3, 0.4]], query_pids=[1], gallery_pids=[1, 2, 1, 3])
    assert metrics.mAP_step == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.mAP_trapezoid == pytest.approx((1 + (2 / 3 + 1 / 2) / 2) / 2)
    assert {"mAP step", "mAP trapezoid"} < set(metrics.summary())


def test_queries_without_an_answer_are_counted() -> None:
    """Left out of the mean in silence, or counted as 0 in silence: here both, with the count."""
    metrics = evaluate(
        distance=torch.eye(4) * -1, query_pids=[1, 2, 3, 9], gallery_pids=[1, 2, 3, 4]
    )
    assert (metrics.mAP, metrics.mAP_all, metrics.num_valid) == (1, 0.75, 3)
    assert (metrics.rank(1), metrics.rank_all(1)) == (1, 0.75)
    reported = "3 of 4 queries have a match; over all queries rank-1 75.00 %, mAP (step) 75.00 %"
    assert reported in str(metrics)


def test_random_galleries_repeat(rng: torch.Generator) -> None:
    """Drawn from a global generator, every call gives another rank-1."""
    given = {
        "distance": torch.rand(30, 300, generator=rng),
        "query_pids": torch.arange(30) % 10,
        "gallery_pids": torch.arange(300) % 10,
    }
    shots = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        shots.append(evaluate(**given, protocol="single-gallery-shot").shot_ranks)
    assert torch.equal(*shots)


def test_every_protocol_gives_the_same_kind_of_answer(rng: torch.Generator) -> None:
    """One of the field returns two values where three are unpacked."""
    sides = torch.randn(6, 4, generator=rng), torch.randn(12, 4, generator=rng)
    labels = {"query_pids": torch.arange(6) % 3, "gallery_pids": torch.arange(12) % 3}
    tracks = Protocol("mars", query_tracks=range(6), gallery_tracks=range(12))
    for protocol in ("market", "single-gallery-shot", "unfiltered", "multi-query", tracks):
        metrics = evaluate(*sides, **labels, protocol=protocol)
        assert isinstance(metrics, Metrics)
        assert set(metrics.summary()) == {
            "rank-1", "rank-3", "rank-5", "rank-10", "mAP step", "mAP trapezoid", "mINP"
        }  # fmt: skip


def test_genuine_pairs_are_the_positives_of_the_curve() -> None:
    """With the roles exchanged a threshold would accept one genuine pair in four, not all."""
    distance = torch.tensor([[0.1, 0.6, 0.7], [0.8, 0.2, 0.3]])
    curve = verify(distance=distance, query_pids=[1, 2], gallery_pids=[1, 2, 3])
    assert curve.tar_at_far(0) == 1  # both genuine pairs are nearer than all impostors
    assert 0.2 <= curve.threshold_at(0) < 0.3
    assert curve.true_accepts[0] == 0
    assert curve.false_accepts[-1] == 1


def test_half_of_the_features_broken_is_no_score(rng: torch.Generator) -> None:
    """Comparing with NaN is False, so a naive count puts broken queries first or last."""
    query, gallery = torch.randn(40, 4, generator=rng), torch.randn(60, 4, generator=rng)
    labels = {"query_pids": torch.arange(40) % 9, "gallery_pids": torch.arange(60) % 9}
    query[::2] = torch.nan
    with pytest.raises(ValueError, match=r"rows 0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 10 more"):
        evaluate(query, gallery, **labels)


def test_similarities_below_zero_are_ordinary_numbers(rng: torch.Generator) -> None:
    distances = torch.rand(6, 30, generator=rng)
    pids = {"query_pids": torch.arange(6) % 3, "gallery_pids": torch.arange(30) % 3}
    expected = evaluate(distance=distances, **pids).step
    assert torch.equal(evaluate(distance=distances - 5, **pids).step, expected)


def test_one_image_on_both_sides_is_not_its_own_answer(rng: torch.Generator) -> None:
    """1,870 queries of Occluded-Duke are in its gallery: ranked by cameras they are left out."""
    query = torch.randn(20, 8, generator=rng)
    gallery = torch.cat([query, torch.randn(40, 8, generator=rng)])
    pids = torch.arange(20)
    labels = {"query_pids": pids, "gallery_pids": torch.cat([pids, pids, pids])}
    cameras = torch.cat([torch.zeros(20), torch.ones(40)]).long()
    naive = evaluate(query, gallery, **labels)
    assert naive.rank(1) == 1
    metrics = evaluate(query, gallery, **labels, query_camids=cameras[:20], gallery_camids=cameras)
    assert metrics.rank(1) < 0.5
    assert metrics.same_camera.tolist() == [1] * 20


def test_features_of_any_length_are_ranked_by_direction(rng: torch.Generator) -> None:
    """Graph weights of features that are not normalised grow with their lengths."""
    query, gallery = torch.randn(9, 6, generator=rng), torch.randn(60, 6, generator=rng)
    lengths = 10 ** (2 * torch.rand(60, 1, generator=rng))
    for method in (gnn_rerank, k_reciprocal):
        once, again = method(query, gallery).dense(), method(7 * query, lengths * gallery).dense()
        torch.testing.assert_close(once, again, atol=2e-5, rtol=0)
        assert method(query, gallery).method in str(method(query, gallery))


def test_a_reranked_figure_names_its_variant(rng: torch.Generator) -> None:
    """The re-rankings of the field are different functions under one name."""
    query, gallery = torch.randn(9, 6, generator=rng), torch.randn(60, 6, generator=rng)
    labels = {"query_pids": torch.arange(9) % 3, "gallery_pids": torch.arange(60) % 3}
    assert evaluate(query, gallery, **labels).reranking == "none"
    for variant, reported in (
        ("original", "k-reciprocal, original (k1 = 20, k2 = 6, lambda = 0.3)"),
        ("transreid", "k-reciprocal, transreid (k1 = 50, k2 = 15, lambda = 0.3)"),
    ):
        metrics = evaluate(distance=k_reciprocal(query, gallery, variant=variant), **labels)
        assert metrics.reranking == reported
        assert str(metrics).endswith(f"re-ranked by {reported}")


def test_matches_behind_the_first_hundred_count() -> None:
    """Precision over the matches among the first 100 only would be 1."""
    distances = torch.arange(200.0)[None]
    pids = torch.full((200,), 2)
    pids[[0, 199]] = 1
    metrics = evaluate(distance=distances, query_pids=[1], gallery_pids=pids)
    assert metrics.mAP == pytest.approx((1 + 2 / 200) / 2)
