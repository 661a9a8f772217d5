"""Python in a new process."""

from __future__ import annotations

import os
import subprocess
import sys


def run_python(
    *arguments: str, seconds: float | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Output of ``python -c CODE ...``, in this environment with some variables changed.

    Raises:
        subprocess.TimeoutExpired: it ran for more than ``seconds``.
    """
    return subprocess.run(
        [sys.executable, "-c", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
