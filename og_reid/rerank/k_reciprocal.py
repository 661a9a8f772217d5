"""Re-ranking by k-reciprocal neighbours (Zhong et al., 2017), and its published variants.

Each image has a vector over all images, with nonzero entries (a few dozen) at its k-reciprocal
neighbours; the new distance of two images is the Jaccard distance of their vectors. Vectors are
sparse, so memory grows with N and not with N x N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..retrieval.features import Features
from ..retrieval.inputs import as_count, as_number, as_tensor
from ..retrieval.progress import Progress, subprogress
from ..retrieval.reranked import LazyDistances
from .products import multiply_sparse
from .space import DistanceSpace, JointSpace, open_space

__all__ = ["Overlap", "Variant", "k_reciprocal", "k_reciprocal_distances", "neighbor_vectors"]

#: Variant of k-reciprocal re-ranking, see `k_reciprocal`.
Variant = Literal["original", "layumi", "fast-reid", "transreid"]
_ROWS = 2048
_PAIRS = 1 << 18


@dataclass(frozen=True)
class _Recipe:
    """Parameters of a variant."""

    k1: int
    k2: int
    again: bool  # squared distances are squared again
    beyond: int  # neighbours of the wide neighbourhood beyond k1, the image itself included
    softmax: bool  # weights of raw, not of normalised distances; cosine distances are mixed in


_RECIPES: dict[Variant, _Recipe] = {
    "original": _Recipe(20, 6, again=False, beyond=1, softmax=False),
    "layumi": _Recipe(20, 6, again=True, beyond=1, softmax=False),
    "fast-reid": _Recipe(20, 6, again=False, beyond=0, softmax=True),
    "transreid": _Recipe(50, 15, again=False, beyond=1, softmax=False),
}


@plain_torch()
def k_reciprocal(
    query: Features,
    gallery: Features,
    *,
    k1: int | None = None,
    k2: int | None = None,
    lambda_value: float = 0.3,
    variant: Variant = "original",
    progress: Progress | None = None,
) -> LazyDistances:
    """k-reciprocal re-ranking of features, which need not be normalised.

    Args:
        query: See `og_reid.evaluate`.
        gallery: Likewise, not in blocks.
        k1: Size of the neighbourhood; 20 (50 for ``transreid``, its only value).
        k2: Neighbours averaged per vector, the image itself included; 6 (15 for ``transreid``).
        lambda_value: Weight of the original distance, in [0, 1].
        variant: ``original``: squared Euclidean distance over its row's maximum, as in the
            authors' code and torchreid. ``layumi``: the square of that squared distance.
            ``fast-reid``: one neighbour less, weights by a softmax of unnormalised distances,
            mixed with the cosine distance. ``transreid``: original with k1 = 50, k2 = 15.
        progress: Called with (images done, images in all), over all passes.

    Returns:
        New distances, smaller = closer: pass them to `evaluate` as ``distance``.

    Raises:
        ValueError: See `evaluate`; or parameters out of range.
    """
    if variant not in get_args(Variant):
        raise ValueError(f"variant must be one of {', '.join(get_args(Variant))}; got {variant!r}")
    recipe = _RECIPES[variant]
    if variant == "transreid" and (k1 not in (None, 50) or k2 not in (None, 15)):
        raise ValueError(f"variant transreid has k1 = 50 and k2 = 15; got {k1} and {k2}")
    k1, k2 = recipe.k1 if k1 is None else k1, recipe.k2 if k2 is None else k2
    space = open_space(query, gallery)
    return _rerank(space, variant, k1, k2, lambda_value, progress)


@plain_torch()
def k_reciprocal_distances(
    query_gallery: Any,
    query_query: Any,
    gallery_gallery: Any,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    directed: bool = False,
    progress: Progress | None = None,
) -> LazyDistances:
    """k-reciprocal re-ranking (original variant) of distances, squared as in the authors' code.

    Args:
        query_gallery: (Q, G) tensor, array or list of distances, smaller = closer, at least 0.
        query_query: (Q, Q); the smallest distance of each row is on the diagonal.
        gallery_gallery: (G, G), likewise.
        k1: As for `k_reciprocal`.
        k2: As for `k_reciprocal`.
        lambda_value: As for `k_reciprocal`.
        directed: ``query_query`` and ``gallery_gallery`` need not be symmetric: row i holds the
            distances from image i to the others (column i in the code of Zheng et al. for AI City:
            pass the transposed). False requires symmetry, as only one half is read.
        progress: As for `k_reciprocal`.

    Raises:
        ValueError: Other shapes, or no distances beyond rounding: NaN, infinite or negative
            entries, an image farther from itself than from another (as in similarities), or
            asymmetry without ``directed``. Not detected: similarities in [0, 1] in
            ``query_gallery`` alone, or its transpose where Q = G.
    """
    given = [
        as_tensor(each, name).detach()
        for each, name in (
            (query_gallery, "query_gallery"),
            (query_query, "query_query"),
            (gallery_gallery, "gallery_gallery"),
        )
    ]
    if given[0].dim() != 2:
        raise ValueError(f"query_gallery must be (Q, G); got {tuple(given[0].shape)}")
    space = DistanceSpace(given[0], given[1], given[2], directed)
    return _rerank(space, "original", k1, k2, lambda_value, progress)


def _rerank(
    space: JointSpace,
    variant: Variant,
    k1: int,
    k2: int,
    lambda_value: float,
    progress: Progress | None,
) -> LazyDistances:
    if not 0 <= as_number(lambda_value, "lambda_value") <= 1:
        raise ValueError(f"lambda_value must be in [0, 1]; got {lambda_value}")
    recipe = _RECIPES[variant]
    vectors, farthest = neighbor_vectors(space, variant, k1, k2, progress)
    overlap = Overlap(vectors[: space.queries], vectors[space.queries :])

    @plain_torch()
    def rows(start: int, stop: int) -> Tensor:
        original = space.rows(start, stop)
        if recipe.softmax:
            original /= 2
        else:
            original /= torch.from_numpy(farthest[start:stop, None])
            original = original.square() if recipe.again else original
        return overlap.jaccard(start, stop) * (1 - lambda_value) + original * lambda_value

    parameters = {"k1": k1, "k2": k2, "lambda": lambda_value}
    shape = space.queries, space.total - space.queries
    return LazyDistances(f"k-reciprocal, {variant}", parameters, shape, rows)


def neighbor_vectors(
    space: JointSpace, variant: Variant, k1: int, k2: int, progress: Progress | None = None
) -> tuple[Any, np.ndarray]:
    """Vectors of the k-reciprocal neighbours of all images of a space.

    Args:
        space: N images.
        variant: As for `k_reciprocal`, likewise ``k1`` and ``k2``.
        k1: Size of the neighbourhood.
        k2: Neighbours averaged per vector.
        progress: Called with (images done, images in all).

    Returns:
        (N, N) sparse rows of sum 1, and (N,) the largest squared distance of each image.

    Raises:
        ValueError: Parameters out of range.
    """
    k1, k2 = as_count(k1, "k1", None), as_count(k2, "k2", None)
    if k1 < 1 or not 1 <= k2 <= k1 + 1:
        raise ValueError(f"k1 must be at least 1 and k2 in [1, k1 + 1]; got {k1} and {k2}")
    recipe = _RECIPES[variant]
    wide = min(max(k1 + recipe.beyond, k2), space.total)
    found = space.nearest(wide, subprogress(progress, 0, 4))
    index = found.indices.numpy().astype(np.int32)
    farthest = np.maximum(found.farthest.numpy(), np.float32(1e-12))
    left, right = _expanded(
        index[:, : k1 + recipe.beyond], round(k1 / 2) + 1, subprogress(progress, 1, 4)
    )
    weights = _weights(space, recipe, left, right, farthest, subprogress(progress, 2, 4))
    return _averaged(weights, index[:, :k2], subprogress(progress, 3, 4)), farthest


def _mutual(index: np.ndarray) -> np.ndarray:
    """(N, k) bool: i is among the neighbours of its own j-th neighbour."""
    result = np.empty(index.shape, bool)
    for start in range(0, len(index), _ROWS):
        some = index[start : start + _ROWS]
        own = np.arange(start, start + len(some), dtype=np.int32)
        result[start : start + _ROWS] = (index[some] == own[:, None, None]).any(axis=2)
    return result


def _expanded(
    index: np.ndarray, half: int, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (image, member) of the neighbourhoods, sorted.

    A neighbourhood holds the mutual neighbours and, for each of them, its closer mutual neighbours
    if more than two thirds of these are mutual neighbours already.

    Args:
        index: (N, k) neighbours, nearest first.
        half: Size of the closer neighbourhood, the image itself included.
        progress: Called with (images done, images in all).
    """
    narrow = index[:, :half]
    mutual, close = _mutual(index), _mutual(narrow)
    rows, members = [], []
    for start in range(0, len(index), _ROWS):
        some = slice(start, start + _ROWS)
        row, column = mutual[some].nonzero()
        member = index[some][row, column]
        own = np.where(mutual[some], index[some], -1)[row]
        theirs, is_close = narrow[member], close[member]
        shared = np.zeros(len(row), np.int64)
        for place in range(theirs.shape[1]):
            inside = (own == theirs[:, place, None]).any(axis=1)
            shared += inside & is_close[:, place]
        joins = shared * 3 > 2 * is_close.sum(axis=1)
        joined, place = (is_close & joins[:, None]).nonzero()
        all_rows = np.concatenate([row, row[joined]]).astype(np.int64)
        all_members = np.concatenate([member, theirs[joined, place]])
        pairs = np.unique(all_rows * len(index) + all_members)
        rows.append(start + pairs // len(index))
        members.append(pairs % len(index))
        if progress is not None:
            progress(min(start + _ROWS, len(index)), len(index))
    return np.concatenate(rows), np.concatenate(members)


def _weights(
    space: JointSpace,
    recipe: _Recipe,
    left: np.ndarray,
    right: np.ndarray,
    farthest: np.ndarray,
    progress: Progress | None,
) -> Any:
    """(N, N) sparse rows of sum 1: larger for nearer members."""
    from scipy import sparse

    distance = np.empty(len(left), np.float32)
    for start in range(0, len(left), _PAIRS):
        some = slice(start, start + _PAIRS)
        distance[some] = space.pairs(left[some], right[some])
        if progress is not None:
            progress(min(start + _PAIRS, len(left)), len(left))
    if not recipe.softmax:
        distance /= farthest[left]
        if recipe.again:
            distance = distance * distance
    weight = np.exp(-distance)
    total = np.bincount(left, weights=weight, minlength=space.total)
    ptr = np.searchsorted(left, np.arange(space.total + 1))
    values = (weight / total[left]).astype(np.float32)
    return sparse.csr_matrix(
        (values, right.astype(np.int32), ptr), shape=(space.total, space.total)
    )


def _averaged(vectors: Any, index: np.ndarray, progress: Progress | None) -> Any:
    """Mean of the rows over the neighbours in index (N, k)."""
    from scipy import sparse

    count, k = index.shape
    if k == 1:
        if progress is not None:
            progress(count, count)
        return vectors
    weight = np.full(count * k, 1 / k, np.float32)
    mean = sparse.csr_matrix(
        (weight, index.ravel(), np.arange(0, count * k + 1, k)), (count, count)
    )
    return multiply_sparse(mean, vectors, progress)


class Overlap:
    """Jaccard distances of sparse vectors, in blocks of queries."""

    def __init__(self, query: Any, gallery: Any) -> None:
        self.query, self.gallery = query, gallery.tocsc()

    def jaccard(self, start: int, stop: int) -> Tensor:
        """(b, G) float32; reads only gallery images with a common entry."""
        some, items = self.query[start:stop], self.gallery.shape[0]
        first = self.gallery.indptr[some.indices]
        count = self.gallery.indptr[some.indices + 1] - first
        ends = np.cumsum(count)
        total = int(ends[-1]) if len(ends) else 0
        place = np.arange(total) + np.repeat(first - (ends - count), count)
        smaller = np.minimum(np.repeat(some.data, count), self.gallery.data[place])
        row = np.repeat(np.arange(stop - start), np.diff(some.indptr))
        cell = np.repeat(row * items, count) + self.gallery.indices[place]
        shared = np.bincount(cell, weights=smaller, minlength=(stop - start) * items)
        jaccard = 1 - shared / (2 - shared)
        return torch.from_numpy(jaccard.astype(np.float32)).view(stop - start, items)
