"""Joining of tracklets to people, under constraints."""

from __future__ import annotations

import math

import numpy as np

from .pair_evidence import PairEvidence

__all__ = ["join_tracklets"]


def join_tracklets(
    evidence: PairEvidence, apart: np.ndarray, *, threshold: float = 0.5, prior: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Groups of tracklets of one person: agglomerative clustering with average linkage.

    The two groups with the highest probability of one person are joined until it is below the
    threshold. The logit of two groups is the mean of those of their pairs, by weight. Groups are
    never joined if two of their tracklets are apart, or if no pair shares enough evidence.

    Args:
        evidence: Evidence about all pairs of T tracklets.
        apart: (T, T) bool, symmetric, see `og_reid.tracking.tracklets_apart`.
        threshold: Least probability, in (0, 1).
        prior: Fraction of pairs of one person among those compared, in (0, 1).

    Returns:
        groups: (T,) int64, number of the person of each tracklet from 0, in the order of first
            tracklets.
        confidence: (T,) float64, probability that a tracklet is of the person of the others of its
            group; NaN for a tracklet alone.

    Raises:
        ValueError: An argument is out of range, or shapes differ.
    """
    weight = evidence.weight.numpy().copy()
    count = len(weight)
    if apart.shape != (count, count) or apart.dtype != np.bool_:
        raise ValueError(f"apart must be ({count}, {count}) bool; got {apart.shape} {apart.dtype}")
    for name, value in (("threshold", threshold), ("prior", prior)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must be in (0, 1); got {value}")
    shift = math.log(prior / (1 - prior))
    least = math.log(threshold / (1 - threshold))
    total = (evidence.logit.numpy() + shift) * weight
    np.fill_diagonal(weight, 0)
    np.fill_diagonal(total, 0)
    groups = _agglomerate(total.copy(), weight.copy(), apart.copy(), least)
    _, first, numbers = np.unique(groups, return_index=True, return_inverse=True)
    numbers = first.argsort().argsort()[numbers]
    same = numbers[:, None] == numbers[None]
    known = np.where(same, weight, 0).sum(1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        logit = np.where(known > 0, np.where(same, total, 0).sum(1) / known, np.nan)
        return numbers, 1 / (1 + np.exp(-logit))


def _agglomerate(
    total: np.ndarray, weight: np.ndarray, apart: np.ndarray, least: float
) -> np.ndarray:
    """(T,) representative of the group of each tracklet; the arguments are overwritten.

    Each group keeps its best partner, so that a step looks at few pairs.
    """
    count = len(total)
    value = _means(total, weight, apart)
    member = np.arange(count)
    if count < 2:
        return member
    partner = value.argmax(1)
    best = value[np.arange(count), partner]
    while True:
        one = int(best.argmax())
        if not best[one] >= least:
            return member
        other = int(partner[one])
        one, other = min(one, other), max(one, other)
        for matrix in (total, weight):
            matrix[one] += matrix[other]
            matrix[:, one] = matrix[one]
        apart[one] |= apart[other]
        apart[:, one] = apart[one]
        member[member == other] = one
        value[one] = _means(total[one], weight[one], apart[one])
        value[one, one] = -np.inf
        value[one, np.unique(np.delete(np.arange(count), member))] = -np.inf
        value[:, one] = value[one]
        value[other] = value[:, other] = -np.inf
        stale = np.flatnonzero((partner == one) | (partner == other) | (np.arange(count) == one))
        closer = value[:, one] > best
        partner[closer], best[closer] = one, value[closer, one]
        partner[stale] = value[stale].argmax(1)
        best[stale] = value[stale, partner[stale]]
        best[other] = -np.inf


def _means(total: np.ndarray, weight: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Mean logits; -inf for groups that are not to be joined."""
    usable = (weight > 0) & ~apart
    return np.where(usable, total / np.where(usable, weight, 1), -np.inf)
