"""Neighbour indices: in-degrees, flat rows, checks, edges sorted by their ends (CSR)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._arguments import check_tensors, whole

__all__ = [
    "CSR",
    "all_present",
    "check_index",
    "edges_csr",
    "flat_index",
    "in_degree",
    "present",
]


def in_degree(index: Tensor, count: int, *, complete: bool = False) -> Tensor:
    """In-degree of each point: number of index entries that refer to it.

    Args:
        index: (B, ...) integers; entries outside 0..count-1 are not counted.
        count: points N per cloud.
        complete: True asserts that no entry is below -1 or above `count` - 1, which saves a pass
            over the index (-1 is not counted; a search among NaN features gives it).

    Returns:
        (B, count) int64: `out[b, n]` entries of `index[b]` equal n.

    Raises:
        ValueError: when the index is not integer or `count` is below 0.
    """
    check_tensors(index=index)
    if index.ndim < 1 or index.is_floating_point() or whole("count", count) < 0:
        raise ValueError(
            "index must be (B, ...) whole numbers and count at least 0; got "
            f"{tuple(index.shape)}, {index.dtype} and {count}"
        )
    batch = index.shape[0]
    # One slot before and one behind the points of each cloud collect the entries outside.
    width = count + 2
    slots = index if complete else index.clamp(-1, count)
    flat = flat_index(slots, width)
    flat += 1
    one = torch.ones(1, dtype=torch.int32, device=index.device)
    # Unlike bincount this does not read the values on the host; integer sums have no order.
    total = torch.zeros(max(batch * width, 1), dtype=torch.int32, device=index.device)
    total.scatter_add_(0, flat, one.expand_as(flat))
    return total[: batch * width].view(batch, width)[:, 1:-1].long()


def present(index: Tensor, count: int) -> Tensor:
    """Mask of the entries of an index in 0..count-1."""
    return (index >= 0) & (index < count)


def flat_index(index: Tensor, count: int) -> Tensor:
    """(B * ...,) int64 rows of the flattened batch, from (B, ...) indices per cloud."""
    batch = index.shape[0]
    offset = torch.arange(batch, device=index.device) * count
    return (index + offset.view(-1, *[1] * (index.ndim - 1))).flatten()


def all_present(index: Tensor, count: int) -> bool:
    """True if all entries of an index on a CPU are at least 0.

    Raises:
        IndexError: when one is not below `count`.
    """
    if not index.numel():
        return True
    low, high = index.aminmax()
    if int(high) >= count:
        raise IndexError(f"index must be below the number of rows, {count}; got {int(high)}")
    return int(low) >= 0


def check_index(index: Tensor, count: int) -> None:
    """Refuses an index on a CPU with entries outside 0..count-1.

    Raises:
        IndexError: when there is one.
    """
    if not all_present(index, count):
        raise IndexError(f"index must be in 0..{count - 1}; got {int(index.amin())}")


class CSR(NamedTuple):
    """Compressed sparse rows: the edges of a batch, sorted by the row that they end in."""

    order: Tensor  # (E,) edge numbers, ascending within a row; edges without a neighbour last
    ends: Tensor  # (B * count,) row r has the edges order[ends[r - 1] : ends[r]]


def edges_csr(index: Tensor, count: int) -> CSR:
    """CSR of the edges (B, M, k) of a batch by their ends; values are not read on the host."""
    rows = len(index) * count
    there = present(index, count).flatten()
    ends = flat_index(index, count).masked_fill_(~there, rows)
    ends, order = ends.sort(stable=True)
    return CSR(order, torch.searchsorted(ends, torch.arange(rows, device=index.device), right=True))
