"""Forecast of the remaining time of a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

__all__ = ["Forecast", "format_duration"]


class Forecast:
    """Forecast of the remaining time, from the time spent on finished parts of the stages.

    Args:
        work: Work of each stage, in any unit of time.
        rate: Seconds per unit, initial estimate.
        clock: Function to seconds since any start.
    """

    def __init__(
        self,
        work: Mapping[str, float],
        rate: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work, self._rate, self._clock = dict(work), rate, clock
        self._done = dict.fromkeys(work, 0.0)
        self._before: dict[str, float] = {}  # fractions done by an earlier run
        self._start = clock()

    def seconds(self) -> float:
        """Time left, in seconds on the clock."""
        total = sum(work * (1 - self._before.get(stage, 0)) for stage, work in self._work.items())
        done = sum(self._done.values())
        # A measurement of little work is less accurate than the initial estimate.
        rate = (self._clock() - self._start) / done if done > total / 20 else self._rate
        return max(0.0, total - done) * rate

    def note(self, stage: str, done: float, total: float) -> str:
        """Remaining time after ``done`` of ``total`` of a stage, in words."""
        if stage in self._work:
            share = min(1.0, done / max(total, 1e-9))
            before = self._before.setdefault(stage, share)
            self._done[stage] = max(self._done[stage], self._work[stage] * (share - before))
        return f"{format_duration(self.seconds())} left"


def format_duration(seconds: float) -> str:
    """Rounded duration, such as "about 4 minutes"."""
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} seconds"
    return f"about {round(seconds / 60)} minutes"
