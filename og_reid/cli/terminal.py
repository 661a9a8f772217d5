"""What reaches the terminal: text without control characters, in letters that it has."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from ..progress import CONTROLS, escaped, shown

__all__ = ["Printed", "guarded"]


class Printed:
    r"""A text stream in front of another: no controls but line breaks and tabs pass.

    Letters that the other stream lacks (as in a C locale) are written as in Python, ``\xfc``.
    What is written is otherwise the same, and so is everything else about the stream.

    Attributes:
        beneath: The other stream.
    """

    def __init__(self, beneath: TextIO) -> None:
        self.beneath = beneath

    def write(self, text: str) -> int:
        """Writes a text; how many of its characters were written."""
        safe = CONTROLS.sub(escaped, text)
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
            text = f"og-reid: warning: {shown(message)}"
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
    reading = sys.modules.get("pose.reading")
    return reading is not None and issubclass(category, reading.InputWarning)
