"""The k gallery images of highest late interaction with each query, block by block."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._arguments import whole
from ._torch.late_interaction import LateSide
from .late_interaction import late_interaction, late_rules, late_sides
from .topk import TopK, merge_topk

__all__ = ["LateTopK", "late_interaction_topk"]

#: Similarities of one block, and bounds of its gallery images.
BLOCK_PAIRS = 1 << 18
FEWEST_IMAGES, MOST_IMAGES = 64, 4096


class LateTopK(NamedTuple):
    """The k most similar gallery images of Q queries.

    Attributes:
        similarity: (Q, k) float32, descending; -infinity where there are fewer images.
        indices: (Q, k) int64 numbers of the gallery images, ties to the lower number; -1 where
            there are fewer.
        shared: (Q, k) float32, fraction of the cells that shows parts visible in both images.
    """

    similarity: Tensor
    indices: Tensor
    shared: Tensor


@torch.no_grad()
def late_interaction_topk(
    query_features: Tensor,
    query_weights: Tensor,
    query_visibility: Tensor,
    query_positions: Tensor,
    gallery_features: Tensor,
    gallery_weights: Tensor,
    gallery_visibility: Tensor,
    gallery_positions: Tensor,
    k: int,
    *,
    penalty: float = 1.0,
    background: float = 0.5,
    symmetric: bool = True,
) -> LateTopK:
    """The k gallery images most similar to each query by `late_interaction`.

    The gallery is read in blocks, so the memory beside arguments and result does not grow with it.
    Images with NaN or infinity are never among the k. No gradients.

    Args:
        query_features: as the other tensors and numbers, an argument of `late_interaction`.
        query_weights: see there.
        query_visibility: see there.
        query_positions: see there.
        gallery_features: see there.
        gallery_weights: see there.
        gallery_visibility: see there.
        gallery_positions: see there.
        k: number of images for each query, at least 1.
        penalty: see there.
        background: see there.
        symmetric: see there.

    Raises:
        ValueError: on shapes, dtypes or numbers that do not fit.
    """
    k = whole("k", k)
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    query, gallery = late_sides(
        (query_features, query_weights, query_visibility, query_positions),
        (gallery_features, gallery_weights, gallery_visibility, gallery_positions),
    )
    rules = late_rules(penalty, background, symmetric)
    queries, items = len(query_features), len(gallery_features)
    step = min(MOST_IMAGES, max(FEWEST_IMAGES, BLOCK_PAIRS // max(1, queries)))
    nearest = TopK.none(queries, k, query_features.device)
    totals = []
    for first in range(0, items, step):
        block = gallery.rows(first, step)
        similarity, _ = late_interaction(*query, *block, **rules._asdict())
        distances = similarity.float().neg_().nan_to_num_(nan=torch.inf)
        merge_topk(distances, nearest, first=first)
        totals.append(block.weights.float().sum(1))
    shared = _shared(query, gallery, totals, nearest.indices, rules.symmetric)
    return LateTopK(nearest.values.neg(), nearest.indices, shared)


def _shared(
    query: LateSide,
    gallery: LateSide,
    totals: list[Tensor],
    indices: Tensor,
    symmetric: bool,
) -> Tensor:
    """(Q, k) shared fractions of chosen pairs; 0 where there is none."""
    if not totals:
        return torch.zeros(indices.shape, dtype=torch.float32, device=indices.device)
    cells, others = query.features.shape[1], gallery.features.shape[1]
    chosen = indices.clamp(min=0)
    own, seen = query.weights.float().sum(1), gallery.visibility[chosen].float()
    # Not a matrix product, which autocast would round.
    there = (own[:, None] * seen).sum(2) / cells
    found = there
    if symmetric:
        total = torch.cat(totals)[chosen]
        back = (query.visibility.float()[:, None] * total).sum(2) / others
        found = torch.minimum(there, back)
    return found.masked_fill(indices < 0, 0)
