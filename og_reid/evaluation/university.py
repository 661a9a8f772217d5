"""Metrics of University-1652 as its authors' code computes them (Zheng et al., ACM MM 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["UniversityMetrics", "university_metrics"]

_BLOCK = 1024


@dataclass(frozen=True)
class UniversityMetrics:
    """Metrics over all queries; one without a match counts 0.

    Attributes:
        recall_at_1, recall_at_5, recall_at_10: fraction of queries with a match that early.
        recall_at_percent: the same up to rank round(G / 100) + 1 of G gallery images: the authors'
            code reads its list of ranks at round(G / 100), which begins with rank 1.
        average_precision: mean average precision by the trapezoidal rule, with a precision of 1
            before a match at rank 1.
    """

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    recall_at_percent: float
    average_precision: float

    def __str__(self) -> str:
        values = (
            self.recall_at_1, self.recall_at_5, self.recall_at_10, self.recall_at_percent,
            self.average_precision,
        )  # fmt: skip
        names = ("R@1", "R@5", "R@10", "R@1%", "AP")
        return "  ".join(
            f"{name} {100 * each:.2f}" for name, each in zip(names, values, strict=True)
        )


def university_metrics(
    query: Tensor, gallery: Tensor, query_ids: Tensor, gallery_ids: Tensor
) -> UniversityMetrics:
    """Ranks the gallery by dot products, and scores it without any camera rule.

    Args:
        query: (Q, D) embeddings, of length 1 for cosines.
        gallery: (G, D) embeddings.
        query_ids: (Q,) buildings.
        gallery_ids: (G,) buildings; -1 is junk, which is left out of the ranking.

    Returns:
        Fractions in [0, 1]. Equal similarities are in an order that is not defined, as in the
        authors' code.

    Raises:
        ValueError: shapes do not belong together, a side is empty, or an embedding is not finite.
    """
    for name, rows, ids in (
        ("query", query, query_ids), ("gallery", gallery, gallery_ids),
    ):  # fmt: skip
        if rows.dim() != 2 or not len(rows) or ids.shape != rows.shape[:1]:
            raise ValueError(
                f"{name} must be (N, D) with N > 0 and {name}_ids (N,); "
                f"got {tuple(rows.shape)} and {tuple(ids.shape)}"
            )
        if not torch.isfinite(rows).all():
            raise ValueError(f"{name} must be finite; it holds NaN or infinity")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query and gallery must have one D; got {query.shape[1]} and {gallery.shape[1]}"
        )
    kept = gallery_ids != -1
    hits = torch.zeros(len(gallery_ids), dtype=torch.float64)
    precision = 0.0
    for start in range(0, len(query), _BLOCK):
        scores = query[start : start + _BLOCK] @ gallery.T
        order = scores.argsort(1, descending=True)
        for row, ids in zip(order, query_ids[start : start + _BLOCK], strict=True):
            right = (gallery_ids[row] == ids)[kept[row]]
            ranks = right.nonzero()[:, 0].double()
            if len(ranks):
                hits[int(ranks[0]) :] += 1
                precision += _trapezoid(ranks)
    recall = hits / len(query)
    last = len(recall) - 1
    places = (0, 4, 9, round(len(gallery_ids) * 0.01))
    one, five, ten, percent = (float(recall[min(place, last)]) for place in places)
    return UniversityMetrics(one, five, ten, percent, precision / len(query))


def _trapezoid(ranks: Tensor) -> float:
    """Average precision of matches at ranks from 0."""
    number = torch.arange(len(ranks), dtype=torch.float64)
    after = (number + 1) / (ranks + 1)
    before = torch.where(ranks > 0, number / ranks.clamp(min=1), torch.ones_like(ranks))
    return float(((before + after) / 2).mean())
