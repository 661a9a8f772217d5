"""Rank counts: for each match, the wrong answers at least as near.

Only the few matches are sorted, and no matrix of all queries and all items exists.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from ..ops.rank_counts import RankThresholds, count_closer
from ..retrieval.distance_blocks import iter_blocks
from ..retrieval.features import FeatureSource
from ..retrieval.match_distances import count_block, empty_values, match_distances, sort_matches
from ..retrieval.matches import LabelIndex, Matches
from ..retrieval.progress import Progress, offset_progress

__all__ = ["count_among", "count_features", "count_rows"]


def count_features(
    query: FeatureSource,
    gallery: FeatureSource,
    labels: LabelIndex,
    matches: Matches,
    progress: Progress | None = None,
) -> RankThresholds:
    """Distances of the matches from features, and counts of the wrong answers among them.

    ``progress`` is called with (gallery rows done, total) over both passes.
    """
    answers = len(matches.item.unique())
    total = answers + len(labels.kept)
    shows = offset_progress(progress, 0, total), offset_progress(progress, answers, total)
    values = match_distances(query, gallery, labels, matches, shows[0])
    thresholds = sort_matches(matches, values)
    return count_among(query, gallery, labels, labels.kept, labels.item_ids, thresholds, shows[1])


def count_among(
    query: FeatureSource,
    gallery: FeatureSource,
    labels: LabelIndex,
    wanted: Tensor,
    wanted_ids: Tensor,
    thresholds: RankThresholds,
    progress: Progress | None = None,
) -> RankThresholds:
    """Counts of wrong answers among the gallery rows ``wanted``, of identities ``wanted_ids``."""
    device = query.device
    moved = RankThresholds(*(each.to(device) for each in vars(thresholds).values()))
    query_ids, item_ids = labels.query_ids.to(device), wanted_ids.to(device)
    for start, place, block in iter_blocks(query, gallery, wanted, progress):
        rows, items = block.shape
        count_closer(
            block, query_ids[start : start + rows], item_ids[place : place + items], moved, start
        )
    return RankThresholds(*(each.cpu() for each in vars(moved).values()))


def count_rows(
    rows: Iterable[tuple[int, Tensor]],
    labels: LabelIndex,
    matches: Matches,
    progress: Progress | None = None,
) -> RankThresholds:
    """Distances of the matches in a matrix, and counts of the wrong answers among them.

    Args:
        rows: First query and (b, G) distances, block after block.
        labels: Labels of Q queries and G gallery rows.
        matches: Matches of the queries.
        progress: Called with (queries done, Q).
    """
    thresholds = RankThresholds.empty_at(matches.ptr, empty_values(matches))
    whole = len(labels.kept) == len(labels.gallery_pids)
    for start, given in rows:
        block = given.cpu() if whole else given.cpu()[:, labels.kept]
        count_block(block, labels, matches, thresholds, start)
        if progress is not None:
            progress(start + len(block), len(labels.query_pids))
    return thresholds
