"""Search of a gallery in several processes: parts are searched apart, and merged exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..data.clouds.engines import Engine, engine_session, run_tasks
from ..models.embedding import Embedding
from ..retrieval.progress import Progress
from .filters import Condition
from .scorer import Scorer
from .search import (
    Candidates,
    Exclusion,
    Hits,
    rank_items,
    search_exhaustive,
    select_items,
)
from .store import SnapshotPart, StoreSnapshot

__all__ = ["search_parts"]

_Found = TypeVar("_Found")
_PARTS = 4  # per worker: the slowest holds up the others the less


@dataclass(frozen=True, eq=False)
class _Job:
    """What is searched for, in all parts alike."""

    query: Embedding
    scorer: Scorer
    k: int
    conditions: tuple[Condition, ...]
    exclusions: tuple[Exclusion, ...]
    min_shared: float = 0.0


@torch.no_grad()
def search_parts(
    snapshot: StoreSnapshot,
    query: Embedding,
    scorer: Scorer,
    *,
    k: int,
    candidates: int | None,
    engine: Engine,
    workers: int,
    conditions: Sequence[Condition] = (),
    exclusions: Sequence[Exclusion] = (),
    min_shared: float = 0.0,
    progress: Progress | None = None,
) -> Hits:
    """Nearest items of each query: those of `og_reid.gallery.search.search_items`.

    Candidates are selected in all parts, and the most similar of them all are compared: the
    candidates, their scores and the order of equals are those of a search in one process.

    Args:
        snapshot: Items.
        query: Q images.
        scorer: Similarity.
        k: Largest number of items per query, at least 1.
        candidates: Items that global embeddings select for each query; None compares all.
        engine: See `og_reid.data.clouds.engines.run_tasks`. Workers read the gallery's folder.
        workers: Number of processes.
        conditions: Conditions that all hold.
        exclusions: Items left out.
        min_shared: Smallest shared evidence of items that do not rank last.
        progress: Called with (parts searched, parts in all).

    Raises:
        RuntimeError: Workers were killed repeatedly.
    """
    parts = snapshot.parts(_PARTS * workers)
    job = _Job(query, scorer, k, tuple(conditions), tuple(exclusions), min_shared)
    two_stages = candidates is not None and not scorer.is_global and query.features is not None
    total = len(parts) * (2 if two_stages else 1)
    done = 0

    def each_part(function: Callable[[Any], _Found], tasks: Sequence[Any]) -> list[_Found]:
        nonlocal done
        found: dict[int, _Found] = {}
        with closing(run_tasks(function, tasks, workers=workers, engine=engine)) as stream:
            for index, result in stream:
                found[index] = result
                done += 1
                if progress is not None:
                    progress(done, total)
        return [found[index] for index in range(len(tasks))]

    nothing = Hits.none(len(query), scorer.has_evidence)
    if not parts:
        return nothing
    with engine_session(engine, workers):
        if candidates is None or not two_stages:
            found = each_part(partial(_search_all, job), parts)
        else:
            select = partial(_select, replace(job, k=max(candidates, k)))
            selected = each_part(select, parts)
            chosen = Candidates.nearest(selected, max(candidates, k)).in_order()
            tasks = [
                (part, _inside(chosen, each.addresses))
                for part, each in zip(parts, selected, strict=True)
            ]
            done += sum(not (task[1] >= 0).any() for task in tasks)
            found = each_part(partial(_rank, job), [task for task in tasks if (task[1] >= 0).any()])
    for hits in found:
        nothing = nothing.merged(hits, k)
    return nothing


def _inside(chosen: Tensor, own: Tensor) -> Tensor:
    """(Q, c) the chosen addresses that are those of a part, in order, then -1."""
    last = torch.iinfo(torch.int64).max
    kept = chosen.masked_fill(~torch.isin(chosen, own[own >= 0]), last).sort(dim=1).values
    width = max(int((kept < last).sum(1).max()) if kept.numel() else 0, 1)
    return kept[:, :width].masked_fill(kept[:, :width] == last, -1)


@plain_torch()
@torch.no_grad()
def _search_all(job: _Job, part: SnapshotPart) -> Hits:
    return search_exhaustive(
        part.open(), job.query, job.scorer, k=job.k, conditions=job.conditions,
        exclusions=job.exclusions, min_shared=job.min_shared,
    )  # fmt: skip


@plain_torch()
def _select(job: _Job, part: SnapshotPart) -> Candidates:
    return select_items(part.open(), job.query, job.k, job.conditions, job.exclusions)


@plain_torch()
def _rank(job: _Job, task: tuple[SnapshotPart, Tensor]) -> Hits:
    part, addresses = task
    return rank_items(
        part.open(), job.query, job.scorer, addresses, k=job.k, min_shared=job.min_shared
    )
