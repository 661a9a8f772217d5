"""Start-up cost: processor time and memory of new processes, medians.

    python benchmarks/startup.py

The cost beyond torch is the difference of two alternating processes. The bounds are those of the
project: 0.6 s beyond torch, 0.5 s for a command that only prints.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLI = "import sys; from og_reid.cli import main; sys.exit(main(sys.argv[1:]))"
PROGRAMS = {
    "python": ("pass",),
    "import torch": ("import torch",),
    "import og_reid": ("import torch, og_reid",),
    "og_reid.embed, og_reid.lift": ("import torch, og_reid; og_reid.embed; og_reid.lift",),
    "og_reid.evaluate": ("import torch, og_reid; og_reid.evaluate",),
    "og-reid --version": (CLI, "--version"),
    "og-reid --help": (CLI, "--help"),
    "og-reid evaluate --help": (CLI, "evaluate", "--help"),
}
BEYOND_TORCH, PRINTING = 0.6, 0.5


def run(program: tuple[str, ...]) -> tuple[float, float]:
    """Processor seconds and peak MiB of ``python -c``."""
    process = subprocess.Popen(
        [sys.executable, "-c", *program],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{program} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> int:
    """Prints a table; 1 when a bound is not held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    start = time.monotonic()
    for turn in range(repeats + 1):
        for name, program in PROGRAMS.items():
            measured = run(program)
            if turn:  # the first one reads the files from the disk
                runs[name].append(measured)
    seconds = {name: statistics.median(each[0] for each in runs[name]) for name in runs}
    beyond = {
        name: statistics.median(
            here[0] - torch[0] for here, torch in zip(runs[name], runs["import torch"], strict=True)
        )
        for name in runs
    }
    print(f"{repeats} runs each, {time.monotonic() - start:.0f} s on the clock")
    print(f"{'':28} {'processor s':>11} {'beyond torch':>12} {'peak MiB':>9}")
    failed = []
    for name in PROGRAMS:
        prints = name in ("python", "import torch") or name.startswith("og-reid")
        more = "" if prints else f"{beyond[name]:.2f}"
        memory = statistics.median(each[1] for each in runs[name])
        print(f"{name:28} {seconds[name]:11.2f} {more:>12} {memory:9.0f}")
        bound = PRINTING if name.startswith("og-reid") else BEYOND_TORCH if more else None
        found = seconds[name] if name.startswith("og-reid") else beyond[name]
        if bound is not None and found > bound:
            failed.append(name)
    print(f"bounds of {BEYOND_TORCH} s and {PRINTING} s: {', '.join(failed) or 'held'}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
