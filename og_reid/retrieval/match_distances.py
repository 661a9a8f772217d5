"""Distances of the matches of every query, ascending: the thresholds of rank counts."""

from __future__ import annotations

import torch
from torch import Tensor

from ..ops.rank_counts import RankThresholds, count_closer
from .distance_blocks import BlockDistance, block_size
from .features import FeatureSource
from .matches import LabelIndex, Matches
from .progress import Progress

__all__ = ["count_block", "empty_values", "match_distances", "sort_matches"]


def match_distances(
    query: FeatureSource,
    gallery: FeatureSource,
    labels: LabelIndex,
    matches: Matches,
    progress: Progress | None = None,
) -> Tensor:
    """(M,) float32 negated similarities of the matches.

    The matrix products are those of all other pairs, with fewer rows, so that equal features have
    bit-identical distances.
    """
    owner, values = matches.query, empty_values(matches)
    wanted, place = matches.item.unique(return_inverse=True)
    if not gallery.in_blocks:  # identities together: each piece then concerns few queries
        order = labels.item_ids[wanted].argsort(stable=True)
        wanted, place = wanted[order], order.argsort()[place]
    chosen = place.argsort(stable=True)
    sorted_place = place[chosen]
    unit, product = query.normalized(), BlockDistance()
    rows, items = block_size(unit.rows.shape[1])
    size = items if gallery.in_blocks else min(items, 256)
    for start, piece in gallery.pieces(labels.kept[wanted], size):
        piece = piece.to_device_of(unit)
        first, last = torch.searchsorted(
            sorted_place, torch.tensor([start, start + len(piece)], device="cpu")
        ).tolist()
        pairs = chosen[first:last]
        needed, row = owner[pairs].unique(return_inverse=True)
        for low in range(0, len(needed), rows):
            block = product(unit[needed[low : low + rows].to(unit.rows.device)], piece)
            here = (row >= low) & (row < low + rows)
            some = pairs[here]
            index = (row[here] - low).to(block.device), (place[some] - start).to(block.device)
            values[some] = block[index].cpu()
        if progress is not None:
            progress(start + len(piece), len(wanted))
    return values


def count_block(
    block: Tensor, labels: LabelIndex, matches: Matches, thresholds: RankThresholds, start: int
) -> None:
    """`count_rows` for the (b, n) distances to n items of the queries from ``start`` on."""
    stop = start + len(block)
    first, last = int(matches.ptr[start]), int(matches.ptr[stop])
    some = Matches(
        matches.ptr[start : stop + 1] - first,
        matches.item[first:last],
        matches.same_camera[start:stop],
    )
    values = sort_matches(some, block[some.query, some.item]).values
    thresholds.values[first:last] = values
    count_closer(block, labels.query_ids[start:stop], labels.item_ids, thresholds, start)


def empty_values(matches: Matches) -> Tensor:
    """(M,) float32 buffer for the distances of the matches."""
    return torch.empty(len(matches.item), dtype=torch.float32, device="cpu")


def sort_matches(matches: Matches, values: Tensor) -> RankThresholds:
    """Distances of the matches, ascending for each query, with counts of 0."""
    order = values.argsort(stable=True)
    order = order[matches.query[order].argsort(stable=True)]
    return RankThresholds.empty_at(matches.ptr, values[order])
