"""The nearest items of each query, kept while blocks of distances come by."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from ._arguments import check_tensors, whole
from ._native.library import check, cpu_library, has_rows, pointer, usable_on_cpu

__all__ = ["TopK", "merge_topk", "merge_topk_torch"]


@dataclass(frozen=True, eq=False)
class TopK:
    """The k nearest items so far.

    Attributes:
        values: (Q, k) float32 ascending distances; infinity where there are fewer.
        indices: (Q, k) int64 item numbers, the lower first among equals; -1 where there are fewer.
        farthest: (Q,) float32 largest distance met.
    """

    values: Tensor
    indices: Tensor
    farthest: Tensor

    @staticmethod
    def none(queries: int, k: int, device: torch.device | str = "cpu") -> TopK:
        """Before the first block."""
        return TopK(
            torch.full((queries, k), torch.inf, dtype=torch.float32, device=device),
            torch.full((queries, k), -1, dtype=torch.int64, device=device),
            torch.full((queries,), -torch.inf, dtype=torch.float32, device=device),
        )


def merge_topk(distances: Tensor, nearest: TopK, start: int = 0, first: int = 0) -> None:
    """Adds a block of distances to ``nearest``.

    Args:
        distances: (b, t) float32 of the queries ``start`` to ``start + b - 1`` to the items
            ``first`` to ``first + t - 1``, without NaN; infinite ones are never taken. For each
            query blocks come in the order of the items.
        nearest: Of all queries, k >= 1; changed in place.
        start: Number of the first query.
        first: Number of the first item.

    Raises:
        ValueError: When there are fewer queries.
    """
    check_tensors(distances=distances)
    if not isinstance(nearest, TopK):
        raise ValueError(f"nearest must be as of Nearest.none; got {type(nearest).__name__}")
    if distances.ndim != 2 or not distances.is_floating_point():
        raise ValueError(
            f"distances must be (b, t) floating point; got {tuple(distances.shape)}, "
            f"{distances.dtype}"
        )
    start, first = whole("start", start), whole("first", first)
    queries, k = nearest.values.shape
    if not 0 <= start <= queries - len(distances):
        raise ValueError(
            f"start + b must be at most {queries} queries; got {start} + {len(distances)}"
        )
    if nearest.indices.dtype != torch.int64 or nearest.farthest.dtype != nearest.values.dtype:
        raise ValueError(
            "nearest must be as of Nearest.none: int64 indices, farthest as values; got "
            f"{nearest.indices.dtype} and {nearest.farthest.dtype}"
        )
    if not (usable_on_cpu(distances, nearest.values) and has_rows(distances)):
        merge_topk_torch(distances, nearest, start, first)
        return
    library = cpu_library()
    assert library is not None
    rows = slice(start, start + len(distances))
    task = _Nearest(
        *distances.shape, distances.stride(0), k, first, torch.get_num_threads(),
        ctypes.c_void_p(distances.data_ptr()),
        *(pointer(each[rows]) for each in vars(nearest).values()),
    )  # fmt: skip
    check(library.og_reid_nearest_cpu(ctypes.byref(task)), "og_reid_nearest_cpu")


def merge_topk_torch(distances: Tensor, nearest: TopK, start: int = 0, first: int = 0) -> None:
    """Plain-torch twin of `merge_topk`."""
    rows, k = slice(start, start + len(distances)), nearest.values.shape[1]
    if not distances.numel():
        return
    numbers = torch.arange(first, first + distances.shape[1], device=distances.device)
    numbers = torch.where(distances == torch.inf, -1, numbers)
    values = torch.cat([nearest.values[rows], distances], dim=1)
    numbers = torch.cat([nearest.indices[rows], numbers], dim=1)
    # Earlier items stand first, so that a stable sort keeps lower numbers first among equals.
    values, order = values.sort(dim=1, stable=True)
    nearest.values[rows] = values[:, :k]
    nearest.indices[rows] = numbers.gather(1, order[:, :k])
    nearest.farthest[rows] = nearest.farthest[rows].maximum(distances.amax(dim=1))


class _Nearest(ctypes.Structure):
    """og_reid_nearest of csrc/og_reid.h."""

    _fields_ = [
        *(
            (name, ctypes.c_int64)
            for name in ("queries", "items", "stride", "k", "first", "threads")
        ),
        *((name, ctypes.c_void_p) for name in ("distances", "values", "indices", "farthest")),
    ]
