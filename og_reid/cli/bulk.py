"""Options of commands over many files."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_skip", "existing_image"]


def add_skip(command: argparse.ArgumentParser) -> None:
    """The option ``--skip``: files that fail are no error."""
    command.add_argument(
        "--skip", action="store_true",
        help="leave out files that are missing or fail, and end with success where anything was "
        "made; otherwise the command refuses missing ones before the work, and ends with an error "
        "when others fail, after the rest is written",
    )  # fmt: skip


def existing_image(text: str) -> Path:
    """A path on the command line; KEY=VALUE, which some commands take, is none."""
    path = Path(text)
    if "=" in text and not path.exists():
        raise argparse.ArgumentTypeError(f"there is no {text}, and this command takes no settings")
    return path
