"""Verification and open-set identification: ROC, TAR@FAR, EER, DIR@FAR."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from torch import Tensor

from pose.deprecation import deprecated_members
from pose.runtime.defaults import plain_torch

from ..retrieval.distance_blocks import check_rereadable, distance_rows, iter_blocks
from ..retrieval.features import Features
from ..retrieval.inputs import as_count, as_number
from ..retrieval.labels import LabelKeywords, Labels
from ..retrieval.match_distances import match_distances
from ..retrieval.matches import LabelIndex, find_matches
from ..retrieval.progress import Progress, offset_progress, subprogress
from ..retrieval.search import nearest_features, nearest_rows, open_search
from ..retrieval.similarity_warning import warn_of_similarities
from .rank_counts import count_features, count_rows
from .thresholds import Bins, Sample, choose_thresholds, count_impostors

__all__ = ["OpenSet", "Verification", "identify", "verify"]

_GRID = 1 << 13
#: First query, first item, and their distances.
_Blocks = Iterator[tuple[int, int, Tensor]]


@deprecated_members
@dataclass(frozen=True, eq=False)
class Verification:
    """Receiver operating characteristic of "same identity if the distance is at most t".

    Genuine pairs are of one identity, impostor pairs of two; junk, and pairs of one identity and
    camera, are excluded. Counts are exact at every threshold. The thresholds are the distances of
    the genuine pairs, the numbers just below these, and quantiles of all distances (for features a
    regular grid of 8,191), so that error rates equal those from sorting all pairs.

    Attributes:
        thresholds: (T,) float32 ascending distances, from minus infinity, which accepts no pair, to
            infinity, which accepts every pair. A pair at infinite distance is refused at every
            finite threshold.
        true_accepts: (T,) float64 fraction of the genuine pairs that are accepted.
        false_accepts: (T,) float64 fraction of the impostor pairs that are accepted.
        num_genuine: Number of genuine pairs.
        num_impostor: Number of impostor pairs.
    """

    thresholds: Tensor
    true_accepts: Tensor
    false_accepts: Tensor
    num_genuine: int
    num_impostor: int

    def threshold_at(self, false_accepts: float) -> float:
        """Largest threshold that accepts at most a fraction of the impostor pairs.

        Args:
            false_accepts: False accept rate, in [0, 1].
        """
        return float(self.thresholds[self._place(false_accepts)])

    def tar_at_far(self, false_accepts: float) -> float:
        """TAR@FAR: fraction of the genuine pairs accepted at `threshold_at`, in [0, 1].

        Args:
            false_accepts: False accept rate, in [0, 1].
        """
        return float(self.true_accepts[self._place(false_accepts)])

    @property
    def eer(self) -> float:
        """Equal error rate in [0, 1]: false accept rate = false reject rate, interpolated."""
        gap = self.false_accepts - (1 - self.true_accepts)
        after = int((gap >= 0).nonzero()[0])
        before = max(after - 1, 0)
        width = float(gap[after] - gap[before])
        weight = float(gap[after]) / width if width else 0.0
        low, high = self.false_accepts[before], self.false_accepts[after]
        return float(weight * low + (1 - weight) * high)

    @property
    def equal_error_threshold(self) -> float:
        """Smallest threshold whose false accept rate is at least its false reject rate."""
        gap = self.false_accepts - (1 - self.true_accepts)
        return float(self.thresholds[int((gap >= 0).nonzero()[0])])

    def _place(self, false_accepts: float) -> int:
        if not 0 <= as_number(false_accepts, "false_accepts") <= 1:
            raise ValueError(f"false_accepts must be in [0, 1]; got {false_accepts}")
        return int((self.false_accepts <= false_accepts).sum()) - 1


@deprecated_members
@dataclass(frozen=True, eq=False)
class OpenSet:
    """Open-set identification: a search for identities that may be missing from the gallery.

    Attributes:
        match_distance: (V,) float32 distance of the first match of each query with a match.
        match_rank: (V,) int64 rank of that match.
        false_alarm_distance: (U,) float32 distance of the nearest item of each query without a
            match, ascending.
    """

    match_distance: Tensor
    match_rank: Tensor
    false_alarm_distance: Tensor

    def threshold_at(self, false_alarms: float) -> float:
        """Distance threshold of an answer, for a false alarm rate.

        Args:
            false_alarms: Largest fraction of the unknown queries with an answer, in [0, 1]; at 1
                the distance is infinite.
        """
        if not 0 <= as_number(false_alarms, "false_alarms") <= 1:
            raise ValueError(f"false_alarms must be in [0, 1]; got {false_alarms}")
        allowed = int(false_alarms * len(self.false_alarm_distance) + 1e-9)
        if allowed == len(self.false_alarm_distance):
            return float("inf")
        return float(self.false_alarm_distance[allowed])

    def dir_at_far(self, false_alarms: float, k: int = 1) -> float:
        """DIR@FAR: fraction of known queries with a match in the first k below the threshold.

        Args:
            false_alarms: False alarm rate, in [0, 1], see `threshold_at`.
            k: Largest rank of the match, at least 1.
        """
        k = as_count(k, "k")
        below = self.match_distance < self.threshold_at(false_alarms)
        return float((below & (self.match_rank <= k)).double().mean())


@plain_torch()
def verify(
    query: Features | None = None,
    gallery: Features | None = None,
    labels: Labels | None = None,
    *,
    distance: Any = None,
    progress: Progress | None = None,
    **keywords: Unpack[LabelKeywords],
) -> Verification:
    """Verification over all pairs of a query and a gallery image.

    Args:
        query: As for `og_reid.evaluation.evaluate`; distances are 1 - similarity.
        gallery: As for `evaluate`.
        labels: As for `evaluate`.
        distance: As for `evaluate`, but infinity is allowed: such a pair is never accepted at a
            finite threshold. Read twice.
        progress: Called with (done, total) over all passes.
        **keywords: `LabelKeywords` in place of ``labels``.

    Returns:
        The receiver operating characteristic.

    Raises:
        TypeError: See `evaluate`.
        ValueError: See `evaluate`; or there are no impostor pairs.
    """
    sides, labels = open_search(query, gallery, distance, labels, keywords)
    index = LabelIndex.of(labels)
    matches = find_matches(index)
    if sides is None:
        check_rereadable(distance)
        shape = len(index.query_pids), len(index.gallery_pids)
        sample = Sample(shape[0] * shape[1])
        rows = sample.watch(distance_rows(distance, shape, infinite=True))
        counted = count_rows(rows, index, matches, subprogress(progress, 0, 2))
        warn_of_similarities(distance, counted, index, matches)
        edges = choose_thresholds(counted.values, sample.quantiles())
        blocks = _given_blocks(distance, shape, index, subprogress(progress, 1, 2))
        return _operating_points(counted.values, blocks, index, edges)
    answers = len(matches.item.unique())
    total = answers + len(index.kept)
    genuine = match_distances(*sides, index, matches, offset_progress(progress, 0, total)) + 1
    edges = choose_thresholds(
        genuine, torch.linspace(0, 2, _GRID - 1, dtype=torch.float32, device="cpu")
    )
    show = offset_progress(progress, answers, total)
    products = iter_blocks(*sides, index.kept, show)
    made = ((start, place, block.add_(1).cpu()) for start, place, block in products)
    return _operating_points(genuine, made, index, edges)


def _given_blocks(
    distance: Any, shape: tuple[int, int], labels: LabelIndex, progress: Progress | None
) -> _Blocks:
    for start, block in distance_rows(distance, shape, infinite=True):
        yield start, 0, block.cpu()[:, labels.kept]
        if progress is not None:
            progress(start + len(block), shape[0])


def identify(
    query: Features | None = None,
    gallery: Features | None = None,
    labels: Labels | None = None,
    *,
    distance: Any = None,
    progress: Progress | None = None,
    **keywords: Unpack[LabelKeywords],
) -> OpenSet:
    """Open-set identification: queries without a match in the gallery are unknown identities.

    Args:
        query: As for `verify`.
        gallery: As for `verify`.
        labels: As for `verify`.
        distance: As for `verify`; an infinite distance is beyond every threshold.
        progress: As for `verify`.
        **keywords: `LabelKeywords` in place of ``labels``.

    Returns:
        Distances of first matches, and of the false alarms of unknown identities.

    Raises:
        TypeError: See `evaluate`.
        ValueError: See `evaluate`; or every query has a match.
    """
    sides, labels = open_search(query, gallery, distance, labels, keywords)
    index = LabelIndex.of(labels)
    if sides is None:
        check_rereadable(distance)
    matches = find_matches(index)
    known = matches.ptr.diff() > 0
    if known.all():
        raise ValueError(
            "query_pids must hold identities that are not in the gallery; got none: open-set "
            "metrics need unknown identities"
        )
    shows = subprogress(progress, 0, 2), subprogress(progress, 1, 2)
    if sides is None:
        shape = len(index.query_pids), len(index.gallery_pids)
        rows = distance_rows(distance, shape, infinite=True)
        counted = count_rows(rows, index, matches, shows[0])
        warn_of_similarities(distance, counted, index, matches)
        nearest = nearest_rows(distance, index, 1, shows[1], infinite=True).distances
        found = counted.values
    else:
        counted = count_features(*sides, index, matches, shows[0])
        nearest = nearest_features(sides, index, 1, shows[1]).distances.cpu()
        found = counted.values + 1
    first = matches.ptr[:-1][known]
    return OpenSet(found[first], 1 + counted.landed[first], nearest[~known, 0].sort().values)


def _operating_points(
    genuine: Tensor, blocks: _Blocks, labels: LabelIndex, edges: Tensor
) -> Verification:
    impostors = count_impostors(blocks, labels, edges)
    total = int(impostors.sum())
    if not total:
        raise ValueError("gallery_pids must hold more than one identity; got no impostors")
    return Verification(
        edges,
        Bins(edges).count(genuine).cumsum(0).double() / len(genuine),
        impostors.cumsum(0).double() / total,
        len(genuine),
        total,
    )
