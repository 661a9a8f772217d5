"""Distances of blocks of rows by matrix products into memory that is used again."""

from __future__ import annotations

import torch
from torch import Tensor

from .features import NormalizedFeatures
from .similarity import visibility_weighted

__all__ = ["BlockDistance", "plan"]

#: Entries of a block of distances: 2 MiB, which stay in a processor's cache.
BLOCK_ENTRIES = 1 << 19
_ITEMS = 1024
#: Products of fewer rows run through other routines of a BLAS, which round differently.
LEAST_ROWS = 16


def plan(width: int) -> tuple[int, int]:
    """Queries and gallery rows of a block; ``width`` is the length of a row."""
    items = min(_ITEMS, max(256, (1 << 20) // width))
    return max(LEAST_ROWS, BLOCK_ENTRIES // _ITEMS), items


class BlockDistance:
    """Negated similarities of blocks, smaller = closer, without new memory for each block.

    The similarity of global features is their cosine. With parts it is that of
    `og_reid.retrieval.similarity`: as they come multiplied by their visibility, one product of the
    long rows gives the sum of all weighted cosines, and one of the visibilities what is shared.
    """

    def __init__(self) -> None:
        self._memory: list[Tensor] = []

    def __call__(self, query: NormalizedFeatures, items: NormalizedFeatures) -> Tensor:
        """(b, t) float32, valid until the next call."""
        similarity = self._multiply(0, query.rows, items.rows)
        if query.visibility is None or items.visibility is None:
            return similarity.neg_()
        shared = self._multiply(1, query.visibility, items.visibility)
        return visibility_weighted(similarity, shared, bool(query.layout[0]), sign=-1)

    def _multiply(self, slot: int, left: Tensor, right: Tensor) -> Tensor:
        rows, columns = len(left), len(right)
        padded = max(rows, LEAST_ROWS), max(columns, LEAST_ROWS)
        out = self._buffer(slot, padded[0] * padded[1], left).view(padded)
        torch.mm(_padded(left, padded[0]), _padded(right, padded[1]).T, out=out)
        return out[:rows, :columns]

    def _buffer(self, slot: int, entries: int, like: Tensor) -> Tensor:
        while len(self._memory) <= slot:
            self._memory.append(like.new_empty(0))
        if len(self._memory[slot]) < entries or self._memory[slot].device != like.device:
            self._memory[slot] = like.new_empty(entries)
        return self._memory[slot][:entries]


def _padded(rows: Tensor, count: int) -> Tensor:
    if len(rows) == count:
        return rows
    more = rows.new_zeros(count, rows.shape[1])
    more[: len(rows)] = rows
    return more
