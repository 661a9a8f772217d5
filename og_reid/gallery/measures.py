"""Measurements on a gallery's items: recall of two stages, impostors' scores, calibration."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.embedding import Embedding
from ..retrieval.calibration import MIN_SHARED, Calibration, fit_calibration
from ..retrieval.progress import Progress
from .packing import unpack
from .scorer import Scorer, unit_rows
from .search import Exclusion, Hits, search_exhaustive, search_items
from .settings import Baseline, GallerySettings, Impostors, SearchPlan
from .store import ADDRESS, Columns, StoreSnapshot

__all__ = ["Measured", "measure", "measure_baseline", "measure_plan"]

#: Pairs of images of the exhaustive search that recall is measured against.
_PAIRS = 4_000_000
_MARGIN = 1.25  # more candidates than the measured ones need
_FEWEST = 32
_IMPOSTORS = 1000
_PAIR_ITEMS = 300
_GENUINE = 50
_KEPT_PAIRS = 1000
_LABELS = 100_000  # items whose labels are in memory
Stage = Callable[[str], Progress | None]


@dataclass(frozen=True)
class Measured:
    """Outcome of `measure`.

    Attributes:
        settings: Settings with what was measured.
        notes: What was not measured, and why.
    """

    settings: GallerySettings
    notes: tuple[str, ...]

    def __str__(self) -> str:
        settings, lines = self.settings, []
        if settings.plan is not None:
            lines.append(f"search: {settings.plan}")
        if settings.impostors is not None:
            searches, pairs = len(settings.impostors.search), settings.impostors.pair_count
            lines.append(
                f"thresholds: from {searches:,} searches and {pairs:,} comparisons of different "
                "identities"
            )
        if settings.calibration is not None:
            lines.append("calibration: from items of one identity in different cameras")
        return "\n".join([*lines, *self.notes])


@torch.no_grad()
def measure(
    snapshot: StoreSnapshot,
    scorer: Scorer,
    settings: GallerySettings,
    *,
    queries: Embedding | None = None,
    recall: float = 0.995,
    k: int = 10,
    seed: int = 0,
    progress: Stage | None = None,
) -> Measured:
    """Measures a gallery on its own items.

    Args:
        snapshot: Items, at least one.
        scorer: Similarity.
        settings: Present settings.
        queries: Queries for the recall; None: some items, each without those of its own camera,
            where cameras are known, and without itself.
        recall: Smallest recall of the first k.
        k: Number of items of a query that count.
        seed: Seed of the choice of items.
        progress: Function from the name of a stage to its progress.
    """
    stage: Stage = progress or (lambda name: None)
    labels, addresses = _labels(snapshot)
    order = torch.randperm(len(addresses), generator=torch.Generator().manual_seed(seed)).numpy()
    notes: list[str] = []
    plan = None
    if scorer.is_global:
        notes.append("recall: 1, as the similarity is that of the global embeddings")
    elif scorer.layout.features:
        exclusions: tuple[Exclusion, ...] = ()
        if queries is None:
            count = min(max(_PAIRS // len(snapshot), 16), 128, len(addresses))
            own = addresses[order[:count]]
            queries, exclusions = _probes(snapshot, scorer, own, labels, order[:count])
        plan = measure_plan(
            snapshot, queries, scorer, exclusions, recall=recall, k=k, progress=stage("recall")
        )
    baseline = None
    if scorer.layout.features:
        baseline = measure_baseline(snapshot)
    changed = replace(settings, plan=plan, baseline=baseline, impostors=None, calibration=None)
    identities = labels["identity"]
    known = [row for row in order if identities[row] is not None]
    if len({identities[row] for row in known}) < 2:
        notes.append("thresholds and calibration: items of at least 2 identities are needed")
        return Measured(changed, tuple(notes))
    candidates = None if plan is None else plan.candidates
    highest = _highest(
        snapshot, scorer, labels, addresses, known[:_IMPOSTORS], candidates, stage("impostors")
    )
    pairs, pair_count, calibration = _pairs(snapshot, scorer, labels, addresses, known)
    if calibration is None:
        notes.append(
            f"calibration: that of the model, as {_GENUINE} pairs of one identity in different "
            "cameras or tracklets are needed"
        )
    found = Impostors(tuple(highest), tuple(pairs), pair_count)
    return Measured(replace(changed, impostors=found, calibration=calibration), tuple(notes))


def measure_plan(
    snapshot: StoreSnapshot,
    queries: Embedding,
    scorer: Scorer,
    exclusions: Sequence[Exclusion] = (),
    *,
    recall: float = 0.995,
    k: int = 10,
    progress: Progress | None = None,
) -> SearchPlan:
    """Number of candidates that finds the first k items of the exhaustive search.

    Args:
        snapshot: Items.
        queries: Q queries with global embeddings.
        scorer: Similarity.
        exclusions: Items left out.
        recall: Smallest fraction of these items, in (0, 1].
        k: Number of items of a query.
        progress: Called with (items compared, items in all).

    Raises:
        ValueError: The recall is out of range, or queries lack global embeddings.
    """
    if not 0 < recall <= 1:
        raise ValueError(f"recall must be in (0, 1]; got {recall}")
    if queries.features is None:
        raise ValueError("queries must have global embeddings, which select candidates")
    best = search_exhaustive(
        snapshot, queries, scorer, k=k, exclusions=exclusions, progress=progress
    )
    ranks = _global_ranks(snapshot, queries.features, best, exclusions)
    wanted = ranks[best.addresses >= 0].sort().values + 1
    items = len(snapshot)
    if not len(wanted):
        return SearchPlan(max(_FEWEST, k), 1.0, k, len(queries), items)
    needed = int(wanted[math.ceil(recall * len(wanted)) - 1])
    candidates = min(max(math.ceil(_MARGIN * needed), _FEWEST, k), max(items, k))
    found = int((wanted <= candidates).sum()) / len(wanted)
    return SearchPlan(candidates, found, k, len(queries), items)


def measure_baseline(snapshot: StoreSnapshot) -> Baseline:
    """Similarity of the items to their mean."""
    count, total = 0, torch.zeros((), dtype=torch.float64)
    for block in snapshot.scan(["features"], rows=4096):
        unit = unit_rows(block["features"]).double()
        total = total + unit.sum(0)
        count += len(unit)
    mean = (total / max(count, 1)).float()
    products = torch.zeros(2, dtype=torch.float64)
    for block in snapshot.scan(["features"], rows=4096):
        product = (unit_rows(block["features"]) @ mean).double()
        products += torch.stack([product.sum(), product.square().sum()])
    center, square = (products / max(count, 1)).tolist()
    spread = math.sqrt(max(square - center**2, 0.0))
    return Baseline(tuple(mean.tolist()), center, spread)


def _labels(snapshot: StoreSnapshot) -> tuple[Columns, np.ndarray]:
    """Identities, cameras and tracklets of items, with their addresses.

    Of many items those of some identities, drawn by a hash of their names: each with all its
    items, so that memory does not grow with the gallery.
    """
    names = ("identity", "camera", "tracklet")
    labels: Columns = {name: [] for name in names}
    addresses, level = np.empty(0, np.int64), 0
    for block in snapshot.scan(names, rows=8192):
        for name in names:
            labels[name] += block[name]
        addresses = np.concatenate([addresses, block[ADDRESS]])
        first = len(addresses) - len(block[ADDRESS])
        if level:  # only the new ones are to be drawn
            labels, addresses = _drawn(labels, addresses, level, first)
        while len(addresses) > _LABELS:
            fewer = _drawn(labels, addresses, level + 1, 0)
            if len(fewer[1]) * 64 > _LABELS:
                (labels, addresses), level = fewer, level + 1
            else:  # few identities have nearly all items: each keeps half of its own
                labels = {name: each[::2] for name, each in labels.items()}
                addresses = addresses[::2]
    return labels, addresses


def _drawn(
    labels: Columns, addresses: np.ndarray, level: int, first: int
) -> tuple[Columns, np.ndarray]:
    """One of 2**level identities, from a row on; items without one are drawn one by one."""
    mask = (1 << level) - 1
    kept = list(range(first))
    for row in range(first, len(addresses)):
        identity = labels["identity"][row]
        text = f"#{addresses[row]}" if identity is None else f"={identity}"
        if zlib.crc32(text.encode()) & mask == 0:
            kept.append(row)
    return {name: [each[row] for row in kept] for name, each in labels.items()}, addresses[kept]


def _embedded(snapshot: StoreSnapshot, scorer: Scorer, addresses: np.ndarray) -> Embedding:
    names = [*scorer.columns]
    if scorer.layout.features and "features" not in names:
        names.append("features")
    return unpack(snapshot.take(addresses, names), scorer.layout)


def _probes(
    snapshot: StoreSnapshot, scorer: Scorer, own: np.ndarray, labels: Columns, rows: Any
) -> tuple[Embedding, tuple[Exclusion, ...]]:
    """Items as queries, and what is left out for them."""
    left_out = [Exclusion(ADDRESS, tuple(own.tolist()))]
    for name in ("camera", "tracklet"):
        values = tuple(labels[name][row] for row in rows)
        several = name == "tracklet" or len({each for each in labels[name] if each}) > 1
        if several and any(values):
            left_out.append(Exclusion(name, values))
    return _embedded(snapshot, scorer, own), tuple(left_out)


def _global_ranks(
    snapshot: StoreSnapshot, features: Tensor, best: Hits, exclusions: Sequence[Exclusion]
) -> Tensor:
    """(Q, k) ranks, from 0, of items among the global embeddings."""
    asked = unit_rows(features)
    names = ("features", *(each.column for each in exclusions if each.column != ADDRESS))
    distances = torch.full(best.addresses.shape, torch.inf)
    there = best.addresses >= 0
    if there.any():
        addresses, place = np.unique(best.addresses[there].numpy(), return_inverse=True)
        rows = unit_rows(snapshot.take(addresses, ["features"])["features"])
        owner = there.nonzero()[:, 0]
        distances[there] = -(asked[owner] * rows[torch.from_numpy(place.ravel())]).sum(1)
    ranks = torch.zeros(best.addresses.shape, dtype=torch.int64)
    for block in snapshot.scan(names, rows=4096):
        near = -(asked @ unit_rows(block["features"]).T)
        for each in exclusions:
            near.masked_fill_(each.masks(block), torch.inf)
        # Rounding of the products must not lower a rank: an item is no nearer than itself.
        ordered = near.sort(dim=1).values
        ranks += torch.searchsorted(ordered, distances + 1e-6)
    return (ranks - 1).clamp_(min=0)


def _highest(
    snapshot: StoreSnapshot,
    scorer: Scorer,
    labels: Columns,
    addresses: np.ndarray,
    rows: Sequence[int],
    candidates: int | None,
    progress: Progress | None,
) -> list[float]:
    """Highest score of each item's search without its identity, descending."""
    found: list[float] = []
    lowest = scorer.lowest
    for start in range(0, len(rows), 64):
        some = rows[start : start + 64]
        own = addresses[np.asarray(some)]
        identities = tuple(labels["identity"][row] for row in some)
        hits = search_items(
            snapshot, _embedded(snapshot, scorer, own), scorer, k=1, candidates=candidates,
            exclusions=(Exclusion("identity", identities), Exclusion(ADDRESS, tuple(own.tolist()))),
            min_shared=MIN_SHARED if scorer.has_evidence else 0.0,
        )  # fmt: skip
        for row in range(len(some)):
            none = hits.addresses.shape[1] == 0 or int(hits.addresses[row, 0]) < 0
            little = hits.shared is not None and not none and hits.shared[row, 0] < MIN_SHARED
            found.append(lowest if none or little else float(hits.scores[row, 0]))
        if progress is not None:
            progress(start + len(some), len(rows))
    return sorted(found, reverse=True)


def _pairs(
    snapshot: StoreSnapshot,
    scorer: Scorer,
    labels: Columns,
    addresses: np.ndarray,
    known: Sequence[int],
) -> tuple[list[float], int, Calibration | None]:
    """Scores of pairs of two identities, their number, and the calibration of pairs."""
    groups: dict[str, list[int]] = {}
    for row in known:
        groups.setdefault(labels["identity"][row], []).append(row)
    # Identities of several images first: their pairs calibrate.
    chosen: list[int] = []
    for group in sorted(groups.values(), key=lambda each: -min(len(each), 4)):
        chosen += group[:4]
        if len(chosen) >= _PAIR_ITEMS:
            break
    images = scorer.prepared(_embedded(snapshot, scorer, addresses[np.asarray(chosen)]))
    score, shared = scorer(images, images)
    same, apart = _relations(labels, chosen)
    upper = torch.ones_like(same).triu(1)
    seen = upper if shared is None else upper & (shared >= MIN_SHARED)
    impostors = score[seen & ~same].sort(descending=True).values
    calibration = None
    used = seen & (~same | apart)
    if shared is not None and int((used & same).sum()) >= _GENUINE:
        try:
            calibration = fit_calibration(score[used], shared[used].clamp(max=1), same[used])
        except ValueError:  # scores of one identity are not the higher ones
            calibration = None
    return impostors[:_KEPT_PAIRS].tolist(), int((upper & ~same).sum()), calibration


def _relations(labels: Columns, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(n, n) bool: of one identity; and known to be of two cameras, or of two tracklets."""

    def compared(name: str) -> tuple[Tensor, Tensor]:
        values = [labels[name][row] for row in rows]
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        column = torch.tensor([-1 if each is None else numbers[each] for each in values])
        known, equal = (column >= 0)[:, None] & (column >= 0), column[:, None] == column
        return known & equal, known & ~equal

    same_camera, other_camera = compared("camera")
    _, other_tracklet = compared("tracklet")
    return compared("identity")[0], other_camera | (other_tracklet & ~same_camera)
