"""Joining of tracklets: against a naive twin, constraints, thresholds, confidence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from og_reid.tracking import PairEvidence, join_tracklets


def evidence(logit: np.ndarray, weight: np.ndarray | None = None) -> PairEvidence:
    weights = np.ones_like(logit) if weight is None else weight
    return PairEvidence(torch.from_numpy(logit), torch.from_numpy(weights))


def free(count: int) -> np.ndarray:
    return np.zeros((count, count), bool)


def naive(logit: np.ndarray, weight: np.ndarray, apart: np.ndarray, least: float) -> list[set[int]]:
    """Average linkage, with every mean taken anew."""
    groups = [{place} for place in range(len(logit))]
    while True:
        best, pair = -math.inf, None
        for one in range(len(groups)):
            for other in range(one + 1, len(groups)):
                pairs = [(a, b) for a in groups[one] for b in groups[other]]
                total = sum(weight[each] for each in pairs)
                if total <= 0 or any(apart[each] for each in pairs):
                    continue
                mean = sum(weight[each] * logit[each] for each in pairs) / total
                if mean > best:
                    best, pair = mean, (one, other)
        if pair is None or best < least:
            return groups
        groups[pair[0]] |= groups.pop(pair[1])


@pytest.mark.parametrize("seed", range(25))
def test_the_naive_twin(seed: int) -> None:
    draw = np.random.default_rng(seed)
    count = int(draw.integers(2, 14))
    logit, weight = draw.normal(0, 2, (2, count, count))
    weight = np.abs(weight) * (draw.random((count, count)) < 0.8)
    apart = draw.random((count, count)) < 0.15
    logit, weight, apart = logit + logit.T, weight + weight.T, apart | apart.T
    np.fill_diagonal(apart, False)
    threshold = float(draw.uniform(0.2, 0.8))
    groups, _ = join_tracklets(evidence(logit, weight), apart, threshold=threshold)
    wanted = naive(logit, weight, apart, math.log(threshold / (1 - threshold)))
    found = [set(np.flatnonzero(groups == each).tolist()) for each in range(groups.max() + 1)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, wanted))


def test_groups_are_numbered_by_their_first_tracklets() -> None:
    logit = np.full((4, 4), -5.0)
    logit[1, 3] = logit[3, 1] = 5.0
    groups, confidence = join_tracklets(evidence(logit), free(4))
    assert groups.tolist() == [0, 1, 2, 1]
    assert np.isnan(confidence[[0, 2]]).all()
    np.testing.assert_allclose(confidence[[1, 3]], 1 / (1 + math.exp(-5)))


def test_tracklets_that_are_apart_are_never_joined_not_even_by_a_third() -> None:
    logit = np.full((3, 3), 9.0)
    apart = free(3)
    apart[0, 1] = apart[1, 0] = True
    logit[0, 2] = logit[2, 0] = 10.0
    assert join_tracklets(evidence(logit), apart)[0].tolist() == [0, 1, 0]


def test_no_evidence_no_join() -> None:
    groups, _ = join_tracklets(evidence(np.full((3, 3), 9.0), np.zeros((3, 3))), free(3))
    assert groups.tolist() == [0, 1, 2]


def test_threshold_and_prior() -> None:
    pair = evidence(np.full((2, 2), 1.0))  # probability 0.731
    for threshold, prior, joined in ((0.7, 0.5, True), (0.8, 0.5, False), (0.7, 0.4, False)):
        groups, _ = join_tracklets(pair, free(2), threshold=threshold, prior=prior)
        assert (groups[0] == groups[1]) == joined


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one(count: int) -> None:
    groups, confidence = join_tracklets(evidence(np.zeros((count, count))), free(count))
    assert groups.tolist() == [0] * count
    assert np.isnan(confidence).all()


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"apart must be \(2, 2\) bool"):
        join_tracklets(evidence(np.zeros((2, 2))), np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\); got 1"):
        join_tracklets(evidence(np.zeros((2, 2))), free(2), threshold=1)
    with pytest.raises(ValueError, match=r"logit and weight must be \(T, T\)"):
        PairEvidence(torch.zeros(2, 3), torch.zeros(2, 3))
