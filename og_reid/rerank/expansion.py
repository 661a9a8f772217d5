"""Query expansion and database augmentation: embeddings averaged with their neighbours'."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pose.runtime.defaults import plain_torch

from ..ops.topk import TopK, merge_topk
from ..retrieval.distance_blocks import iter_blocks
from ..retrieval.features import Features, FeatureSource, as_feature_source
from ..retrieval.inputs import as_count, as_number
from ..retrieval.progress import Progress

__all__ = ["augment_database", "expand_queries"]

_CHUNK = 1024


@plain_torch()
def expand_queries(
    query: Features,
    gallery: Features,
    *,
    k: int = 5,
    alpha: float = 0.0,
    progress: Progress | None = None,
) -> Tensor:
    """Average query expansion (Chum et al., 2007): each query plus its k nearest gallery images.

    Args:
        query: (Q, D) features without parts, see `og_reid.evaluate`.
        gallery: (G, D) features, not in blocks.
        k: Gallery images added to each query.
        alpha: Weights are similarities (at least 0) to this power (Radenović et al., 2019); 0 =
            equal weights.
        progress: Called with (gallery rows searched, gallery rows in all).

    Returns:
        (Q, D) unit features for a second search.

    Raises:
        ValueError: See `evaluate`; or parameters out of range.
    """
    sides = as_feature_source(query, "query"), as_feature_source(gallery, "gallery")
    _check(sides, k, alpha)
    found = _search(*sides, k, progress)
    return functional.normalize(
        sides[0].normalized().rows + _weighted(sides[1], found, alpha), dim=1
    )


@plain_torch()
def augment_database(
    gallery: Features, *, k: int = 5, alpha: float = 0.0, progress: Progress | None = None
) -> Tensor:
    """Database augmentation (Arandjelović and Zisserman, 2012): `expand_queries` of the gallery.

    Args:
        gallery: (G, D) features without parts, not in blocks.
        k: Nearest other images added to each image.
        alpha: As for `expand_queries`.
        progress: Called with (gallery rows searched, gallery rows in all).

    Returns:
        (G, D) unit features that replace the gallery's.

    Raises:
        ValueError: See `expand_queries`.
    """
    side = as_feature_source(gallery, "gallery")
    _check((side, side), k, alpha)
    found = _search(side, side, k + 1, progress)
    own = found.indices == torch.arange(side.length, device="cpu")[:, None]
    # If copies are nearer than the image itself, the farthest is removed instead.
    own[~own.any(dim=1), -1] = True
    rest = TopK(
        found.values[~own].view(side.length, -1),
        found.indices[~own].view(side.length, -1),
        found.farthest,
    )
    return functional.normalize(side.normalized().rows + _weighted(side, rest, alpha), dim=1)


def _check(sides: tuple[FeatureSource, FeatureSource], k: int, alpha: float) -> None:
    if as_count(k, "k", None) < 1 or as_number(alpha, "alpha") < 0:
        raise ValueError(f"k must be at least 1 and alpha at least 0; got {k} and {alpha}")
    for side in sides:
        if not side.length:
            raise ValueError(f"{side.name} must not be empty; got 0 rows")


def _search(
    query: FeatureSource, gallery: FeatureSource, k: int, progress: Progress | None
) -> TopK:
    """Negated similarities and indices of the nearest."""
    found = TopK.none(query.length, min(k, gallery.length))
    for start, place, block in iter_blocks(
        query, gallery, torch.arange(gallery.length, device="cpu"), progress
    ):
        merge_topk(block.cpu(), found, start, place)
    return found


def _weighted(side: FeatureSource, found: TopK, alpha: float) -> Tensor:
    """(n, D) sums of the nearest unit rows, weighted by similarity to the power alpha."""
    sums = []
    for values, indices in zip(
        found.values.split(_CHUNK), found.indices.split(_CHUNK), strict=True
    ):
        wanted, place = indices.unique(return_inverse=True)
        ((_, unit),) = side.pieces(wanted, len(wanted))  # a few: the others may be on disk
        if unit.visibility is not None:
            raise ValueError(f"{side.name} must have global features only; got parts")
        weights = (-values).clamp_min(0).pow(alpha)
        rows = unit.rows[place.to(unit.rows.device)]
        with torch.autocast(rows.device.type, enabled=False):
            sums.append(torch.einsum("nk,nkd->nd", weights.to(rows), rows))
    return torch.cat(sums)
