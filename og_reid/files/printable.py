"""Texts of others on one line, without control characters of terminals."""

from __future__ import annotations

import re

__all__ = ["CONTROLS", "escape_match", "printable"]

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
