"""Items of a batch of images, read by several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["map_rows"]

Item = TypeVar("Item")


def map_rows(prepare: Callable[[int], Item], rows: Sequence[int], threads: int) -> list[Item]:
    """Items of the rows of a batch, in their order.

    Args:
        prepare: item of a row; called by several threads at once if ``threads`` is above 1.
        rows: positions in the set.
        threads: number of threads.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("rows must name at least one of the images; got none")
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(prepare, rows))
    return [prepare(row) for row in rows]
