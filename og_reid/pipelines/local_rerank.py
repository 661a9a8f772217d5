"""Re-ranking of local features, by the distances of all pairs of images."""

from __future__ import annotations

from torch import Tensor

from ..inference.encoder import Encoder, Pair, Search
from ..rerank import LazyDistances, k_reciprocal_distances
from ..retrieval.progress import Progress
from ..retrieval.reranked import DistanceRows

__all__ = ["check_local_rerank", "rerank_local"]

# Sizes k1 and k2 of the neighbourhoods of the variants that take distances.
_SIZES = {"original": (20, 6), "transreid": (50, 15)}


def check_local_rerank(name: str | None) -> None:
    """Refuses re-rankings that need global features.

    Raises:
        ValueError: ``name`` is one of them.
    """
    if name is not None and name not in _SIZES:
        raise ValueError(
            f"--rerank must be {' or '.join(_SIZES)} for models of local features, which give "
            f"distances; got {name}"
        )


def rerank_local(
    name: str, model: Encoder, pair: Pair, *, progress: Progress | None = None
) -> LazyDistances:
    """k-reciprocal re-ranking of local features; memory grows with (Q + G) squared.

    Args:
        name: ``original`` or ``transreid``, see `og_reid.rerank.k_reciprocal`.
        model: Model whose `Encoder.search` gives distances 1 - similarity in blocks.
        pair: Embeddings of queries and gallery.
        progress: Called with (images done, images in all), over all passes.
    """
    check_local_rerank(name)
    k1, k2 = _SIZES[name]
    query, gallery = pair
    between, within, among = (
        _euclidean(model.search(one, other))
        for one, other in (pair, (query, query), (gallery, gallery))
    )
    for distances in (within, among):
        # An image with cells off the person is not the most similar one to itself.
        distances.fill_diagonal_(0)
    return k_reciprocal_distances(
        between, within, among, k1=k1, k2=k2, directed=True, progress=progress
    )


def _euclidean(search: Search) -> Tensor:
    """(n, m) Euclidean distances of unit vectors of the similarities of a search."""
    assert isinstance(search, DistanceRows)
    return (2 * search.dense()).sqrt_()
