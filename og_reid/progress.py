"""A progress bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["progress_bar", "progress_stages"]

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float, float, str], None]]:
    """Gives a function of (done, total, note) that shows how far a task is, on standard error.

    Uses rich where it is installed and standard error is a terminal; writes plain lines otherwise,
    at most one every ten seconds and one at the end.
    """
    if sys.stderr.isatty():
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            yield _lines(title)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(title, total=None, note="")

            def show(done: float, total: float, note: str) -> None:
                bars.update(task, completed=done, total=total, note=note)

            yield show
    else:
        yield _lines(title)


@contextmanager
def progress_stages() -> Iterator[Callable[[str, float, float, str], None]]:
    """Gives a function of (stage, done, total, note): a bar for each stage, one after the other."""
    with ExitStack() as stack:
        current: tuple[str, Callable[[float, float, str], None]] | None = None

        def show(stage: str, done: float, total: float, note: str) -> None:
            nonlocal current
            if current is None or current[0] != stage:
                stack.close()
                current = (stage, stack.enter_context(progress_bar(stage)))
            current[1](done, total, note)

        yield show


def _lines(title: str) -> Callable[[float, float, str], None]:
    last = -float("inf")

    def show(done: float, total: float, note: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < _SECONDS_BETWEEN_LINES:
            return
        last = now
        sys.stderr.write(f"{title}: {100 * done / max(total, 1e-9):.0f} % {note}".rstrip() + "\n")

    return show
