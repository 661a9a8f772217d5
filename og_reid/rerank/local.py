"""k-reciprocal re-ranking of local features, by late interaction of all pairs of images."""

from __future__ import annotations

from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..models.local_features import LocalFeatures
from ..retrieval.late_interaction import Interaction, local_similarity
from ..retrieval.progress import Progress
from ..retrieval.reranked import LazyDistances
from .k_reciprocal import k_reciprocal_distances

__all__ = ["k_reciprocal_local"]


@plain_torch()
def k_reciprocal_local(
    query: LocalFeatures,
    gallery: LocalFeatures,
    settings: Interaction,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    progress: Progress | None = None,
) -> LazyDistances:
    """k-reciprocal re-ranking by the distances 1 - similarity of late interaction.

    All (Q + G)^2 pairs are compared, in both directions: time and memory grow with the square. The
    distance of an image to itself counts as 0.

    Args:
        query: Q images.
        gallery: G images.
        settings: Settings of late interaction; always symmetric here.
        k1: See `k_reciprocal`.
        k2: Likewise.
        lambda_value: Likewise.
        progress: Called with (images done, images in all).

    Raises:
        ValueError: Local features do not fit, or parameters are out of range.
    """
    both = Interaction(settings.penalty, settings.background)
    return k_reciprocal_distances(
        _distances(query, gallery, both),
        _among(query, both),
        _among(gallery, both),
        k1=k1,
        k2=k2,
        lambda_value=lambda_value,
        progress=progress,
    )


def _distances(query: LocalFeatures, gallery: LocalFeatures, settings: Interaction) -> Tensor:
    """(Q, G) in [0, 2]: without common evidence as far as opposite vectors, not farther.

    The farthest image scales the others in k-reciprocal re-ranking.
    """
    similarity, _ = local_similarity(query, gallery, settings)
    return (1 - similarity).clamp_(0, 2)


def _among(images: LocalFeatures, settings: Interaction) -> Tensor:
    distances = _distances(images, images, settings)
    distances = (distances + distances.T) / 2  # equal but for rounding
    # An image that shows little of the person is not the most similar one to itself.
    return distances.fill_diagonal_(0)
