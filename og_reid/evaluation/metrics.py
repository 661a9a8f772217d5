"""Metrics of one evaluation: per query, their means, intervals and tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pose.deprecation import deprecated_keywords, deprecated_members
from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

from ..data.sample import FEW_IDENTITIES, FEW_QUERIES
from ..retrieval.inputs import as_count, as_tensor
from .records import METRICS_FORMAT, metrics_fields, read_record, without_nan
from .significance import bootstrap_interval, score_interval

__all__ = ["AveragePrecision", "Metrics", "load_metrics"]

#: Convention of average precision, see `Metrics.ap`.
AveragePrecision = Literal["step", "trapezoid"]
_RANKS = (1, 3, 5, 10)  # rank-3 is reported on partial re-identification data


@deprecated_members
@dataclass(frozen=True, eq=False)
class Metrics:
    """Metrics of one evaluation, per query; means are over the valid queries.

    A query is valid if the gallery holds a match for it. Ties are broken
    pessimistically: a match at the distance of a wrong answer ranks after it.

    Attributes:
        ap: Convention of ``mAP`` and ``average_precision``: ``step`` = mean over matches of the
            precision at their ranks; ``trapezoid`` = the mean of the precisions at and just before
            them (the Oxford buildings convention).
        protocol: Name of the protocol.
        query_pids: (Q,) int64 identities.
        first_match: (Q,) int64 rank of the first match, from 1; 0 where there is none.
        step: (Q,) float64 average precision by the step convention; NaN without a match.
        trapezoid: (Q,) float64, by the other convention.
        inverse_penalty: (Q,) float64 (number of matches) / (rank of the last); NaN without one.
        ties: (Q,) int64 matches that have a wrong answer at exactly their distance.
        same_camera: (Q,) int64 gallery items left out: of the query's identity and camera.
        num_items: Gallery rows, junk included.
        num_junk: Gallery rows of identity -1.
        gallery: Digest of the gallery's identities and cameras, independent of its order.
        shot_ranks: (Q, R) int64 ranks of the match in R random galleries of one image per
            identity, or None; ``cmc`` is then over those.
        test_view: Test-time views averaged into each embedding, beside the plain one.
        reranking: Name and parameters of the re-ranking of the distances, or ``none``.
    """

    ap: AveragePrecision
    protocol: str
    query_pids: Tensor
    first_match: Tensor
    step: Tensor
    trapezoid: Tensor
    inverse_penalty: Tensor
    ties: Tensor
    same_camera: Tensor
    num_items: int
    num_junk: int = 0
    gallery: str = ""
    shot_ranks: Tensor | None = None
    test_view: str = "none"
    reranking: str = "none"

    def __post_init__(self) -> None:
        """Checks the convention, and that all fields are of the same queries."""
        if self.ap not in ("step", "trapezoid"):
            raise ValueError(f"ap must be 'step' or 'trapezoid'; got {self.ap!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor) and len(value) != len(self.query_pids):
                raise ValueError(
                    f"{field.name} must be of {len(self.query_pids)} queries; got {len(value)}"
                )

    def __repr__(self) -> str:
        """One line with the number of queries, rank-1 and mAP."""
        if not self.num_valid:
            return f"Metrics({self.num_queries} queries, none with a match)"
        return (
            f"Metrics({self.num_queries} queries, rank-1 {100 * self.rank(1):.1f} %, "
            f"mAP {100 * self.mAP:.1f} %)"
        )

    @property
    def valid(self) -> Tensor:
        """(Q,) bool, queries with a match."""
        return self.first_match > 0

    @property
    def num_queries(self) -> int:
        """All queries."""
        return len(self.first_match)

    @property
    def num_valid(self) -> int:
        """Queries with at least one match in the gallery."""
        return int(self.valid.sum())

    @property
    def num_identities(self) -> int:
        """Identities of the valid queries."""
        return len(self.query_pids[self.valid].unique())

    @property
    def few(self) -> bool:
        """True if fewer than ten queries, or queries of fewer than five identities, are valid."""
        return self.num_valid < FEW_QUERIES or self.num_identities < FEW_IDENTITIES

    @property
    def num_ties(self) -> int:
        """Matches that have a wrong answer at exactly their distance."""
        return int(self.ties.sum())

    @property
    def average_precision(self) -> Tensor:
        """(Q,) float64 by the convention in ``ap``; NaN without a match."""
        return self.step if self.ap == "step" else self.trapezoid

    @property
    def mAP(self) -> float:
        """Mean average precision in [0, 1] by the convention in ``ap``."""
        return self._mean(self.average_precision)

    @property
    def mAP_step(self) -> float:
        """Mean average precision by the step convention."""
        return self._mean(self.step)

    @property
    def mAP_trapezoid(self) -> float:
        """Mean average precision by the trapezoid convention."""
        return self._mean(self.trapezoid)

    @property
    def mAP_all(self) -> float:
        """Mean average precision with 0 for queries without a match."""
        return self._of_all(self.mAP)

    @property
    def mINP(self) -> float:
        """Mean of (number of matches) / (rank of the last match)."""
        return self._mean(self.inverse_penalty)

    @property
    def cmc(self) -> Tensor:
        """(R,) float64; ``cmc[k - 1]`` is the fraction of queries with a match in the first k.

        Over the valid queries; R is the number of gallery rows.
        """
        return self._shot_cmc().mean(dim=0)

    @property
    def cmc_std(self) -> Tensor | None:
        """(R,) float64 standard deviation of ``cmc`` over random galleries; None below two."""
        if self.shot_ranks is None or self.shot_ranks.shape[1] < 2:
            return None
        return self._shot_cmc().std(dim=0)

    def rank_std(self, k: int) -> float | None:
        """Standard deviation of ``rank(k)`` over random galleries; None below two of them."""
        if self.shot_ranks is None or self.shot_ranks.shape[1] < 2 or not self.num_valid:
            return None
        ranks = self.shot_ranks[self.valid]
        return float(((ranks > 0) & (ranks <= k)).double().mean(dim=0).std())

    def rank(self, k: int) -> float:
        """Fraction of valid queries with a match among the first k >= 1."""
        k = min(as_count(k, "k"), self.num_items + 1)
        ranks = self.first_match[:, None] if self.shot_ranks is None else self.shot_ranks
        return self._mean(((ranks > 0) & (ranks <= k)).double().mean(dim=1))

    def rank_all(self, k: int) -> float:
        """Fraction of all queries with a match among the first k >= 1."""
        return self._of_all(self.rank(k))

    def summary(self, ranks: Sequence[int] = _RANKS) -> dict[str, float]:
        """Means by name, in [0, 1]: ``rank-K`` for the given ranks, both mAP, and mINP."""
        return {
            **{f"rank-{k}": self.rank(k) for k in ranks},
            "mAP step": self.mAP_step,
            "mAP trapezoid": self.mAP_trapezoid,
            "mINP": self.mINP,
        }

    def select(self, queries: Any) -> Metrics:
        """Metrics of selected queries; their means may be NaN.

        Args:
            queries: Indices or a (Q,) mask, as a tensor, array or list.

        Raises:
            ValueError: ``queries`` is none of these, or an index is out of range.
        """
        if isinstance(queries, slice):
            queries = range(self.num_queries)[queries]
        chosen = as_tensor(queries, "queries").to(self.first_match.device)
        if not chosen.numel() and chosen.dtype != torch.bool:
            chosen = chosen.long()
        try:
            some = {
                field.name: getattr(self, field.name)[chosen]
                for field in fields(self)
                if isinstance(getattr(self, field.name), Tensor)
            }
        except IndexError as error:
            raise ValueError(
                f"queries must be numbers below {self.num_queries}, or a mask of as many; got "
                f"{tuple(chosen.shape)} {chosen.dtype}: {error}"
            ) from error
        return replace(self, **some)

    def slices(self, labels: Any) -> dict[Hashable, Metrics]:
        """Metrics by a label of each query: occlusion level, visible parts, camera, yaw.

        Args:
            labels: (Q,) tensor, array or sequence of discrete labels; put continuous values into
                ranges first, for example by `numpy.digitize`.

        Raises:
            ValueError: Another length.
        """
        labels = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
        if labels.shape != (self.num_queries,):
            raise ValueError(
                f"labels must be ({self.num_queries},), one for each query; got {labels.shape}"
            )
        values, place = np.unique(labels, return_inverse=True)  # NaN count as one value
        return {
            value.item(): self.select(torch.from_numpy(place == number))
            for number, value in enumerate(values)
        }

    @deprecated_keywords
    def interval(
        self,
        values: Callable[[Metrics], Tensor] | None = None,
        *,
        level: float = 0.95,
        repeats: int = 1000,
        seed: int = 0,
    ) -> tuple[float, float]:
        """Confidence interval of a mean over valid queries: cluster bootstrap over identities.

        For values in [0, 1] it is Wilson's score interval, with one draw per identity, where all
        identities have equal values (the bootstrap shrinks to a point) or `few` is true.

        Args:
            values: Function from the metrics to (Q,) values; average precision by default.
            level: Fraction of the draws inside.
            repeats: Number of draws.
            seed: Seed of the draws.

        Returns:
            Lower and upper end; NaN without a valid query.
        """
        chosen = self.average_precision if values is None else values(self)
        chosen = chosen[self.valid].double()
        clusters = self.query_pids[self.valid]
        if not len(chosen):
            return float("nan"), float("nan")
        ends = bootstrap_interval(chosen, clusters, level=level, repeats=repeats, seed=seed)
        if (self.few or ends[0] == ends[1]) and 0 <= chosen.min() and chosen.max() <= 1:
            return score_interval(float(chosen.mean()), self.num_identities, level=level)
        return ends

    def few_note(self) -> str:
        """Note with intervals for metrics of few queries; empty otherwise."""
        if not self.few or not self.num_valid:
            return ""
        ranks = self.first_match[:, None] if self.shot_ranks is None else self.shot_ranks
        first = self.interval(lambda _: (ranks == 1).double().mean(dim=1))
        ends = [
            f"{name} {100 * low:.1f} to {100 * high:.1f} %"
            for name, (low, high) in (("rank-1", first), ("mAP", self.interval()))
        ]
        return f"few: {self._count_note()}, 95 % interval {', '.join(ends)}"

    def _count_note(self) -> str:
        queries = "query" if self.num_valid == 1 else "queries"
        identities = "identity" if self.num_identities == 1 else "identities"
        return f"{self.num_valid} {queries} of {self.num_identities} {identities}"

    def table(self) -> str:
        """Metrics in percent, their intervals and the counts behind them, as plain text."""
        lines = [f"{name:14} {100 * value:6.2f} %" for name, value in self.summary().items()]
        if self.shot_ranks is not None:
            galleries = f"{self.shot_ranks.shape[1]} random galleries of one image per identity"
            lines.append(f"ranks: mean over {galleries}")
            spread = [d for k in _RANKS if (d := self.rank_std(k)) is not None]
            if spread:
                shown = ", ".join(f"{100 * each:.2f}" for each in spread)
                lines[-1] += f", standard deviation {shown} %"
        if self.num_valid:
            low, high = self.interval()
            least, most = self.interval(lambda metrics: (metrics.first_match == 1).double())
            lines.append(
                f"95 % interval over identities: mAP ({self.ap}) {100 * low:.2f} to "
                f"{100 * high:.2f} %"
            )
            if self.shot_ranks is None:
                lines[-1] += f", rank-1 {100 * least:.2f} to {100 * most:.2f} %"
        if self.few and self.num_valid:
            lines.append(
                f"few queries: {self._count_note()}; with fewer than {FEW_QUERIES} queries or "
                f"{FEW_IDENTITIES} identities, metrics vary strongly with the images"
            )
        lines += [
            f"protocol {self.protocol}: {self.num_valid} of {self.num_queries} queries have a "
            f"match; over all queries rank-1 {100 * self.rank_all(1):.2f} %, mAP ({self.ap}) "
            f"{100 * self.mAP_all:.2f} %",
            f"gallery of {self.num_items} images, {self.num_junk} of them junk; "
            f"{int(self.same_camera.sum())} answers of the query's own camera left out; "
            f"{self.num_ties} matches tied with a wrong answer, counted as missed",
        ]
        if self.test_view != "none":
            lines.append(f"test-time views: {self.test_view}")
        if self.reranking != "none":
            lines.append(f"re-ranked by {self.reranking}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def record(self) -> dict[str, Any]:
        """All fields and means as numbers, strings, lists and None, for JSON; NaN becomes None."""
        record: dict[str, Any] = {"figures": self.summary()}
        for field in fields(self):
            value = getattr(self, field.name)
            record[field.name] = value.tolist() if isinstance(value, Tensor) else value
        return without_nan(record)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Metrics:
        """Metrics from a `record`; fields newer than the record have their default.

        Raises:
            ValueError: A field is missing, of another type or length, or out of its range.
        """
        return Metrics(**metrics_fields(record))

    def to_json(self, path: str | Path) -> None:
        """Writes all fields as JSON to ``path``, for `load_metrics`."""
        with atomic_write(path) as partial:
            partial.write_text(
                json.dumps({"format": METRICS_FORMAT, **self.record()}) + "\n", encoding="utf-8"
            )

    def to_csv(self, path: str | Path) -> None:
        """Writes a CSV line per query to ``path``: identity, rank and precisions."""
        names = ("query_pids", "first_match", "step", "trapezoid", "inverse_penalty", "ties")
        columns = [getattr(self, name).tolist() for name in names]
        with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("query", *names))
            writer.writerows((row, *rest) for row, rest in enumerate(zip(*columns, strict=True)))

    def _of_all(self, mean: float) -> float:
        """Mean over all queries of a mean over the valid ones, with 0 for the others."""
        return mean * self.num_valid / self.num_queries if self.num_valid else 0.0

    def _mean(self, values: Tensor) -> float:
        return float(values[self.valid].mean()) if self.num_valid else float("nan")

    def _shot_cmc(self) -> Tensor:
        """(repeats, R), one row without random galleries."""
        ranks = self.first_match[:, None] if self.shot_ranks is None else self.shot_ranks
        hits = [torch.bincount(each[self.valid] - 1, minlength=self.num_items) for each in ranks.T]
        return torch.stack(hits).cumsum(1).double() / self.num_valid


def load_metrics(path: str | Path) -> Metrics:
    """Metrics from a file of `Metrics.to_json`, of this version or an older one.

    Args:
        path: JSON file.

    Raises:
        ValueError: The file is of another kind, or damaged.
        OSError: The file cannot be read.
    """
    record = read_record(path, (METRICS_FORMAT,), "Metrics.to_json")
    with reading(path, "is damaged"):
        try:
            return Metrics.from_record(record)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
