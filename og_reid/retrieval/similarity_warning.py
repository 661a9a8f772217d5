"""Warning of similarities given in place of distances, detected by the labels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from pose.files.reading import InputWarning, level_outside

from ..ops.rank_counts import RankThresholds
from ..retrieval.reranked import LazyDistances
from .matches import LabelIndex, Matches

__all__ = ["warn_of_similarities", "warned_once"]

#: Fraction of wrong answers nearer than right ones above which the order is reversed. An embedding
#: of the camera alone reaches 0.75 with two cameras.
_REVERSED = 0.85
#: True after a warning, inside `warned_once`.
_WARNED: ContextVar[list[bool] | None] = ContextVar("warned", default=None)


@contextmanager
def warned_once() -> Iterator[None]:
    """Context with at most one warning for a matrix scored in parts."""
    token = _WARNED.set([])
    try:
        yield
    finally:
        _WARNED.reset(token)


def warn_of_similarities(
    distance: Any, counted: RankThresholds, labels: LabelIndex, matches: Matches
) -> None:
    """Warns where matches are the far items, as in a matrix of similarities.

    The fraction of wrong answers nearer than right ones is 0.5 by chance. It is averaged over
    identities, with a margin of more than three standard deviations of chance.

    Args:
        distance: Given distances; re-ranked ones are never similarities.
        counted: Distances of the matches, and counts of the wrong answers.
        labels: Labels of both sides.
        matches: The matches of the queries.
    """
    if isinstance(distance, LazyDistances) or not len(matches.item):
        return
    owner, ptr = matches.query, matches.ptr
    sums = torch.cat([ptr.new_zeros(1), counted.landed.cumsum(0)])
    new = torch.ones(len(owner), dtype=torch.bool, device="cpu")
    new[1:] = (counted.values[1:] != counted.values[:-1]) | (owner[1:] != owner[:-1])
    tied = counted.equal[new][new.cumsum(0) - 1]
    nearer = (sums[1:] - sums[ptr[owner]]).double() - tied / 2
    wrong = len(labels.kept) - ptr.diff() - matches.same_camera
    some = wrong[owner] > 0
    if not some.any():
        return
    fraction = nearer[some] / wrong[owner[some]]
    _, identity = labels.query_ids[owner[some]].unique(return_inverse=True)
    count = identity.bincount()
    mean = float((identity.bincount(weights=fraction) / count).mean())
    before = _WARNED.get()
    if not before and mean > max(_REVERSED, 0.5 + 1 / math.sqrt(len(count))):
        if before is not None:
            before.append(True)
        warnings.warn(
            f"distance must be smaller for images that are more alike, but {100 * mean:.0f} % of "
            "the wrong answers are nearer than the right ones (by chance 50 %): for similarities, "
            "give 1 - similarity",
            InputWarning,
            stacklevel=level_outside(),
        )
