"""Foreign texts on one line, without terminal control characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

__all__ = ["CONTROLS", "PrintableStream", "encodable", "escape_match", "printable"]

# Control characters (C0, C1), direction changes and line separators of Unicode, and surrogates,
# which occur in file names of other encodings.
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(value: object) -> str:
    r"""Foreign text on one line and without control characters.

    File names, descriptions in model files and metrics, and messages of other packages may hold
    escapes that move the cursor, recolour or retitle a terminal, or line breaks that imitate lines
    of this program.

    Args:
        value: Value, shown by its ``str``.

    Returns:
        The text, with control characters written as in Python: ``\x1b``, ``\n``.
    """
    return CONTROLS.sub(escape_match, str(value)).replace("\n", "\\n").replace("\t", "\\t")


def escape_match(found: re.Match[str]) -> str:
    """Python escape of a character of `CONTROLS`."""
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def encodable(text: str, stream: TextIO) -> str:
    r"""Text with Python escapes, such as ``\xfc``, for characters outside a stream's encoding."""
    encoding = getattr(stream, "encoding", None)
    if not encoding or text.isascii():
        return text
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text.encode("ascii", "backslashreplace").decode("ascii")


class PrintableStream:
    r"""Wrapper of a text stream that escapes control characters but line breaks and tabs.

    Characters outside the stream's encoding (as in a C locale) are escaped, such as ``\xfc``. The
    stream is otherwise unchanged.

    Attributes:
        beneath: Wrapped stream.
        names: Texts with line breaks, written on one line wherever they occur.
    """

    def __init__(self, beneath: TextIO) -> None:
        self.beneath = beneath
        self.names: tuple[str, ...] = ()

    def write(self, text: str) -> int:
        """Writes a text; returns its number of characters."""
        safe = text
        for name in self.names:
            safe = safe.replace(name, printable(name))
        safe = encodable(CONTROLS.sub(escape_match, safe), self.beneath)
        self.beneath.write(safe)
        return len(text)

    def keep_on_one_line(self, values: Iterable[object]) -> None:
        """Sets `names` to the values, or entries of lists among them, with line breaks."""
        given = {
            str(each)
            for value in values
            for each in (value if isinstance(value, list | tuple) else [value])
        }
        broken = (name for name in given if "\n" in name.strip())
        self.names = tuple(sorted(broken, key=len, reverse=True))

    def writelines(self, lines: list[str]) -> None:
        """Writes texts one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.beneath, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.beneath)
