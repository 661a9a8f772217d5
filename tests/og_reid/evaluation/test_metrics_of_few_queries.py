"""Metrics of few queries: marked as such, with intervals that do not shrink to a point."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from og_reid.evaluation import Metrics, bootstrap_interval, evaluate
from og_reid.evaluation.results import ResultRow, format_table
from og_reid.evaluation.significance import score_interval


def metrics(queries: int, identities: int, right: bool = True, **more) -> Metrics:
    """Searches in which every answer is right, or is the last."""
    pids = np.arange(queries) % identities
    items = np.arange(identities + 1)
    distance = (pids[:, None] != items) == right
    labels = {"query_pids": pids, "gallery_pids": items}
    return evaluate(distance=distance.astype(np.float32), **labels, **more)


def table(some: Metrics) -> str:
    return format_table([ResultRow("net", "all", some)])


@pytest.mark.parametrize(("queries", "identities"), [(1, 1), (9, 9), (30, 4), (9, 5), (40, 1)])
def test_few_queries_or_identities_are_marked(queries: int, identities: int) -> None:
    some = metrics(queries, identities)
    assert some.few
    counts = f"{queries} quer{'y' if queries == 1 else 'ies'} of {identities} identit"
    assert f"few: {counts}" in table(some)
    assert f"few queries: {counts}" in str(some)
    low, high = some.interval()
    assert f"mAP {100 * low:.1f} to {100 * high:.1f} %" in table(some)


@pytest.mark.parametrize(("queries", "identities"), [(10, 5), (10, 10), (100, 50)])
def test_enough_queries_are_not_marked(queries: int, identities: int) -> None:
    some = metrics(queries, identities)
    assert not some.few
    assert "few" not in table(some)
    assert "few" not in str(some)


def test_queries_without_a_match_do_not_count() -> None:
    labels = {"query_pids": np.arange(50), "gallery_pids": np.arange(3)}
    some = evaluate(distance=np.random.default_rng(0).random((50, 3)), **labels)
    assert some.few
    assert "few: 3 queries of 3 identities" in table(some)


def test_rows_are_marked_one_by_one() -> None:
    rows = [ResultRow("net", "all", metrics(40, 20)), ResultRow("net", "some", metrics(3, 3))]
    lines = format_table(rows).splitlines()
    assert ["few: " in line for line in lines[1:3]] == [False, True]


def test_random_galleries_are_marked_by_their_ranks() -> None:
    draw = np.random.default_rng(0)
    labels = {"query_pids": np.arange(4), "gallery_pids": np.arange(20) % 5}
    some = evaluate(distance=draw.random((4, 20)), **labels, protocol="single-gallery-shot")
    assert some.shot_ranks is not None
    first = float((some.shot_ranks == 1).double().mean())
    low, high = score_interval(first, 4)
    assert f"rank-1 {100 * low:.1f} to {100 * high:.1f} %" in table(some)


def test_score_interval_by_hand() -> None:
    """Of one draw, with z = 1.96: (1 / (1 + z^2), 1) when it is right."""
    z = 1.959963984540054
    assert score_interval(1.0, 1) == (pytest.approx(1 / (1 + z * z)), 1)
    assert score_interval(0.0, 1) == (0, pytest.approx(z * z / (1 + z * z)))
    low, high = score_interval(0.5, 10)
    assert low + high == pytest.approx(1)
    # Wilson's interval is where the distance to the fraction is z standard errors.
    for end in (low, high):
        assert abs(end - 0.5) == pytest.approx(z * math.sqrt(end * (1 - end) / 10))
    with pytest.raises(ValueError, match="count at least 1"):
        score_interval(0.5, 0)


@pytest.mark.parametrize("right", [True, False])
def test_one_query_has_a_wide_interval(right: bool) -> None:
    some = metrics(1, 1, right)
    low, high = some.interval(lambda each: (each.first_match == 1).double())
    assert (low, high) == score_interval(float(right), 1)
    assert high - low > 0.75


def test_intervals_of_equal_values_are_no_points() -> None:
    """All answers right, of twelve identities: the bootstrap has nothing to draw from."""
    low, high = metrics(12, 12).interval()
    assert (low, high) == score_interval(1.0, 12)
    assert 0.7 < low < 0.8


def test_intervals_of_few_identities_cover_the_truth() -> None:
    """Three identities, right with a chance of 0.7: the bootstrap is far too narrow."""
    draw = np.random.default_rng(0)
    inside = narrow = 0
    for _ in range(200):
        ranks = torch.from_numpy(np.where(draw.random(3) < 0.7, 1, 2))
        same = torch.arange(3)
        hit = (ranks == 1).double()
        low, high = score_interval(float(hit.mean()), 3)
        inside += low <= 0.7 <= high
        low, high = bootstrap_interval(hit, same, repeats=200)
        narrow += low <= 0.7 <= high
    assert inside >= 190
    assert narrow < 170


def test_values_beyond_one_keep_the_bootstrap() -> None:
    some = metrics(8, 8)
    some = some.select(torch.arange(6))
    values = torch.tensor([1.0, 5, 2, 8, 3, 3], dtype=torch.float64)
    expected = bootstrap_interval(values, some.query_pids)
    assert some.interval(lambda _: values) == expected


def test_intervals_of_nothing_are_refused() -> None:
    for values, clusters in (([], []), ([0.5], [1, 2]), ([[0.5]], [[1]])):
        with pytest.raises(
            ValueError, match=r"values and clusters must be \(n,\), of at least one"
        ):
            bootstrap_interval(values, clusters)
    assert bootstrap_interval([0.5, 0.5], np.array([1, 2])) == (0.5, 0.5)


def test_no_valid_query_has_no_interval() -> None:
    none = metrics(12, 12).select(torch.zeros(12, dtype=torch.bool))
    assert all(math.isnan(each) for each in none.interval())
    assert "nan" in table(none)
    assert none.few_note() == ""


def test_draws_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from og_reid.evaluation import significance

    draw = np.random.default_rng(0)
    values = torch.from_numpy(draw.random(300))
    clusters = torch.from_numpy(draw.integers(0, 70, 300))
    expected = bootstrap_interval(values, clusters)
    monkeypatch.setattr(significance, "_DRAWS", 1000)
    assert bootstrap_interval(values, clusters) == pytest.approx(expected, abs=1e-12)
