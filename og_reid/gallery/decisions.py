"""Decisions on a search: the identity found, none in the gallery, or not enough seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..retrieval.inputs import as_number
from .settings import Baseline, Impostors

__all__ = ["Answer", "Decision", "Drift", "Per", "measure_drift", "threshold_at"]

#: Answer of an open-set search.
Answer = Literal["match", "not in the gallery", "not enough seen"]
#: What false accepts are counted by: searches of the whole gallery, or comparisons of two images.
Per = Literal["search", "comparison"]
_STANDARD_ERRORS = 4.0
_FEWEST = 8


@dataclass(frozen=True)
class Decision:
    """Answer to one query.

    Attributes:
        answer: ``match``; ``not in the gallery``: no item with enough shared evidence has a score
            of the threshold; ``not enough seen``: no ranked item has enough shared evidence.
        item: Id of the best item with enough shared evidence; None without one.
        identity: Its identity, or None.
        score: Its similarity; NaN without one.
        probability: Its calibrated probability of one identity; None without calibration.
        threshold: Smallest score of a match.
    """

    answer: Answer
    item: str | None
    identity: str | None
    score: float
    probability: float | None
    threshold: float

    def __post_init__(self) -> None:
        """Checks the answer."""
        if self.answer not in get_args(Answer):
            raise ValueError(f"answer must be one of {get_args(Answer)}; got {self.answer!r}")

    def __str__(self) -> str:
        if self.answer == "not enough seen":
            return self.answer
        text = f"score {self.score:.3f}, threshold {self.threshold:.3f}"
        if self.probability is not None:
            text += f", probability {self.probability:.2f}"
        name = self.item if self.identity is None else f"{self.identity} ({self.item})"
        return (
            f"{self.answer}: {name} ({text})"
            if self.answer == "match"
            else (f"{self.answer} (nearest: {name}, {text})")
        )


@dataclass(frozen=True)
class Drift:
    """Change of queries against the items of a gallery.

    Attributes:
        shift: Difference of the mean product with the gallery's mean embedding, in standard
            deviations of single items.
        standard_errors: The same in standard errors of the mean of as many items.
        drifted: True above 4 standard errors and half a standard deviation.
    """

    shift: float
    standard_errors: float
    drifted: bool

    def __str__(self) -> str:
        return (
            f"queries differ from the gallery's items by {self.shift:+.2f} standard deviations "
            f"({self.standard_errors:.1f} standard errors)"
        )


def threshold_at(impostors: Impostors, rate: float, per: Per) -> float:
    """Smallest score of a match at a false-accept rate.

    At most floor(rate (n + 1)) - 1 of n scores of impostors reach it: a further impostor, alike
    them, reaches it with a probability of at most ``rate``.

    Args:
        impostors: Scores of items of other identities.
        rate: False accepts per search or per comparison, in (0, 1).
        per: ``search`` or ``comparison``.

    Raises:
        ValueError: The rate is out of range, or smaller than the scores support.
    """
    if not 0 < as_number(rate, "false_accept_rate") < 1:
        raise ValueError(f"false_accept_rate must be in (0, 1); got {rate}")
    if per not in get_args(Per):
        raise ValueError(f"per must be one of {get_args(Per)}; got {per!r}")
    searches = per == "search"
    scores = impostors.search if searches else impostors.pairs
    count = len(scores) if searches else impostors.pair_count
    rank = math.floor(rate * (count + 1) * (1 + 1e-9))
    if rank < 1:
        more = "; give per='comparison' or a larger rate" if searches else ""
        raise ValueError(
            f"false_accept_rate must be at least {1 / (count + 1):.3g}, as {count:,} "
            f"{'searches' if searches else 'comparisons'} of enrolled items support; got {rate:g}: "
            f"enrol items of more identities and build again{more}"
        )
    if rank > len(scores):
        if not len(scores):
            return -math.inf
        rank = len(scores)  # a smaller rate: only the highest scores are kept
    return math.nextafter(scores[rank - 1], math.inf)


def measure_drift(features: Tensor, baseline: Baseline) -> Drift:
    """Change of queries against the items of a gallery.

    Args:
        features: (Q, D) global embeddings, at least 8.
        baseline: Baseline of the gallery.

    Raises:
        ValueError: There are fewer queries.
    """
    if len(features) < _FEWEST:
        raise ValueError(f"queries must be at least {_FEWEST} for a drift; got {len(features)}")
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    product = float((unit @ torch.tensor(baseline.mean)).mean())
    shift = (product - baseline.center) / max(baseline.spread, 1e-9)
    errors = abs(shift) * math.sqrt(len(features))
    return Drift(shift, errors, errors > _STANDARD_ERRORS and abs(shift) > 0.5)
