"""Texts of others on one line, without control characters of terminals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

__all__ = ["CONTROLS", "PrintableStream", "encodable", "escape_match", "printable"]

# Controls of terminals (C0, C1), what turns the direction of text around, line separators of
# Unicode, and halves of characters, which file names of other encodings have.
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(value: object) -> str:
    r"""A name or a text that is not ours, on one line and without control characters.

    File names, what model files and metrics say of themselves, and messages of other packages may
    hold escapes that move the cursor, recolour or retitle a terminal, or line breaks that look
    like lines of this program.

    Args:
        value: Its ``str`` is shown.

    Returns:
        The text, with control characters written as in Python: ``\x1b``, ``\n``.
    """
    return CONTROLS.sub(escape_match, str(value)).replace("\n", "\\n").replace("\t", "\\t")


def escape_match(found: re.Match[str]) -> str:
    """A character of `CONTROLS` as Python writes it."""
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def encodable(text: str, stream: TextIO) -> str:
    r"""A text in letters that a stream has, as in a C locale; others as in Python, ``\xfc``."""
    encoding = getattr(stream, "encoding", None)
    if not encoding or text.isascii():
        return text
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text.encode("ascii", "backslashreplace").decode("ascii")


class PrintableStream:
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
        safe = encodable(CONTROLS.sub(escape_match, safe), self.beneath)
        self.beneath.write(safe)
        return len(text)

    def keep_on_one_line(self, values: Iterable[object]) -> None:
        """Sets `names` to those of paths and texts, and of lists of them, that have line breaks."""
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
