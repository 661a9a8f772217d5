"""Tasks of bulk jobs: some end their worker process."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path


def double(number: int) -> int:
    if number < 0:
        raise OSError(errno.ENOSPC, "No space left on device", "/some/file")
    return 2 * number


def killed_once(path: str) -> int:
    """Process id; the first call with an existing file ends its process."""
    if Path(path).exists():
        Path(path).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def always_killed(number: int) -> int:
    """The number, slower than the kill by number 1: no task is finished beside that one."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    return number
