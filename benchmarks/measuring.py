"""How the benchmarks measure: CPU seconds of programs that take turns, and resident memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["resident", "timed", "timed_twice"]


def timed(programs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU seconds (all threads) of each program; they take turns, after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeats + 1):
        for name, program in programs.items():
            start = time.process_time()
            program()
            if turn:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def timed_twice(
    programs: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, tuple[float, float]]:
    """As `timed`, but every program runs twice when its turn comes; median of each of the two.

    The first run finds the caches full of what another program left there, which costs a program
    of a millisecond more than one of a hundred; the second finds its own data.
    """
    first: dict[str, list[float]] = {name: [] for name in programs}
    second: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeats + 1):
        for name, program in programs.items():
            for seconds in (first[name], second[name]):
                start = time.process_time()
                program()
                if turn:
                    seconds.append(time.process_time() - start)
    return {
        name: (statistics.median(first[name]), statistics.median(second[name])) for name in programs
    }


def resident(field: str) -> float:
    """Resident size of this process, MiB: ``VmRSS`` now, ``VmHWM`` the highest so far.

    Not ru_maxrss: on Linux that of a new process starts at what its parent had.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    line = next(row for row in status if row.startswith(field))
    return int(line.split()[1]) / 1024
