"""Results of a search and of a comparison of two images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

from torch import Tensor

from .calibration import MIN_SHARED

__all__ = ["RetrievalResult", "VerificationResult"]

_SHOWN_QUERIES, _SHOWN_ITEMS = 10, 5


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """Nearest gallery items of each query.

    Attributes:
        indices: (Q, k) int64, k at most G; ``indices[i, j] = g`` means gallery item g is the j-th
            nearest to query i, lower indices first among equals; -1 where fewer may be ranked.
        distances: (Q, k) float32, ascending; infinity where the index is -1.
        shared: (Q, k) fraction of the image that both show of the body, in [0, 1]; 0 where the
            index is -1; None if unknown.
        probability: (Q, k) calibrated probability of one identity; NaN where not enough is
            shared; None without a calibration.
        query_names: Q names, or None.
        gallery_names: G names, or None.
        methods: Methods of the search beyond the similarity itself, to be reported with metrics.
    """

    indices: Tensor
    distances: Tensor
    shared: Tensor | None = None
    probability: Tensor | None = None
    query_names: tuple[str, ...] | None = None
    gallery_names: tuple[str, ...] | None = None
    methods: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks types, shapes and order."""
        if not isinstance(self.indices, Tensor) or not isinstance(self.distances, Tensor):
            raise ValueError(
                "indices and distances must be tensors; got "
                f"{type(self.indices).__name__} and {type(self.distances).__name__}"
            )
        for name in ("distances", "shared", "probability"):
            each = getattr(self, name)
            if each is not None and self.indices.shape != each.shape:
                raise ValueError(
                    f"indices and {name} must have one shape; "
                    f"got {tuple(self.indices.shape)} and {tuple(each.shape)}"
                )
        if self.distances.isnan().any():
            raise ValueError("distances must not be NaN")
        if (self.distances[:, 1:] < self.distances[:, :-1]).any():
            raise ValueError(
                "distances must ascend in each row: for similarities, give 1 - similarity"
            )
        names = self.query_names
        if names is not None and len(names) != len(self.indices):
            raise ValueError(
                f"query_names must be {len(self.indices)}, one for each query; got {len(names)}"
            )
        names, last = self.gallery_names, int(self.indices.max()) if self.indices.numel() else -1
        if names is not None and len(names) <= last:
            raise ValueError(f"gallery_names must be more than {last}; got {len(names)}")

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.indices)

    @property
    def scores(self) -> Tensor:
        """(Q, k) similarities 1 - distance, descending; minus infinity where the index is -1."""
        return 1 - self.distances

    def __str__(self) -> str:
        """The first items of the first queries, one a line."""
        if self.indices.dim() != 2 or not self.indices.numel():
            return "no items are ranked"
        lines = []
        for row in range(min(len(self), _SHOWN_QUERIES)):
            lines.append(f"query {row if self.query_names is None else self.query_names[row]}")
            lines += self._items(row)
        if len(self) > _SHOWN_QUERIES:
            lines.append(f"... and {len(self) - _SHOWN_QUERIES} more queries")
        if self.methods:
            lines.append(f"methods: {', '.join(self.methods)}")
        return "\n".join(lines)

    def _items(self, row: int) -> list[str]:
        found = [each for each in self.indices[row].tolist() if each >= 0]
        if not found:
            return ["  no item may be ranked"]
        names = [str(g) if self.gallery_names is None else self.gallery_names[g] for g in found]
        shown = names[:_SHOWN_ITEMS]
        width = max(map(len, shown))
        scores = self.scores[row].tolist()
        lines = []
        for place, name in enumerate(shown):
            text = f"  {place + 1}. {name:<{width}}  score {scores[place]:6.3f}"
            lines.append(text + self._evidence(row, place))
        return lines + [f"  ... and {len(found) - len(shown)} more"] * (len(found) > len(shown))

    def _evidence(self, row: int, place: int) -> str:
        if self.shared is None:
            return ""
        shared = float(self.shared[row, place])
        p = math.nan if self.probability is None else float(self.probability[row, place])
        limit = MIN_SHARED if self.probability is None else 0.0
        if shared < limit or (self.probability is not None and math.isnan(p)):
            return f"  not enough seen ({100 * shared:.1f} % shared)"
        text = "" if self.probability is None else f"  probability {p:.2f}"
        return f"{text}  {100 * shared:.0f} % shared"


@dataclass(frozen=True)
class VerificationResult:
    """Comparison of two images: one identity or two.

    Attributes:
        score: Similarity, see `og_reid.similarity`.
        shared: Fraction of the image that both show of the body, in [0, 1].
        probability: Calibrated probability of one identity, in [0, 1]; None if not decided.
        min_shared: Smallest shared evidence for a decision.
    """

    score: float
    shared: float
    probability: float | None
    min_shared: float = MIN_SHARED

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if math.isnan(self.score):
            raise ValueError("score must be a number; got NaN")
        if not 0 <= self.shared <= 1:
            raise ValueError(f"shared must be in [0, 1]; got {self.shared}")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be in [0, 1] or None; got {self.probability}")

    @property
    def decided(self) -> bool:
        """False if too little of the body is seen in both images."""
        return self.probability is not None

    def __bool__(self) -> NoReturn:
        """Refused: the decision needs a threshold."""
        raise TypeError(
            "a VerificationResult is neither true nor false: test decided, and compare probability "
            "with a threshold"
        )

    def __str__(self) -> str:
        seen = f"{100 * self.shared:.1f} % of the image shared"
        if self.probability is None:
            return f"not enough seen: {seen}, {100 * self.min_shared:.1f} % needed"
        return (
            f"one identity with probability {self.probability:.2f} (score {self.score:.3f}, {seen})"
        )
