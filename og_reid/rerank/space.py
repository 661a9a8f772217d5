"""Joint set of N = Q + G images: squared distances and nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from pose.deprecation import deprecated_getattr

from ..ops.topk import TopK, merge_topk
from ..retrieval.distance_blocks import BlockDistance, block_size
from ..retrieval.features import Features, NormalizedFeatures, as_feature_source
from ..retrieval.progress import Progress
from ..retrieval.similarity import visibility_weighted
from .blocks import check_distances, check_self_distances

__all__ = ["DistanceSpace", "FeatureSpace", "JointSpace", "open_space"]

_PAIRS = 8192
_ROW_ENTRIES = 1 << 21


class JointSpace(Protocol):
    """Joint set of N images, the first Q of them queries."""

    @property
    def queries(self) -> int:
        """Q."""
        ...

    @property
    def total(self) -> int:
        """N."""
        ...

    def nearest(self, k: int, progress: Progress | None = None) -> TopK:
        """The k nearest of all N to each of them, itself included, by squared distance."""
        ...

    def rows(self, start: int, stop: int) -> Tensor:
        """(b, G) float32 squared distances of queries to the gallery."""
        ...

    def pairs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(n,) float32 squared distances of images."""
        ...


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Images by their features: squared distance 2 - 2 similarity, Euclidean for unit features.

    Attributes:
        unit: Features of all images, queries first.
        queries: Q.
    """

    unit: NormalizedFeatures
    queries: int

    @property
    def total(self) -> int:
        """N."""
        return len(self.unit)

    def nearest(self, k: int, progress: Progress | None = None) -> TopK:
        """See `JointSpace`."""
        product, found = BlockDistance(), TopK.none(self.total, k)
        rows, items = block_size(self.unit.rows.shape[1])
        for first in range(0, self.total, items):
            piece = self.unit[first : first + items]
            for start in range(0, self.total, rows):
                block = product(self.unit[start : start + rows], piece)
                merge_topk(_squared(block), found, start, first)
            if progress is not None:
                progress(min(first + items, self.total), self.total)
        return found

    def rows(self, start: int, stop: int) -> Tensor:
        """See `JointSpace`."""
        return _squared(BlockDistance()(self.unit[start:stop], self.unit[self.queries :]))

    def pairs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """See `JointSpace`."""
        result = np.empty(len(left), np.float32)
        for start in range(0, len(left), _PAIRS):
            some = slice(start, start + _PAIRS)
            one, two = (self.unit[torch.from_numpy(each[some])] for each in (left, right))
            cosine = _products("nd,nd->n", one.rows, two.rows)
            if one.visibility is not None and two.visibility is not None:
                shared = _products("np,np->n", one.visibility, two.visibility)
                visibility_weighted(cosine, shared, bool(self.unit.layout[0]))
            result[some] = _squared(-cosine).numpy()
        return result


@dataclass(frozen=True, eq=False)
class DistanceSpace:
    """Images by given distances, not yet squared.

    Attributes:
        query_gallery: (Q, G), for both directions.
        query_query: (Q, Q).
        gallery_gallery: (G, G).
        directed: True if row i of the last two holds the distances from image i, which may differ
            from those to it; otherwise they are symmetric.
    """

    query_gallery: Tensor
    query_query: Tensor
    gallery_gallery: Tensor
    directed: bool = False

    def __post_init__(self) -> None:
        """Checks shapes and values."""
        queries, items = self.query_gallery.shape
        given = tuple(self.query_query.shape), tuple(self.gallery_gallery.shape)
        if queries != items and given == ((items, items), (queries, queries)):
            raise ValueError(
                f"query_gallery must be (Q, G) = ({items}, {queries}) beside the other blocks; got "
                f"({queries}, {items}): give query_gallery.T"
            )
        for name, each, shape in (
            ("query_gallery", self.query_gallery, (queries, items)),
            ("query_query", self.query_query, (queries, queries)),
            ("gallery_gallery", self.gallery_gallery, (items, items)),
        ):
            if tuple(each.shape) != shape:
                raise ValueError(f"{name} must be {shape}; got {tuple(each.shape)}")
            check_distances(name, each)
        for name, each in (
            ("query_query", self.query_query), ("gallery_gallery", self.gallery_gallery),
        ):  # fmt: skip
            check_self_distances(name, each, directed=self.directed)

    @property
    def queries(self) -> int:
        """Q."""
        return len(self.query_query)

    @property
    def total(self) -> int:
        """N."""
        return len(self.query_query) + len(self.gallery_gallery)

    def nearest(self, k: int, progress: Progress | None = None) -> TopK:
        """See `JointSpace`."""
        found = TopK.none(self.total, k)
        step = max(1, _ROW_ENTRIES // self.total)
        for start in range(0, self.total, step):
            merge_topk(self._all(start, min(start + step, self.total)), found, start)
            if progress is not None:
                progress(min(start + step, self.total), self.total)
        return found

    def rows(self, start: int, stop: int) -> Tensor:
        """See `JointSpace`."""
        return self.query_gallery[start:stop].float().square()

    def pairs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """See `JointSpace`."""
        q = self.queries
        # The query is the row of `query_gallery`, in either direction.
        turned = (left >= q) & (right < q) if self.directed else left > right
        left, right = np.where(turned, right, left), np.where(turned, left, right)
        result = np.empty(len(left), np.float32)
        for matrix, here, rows, columns in (
            (self.query_query, right < q, 0, 0),
            (self.query_gallery, (left < q) & (right >= q), 0, q),
            (self.gallery_gallery, left >= q, q, q),
        ):
            index = torch.from_numpy(left[here] - rows), torch.from_numpy(right[here] - columns)
            result[here] = matrix[index].float().square().numpy()
        return result

    def _all(self, start: int, stop: int) -> Tensor:
        q = self.queries
        parts = []
        if start < q:
            some = slice(start, min(stop, q))
            parts.append(torch.cat([self.query_query[some], self.query_gallery[some]], dim=1))
        if stop > q:
            some = slice(max(start, q) - q, stop - q)
            parts.append(torch.cat([self.query_gallery[:, some].T, self.gallery_gallery[some]], 1))
        return torch.cat(parts).float().square()


def open_space(query: Features, gallery: Features) -> FeatureSpace:
    """Joint set of queries and gallery, normalised, in one copy.

    Raises:
        ValueError: See `og_reid.evaluate`; also for a gallery in blocks, as all images are compared
            with all.
    """
    units = [
        as_feature_source(each, name).normalized()
        for each, name in ((query, "query"), (gallery, "gallery"))
    ]
    first, second = units
    second = second.to_device_of(first)
    if not len(first) or not len(second):
        raise ValueError(
            f"query and gallery must not be empty; got {len(first)} and {len(second)} rows"
        )
    visibility = None
    if first.visibility is not None and second.visibility is not None:
        visibility = torch.cat([first.visibility, second.visibility]).cpu()
    rows = torch.cat([first.rows, second.rows]).cpu()
    return FeatureSpace(NormalizedFeatures(rows, visibility, first.layout), len(first))


def _products(equation: str, one: Tensor, two: Tensor) -> Tensor:
    """Product in full precision, also under autocast."""
    with torch.autocast(one.device.type, enabled=False):
        return torch.einsum(equation, one, two)


def _squared(negated: Tensor) -> Tensor:
    """Squared distances from negated similarities, in place; never below 0 by rounding."""
    return negated.mul_(2).add_(2).clamp_(min=0)


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
