"""Terminal output without control characters, in the encoding of the terminal."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ..files.printable import PrintableStream, printable

__all__ = ["guarded", "log_lines"]


@contextmanager
def guarded() -> Iterator[None]:
    """Context with `PrintableStream` streams, and warnings of input and old names as lines."""
    before, seen = (sys.stdout, sys.stderr), set[str]()
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int,
            file: TextIO | None = None, line: str | None = None,
        ) -> None:  # fmt: skip
            # Not imported here: the package above it needs torch.
            reading = sys.modules.get("pose.files.reading")
            kind = "note" if " is deprecated and goes with " in str(message) else "warning"
            text = f"og-reid: {kind}: {printable(message)}"
            if kind == "warning" and not (reading and issubclass(category, reading.InputWarning)):
                usual(message, category, filename, lineno, file, line)
            elif text not in seen:
                seen.add(text)
                print(text, file=sys.stderr)

        warnings.showwarning = show
        # None if the process was started with a closed stream.
        sys.stdout, sys.stderr = (
            PrintableStream(stream) if stream is not None else None for stream in before
        )
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


class _Lines(logging.Handler):
    """Log handler with plain lines: warnings on standard error, others on standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr if record.levelno > logging.INFO else sys.stdout)


@contextmanager
def log_lines() -> Iterator[None]:
    """Context that prints the log records of the package."""
    log, lines = logging.getLogger("og_reid"), _Lines()
    level = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(lines)
        log.setLevel(level)
