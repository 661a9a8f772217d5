"""Re-ranking by propagation on the graph of nearest neighbours (Zhang et al., 2020)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..retrieval.features import Features
from ..retrieval.inputs import as_count
from ..retrieval.progress import Progress, subprogress
from ..retrieval.reranked import LazyDistances
from .products import multiply_sparse
from .space import open_space

__all__ = ["gnn_rerank"]


@plain_torch()
def gnn_rerank(
    query: Features,
    gallery: Features,
    *,
    k1: int = 26,
    k2: int = 7,
    progress: Progress | None = None,
) -> LazyDistances:
    """Re-ranking by propagation of neighbourhoods on the k-nearest-neighbour graph.

    With A the adjacency of the k1 nearest and P that of the k2 nearest, weighted by the square of
    their similarity: two steps ``A <- P (A + A^T)`` with unit rows, then the cosine of the rows. As
    in the authors' code, ``k2 = 1`` compares A without propagation. Features are normalised first,
    as the weights require. This is the authors' version before August 2023; later ones add 0.3 of
    the cosine of the features.

    Args:
        query: See `og_reid.evaluate`.
        gallery: Likewise, not in blocks.
        k1: Neighbours in the graph, the image itself included.
        k2: Neighbours averaged per image, the image itself included.
        progress: Called with (images done, images in all), over all passes.

    Returns:
        New distances, smaller = closer: pass them to `evaluate` as ``distance``.

    Raises:
        ValueError: See `evaluate`; or parameters out of range.
    """
    from scipy import sparse

    k1, k2 = as_count(k1, "k1", None), as_count(k2, "k2", None)
    if not 1 <= k2 <= k1:
        raise ValueError(f"k2 must be in [1, k1]; got k1 = {k1} and k2 = {k2}")
    space = open_space(query, gallery)
    count, queries = space.total, space.queries
    passes = 3 if k2 > 1 else 1
    found = space.nearest(min(k1, count), subprogress(progress, 0, passes))
    index = found.indices.numpy().astype(np.int32)
    weight = np.square(1 - found.values.numpy() / 2)

    def matrix(values: np.ndarray, columns: np.ndarray) -> Any:
        ptr = np.arange(0, columns.size + 1, columns.shape[1])
        return sparse.csr_matrix((values.ravel(), columns.ravel(), ptr), (count, count))

    graph = matrix(np.ones(index.shape, np.float32), index)
    if k2 > 1:
        spread = matrix(np.ascontiguousarray(weight[:, :k2]), np.ascontiguousarray(index[:, :k2]))
        for step in range(2):
            both = (graph + graph.T).tocsr()
            graph = multiply_sparse(
                spread, both, subprogress(progress, 1 + step, passes), unit=True
            )
    first, second = graph[:queries], graph[queries:].T.tocsr()

    def rows(start: int, stop: int) -> Tensor:
        return torch.from_numpy(1 - (first[start:stop] @ second).toarray())

    shape = queries, count - queries
    return LazyDistances("gnn", {"k1": k1, "k2": k2}, shape, rows)
