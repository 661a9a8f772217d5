"""Search by local features with optional test-time methods, named in the result."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..models.embedding import Embedding
from ..retrieval.calibration import Calibration
from ..retrieval.evidence import shared_evidence
from ..retrieval.inputs import as_count, as_number
from ..retrieval.labels import Labels
from ..retrieval.late_interaction import Interaction, local_similarity
from ..retrieval.progress import Progress
from ..retrieval.result import RetrievalResult
from ..retrieval.search import rank_distances
from ..retrieval.two_stage import MIN_RANKED, rank_local
from .centring import center_gallery, center_neighbors
from .local import k_reciprocal_local

__all__ = ["SearchMethods", "search_local"]


@dataclass(frozen=True)
class SearchMethods:
    """Methods at test time beyond the similarity; all are off by default.

    Attributes:
        mirror: Average with the embeddings of the mirrored images.
        center_gallery: Strength of `center_gallery`, in [0, 1]; 0: off.
        center_neighbors: Neighbours k of `center_neighbors`, for the gallery; 0: off.
        rerank: k-reciprocal re-ranking of all pairs, see `k_reciprocal_local`; candidates are not
            selected.
    """

    mirror: bool = False
    center_gallery: float = 0.0
    center_neighbors: int = 0
    rerank: bool = False

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not 0 <= as_number(self.center_gallery, "center_gallery") <= 1:
            raise ValueError(f"center_gallery must be in [0, 1]; got {self.center_gallery}")
        as_count(self.center_neighbors, "center_neighbors", 0)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the methods that are on, to be reported with results."""
        found = ["mirrored images"] if self.mirror else []
        if self.center_gallery:
            found.append(f"gallery centring (strength {self.center_gallery:g})")
        if self.center_neighbors:
            found.append(f"neighbour centring (k = {self.center_neighbors})")
        return (*found, "k-reciprocal re-ranking") if self.rerank else tuple(found)


@plain_torch()
@torch.no_grad()
def search_local(
    query: Embedding,
    gallery: Embedding,
    settings: Interaction,
    methods: SearchMethods = SearchMethods(),
    *,
    k: int = 10,
    candidates: int = 200,
    labels: Labels | None = None,
    min_shared: float = MIN_RANKED,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> RetrievalResult:
    """`og_reid.retrieval.two_stage.rank_local` after the methods that are on.

    Args:
        query: Q images with local features; mirrored ones are averaged before, by the model.
        gallery: G images, likewise.
        settings: Settings of late interaction.
        methods: Methods at test time.
        k: Largest number of items per query.
        candidates: Candidates of each query.
        labels: Labels of both sides: junk, and matches of the query's own camera, are left out.
        min_shared: Smallest shared evidence: items with less rank after all others.
        calibration: Calibration of the similarity; not used after centring, which changes it.
        progress: Called with (queries done, Q).

    Returns:
        The ranking, with the names of the methods; re-ranked items have the new distances, and the
        probabilities of the similarity itself.

    Raises:
        ValueError: See `rank_local` and the functions of the methods.
    """
    if methods.center_neighbors:
        gallery = center_neighbors(gallery, k=methods.center_neighbors, penalty=settings.penalty)
    if methods.center_gallery:
        query, gallery = center_gallery(query, gallery, strength=methods.center_gallery)
    if methods.center_gallery or methods.center_neighbors:
        calibration = None
    if not methods.rerank:
        found = rank_local(
            query, gallery, settings, k=k, candidates=candidates, labels=labels,
            min_shared=min_shared, calibration=calibration, progress=progress,
        )  # fmt: skip
        return replace(found, methods=methods.names)
    if query.local is None or gallery.local is None:
        raise ValueError("query and gallery must have local features to be re-ranked; got none")
    new = k_reciprocal_local(query.local, gallery.local, settings)
    similarity, _ = local_similarity(query.local, gallery.local, settings)
    shared = shared_evidence(query.local, gallery.local)
    # New distances are at most 1 but for rounding.
    distances = new.dense().to(shared) + 2.0 * (shared < min_shared)
    found = rank_distances(distances, labels, k=k)
    if progress is not None:
        progress(len(query), len(query))
    place = found.indices.long().clamp(min=0)
    missing = found.indices < 0
    shared = _taken(shared, place).masked_fill(missing, 0.0)
    probability = None
    if calibration is not None:
        probability = calibration.probability(_taken(similarity, place), shared).float()
        probability = probability.masked_fill(shared < min_shared, torch.nan)
    names = (*methods.names[:-1], str(new))
    return replace(found, shared=shared, probability=probability, methods=names)


def _taken(values: Tensor, place: Tensor) -> Tensor:
    return values.cpu().gather(1, place.cpu()).float()
