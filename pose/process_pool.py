"""Worker processes for independent tasks, which end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import TypeVar

__all__ = ["map_in_processes"]

T = TypeVar("T")
R = TypeVar("R")

_POLL = 1.0  # seconds between two looks at the parent


def map_in_processes(
    task: Callable[[T], R], items: Sequence[T], workers: int, *, ordered: bool = True
) -> Iterator[R]:
    """Results of a task for each item, from worker processes of one thread each.

    Workers are started by ``spawn``: a fork of a process in which torch or mediapipe already run
    threads can deadlock. A script that uses them needs the ``if __name__ == "__main__":`` guard.
    Workers watch their parent and end within seconds of its death, ``kill -9`` included. When a
    task raises, or the iterator is closed, items that were not begun are dropped.

    Args:
        task: picklable, as are the items and the results.
        items: one argument each.
        workers: number of processes, at least 1; never more than items.
        ordered: results in the order of the items, else as they are finished.

    Yields:
        One result an item.

    Raises:
        ValueError: `workers` is below 1.
        concurrent.futures.process.BrokenProcessPool: a worker was killed.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}")
    if not items:
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(workers, len(items)), mp_context=context, initializer=_start_worker
    )
    with pool:
        try:
            jobs: list[Future[R]] = [pool.submit(task, item) for item in items]
            for job in jobs if ordered else as_completed(jobs):
                yield job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.join, parent.pid), daemon=True).start()


def _end_with(join: Callable[[float], None], parent: int | None) -> None:
    """Ends this process with its parent.

    The pipe that `join` waits for stays open while another child of the parent, such as a forked
    one, still holds it: the number of the parent is looked at, too.
    """
    while os.getppid() == parent:
        join(_POLL)
    os._exit(1)
