"""Distances that are computed in blocks of queries, when they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["DistanceRows", "LazyDistances"]

_ENTRIES = 1 << 21
_PAIRS = 1 << 18  # of images, compared at a time


@dataclass(frozen=True, eq=False)
class DistanceRows:
    """(Q, G) matrix of distances, computed in blocks of rows, an input of `evaluate`.

    Attributes:
        shape: (Q, G).
        rows: Function to the (b, G) float32 distances of queries ``start`` to ``stop - 1``.
    """

    shape: tuple[int, int]
    rows: Callable[[int, int], Tensor]

    def __iter__(self) -> Iterator[Tensor]:
        """Blocks of rows."""
        return _row_blocks(self.shape, self.rows, _PAIRS)

    def dense(self) -> Tensor:
        """The whole (Q, G) matrix."""
        return torch.cat(list(self))


@dataclass(frozen=True, eq=False)
class LazyDistances:
    """(Q, G) matrix of new distances, computed in blocks of rows, an input of `evaluate`.

    Attributes:
        method: Name of the re-ranking.
        parameters: Parameters of the method, to be reported with every metric.
        shape: (Q, G).
        rows: Function to the (b, G) float32 distances of queries ``start`` to ``stop - 1``.
    """

    method: str
    parameters: Mapping[str, float]
    shape: tuple[int, int]
    rows: Callable[[int, int], Tensor]

    def __iter__(self) -> Iterator[Tensor]:
        """Blocks of rows."""
        return _row_blocks(self.shape, self.rows, _ENTRIES)

    def dense(self) -> Tensor:
        """The whole (Q, G) matrix."""
        return torch.cat(list(self))

    def __str__(self) -> str:
        values = ", ".join(f"{name} = {value:g}" for name, value in self.parameters.items())
        return f"{self.method} ({values})"


def _row_blocks(
    shape: tuple[int, int], rows: Callable[[int, int], Tensor], entries: int
) -> Iterator[Tensor]:
    step = max(1, entries // max(1, shape[1]))
    for start in range(0, shape[0], step):
        yield rows(start, min(start + step, shape[0]))
