"""SIGINT (Ctrl-C) between two steps of a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pose.deprecation import deprecated_getattr

__all__ = ["Interrupted", "catch_sigint"]


class Interrupted(KeyboardInterrupt):
    """Run stopped by the user, after its checkpoint was saved."""


@contextmanager
def catch_sigint() -> Iterator[threading.Event]:
    """Event set by the first SIGINT within the block; the second one interrupts at once.

    Outside of the main thread, and under a custom handler, signals are unchanged.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
