from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from og_reid.ops import TopK, merge_topk, merge_topk_torch


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 60), k=st.integers(1, 40))
def test_both_equal_a_sort(seed: int, levels: int, k: int) -> None:
    """Few levels make many ties; some distances are infinite; the items come in pieces."""
    draw = np.random.default_rng(seed)
    queries, items = draw.integers(1, 6), draw.integers(1, 120)
    distances = torch.tensor(draw.integers(0, levels, (queries, items)) / levels).float()
    distances[torch.tensor(draw.random((queries, items)) < 0.1)] = torch.inf
    padded = torch.cat([distances, torch.full((queries, k), torch.inf)], dim=1)
    values, order = padded.sort(dim=1, stable=True)
    cuts = sorted({0, items, *draw.integers(0, items, 3).tolist()})
    for select in (merge_topk, merge_topk_torch):
        nearest = TopK.none(queries, k)
        for first, last in pairwise(cuts):
            select(distances[:, first:last], nearest, first=first)
        assert torch.equal(nearest.values, values[:, :k])
        expected = torch.where(values[:, :k].isinf(), -1, order[:, :k])
        assert torch.equal(nearest.indices, expected)
        assert torch.equal(nearest.farthest, distances.amax(dim=1))


def test_blocks_of_queries_and_threads(rng: torch.Generator) -> None:
    distances = torch.rand(37, 500, generator=rng)
    expected, nearest = TopK.none(37, 5), TopK.none(37, 5)
    merge_topk_torch(distances, expected)
    torch.set_num_threads(3)
    try:
        for start in range(0, 37, 10):
            merge_topk(distances[start : start + 10], nearest, start)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(nearest.indices, expected.indices)
    with pytest.raises(ValueError, match="at most 37 queries; got 30"):
        merge_topk(distances[:10], nearest, 30)
    narrow = TopK(nearest.values, nearest.indices.int(), nearest.farthest)
    with pytest.raises(ValueError, match="int64 indices, farthest as values"):
        merge_topk(distances, narrow)


def test_a_single_query_of_a_transposed_matrix() -> None:
    distances = torch.tensor([[3.0], [1.0], [2.0]]).t()
    assert distances.stride() == (1, 1)
    nearest = TopK.none(1, 2)
    merge_topk(distances, nearest)
    assert nearest.indices.tolist() == [[1, 2]]
