"""Measurements of the benchmarks: CPU seconds of alternating programs, and resident memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["resident", "timed", "timed_hot"]


def timed(programs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU seconds (all threads) of each program, in alternating runs after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeats + 1):
        for name, program in programs.items():
            start = time.process_time()
            program()
            if turn:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def timed_hot(
    programs: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """CPU seconds (all threads) of each program in each turn: of a cold and of a hot run.

    The first run of a turn starts with the caches of another program, which matters more for a
    program of a millisecond than for one of a hundred. Two more follow; the shorter is the hot one.
    Ratios are taken within a turn: the speed of a machine drifts.
    """
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for turn in range(repeats + 1):
        for name, program in programs.items():
            seconds = []
            for _ in range(3):
                start = time.process_time()
                program()
                seconds.append(time.process_time() - start)
            if turn:
                turns[name].append((seconds[0], min(seconds[1:])))
    return turns


def resident(field: str) -> float:
    """Resident size of this process, MiB: ``VmRSS`` now, ``VmHWM`` the highest so far.

    Not ru_maxrss, which on Linux starts at the parent's value in a new process.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    line = next(row for row in status if row.startswith(field))
    return int(line.split()[1]) / 1024
