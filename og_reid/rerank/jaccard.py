"""Sparse Jaccard distances among the images of one set, for clustering."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from pose.runtime.defaults import plain_torch

from ..retrieval.features import Features, NormalizedFeatures, as_feature_source
from ..retrieval.inputs import as_number
from ..retrieval.progress import Progress
from .k_reciprocal import Overlap, neighbor_vectors
from .space import FeatureSpace

__all__ = ["JaccardVariant", "jaccard_neighbors"]

#: Variants of `og_reid.rerank.k_reciprocal` for one set.
JaccardVariant = Literal["fast-reid", "original"]
_ENTRIES = 1 << 22


@plain_torch()
def jaccard_neighbors(
    features: Features,
    *,
    k1: int = 30,
    k2: int = 6,
    variant: JaccardVariant = "fast-reid",
    within: float = 1.0,
    progress: Progress | None = None,
) -> Any:
    """Jaccard distances of the k-reciprocal neighbourhoods of one set of images, below a limit.

    Two images without a common neighbour have the distance 1, which is not stored: the result is
    exact for every limit up to 1, and grows with N and not with N x N. ``fast-reid`` is the
    distance of SpCL and cluster contrast, ``original`` that of SSG.

    Args:
        features: (N, D), or embeddings with parts, as for `og_reid.evaluate`.
        k1: Size of the neighbourhood; fewer images than that are all neighbours.
        k2: Neighbours averaged per vector, the image itself included.
        variant: ``fast-reid`` or ``original``.
        within: Distances below this limit are stored, in (0, 1].
        progress: Called with (images done, images in all).

    Returns:
        (N, N) scipy CSR matrix of float32 distances, symmetric, with the zeros of the diagonal
        stored.

    Raises:
        ValueError: No images, NaN or infinite features, or parameters out of range.
    """
    from scipy import sparse

    if variant not in ("fast-reid", "original"):
        raise ValueError(f"variant must be fast-reid or original; got {variant!r}")
    if not 0 < as_number(within, "within") <= 1:
        raise ValueError(f"within must be in (0, 1]; got {within}")
    unit = as_feature_source(features, "features").normalized()
    count = len(unit)
    if not count:
        raise ValueError("features must hold at least one image; got none")
    visibility = None if unit.visibility is None else unit.visibility.cpu()
    unit = NormalizedFeatures(unit.rows.cpu(), visibility, unit.layout)
    vectors, _ = neighbor_vectors(FeatureSpace(unit, 0), variant, k1, k2, progress)
    overlap = Overlap(vectors, vectors)
    step = max(1, _ENTRIES // count)
    rows, columns, values = [], [], []
    for start in range(0, count, step):
        block = overlap.jaccard(start, min(start + step, count)).numpy()
        # Each image is at 0 from itself, beyond rounding.
        own = np.arange(len(block))
        block[own, start + own] = 0
        row, column = (block < within).nonzero()
        rows.append(start + row)
        columns.append(column)
        values.append(block[row, column].clip(min=0))
    row, column, value = (np.concatenate(each) for each in (rows, columns, values))
    ends = np.searchsorted(row, np.arange(count + 1))
    return sparse.csr_matrix((value, column.astype(np.int32), ends), shape=(count, count))
