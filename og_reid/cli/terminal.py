"""Output to the terminal: text without control characters, in letters that it has."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeGuard

from ..files.printable import CONTROLS, escape_match, printable

__all__ = ["Printed", "guarded", "log_lines", "name_once"]


class Printed:
    r"""A text stream in front of another: no controls but line breaks and tabs pass.

    Letters that the other stream lacks (as in a C locale) are written as in Python, ``\xfc``.
    What is written is otherwise the same, and so is everything else about the stream.

    Attributes:
        beneath: The other stream.
        names: Texts that are written on one line wherever they appear; those with line breaks.
    """

    def __init__(self, beneath: TextIO) -> None:
        self.beneath = beneath
        self.names: tuple[str, ...] = ()

    def write(self, text: str) -> int:
        """Writes a text; how many of its characters were written."""
        safe = text
        for name in self.names:
            safe = safe.replace(name, printable(name))
        safe = CONTROLS.sub(escape_match, safe)
        encoding = getattr(self.beneath, "encoding", None)
        if encoding and not safe.isascii():
            try:
                safe = safe.encode(encoding, "backslashreplace").decode(encoding)
            except LookupError:
                safe = safe.encode("ascii", "backslashreplace").decode("ascii")
        self.beneath.write(safe)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Writes texts one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.beneath, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.beneath)


def name_once(values: Iterable[object]) -> None:
    """Names given on the command line stay on one line in what is printed.

    Args:
        values: Of options: paths and texts, or lists of them.
    """
    given = {str(each) for value in values for each in (value if _many(value) else [value])}
    names = tuple(sorted((name for name in given if "\n" in name.strip()), key=len, reverse=True))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Printed):
            stream.names = names


def _many(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list | tuple)


@contextmanager
def guarded() -> Iterator[None]:
    """Standard output and error are `Printed`, and warnings about input are single lines."""
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
            Printed(stream) if stream is not None else None for stream in before
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
