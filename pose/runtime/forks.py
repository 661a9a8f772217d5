"""Safety in forked processes, which have the memory of their parent but none of its threads.

Torch and the operators of og_reid wait for ever for the threads of a parent that has used several.
A forked child therefore computes in one thread, and native graphs that were run before the fork
are refused.
"""

from __future__ import annotations

import os
import sys
import threading

__all__ = ["ForkSafeLock", "NativeUse"]


def _one_thread() -> None:
    torch = sys.modules.get("torch")
    if hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)  # type: ignore[union-attr]


os.register_at_fork(after_in_child=_one_thread)


class ForkSafeLock:
    """Lock that is free in a forked child, though threads of the parent may have held it.

    A thread that has it may take it again.
    """

    def __init__(self) -> None:
        self._process, self._lock = os.getpid(), threading.RLock()

    def __enter__(self) -> None:
        """Acquire the lock."""
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.RLock()
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        """Release the lock."""
        self._lock.release()


class NativeUse:
    """Record of the process in which native code with threads of its own was first run.

    Args:
        name: name of the native code, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: int | None = None

    @property
    def forked(self) -> bool:
        """True when the native code ran before this process was forked."""
        return self._process not in (None, os.getpid())

    def begin(self) -> None:
        """Record the process before a run.

        Raises:
            RuntimeError: the native code ran before this process was forked.
        """
        if self._process is None:
            self._process = os.getpid()
        if self.forked:
            raise RuntimeError(
                f"{self.name} has run in process {self._process} before it was forked, and would "
                f"wait for ever in the child {os.getpid()}: start processes by "
                'multiprocessing.get_context("spawn"), for a DataLoader with '
                'multiprocessing_context="spawn", or use it in the children only'
            )
