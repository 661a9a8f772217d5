"""How the benchmarks measure: CPU seconds of programs that take turns, and resident memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["resident", "timed", "timed_hot"]


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


def timed_hot(
    programs: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """CPU seconds (all threads) of each program in each turn: of a first run, and of a hot one.

    The first run of a turn finds the caches full of what another program left there, which costs a
    program of a millisecond more than one of a hundred. Two more follow at once; the shorter is the
    hot one. Programs of one turn are to be compared with each other: the speed of a machine drifts.
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

    Not ru_maxrss: on Linux that of a new process starts at what its parent had.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    line = next(row for row in status if row.startswith(field))
    return int(line.split()[1]) / 1024
