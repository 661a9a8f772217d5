"""Output to the terminal: text without control characters, in letters that it has."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeGuard

from ..files.printable import PrintableStream, printable

__all__ = ["guarded", "log_lines", "name_once"]


def name_once(values: Iterable[object]) -> None:
    """Names given on the command line stay on one line in what is printed.

    Args:
        values: Of options: paths and texts, or lists of them.
    """
    given = {str(each) for value in values for each in (value if _many(value) else [value])}
    names = tuple(sorted((name for name in given if "\n" in name.strip()), key=len, reverse=True))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, PrintableStream):
            stream.names = names


def _many(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list | tuple)


@contextmanager
def guarded() -> Iterator[None]:
    """Standard streams are `PrintableStream`, and warnings about input are single lines."""
    before, seen = (sys.stdout, sys.stderr), set[str]()
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int,
            file: TextIO | None = None, line: str | None = None,
        ) -> None:  # fmt: skip
            if not _is_of_input(category):
                usual(message, category, filename, lineno, file, line)
                return
            text = f"og-reid: warning: {printable(message)}"
            if text not in seen:
                seen.add(text)
                print(text, file=sys.stderr)

        warnings.showwarning = show
        # None where the process was started with a closed stream.
        sys.stdout, sys.stderr = (
            PrintableStream(stream) if stream is not None else None for stream in before
        )
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def _is_of_input(category: type[Warning]) -> bool:
    # Not imported for this: the package above it needs torch.
    reading = sys.modules.get("pose.files.reading")
    return reading is not None and issubclass(category, reading.InputWarning)


class _Lines(logging.Handler):
    """Records of the package as plain lines: notes on standard error, the others on output."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr if record.levelno > logging.INFO else sys.stdout)


@contextmanager
def log_lines() -> Iterator[None]:
    """Prints what the package logs."""
    log, lines = logging.getLogger("og_reid"), _Lines()
    level = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(lines)
        log.setLevel(level)
