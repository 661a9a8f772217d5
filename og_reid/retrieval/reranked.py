"""Re-ranked distances, computed in blocks of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LazyDistances"]

_ENTRIES = 1 << 21


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
        step = max(1, _ENTRIES // self.shape[1])
        for start in range(0, self.shape[0], step):
            yield self.rows(start, min(start + step, self.shape[0]))

    def dense(self) -> Tensor:
        """The whole (Q, G) matrix."""
        return torch.cat(list(self))

    def __str__(self) -> str:
        values = ", ".join(f"{name} = {value:g}" for name, value in self.parameters.items())
        return f"{self.method} ({values})"
