"""Queries of a gallery: embedded, searched, and judged."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pose.files.reading import InputWarning, level_outside

from ..api.comparison import describe
from ..models.embedding import Embedding
from ..retrieval.calibration import MIN_SHARED, Calibration
from ..retrieval.inputs import as_count, as_number
from ..retrieval.progress import Progress
from .decisions import Answer, Decision, Drift, measure_drift
from .filters import Condition, as_label
from .folder import GalleryFolder
from .outside import ItemEngine, Stored, search_outside
from .packing import PackedLayout
from .parts import search_parts
from .result import GalleryResult, Item
from .scorer import Scorer
from .search import Exclusion, Hits, search_items
from .store import LABELS, Columns, StoreSnapshot

__all__ = [
    "SearchEngine",
    "SearchOptions",
    "decide",
    "drift_of",
    "embedded_query",
    "items_of",
    "run_search",
]

#: Where a search runs: in this process, on workers of Ray, or on copies in another engine.
SearchEngine = Literal["local", "ray"] | ItemEngine
#: Queries at a time that are tested for drift.
_DRIFT_QUERIES = 16
#: Items above which a search without a plan warns.
_MANY = 5000


@dataclass(frozen=True)
class SearchOptions:
    """Options of a search, as for `og_reid.Gallery.search`.

    Attributes:
        k: Largest number of items per query.
        conditions: Conditions that all hold.
        exclude_same_camera: Leave out items of the query's camera.
        query_cameras: Camera of each query, or of all.
        exhaustive: Compare each query with all items.
        min_shared: Smallest shared evidence of items that do not rank last.
        engine: ``local``, ``ray``, or an engine with copies of the items.
        workers: Number of processes of an engine.
    """

    k: int
    conditions: tuple[Condition, ...] = ()
    exclude_same_camera: bool = False
    query_cameras: Any = None
    exhaustive: bool = False
    min_shared: float = 0.0
    engine: SearchEngine = "local"
    workers: int = 2

    def __post_init__(self) -> None:
        """Checks the ranges."""
        as_count(self.k, "k")
        as_count(self.workers, "workers")
        known = isinstance(self.engine, ItemEngine) or self.engine in ("local", "ray")
        if not known:
            raise ValueError(
                f"engine must be local, ray, QdrantItems or PostgresItems; got {self.engine!r}"
            )
        if self.exhaustive and isinstance(self.engine, ItemEngine):
            raise ValueError("exhaustive must be False for an engine that selects candidates")
        if not 0 <= as_number(self.min_shared, "min_shared") <= 1:
            raise ValueError(f"min_shared must be in [0, 1]; got {self.min_shared}")
        if self.exclude_same_camera and self.query_cameras is None:
            raise ValueError("query_cameras must be given to leave out items of the same camera")

    def exclusions(self, queries: int) -> tuple[Exclusion, ...]:
        """Items left out for each query."""
        if not self.exclude_same_camera:
            return ()
        given = self.query_cameras
        several = isinstance(given, list | tuple) or getattr(given, "ndim", 0) == 1
        values = list(given) if several else [given] * queries
        if len(values) != queries:
            raise ValueError(f"query_cameras must be {queries}, one a query; got {len(values)}")
        return (Exclusion("camera", tuple(as_label(each, "query_cameras") for each in values)),)


def run_search(
    folder: GalleryFolder,
    snapshot: StoreSnapshot,
    query: Any,
    options: SearchOptions,
    progress: Progress | None = None,
) -> GalleryResult:
    """Nearest items of each query in a snapshot.

    Args:
        folder: Gallery.
        snapshot: Its items.
        query: Images, point clouds or their `Embedding`.
        options: Options.
        progress: Called with (items compared, items in all).

    Raises:
        ValueError: Queries are not of the gallery's model, or an argument is out of range.
    """
    settings = folder.settings()
    asked = embedded_query(folder, query)
    scorer = Scorer(folder.model(), settings.layout)
    total = len(snapshot)
    plan = settings.plan
    candidates = None
    if plan is not None and not options.exhaustive:
        candidates = max(plan.candidates_for(total), 4 * options.k if options.k > plan.k else 0)
        candidates = candidates if candidates < total else None
    elif plan is None and not options.exhaustive and total > _MANY and not scorer.is_global:
        _warn(
            f"each query is compared with all {total:,} items of {folder.path}: call build() "
            "(og-reid gallery build), which measures how many candidates are enough"
        )
    if len(asked) >= _DRIFT_QUERIES and settings.baseline and asked.features is not None:
        drift = measure_drift(asked.features, settings.baseline)
        if drift.drifted:
            _warn(f"{drift}: other cameras or light? check scores, and build() with new items")
    calibration = settings.calibration or getattr(folder.model().preprocessing, "calibration", None)
    if isinstance(options.engine, ItemEngine):
        count = total if candidates is None else candidates
        held, hits = search_outside(
            options.engine, asked, scorer, Stored(settings.layout, settings.digest),
            k=options.k, candidates=count, conditions=options.conditions,
            exclusions=options.exclusions(len(asked)), min_shared=options.min_shared,
        )  # fmt: skip
        return _result(held, hits, calibration, options, _names(query), count)
    search = search_items
    if options.engine != "local":
        search = partial(search_parts, engine=options.engine, workers=options.workers)
    hits = search(
        snapshot, asked, scorer, k=options.k, candidates=candidates,
        conditions=options.conditions, exclusions=options.exclusions(len(asked)),
        min_shared=options.min_shared, progress=progress,
    )  # fmt: skip
    return _result(snapshot, hits, calibration, options, _names(query), candidates)


def embedded_query(folder: GalleryFolder, query: Any) -> Embedding:
    """Embeddings of queries.

    Args:
        folder: Gallery.
        query: Images, point clouds or their `Embedding`.

    Raises:
        ValueError: They are not of the gallery's model.
    """
    made = query if isinstance(query, Embedding) else describe(query, folder.model())
    layout = folder.settings().layout
    if PackedLayout.of(made) != layout:
        raise ValueError(
            f"queries must be embeddings of the gallery's layout, {layout}; got "
            f"{PackedLayout.of(made)}: describe them by its model"
        )
    for each in (made.features, made.parts, *(() if made.local is None else made.local.tensors)):
        if each is not None and each.is_floating_point() and not each.isfinite().all():
            raise ValueError("queries must be finite; got NaN or infinity")
    return made


def decide(found: GalleryResult, threshold: float) -> tuple[Decision, ...]:
    """Answer to each query of a search.

    Args:
        found: Ranking.
        threshold: Smallest score of a match.
    """
    decisions = []
    for row in range(len(found)):
        decision = Decision("not in the gallery", None, None, math.nan, None, threshold)
        seen = False
        for place, index in enumerate(found.indices[row].tolist()):
            if index < 0:
                break
            if found.shared is not None and float(found.shared[row, place]) < MIN_SHARED:
                continue
            seen = True
            item, score = found.items[index], float(found.scores[row, place])
            p = math.nan if found.probability is None else float(found.probability[row, place])
            answer: Answer = "match" if score >= threshold else "not in the gallery"
            decision = Decision(
                answer, item.id, item.identity, score, None if math.isnan(p) else p, threshold
            )
            break
        if not seen and found.shared is not None and (found.indices[row] >= 0).any():
            decision = Decision("not enough seen", None, None, math.nan, None, threshold)
        decisions.append(decision)
    return tuple(decisions)


def drift_of(folder: GalleryFolder, query: Any) -> Drift:
    """Change of queries against the items of a gallery; see `og_reid.Gallery.drift`."""
    baseline = folder.settings().baseline
    if baseline is None:
        raise ValueError(f"{folder.path} has no baseline: call build()")
    asked = embedded_query(folder, query)
    if asked.features is None:
        raise ValueError("queries must have global embeddings for a drift")
    return measure_drift(asked.features, baseline)


def items_of(columns: Columns) -> tuple[Item, ...]:
    """Items from the columns of their labels."""
    return tuple(
        Item(
            columns["id"][row],
            columns["identity"][row],
            columns["tracklet"][row],
            columns["camera"][row],
            None if columns["time"][row] is None else columns["time"][row] / 1e6,
            columns["path"][row],
            json.loads(columns["metadata"][row]) if columns["metadata"][row] else None,
        )
        for row in range(len(columns["id"]))
    )


def _result(
    snapshot: StoreSnapshot,
    hits: Hits,
    calibration: Calibration | None,
    options: SearchOptions,
    names: tuple[str, ...] | None,
    candidates: int | None,
) -> GalleryResult:
    """Ranking with the items found."""
    there = hits.addresses >= 0
    unique, place = np.unique(hits.addresses[there].numpy(), return_inverse=True)
    items = items_of(snapshot.take(unique, [each for each in LABELS if each != "digest"]))
    indices = torch.full_like(hits.addresses, -1)
    indices[there] = torch.from_numpy(place.ravel().astype(np.int64))
    shared = None if hits.shared is None else hits.shared.masked_fill(~there, 0.0)
    probability = None
    if calibration is not None and shared is not None:
        scores = hits.scores.masked_fill(~there, 0.0)
        probability = calibration.probability(scores, shared).float()
        probability = probability.masked_fill(shared < options.min_shared, torch.nan)
    return GalleryResult(
        indices,
        hits.distances,
        shared,
        probability,
        names,
        tuple(each.id for each in items),
        items=items,
        candidates=candidates,
    )


def _names(query: Any) -> tuple[str, ...] | None:
    values: Sequence[Any] = query if isinstance(query, list | tuple) else [query]
    if not values or not all(isinstance(each, str | Path) for each in values):
        return None
    return tuple(map(str, values))


def _warn(text: str) -> None:
    warnings.warn(text, InputWarning, stacklevel=level_outside())
