"""Ranking figures: CMC, mAP and mINP, exact, in blocks, by counting instead of sorting.

A gallery item with identity -1 is junk and never ranked; one of the query's own identity *and*
camera is left out for that query. Distractors (identity 0 in Market-1501) need no rule: nobody
asks for them, so they are wrong answers. Queries without a match in what is left are counted and
kept out of the means.

Ties are counted against us: a right answer at the same distance as a wrong one ranks after it, so
the figures do not depend on the order of the gallery and constant features score next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "Metrics",
    "RetrievalResult",
    "evaluate",
    "evaluate_distances",
    "rank",
    "rank_distances",
]

AveragePrecision = Literal["step", "trapezoid"]
_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, eq=False)
class Metrics:
    """The figures of one evaluation; means are over the valid queries.

    Attributes:
        mAP: Mean average precision in [0, 1], by the convention in ``ap``.
        cmc: (R,) float64; ``cmc[k - 1]`` is the share of queries with a match in the first k.
        mINP: Mean of (number of matches) / (rank of the last match).
        ap: ``step`` = mean over matches of the precision at their ranks; ``trapezoid`` = the mean
            of the precisions at and just before them (the Oxford buildings convention).
        num_queries: All queries.
        num_valid: Queries with at least one match in the gallery.
        num_ties: Matches that have a wrong answer at exactly their distance.
        average_precision: (Q,) float64 per query; NaN where there is no match.
        first_match: (Q,) int64 rank of the first match, from 1; 0 where there is none.
        test_view: Which further views of each cloud are in its descriptor, ``none`` unless told.
    """

    mAP: float
    cmc: Tensor
    mINP: float
    ap: AveragePrecision
    num_queries: int
    num_valid: int
    num_ties: int
    average_precision: Tensor
    first_match: Tensor
    test_view: str = "none"

    def rank(self, k: int) -> float:
        """Share of valid queries with a match among the first k >= 1."""
        if k < 1:
            raise ValueError(f"k must be at least 1; got {k}")
        return float(self.cmc[min(k, len(self.cmc)) - 1])

    @property
    def mAP_all(self) -> float:
        """Mean average precision when a query without a match counts as 0."""
        return self.mAP * self.num_valid / self.num_queries


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """The nearest gallery items of each query.

    Attributes:
        indices: (Q, k) int64; ``indices[i, j] = g`` means gallery item g is the j-th nearest to
            query i, lower indices first among equals; -1 where fewer than k may be ranked.
        distances: (Q, k) float32, ascending; infinity where the index is -1.
    """

    indices: Tensor
    distances: Tensor

    def __post_init__(self) -> None:
        """Checks shape and order."""
        if self.indices.shape != self.distances.shape:
            raise ValueError(
                "indices and distances must have one shape; "
                f"got {tuple(self.indices.shape)} and {tuple(self.distances.shape)}"
            )
        if (self.distances[:, 1:] < self.distances[:, :-1]).any():
            raise ValueError("distances must ascend in each row")


@dataclass(frozen=True, eq=False)
class _Labels:
    """Who is who and seen by which camera; cameras are None when unknown."""

    query_pids: Tensor
    gallery_pids: Tensor
    query_camids: Tensor | None
    gallery_camids: Tensor | None

    def rows(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """``same`` and ``allowed``, (b, G) bool, of the queries ``start:stop``."""
        same = self.query_pids[start:stop, None] == self.gallery_pids
        allowed = (self.gallery_pids != -1).expand_as(same)
        if self.query_camids is not None and self.gallery_camids is not None:
            allowed = allowed & ~(
                same & (self.query_camids[start:stop, None] == self.gallery_camids)
            )
        return same, allowed


def evaluate(
    query: Tensor,
    gallery: Tensor,
    *,
    query_pids: Tensor,
    gallery_pids: Tensor,
    query_camids: Tensor | None = None,
    gallery_camids: Tensor | None = None,
    ap: AveragePrecision = "step",
) -> Metrics:
    """Scores features by cosine distance; they need not be normalised.

    Works on 4 MiB of distances at a time: extra memory does not grow with the gallery.

    Args:
        query: (Q, D) features.
        gallery: (G, D) features.
        query_pids: (Q,) identities.
        gallery_pids: (G,) identities; -1 = junk.
        query_camids: (Q,) cameras; None (with ``gallery_camids``) masks no camera.
        gallery_camids: (G,) cameras.
        ap: Convention of average precision.

    Raises:
        ValueError: On wrong shapes, on NaN, infinite or zero feature rows (with their numbers),
            on an empty side, and when no query has a match.
    """
    labels = _check_labels(
        len(query), len(gallery), query_pids, gallery_pids, query_camids, gallery_camids
    )
    return _score(_cosine_blocks(query, gallery), labels, ap)


def evaluate_distances(
    distances: Tensor,
    *,
    query_pids: Tensor,
    gallery_pids: Tensor,
    query_camids: Tensor | None = None,
    gallery_camids: Tensor | None = None,
    ap: AveragePrecision = "step",
) -> Metrics:
    """Scores a (Q, G) matrix of distances, smaller = closer; otherwise like `evaluate`."""
    _check_matrix(distances, "distances")
    queries, items = distances.shape
    labels = _check_labels(queries, items, query_pids, gallery_pids, query_camids, gallery_camids)
    return _score(_matrix_blocks(distances), labels, ap)


def rank(
    query: Tensor,
    gallery: Tensor,
    *,
    query_pids: Tensor,
    gallery_pids: Tensor,
    query_camids: Tensor | None = None,
    gallery_camids: Tensor | None = None,
    k: int = 10,
) -> RetrievalResult:
    """The k nearest gallery items of each query, junk left out; arguments as for `evaluate`."""
    labels = _check_labels(
        len(query), len(gallery), query_pids, gallery_pids, query_camids, gallery_camids
    )
    return _nearest(_cosine_blocks(query, gallery), labels, k)


def rank_distances(
    distances: Tensor,
    *,
    query_pids: Tensor,
    gallery_pids: Tensor,
    query_camids: Tensor | None = None,
    gallery_camids: Tensor | None = None,
    k: int = 10,
) -> RetrievalResult:
    """Like `rank` for a (Q, G) matrix of distances."""
    _check_matrix(distances, "distances")
    queries, items = distances.shape
    labels = _check_labels(queries, items, query_pids, gallery_pids, query_camids, gallery_camids)
    return _nearest(_matrix_blocks(distances), labels, k)


def _score(blocks: Iterator[tuple[int, Tensor]], labels: _Labels, ap: AveragePrecision) -> Metrics:
    if ap not in ("step", "trapezoid"):
        raise ValueError(f"ap must be 'step' or 'trapezoid'; got {ap!r}")
    precisions, penalties, firsts, ties = [], [], [], 0
    for start, distances in blocks:
        same, allowed = labels.rows(start, start + len(distances))
        ranks, tied = _match_ranks(distances, same & allowed, allowed & ~same)
        ties += int(tied)
        count = (ranks > 0).sum(dim=1)
        precisions.append(_average_precision(ranks, ap))
        penalties.append(count / ranks.amax(dim=1))
        firsts.append(torch.where(count > 0, ranks[:, 0], 0))
    average_precision, first = torch.cat(precisions), torch.cat(firsts)
    valid = first > 0
    if not valid.any():
        raise ValueError(_no_match_message(labels))
    hits = torch.bincount(first[valid] - 1, minlength=len(labels.gallery_pids)).cumsum(0)
    return Metrics(
        mAP=float(average_precision[valid].mean()),
        cmc=hits.double() / valid.sum(),
        mINP=float(torch.cat(penalties)[valid].mean()),
        ap=ap,
        num_queries=len(first),
        num_valid=int(valid.sum()),
        num_ties=ties,
        average_precision=average_precision,
        first_match=first,
    )


def _match_ranks(distances: Tensor, match: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor]:
    """Ranks of the matches of each query, from 1.

    The rank of the i-th nearest match is i plus the number of wrong answers at its distance or
    nearer. Every wrong answer is looked up among the (few) distances of the matches; counting how
    many land where and summing up gives all ranks without sorting the gallery.

    Args:
        distances: (b, G).
        match: (b, G) bool, right answers.
        wrong: (b, G) bool, wrong answers.

    Returns:
        ``ranks`` (b, m) int64, ascending, 0 beyond the matches of a row (m is at least 1); and the
        number of matches tied with a wrong answer.
    """
    count = match.sum(dim=1)
    width = max(1, int(count.max()))
    thresholds = distances.masked_fill(~match, torch.inf).topk(width, dim=1, largest=False).values
    present = torch.arange(width, device=distances.device) < count[:, None]
    blank = distances.masked_fill(~wrong, torch.nan)
    nearer_or_equal = _count_below(thresholds, blank, equal=True)
    nearer = _count_below(thresholds, blank, equal=False)
    tied = ((nearer_or_equal > nearer) & present).sum()
    ranks = torch.arange(1, width + 1, device=distances.device) + nearer_or_equal
    return ranks * present, tied


def _count_below(thresholds: Tensor, values: Tensor, *, equal: bool) -> Tensor:
    """(b, m) how many of (b, G) values are below (or equal to) each ascending threshold.

    NaN values are never counted.
    """
    # `slot` is the first threshold that the value lies below; m = it lies below none.
    slot = torch.searchsorted(thresholds, values, right=not equal)
    slot = slot.masked_fill(values.isnan(), thresholds.shape[1])
    landed = torch.zeros(len(slot), thresholds.shape[1] + 1, dtype=torch.int64, device=slot.device)
    landed.scatter_add_(1, slot, torch.ones_like(slot))
    return landed[:, :-1].cumsum(dim=1)


def _average_precision(ranks: Tensor, ap: AveragePrecision) -> Tensor:
    """(b,) float64 from ranks (b, m) that are 0 beyond the matches; NaN without a match."""
    order = torch.arange(1, ranks.shape[1] + 1, device=ranks.device, dtype=torch.float64)
    present = ranks > 0
    precision = order / ranks.clamp(min=1)
    if ap == "trapezoid":
        before = (order - 1) / (ranks - 1).clamp(min=1)
        precision = (precision + torch.where(ranks == 1, 1.0, before)) / 2
    # Summed one after the other, so that the padding, thus the block size, changes no digit.
    return (precision * present).cumsum(dim=1)[:, -1] / present.sum(dim=1)


def _nearest(blocks: Iterator[tuple[int, Tensor]], labels: _Labels, k: int) -> RetrievalResult:
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    indices, nearest = [], []
    for start, distances in blocks:
        _, allowed = labels.rows(start, start + len(distances))
        values, order = distances.masked_fill(~allowed, torch.inf).sort(dim=1, stable=True)
        values, order = values[:, :k], order[:, :k]
        indices.append(order.masked_fill(values.isinf(), -1))
        nearest.append(values)
    return RetrievalResult(torch.cat(indices), torch.cat(nearest))


def _cosine_blocks(query: Tensor, gallery: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Numbers and cosine distances (b, G) of blocks of queries."""
    query, gallery = _unit(query, "query"), _unit(gallery, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            "query and gallery must have features of one length; "
            f"got {query.shape[1]} and {gallery.shape[1]}"
        )
    step = max(1, _BLOCK_BYTES // (4 * len(gallery)))
    for start in range(0, len(query), step):
        yield start, 1 - query[start : start + step] @ gallery.T


def _matrix_blocks(distances: Tensor) -> Iterator[tuple[int, Tensor]]:
    step = max(1, _BLOCK_BYTES // (4 * distances.shape[1]))
    for start in range(0, len(distances), step):
        yield start, distances[start : start + step].detach().float()


def _unit(features: Tensor, name: str) -> Tensor:
    _check_matrix(features, name)
    features = features.detach().float()
    zero = (features == 0).all(dim=1)
    if zero.any():
        raise ValueError(f"{name} has rows of zeros, which have no direction: {_rows(zero)}")
    return functional.normalize(features, dim=1)


def _check_matrix(matrix: Tensor, name: str) -> None:
    if matrix.dim() != 2:
        raise ValueError(f"{name} must have two dimensions; got {tuple(matrix.shape)}")
    bad = ~matrix.isfinite().all(dim=1)
    if bad.any():
        raise ValueError(f"{name} has NaN or infinite values in rows {_rows(bad)}")


def _rows(mask: Tensor) -> str:
    numbers = mask.nonzero().squeeze(1).tolist()
    return ", ".join(map(str, numbers[:10])) + (
        f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    )


def _check_labels(
    queries: int,
    items: int,
    query_pids: Tensor,
    gallery_pids: Tensor,
    query_camids: Tensor | None,
    gallery_camids: Tensor | None,
) -> _Labels:
    if queries == 0 or items == 0:
        raise ValueError(f"query and gallery must not be empty; got {queries} and {items} rows")
    if (query_camids is None) != (gallery_camids is None):
        raise ValueError("query_camids and gallery_camids must be given together or not at all")
    for name, labels, size in (
        ("query_pids", query_pids, queries),
        ("gallery_pids", gallery_pids, items),
        ("query_camids", query_camids, queries),
        ("gallery_camids", gallery_camids, items),
    ):
        if labels is not None and labels.shape != (size,):
            raise ValueError(f"{name} must be ({size},); got {tuple(labels.shape)}")
    junk = (query_pids == -1).nonzero().squeeze(1).tolist()
    if junk:
        raise ValueError(f"query_pids must not hold -1 (junk); got it in rows {junk[:10]}")
    return _Labels(query_pids, gallery_pids, query_camids, gallery_camids)


def _no_match_message(labels: _Labels) -> str:
    known = torch.isin(labels.query_pids, labels.gallery_pids).any()
    if known and labels.query_camids is not None:
        return (
            "camera filter removed every match: each query's identity is only seen by the query's "
            "own camera; pass query_camids=None and gallery_camids=None if cameras are unknown"
        )
    return (
        "no identity of the queries is in the gallery; first query identities: "
        f"{labels.query_pids[:5].tolist()}, first gallery identities: "
        f"{labels.gallery_pids[:5].tolist()}"
    )
