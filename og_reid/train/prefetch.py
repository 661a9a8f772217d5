"""Prefetching of batches in a thread beside the training."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from pose.runtime.defaults import plain_torch

__all__ = ["Prefetcher"]

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Queue of the next steps' batches, made during the current step.

    One thread makes the batches in order, so they equal those without prefetching.

    Args:
        make: Returns the batch of a step; called from another thread.
        depth: Largest length of the queue; 0: batches are made on demand.
    """

    def __init__(self, make: Callable[[int], T], depth: int) -> None:
        self._make, self._depth = plain_torch()(make), depth
        self._pool = ThreadPoolExecutor(1, "batches") if depth else None
        self._waiting: deque[tuple[int, Future[T]]] = deque()

    def __call__(self, step: int) -> T:
        """Batch of a step; raises errors of its preparation."""
        if self._pool is None:
            return self._make(step)
        if not self._waiting or self._waiting[0][0] != step:
            self._drop()
            self._waiting.append((step, self._pool.submit(self._make, step)))
        _, future = self._waiting.popleft()
        last = self._waiting[-1][0] if self._waiting else step
        for ahead in range(last + 1, step + 1 + self._depth):
            self._waiting.append((ahead, self._pool.submit(self._make, ahead)))
        return future.result()

    def close(self) -> None:
        """Ends the thread; queued batches are dropped."""
        self._drop()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _drop(self) -> None:
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
