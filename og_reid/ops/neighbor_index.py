"""What follows from an index of neighbours alone: rows, degrees, edges by their ends."""

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
    """(B, count) int64: how often each of `count` points of a cloud appears in `index[b]`.

    Entries that are not one of `count` points count for none. `complete` is a promise that none is
    below -1 or above `count` - 1, which saves a pass over the index; -1 counts for none all the
    same, since a search among features that became NaN finds no neighbours.
    """
    check_tensors(index=index)
    if index.ndim < 1 or index.is_floating_point() or whole("count", count) < 0:
        raise ValueError(
            "index must be (B, ...) whole numbers and count at least 0; got "
            f"{tuple(index.shape)}, {index.dtype} and {count}"
        )
    batch = index.shape[0]
    # A slot before the points of each cloud, and one behind them, for what is none of them.
    width = count + 2
    slots = index if complete else index.clamp(-1, count)
    flat = flat_index(slots, width)
    flat += 1
    one = torch.ones(1, dtype=torch.int32, device=index.device)
    # Unlike bincount this needs no look at the values; integers add up in any order.
    total = torch.zeros(max(batch * width, 1), dtype=torch.int32, device=index.device)
    total.scatter_add_(0, flat, one.expand_as(flat))
    return total[: batch * width].view(batch, width)[:, 1:-1].long()


def present(index: Tensor, count: int) -> Tensor:
    """Which entries of an index are one of `count` points."""
    return (index >= 0) & (index < count)


def flat_index(index: Tensor, count: int) -> Tensor:
    """(B * ...,) int64: per-cloud indices (B, ...) turned into rows of the flattened batch."""
    batch = index.shape[0]
    offset = torch.arange(batch, device=index.device) * count
    return (index + offset.view(-1, *[1] * (index.ndim - 1))).flatten()


def all_present(index: Tensor, count: int) -> bool:
    """Whether no index on a CPU is below 0.

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
    """Refuses neighbours on a CPU that are not in 0..count-1.

    Raises:
        IndexError: when there are any.
    """
    if not all_present(index, count):
        raise IndexError(f"index must be in 0..{count - 1}; got {int(index.amin())}")


class CSR(NamedTuple):
    """The edges of a batch by the row, of the flattened batch, that they end in."""

    order: Tensor  # (E,) numbers of edges, those of one row in ascending order; the missing last
    ends: Tensor  # (B * count,) where in `order` those of each row end


def edges_csr(index: Tensor, count: int) -> CSR:
    """Sort the edges (B, M, k) of a batch by their ends, without a look at the values."""
    rows = len(index) * count
    there = present(index, count).flatten()
    ends = flat_index(index, count).masked_fill_(~there, rows)
    ends, order = ends.sort(stable=True)
    return CSR(order, torch.searchsorted(ends, torch.arange(rows, device=index.device), right=True))
