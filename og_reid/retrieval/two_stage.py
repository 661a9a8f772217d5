"""Search in two stages: global embeddings select candidates, late interaction ranks them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.embedding import Embedding
from ..models.local_features import LocalFeatures
from .calibration import Calibration
from .evidence import shared_evidence
from .inputs import as_count, as_number
from .labels import Labels
from .late_interaction import Interaction, local_similarity
from .progress import Progress
from .result import RetrievalResult
from .search import rank

__all__ = ["MIN_RANKED", "rank_candidates", "rank_local", "select_candidates"]

#: Smallest `shared_evidence` of items that do not rank after all others. 0: all rank by similarity,
#: which is better by half a point of mAP on occluded rendered people than 0.01.
MIN_RANKED = 0.0
_PAIRS = 1 << 18  # of images, compared at a time


def select_candidates(
    query: Embedding, gallery: Embedding, count: int, labels: Labels | None = None
) -> Tensor:
    """Gallery items with the most similar global embeddings.

    Args:
        query: Q images.
        gallery: G images.
        count: Candidates of each query, at least 1; all items where there are no more.
        labels: Labels of both sides: junk, and matches of the query's own camera, are left out.

    Returns:
        (Q, c) int64 indices into the gallery, ascending in each row; -1, at the end, where fewer
        may be ranked.

    Raises:
        ValueError: Global embeddings are missing though they are needed, zero or NaN.
    """
    count, number = min(as_count(count, "candidates"), len(gallery)), len(gallery)
    if count == number and labels is None:
        return torch.arange(number, device=query.device).expand(len(query), -1)
    if count == number:  # a constant embedding: the labels alone decide
        sides = [torch.ones(len(each), 1, device=query.device) for each in (query, gallery)]
    else:
        sides = []
        for name, each in (("query", query), ("gallery", gallery)):
            if each.features is None:
                raise ValueError(
                    f"{name} must have global embeddings to select candidates: give candidates="
                    f"{number} to compare all"
                )
            sides.append(each.features)
    found = rank(sides[0], sides[1], labels, k=count).indices.long()
    ordered = found.masked_fill(found < 0, number).sort(dim=1).values
    return ordered.masked_fill(ordered == number, -1)


def rank_candidates(
    query: LocalFeatures,
    gallery: LocalFeatures,
    candidates: Tensor,
    settings: Interaction,
    *,
    k: int = 10,
    min_shared: float = MIN_RANKED,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> RetrievalResult:
    """Candidates ranked by late interaction.

    Args:
        query: Q images.
        gallery: G images.
        candidates: (Q, c) int64, as from `select_candidates`.
        settings: Settings of late interaction.
        k: Largest number of items per query, at least 1.
        min_shared: Smallest shared evidence, in [0, 1]: items with less rank after all others,
            as their similarity is lowered by its whole range.
        calibration: Calibration of the similarity; None: without probabilities.
        progress: Called with (queries done, Q).

    Raises:
        ValueError: Local features are NaN or do not fit, or an argument is out of range.
    """
    k = min(as_count(k, "k"), candidates.shape[1])
    if not 0 <= as_number(min_shared, "min_shared") <= 1:
        raise ValueError(f"min_shared must be in [0, 1]; got {min_shared}")
    _check_finite(query, "query")
    _check_finite(gallery, "gallery")
    number, device = len(gallery), query.features.device
    indices = torch.full((len(query), k), -1, dtype=torch.int64, device=device)
    distances = torch.full((len(query), k), torch.inf, dtype=torch.float32, device=device)
    shared = torch.zeros_like(distances)
    similarity = torch.zeros_like(distances)
    step = max(1, _PAIRS // max(1, number)) if candidates.shape[1] == number else 1
    for start in range(0, len(query), step):
        stop = min(start + step, len(query))
        rows = candidates[start:stop]
        if candidates.shape[1] == number:
            items = torch.arange(number, device=device)
            allowed = _members(rows, number)
        else:
            items = rows[0][rows[0] >= 0]
            allowed = torch.ones(1, len(items), dtype=torch.bool, device=device)
        if not len(items):
            continue
        sides = query[start:stop], gallery[items]
        score, evidence = local_similarity(*sides, settings)[0], shared_evidence(*sides)
        lowered = torch.where(evidence < min_shared, score - (1 - settings.lowest), score)
        order = (1 - lowered).masked_fill(~allowed, torch.inf).sort(dim=1, stable=True)
        width = min(k, len(items))
        best = order.indices[:, :width]
        found = order.values[:, :width].isfinite()
        some = slice(start, stop), slice(0, width)
        indices[some] = torch.where(found, items[best], -1)
        distances[some] = order.values[:, :width].float()
        shared[some] = evidence.gather(1, best) * found
        similarity[some] = score.gather(1, best).float()
        if progress is not None:
            progress(stop, len(query))
    probability = None
    if calibration is not None:
        probability = calibration.probability(similarity, shared).float()
        probability = probability.masked_fill((shared < min_shared).cpu(), torch.nan)
    return RetrievalResult(indices, distances, shared, probability)


def rank_local(
    query: Embedding,
    gallery: Embedding,
    settings: Interaction,
    *,
    k: int = 10,
    candidates: int = 200,
    labels: Labels | None = None,
    min_shared: float = MIN_RANKED,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> RetrievalResult:
    """`select_candidates`, then `rank_candidates`.

    Args:
        query: Q images with local features, and global embeddings if the gallery is larger than
            ``candidates``.
        gallery: G images, likewise.
        settings: Settings of late interaction.
        k: As for `rank_candidates`.
        candidates: Candidates of each query; at least k are selected.
        labels: As for `select_candidates`.
        min_shared: As for `rank_candidates`.
        calibration: Likewise.
        progress: Likewise.

    Raises:
        ValueError: Local features are missing; or see both functions.
    """
    if query.local is None or gallery.local is None:
        raise ValueError(
            "query and gallery must have local features: describe images by a model that has them"
        )
    chosen = select_candidates(query, gallery, max(as_count(candidates, "candidates"), k), labels)
    return rank_candidates(
        query.local,
        gallery.local,
        chosen,
        settings,
        k=k,
        min_shared=min_shared,
        calibration=calibration,
        progress=progress,
    )


def _members(rows: Tensor, number: int) -> Tensor:
    """(b, G) bool: True for the items in each row of indices; -1 is none."""
    found = torch.zeros(len(rows), number + 1, dtype=torch.bool, device=rows.device)
    found.scatter_(1, rows.masked_fill(rows < 0, number), True)
    return found[:, :number]


def _check_finite(side: LocalFeatures, name: str) -> None:
    for each in side.tensors:
        bad = ~each.flatten(1).isfinite().all(1)
        if bad.any():
            rows = bad.nonzero().squeeze(1)[:10].tolist()
            raise ValueError(
                f"local features must be finite; got NaN or infinity in {name} images {rows}"
            )
