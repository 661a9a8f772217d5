"""The command ``og-reid``: arguments in, functions called, results told."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .arguments import parse

__all__ = ["main"]

_DONE, _FAILED, _INTERRUPTED, _UNHEARD = 0, 1, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: What follows ``og-reid``; None takes it from the process.

    Returns:
        0 when it went well, 1 when it could not be done, 130 when it was interrupted, 141 when
        nobody reads what it prints any more (``og-reid ... | head``). Wrong usage ends the process
        with 2.
    """
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is left to print goes nowhere, and Python shall not complain of it in the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNHEARD


def _run(arguments: Sequence[str] | None) -> int:
    options = parse(arguments)
    try:
        options.run(options)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as stop:
        print(f"og-reid: {str(stop) or 'interrupted'}", file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if options.debug:
            raise
        print(f"og-reid: {error}", file=sys.stderr)
        return _FAILED
    return _DONE
