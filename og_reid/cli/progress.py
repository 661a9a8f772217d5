"""Progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol, TextIO

from ..files.printable import encodable, printable
from ..pipelines.progress import Pace

__all__ = ["progress_bar", "progress_stages"]

_SECONDS_BETWEEN_LINES = 10.0


class _Stages(Protocol):
    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None: ...


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float, float, str], None]]:
    """Progress display of a task on standard error: a function of (done, total, note).

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
        # Control characters of rich itself must pass the filtered stream.
        stream: TextIO = getattr(sys.stderr, "beneath", sys.stderr)
        title_column = TextColumn("{task.description}", markup=False)
        percent, note_column = (
            TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[note]}", markup=False)
        )  # fmt: skip
        # Not redirected: rich would pass escapes in other output.
        with Progress(
            title_column, BarColumn(), percent, TimeRemainingColumn(), note_column,
            console=Console(file=stream), redirect_stdout=False, redirect_stderr=False,
        ) as bars:  # fmt: skip
            task = bars.add_task(encodable(printable(title), stream), total=None, note="")

            def show(done: float, total: float, note: str) -> None:
                bars.update(
                    task, completed=done, total=total, note=encodable(printable(note), stream)
                )

            yield show
    else:
        yield _lines(title)


@contextmanager
def progress_stages() -> Iterator[_Stages]:
    """Progress display of stages: a function of (stage, done, total, note), a bar per stage."""
    with ExitStack() as stack:
        current: tuple[str, Callable[[float, float, str], None], Pace] | None = None

        def show(stage: str, done: float, total: float, note: str = "") -> None:
            nonlocal current
            if current is None or current[0] != stage:
                stack.close()
                current = (stage, stack.enter_context(progress_bar(stage)), Pace(stage))
            current[1](done, total, note or current[2].note(done, total))
            if done >= total:
                stack.close()
                current = None

        yield show


def _lines(title: str) -> Callable[[float, float, str], None]:
    last = -float("inf")

    def show(done: float, total: float, note: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < _SECONDS_BETWEEN_LINES:
            return
        last = now
        line = f"{title}: {100 * done / max(total, 1e-9):.0f} % {note}".rstrip()
        sys.stderr.write(encodable(printable(line), sys.stderr) + "\n")

    return show
