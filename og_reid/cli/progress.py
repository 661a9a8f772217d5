"""Progress bars on a terminal, lines elsewhere, and no control characters of others."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TextIO

__all__ = [
    "CONTROLS",
    "Forecast",
    "escaped",
    "in_words",
    "progress_bar",
    "progress_stages",
    "shown",
]

_SECONDS_BETWEEN_LINES = 10.0
# Controls of terminals (C0, C1), what turns the direction of text around, line separators of
# Unicode, and halves of characters, which file names of other encodings have.
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def shown(value: object) -> str:
    r"""A name or a text that is not ours, on one line and without control characters.

    File names, what model files and metrics say of themselves, and messages of other packages may
    hold escapes that move the cursor, recolour or retitle a terminal, or line breaks that look
    like lines of this program.

    Args:
        value: Its ``str`` is shown.

    Returns:
        The text, with control characters written as in Python: ``\x1b``, ``\n``.
    """
    return CONTROLS.sub(escaped, str(value)).replace("\n", "\\n").replace("\t", "\\t")


def escaped(found: re.Match[str]) -> str:
    """A character of `CONTROLS` as Python writes it."""
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


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
        # Its own controls must pass, where a stream lets none pass.
        stream: TextIO = getattr(sys.stderr, "beneath", sys.stderr)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        console = Console(file=stream)
        # Not redirected: rich would pass on the escapes in what others print.
        with Progress(
            *columns, console=console, redirect_stdout=False, redirect_stderr=False
        ) as bars:
            task = bars.add_task(_on(stream, title), total=None, note="")

            def show(done: float, total: float, note: str) -> None:
                bars.update(task, completed=done, total=total, note=_on(stream, note))

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


class Forecast:
    """Forecast of the stages of a task, by the time that was spent on what is done of them.

    Args:
        work: How much each stage is to do, in any unit of time; their ratios matter.
        rate: Seconds that a unit takes, by a first measurement.
        clock: Seconds, from any start.
    """

    def __init__(
        self,
        work: Mapping[str, float],
        rate: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work, self._rate, self._clock = dict(work), rate, clock
        self._done = dict.fromkeys(work, 0.0)
        self._before: dict[str, float] = {}  # shares that an earlier run has done
        self._start = clock()

    def seconds(self) -> float:
        """Time left, in seconds on the clock."""
        total = sum(work * (1 - self._before.get(stage, 0)) for stage, work in self._work.items())
        done = sum(self._done.values())
        # A measurement of little work is worth less than the first one.
        rate = (self._clock() - self._start) / done if done > total / 20 else self._rate
        return max(0.0, total - done) * rate

    def note(self, stage: str, done: float, total: float) -> str:
        """Time left after ``done`` of ``total`` of a stage, in words."""
        if stage in self._work:
            share = min(1.0, done / max(total, 1e-9))
            before = self._before.setdefault(stage, share)
            self._done[stage] = max(self._done[stage], self._work[stage] * (share - before))
        return f"{in_words(self.seconds())} left"


def in_words(seconds: float) -> str:
    """A duration as one may expect it, such as "about 4 minutes"."""
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} seconds"
    return f"about {round(seconds / 60)} minutes"


def _lines(title: str) -> Callable[[float, float, str], None]:
    last = -float("inf")

    def show(done: float, total: float, note: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < _SECONDS_BETWEEN_LINES:
            return
        last = now
        line = f"{title}: {100 * done / max(total, 1e-9):.0f} % {note}".rstrip()
        sys.stderr.write(_on(sys.stderr, line) + "\n")

    return show


def _on(stream: TextIO, text: str) -> str:
    """A text on one line, without control characters, in letters that a stream has."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return shown(text).encode(encoding, "backslashreplace").decode(encoding)
