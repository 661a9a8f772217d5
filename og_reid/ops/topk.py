"""The k nearest gallery items of each query, merged from blocks of distances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._arguments import check_tensors, whole
from ._native.library import has_rows, usable_on_cpu
from ._native.topk import merge_topk_cpu

__all__ = ["TopK", "merge_topk", "merge_topk_torch"]


@dataclass(frozen=True, eq=False)
class TopK:
    """The k nearest items of Q queries so far.

    Attributes:
        values: (Q, k) float32 distances, ascending; infinite where there are fewer items.
        indices: (Q, k) int64: `indices[q, j]` is the number of the j-th nearest item of query q,
            ties to the lower number; -1 where there are fewer items.
        farthest: (Q,) float32 largest distance so far, -infinity before the first block.
    """

    values: Tensor
    indices: Tensor
    farthest: Tensor

    @staticmethod
    def none(queries: int, k: int, device: torch.device | str = "cpu") -> TopK:
        """The state before the first block: no items."""
        return TopK(
            torch.full((queries, k), torch.inf, dtype=torch.float32, device=device),
            torch.full((queries, k), -1, dtype=torch.int64, device=device),
            torch.full((queries,), -torch.inf, dtype=torch.float32, device=device),
        )


def merge_topk(distances: Tensor, nearest: TopK, start: int = 0, first: int = 0) -> None:
    """Merges a block of distances into the k nearest items, in place.

    The order is (distance, item number): a total order, if the blocks of each query come in the
    order of the items.

    Args:
        distances: (b, t) float32 without NaN, of queries ``start`` to ``start + b - 1`` to items
            ``first`` to ``first + t - 1``. Infinite distances are never among the nearest.
        nearest: State of all Q queries, k >= 1; changed in place.
        start: Number of the first query.
        first: Number of the first item.

    Raises:
        ValueError: On shapes, dtypes or a ``start`` that do not fit.
    """
    check_tensors(distances=distances)
    if not isinstance(nearest, TopK):
        raise ValueError(f"nearest must be a TopK, from TopK.none; got {type(nearest).__name__}")
    if distances.ndim != 2 or not distances.is_floating_point():
        raise ValueError(
            f"distances must be (b, t) floating point; got {tuple(distances.shape)}, "
            f"{distances.dtype}"
        )
    start, first = whole("start", start), whole("first", first)
    queries = len(nearest.values)
    if not 0 <= start <= queries - len(distances):
        raise ValueError(
            f"start + b must be at most {queries} queries; got {start} + {len(distances)}"
        )
    if nearest.indices.dtype != torch.int64 or nearest.farthest.dtype != nearest.values.dtype:
        raise ValueError(
            "nearest must be as from TopK.none: int64 indices, farthest as values; got "
            f"{nearest.indices.dtype} and {nearest.farthest.dtype}"
        )
    if not (usable_on_cpu(distances, nearest.values) and has_rows(distances)):
        merge_topk_torch(distances, nearest, start, first)
        return
    rows = slice(start, start + len(distances))
    merge_topk_cpu(distances, [each[rows] for each in vars(nearest).values()], first)


def merge_topk_torch(distances: Tensor, nearest: TopK, start: int = 0, first: int = 0) -> None:
    """Plain-torch twin of `merge_topk`: its specification."""
    rows, k = slice(start, start + len(distances)), nearest.values.shape[1]
    if not distances.numel():
        return
    numbers = torch.arange(first, first + distances.shape[1], device=distances.device)
    numbers = torch.where(distances == torch.inf, -1, numbers)
    values = torch.cat([nearest.values[rows], distances], dim=1)
    numbers = torch.cat([nearest.indices[rows], numbers], dim=1)
    # Earlier items come first, so that a stable sort keeps lower numbers first among equals.
    values, order = values.sort(dim=1, stable=True)
    nearest.values[rows] = values[:, :k]
    nearest.indices[rows] = numbers.gather(1, order[:, :k])
    nearest.farthest[rows] = nearest.farthest[rows].maximum(distances.amax(dim=1))
