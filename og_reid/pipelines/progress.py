"""Progress of a job, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from .forecast import format_duration

__all__ = ["Pace", "StageProgress", "stage_progress"]

#: Called with (stage, items done, items in all).
StageProgress: TypeAlias = Callable[[str, int, int], None]

_UNITS = {
    "rendering": "images", "packing": "clouds", "building": "images", "reading": "files",
    "lifting images": "images",
}  # of stages  # fmt: skip
_MEASURED = 2.0  # seconds from which on a rate is shown


def stage_progress(progress: StageProgress | None, stage: str) -> Callable[[float, float], None]:
    """Progress of one stage, as functions with calls of (done, total) report it.

    Args:
        progress: Called with (stage, done, total); None for no calls.
        stage: Name of the work.
    """

    def report(done: float, total: float) -> None:
        if progress is not None:
            progress(stage, int(done), int(total))

    return report


class Pace:
    """Count, rate and time left of a stage, in words.

    Args:
        stage: Name of the work; only stages that count items have a note.
        clock: Function to seconds since any start.
    """

    def __init__(self, stage: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._unit, self._clock = _UNITS.get(stage, ""), clock
        self._first: tuple[float, float] | None = None

    def note(self, done: float, total: float) -> str:
        """Note after ``done`` of ``total``; items done at the first call are of an earlier run."""
        now = self._clock()
        if self._first is None:
            self._first = now, done
        if not self._unit:
            return ""
        text = f"{done:,} of {total:,} {self._unit}"
        seconds, made = now - self._first[0], done - self._first[1]
        if seconds < _MEASURED or made <= 0:
            return text
        rate = made / seconds
        left = f", {format_duration((total - done) / rate)} left" if done < total else ""
        return f"{text}, {rate:.3g} {self._unit}/s{left}"
