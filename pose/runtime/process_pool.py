"""Worker processes for independent tasks, which end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import partial
from typing import Any, TypeVar

from ..files.reading import InputWarning

__all__ = ["map_in_processes"]

T = TypeVar("T")
R = TypeVar("R")

_POLL = 1.0  # seconds between two checks of the parent


def map_in_processes(
    task: Callable[[T], R], items: Sequence[T], workers: int, *, ordered: bool = True
) -> Iterator[R]:
    """Results of a task for each item, from worker processes of one thread each.

    Workers are started by ``spawn``: a fork of a process in which torch or mediapipe already run
    threads can deadlock. A script that uses them needs the ``if __name__ == "__main__":`` guard.
    Each `InputWarning` of a task is raised in the calling process, when its result is there: once
    for all tasks of a call, and by the filters and the output of that process.
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
            noting = partial(_noting, task)
            jobs: list[Future[tuple[R, list[str]]]] = [pool.submit(noting, item) for item in items]
            known: set[str] = set()
            for job in jobs if ordered else as_completed(jobs):
                result, texts = job.result()
                for text in texts:
                    if text not in known:
                        warnings.warn(text, InputWarning, stacklevel=2)
                    known.add(text)
                yield result
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_noted: list[str] = []  # of the task that runs in this worker


def _noting(task: Callable[[T], R], item: T) -> tuple[R, list[str]]:
    """Result of a task, and the texts of each `InputWarning` that it let pass."""
    _noted.clear()
    return task(item), list(dict.fromkeys(_noted))


def _note_warnings() -> None:
    """Collects each `InputWarning` for the calling process; others are printed as before."""
    usual = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
        if issubclass(category, InputWarning):
            _noted.append(str(message))
        else:
            usual(message, category, *rest, **named)

    warnings.simplefilter("always", InputWarning)
    warnings.showwarning = note


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)
    _note_warnings()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.join, parent.pid), daemon=True).start()


def _end_with(join: Callable[[float], None], parent: int | None) -> None:
    """Ends this process with its parent.

    The pipe that `join` waits for stays open while another child of the parent, such as a forked
    one, still holds it: the process id of the parent is checked, too.
    """
    while os.getppid() == parent:
        join(_POLL)
    os._exit(1)
