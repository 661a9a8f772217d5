"""Code blocks of the documentation, and the comments that control their tests.

A block may follow an HTML comment:

    <!-- setup
    Python that runs before the next block, in the namespace of the page
    -->
    <!-- slow: reason -->   a block that takes seconds, and the reason for it
    <!-- not run: reason --> a Python block that is only compiled, and the reason for it
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PART = re.compile(
    r"^<!-- setup\n(?P<setup>.*?)^-->$"
    r"|^<!-- (?P<mark>slow|not run)(?:: (?P<reason>[^\n]*?))? -->$"
    r"|^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: File of the block.
        line: First line in that file, from 1.
        language: Language after the fence, or ``setup``.
        code: Text of the block.
        marks: Marks before it, with their reasons.
    """

    page: Path
    line: int
    language: str
    code: str
    marks: dict[str, str]


def blocks(page: Path) -> Iterator[Block]:
    """Code blocks of a page, in order."""
    text = page.read_text()
    marks: dict[str, str] = {}
    for found in _PART.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        if found["mark"]:
            marks[found["mark"]] = found["reason"] or ""
        elif found["setup"] is not None:
            yield Block(page, line, "setup", found["setup"], {})
        else:
            yield Block(page, line, found["language"], found["code"], marks)
            marks = {}
    assert not marks, f"{page}: {marks} stands before no block"


def commands(code: str) -> list[list[str]]:
    """Commands of a shell block as lists of words, without comments and variable assignments."""
    found = []
    for line in re.sub(r"\\\n\s*", " ", code).splitlines():
        for command in line.split(" && "):
            words = shlex.split(command, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words.pop(0)
            if words:
                found.append(words)
    return found
