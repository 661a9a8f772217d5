from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from og_reid.ops import RankThresholds, count_closer, count_closer_torch


def case(seed: int, levels: int, most: int) -> tuple:
    """Distances on few levels, so that many are equal, and a ragged number of thresholds."""
    draw = np.random.default_rng(seed)
    queries, items = draw.integers(1, 9), draw.integers(1, 90)
    values = [np.sort(draw.integers(0, levels, draw.integers(0, most + 1))) for _ in range(queries)]
    ptr = np.concatenate([[0], np.cumsum([len(each) for each in values])])
    thresholds = RankThresholds.empty_at(
        torch.tensor(ptr), torch.tensor(np.concatenate(values) / levels, dtype=torch.float32)
    )
    distances = torch.tensor(draw.integers(0, levels, (queries, items)) / levels).float()
    ids = [torch.tensor(draw.integers(0, 4, n), dtype=torch.int32) for n in (queries, items)]
    return distances, *ids, thresholds


def slow(distances: torch.Tensor, queries: torch.Tensor, items: torch.Tensor, t: RankThresholds):
    landed, equal = [0] * len(t.values), [0] * len(t.values)
    for q, row in enumerate(distances.tolist()):
        for item, distance in enumerate(row):
            if queries[q] == items[item]:
                continue
            for j in range(int(t.ptr[q]), int(t.ptr[q + 1])):
                if distance <= t.values[j]:
                    landed[j] += 1
                    equal[j] += distance == t.values[j]
                    break
    return landed, equal


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), levels=st.integers(1, 40), most=st.sampled_from([0, 3, 20, 200])
)
def test_both_equal_the_slow_count(seed: int, levels: int, most: int) -> None:
    for count in (count_closer, count_closer_torch):
        *block, thresholds = case(seed, levels, most)
        landed, equal = slow(*block, thresholds)
        count(*block, thresholds)
        assert thresholds.landed.tolist() == landed
        assert thresholds.equal.tolist() == equal


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_threads_change_nothing(threads: int, rng: torch.Generator) -> None:
    distances = torch.randint(50, (40, 700), generator=rng) / 50
    queries, items = (torch.randint(9, (n,), generator=rng).int() for n in (40, 700))
    ptr = torch.arange(41) * 5
    values = (torch.randint(50, (40, 5), generator=rng) / 50).sort(1).values.flatten()
    expected = RankThresholds.empty_at(ptr, values)
    count_closer_torch(distances, queries, items, expected)
    counted = RankThresholds.empty_at(ptr, values)
    torch.set_num_threads(threads)
    try:
        for rows in torch.arange(40).split(7):
            for columns in torch.arange(700).split(101):
                first, last = int(columns[0]), int(columns[-1]) + 1
                block = distances[rows[0] : rows[-1] + 1, first:last]  # rows lie apart
                count_closer(block, queries[rows], items[first:last], counted, int(rows[0]))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(counted.landed, expected.landed)
    assert torch.equal(counted.equal, expected.equal)


def test_infinite_distances_land_nowhere() -> None:
    thresholds = RankThresholds.empty_at(torch.tensor([0, 2]), torch.tensor([0.5, 1.0]))
    block = torch.tensor([[math.inf, -math.inf, 1.0, 1.5]])
    count_closer(block, torch.zeros(1).int(), torch.ones(4).int(), thresholds)
    assert thresholds.landed.tolist() == [1, 1]
    assert thresholds.equal.tolist() == [0, 1]


def test_what_does_not_fit_is_refused() -> None:
    thresholds = RankThresholds.empty_at(torch.tensor([0, 1]), torch.ones(1))
    block, query, items = torch.ones(1, 2), torch.zeros(1).int(), torch.zeros(2).int()
    with pytest.raises(ValueError, match=r"must be \(1,\) and \(2,\)"):
        count_closer(block, query, query, thresholds)
    with pytest.raises(ValueError, match="ids must be int32"):
        count_closer(block, query.long(), items, thresholds)
    narrow = replace(thresholds, ptr=thresholds.ptr.int())
    with pytest.raises(ValueError, match="of thresholds must be int64"):
        count_closer(block, query, items, narrow)
    with pytest.raises(ValueError, match="at most 1 queries; got 1 \\+ 1"):
        count_closer(block, query, items, thresholds, 1)


def test_a_single_query_of_a_transposed_matrix() -> None:
    distances = torch.tensor([[3.0], [1.0], [2.0]]).t()
    assert distances.stride() == (1, 1)
    thresholds = RankThresholds.empty_at(torch.tensor([0, 1]), torch.tensor([2.0]))
    ids = torch.zeros(1, dtype=torch.int32), torch.ones(3, dtype=torch.int32)
    count_closer(distances, *ids, thresholds)
    assert (int(thresholds.landed), int(thresholds.equal)) == (2, 1)
