"""Tasks of worker processes, and the number of workers that survive their killed parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def half(number: int) -> float:
    if number < 0:
        raise ValueError(f"number must not be negative; got {number}")
    time.sleep(0.02 * (3 - number % 3))
    return number / 2


def doubtful(number: int) -> int:
    from pose.files.reading import InputWarning

    for _ in range(2):
        warnings.warn(f"doubtful {number}", InputWarning, stacklevel=2)
    warnings.warn("of a task", RuntimeWarning, stacklevel=1)
    return number


def threads(_: int) -> int:
    import torch

    return torch.get_num_threads()


def process_id(_: int) -> int:
    return os.getpid()


def workers_left(script: Path, *arguments: object, seconds: float = 20.0) -> tuple[int, int]:
    """Number of workers of a script that killed itself, and of those alive ``seconds`` later.

    The script prints the numbers of its workers in one line before it ends by SIGKILL.
    """
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), *map(str, arguments)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert process.wait(60) == -9
    deadline = time.monotonic() + seconds
    while any(map(_lives, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [pid for pid in workers if _lives(pid)]
    for pid in left:
        os.kill(pid, 9)
    return len(workers), len(left)


def _lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
