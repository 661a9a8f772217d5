"""Engines of bulk jobs: the same tasks in worker processes of this machine, or of a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeVar

from pose.runtime.process_pool import map_in_processes

__all__ = ["Engine", "engine_session", "run_tasks"]

#: Engines by name.
Engine = Literal["process", "ray"]

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_LOG = logging.getLogger("og_reid")
_RESTARTS = 2  # of a pool in which no task was finished
_AHEAD = 4  # submitted tasks per Ray worker


def run_tasks(
    function: Callable[[_Task], _Result],
    tasks: Sequence[_Task],
    *,
    workers: int,
    engine: Engine = "process",
) -> Generator[tuple[int, _Result], None, None]:
    """Results of tasks, as they are finished.

    When a worker is killed, as for lack of memory, unfinished tasks start again: the function must
    be idempotent.

    Args:
        function: Function of a task; picklable, as tasks and results are. The arguments of a
            `functools.partial` reach each machine of Ray once.
        tasks: Independent tasks.
        workers: Number of processes; one runs in the calling process, except on Ray.
        engine: ``process``: processes of this machine. ``ray``: tasks of Ray (extra ``ray``), on
            the cluster that ``RAY_ADDRESS`` names, else on this machine.

    Yields:
        Index of the task, and its result.

    Raises:
        ValueError: The engine is unknown, or workers are below 1.
        ImportError: Ray is not installed.
        RuntimeError: Workers were killed repeatedly, and no task was finished in between.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}")
    if engine == "ray":
        yield from _on_ray(function, tasks, workers)
    elif engine == "process":
        yield from _in_processes(function, tasks, workers)
    else:
        raise ValueError(f"engine must be process or ray; got {engine!r}")


@contextmanager
def engine_session(engine: Engine, workers: int) -> Iterator[None]:
    """Context in which several `run_tasks` share what an engine starts, a Ray on this machine.

    Args:
        engine: As for `run_tasks`.
        workers: Number of processes of a Ray that is started.

    Raises:
        ImportError: Ray is not installed.
    """
    if engine != "ray" or _ray().is_initialized():
        yield
        return
    ray = _ray()
    ray.init(
        num_cpus=None if _has_cluster() else workers,
        include_dashboard=False,
        configure_logging=False,
        log_to_driver=False,
    )
    try:
        yield
    finally:
        ray.shutdown()


class _Numbered:
    """Function of (index, task) with the index in its result."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, pair: tuple[int, Any]) -> tuple[int, Any]:
        return pair[0], self.function(pair[1])


def _in_processes(
    function: Callable[[_Task], _Result], tasks: Sequence[_Task], workers: int
) -> Iterator[tuple[int, _Result]]:
    if workers == 1 or len(tasks) == 1:
        for index, task in enumerate(tasks):
            yield index, function(task)
        return
    left = dict(enumerate(tasks))
    stalled = 0  # pools since the last finished task, each broken by a killed worker
    while left:
        before = len(left)
        # After a pool that finished nothing, tasks run one by one: the first unfinished one is the
        # cause of a kill, and needs a worker's memory for itself.
        alone = stalled > 0
        try:
            for index, result in map_in_processes(
                _Numbered(function), list(left.items()), 1 if alone else workers, ordered=alone
            ):
                del left[index]
                yield index, result
        except BrokenProcessPool as error:
            stalled = 0 if len(left) < before else stalled + 1
            if stalled > _RESTARTS:
                raise RuntimeError(
                    "worker processes were killed again and again, also one alone, perhaps for "
                    "lack of memory: what is done is kept; run the same again, with more of it free"
                ) from error
            if alone:  # the others first
                cause = next(iter(left))
                left[cause] = left.pop(cause)
            _LOG.warning("note: a worker process was killed; %s tasks start again", len(left))


def _on_ray(
    function: Callable[[_Task], _Result], tasks: Sequence[_Task], workers: int
) -> Iterator[tuple[int, _Result]]:
    ray = _ray()
    with engine_session("ray", workers):
        given: list[Any] = []
        while isinstance(function, partial):
            if function.keywords:
                raise ValueError("function must have no keywords for the engine ray")
            given = [*function.args, *given]
            function = function.func
        remote = ray.remote(num_cpus=1, max_retries=_RESTARTS + 1)(function)
        yield from _submitted(
            ray, partial(remote.remote, *map(ray.put, given)), enumerate(tasks), _AHEAD * workers
        )


def _submitted(
    ray: Any, submit: Callable[[Any], Any], queue: Iterator[tuple[int, Any]], most: int
) -> Iterator[tuple[int, Any]]:
    """Results of tasks, at most so many of which are submitted at a time."""
    waiting: dict[Any, int] = {}
    try:
        while True:
            for index, task in queue:
                waiting[submit(task)] = index
                if len(waiting) >= most:
                    break
            if not waiting:
                return
            ready, _ = ray.wait(list(waiting), num_returns=1)
            for reference in ready:
                index = waiting.pop(reference)
                yield index, _fetched(ray, reference)
    finally:
        for reference in waiting:
            ray.cancel(reference)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "ray is needed for the engine ray; install it with: pip install 'og-reid[ray]', or "
            "take the engine process"
        ) from error
    return ray


def _fetched(ray: Any, reference: Any) -> Any:
    """Result of a finished task; errors as the function raised them.

    Raises:
        RuntimeError: Its workers were killed repeatedly.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.NodeDiedError,
    ) as error:
        raise RuntimeError(
            "workers of Ray were killed again and again, perhaps for lack of memory: what is done "
            "is kept; run the same again, with fewer workers"
        ) from error


def _has_cluster() -> bool:
    import os

    return bool(os.environ.get("RAY_ADDRESS"))
