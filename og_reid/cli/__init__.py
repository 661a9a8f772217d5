"""The command ``og-reid``: arguments in, functions called, results told."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .arguments import parse

__all__ = ["main"]

_DONE, _FAILED, _INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: What follows ``og-reid``; None takes it from the process.

    Returns:
        0 when it went well, 1 when it could not be done, 130 when it was interrupted. Wrong usage
        ends the process with 2.
    """
    options = parse(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt as stop:
        print(f"og-reid: {str(stop) or 'interrupted'}", file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if options.debug:
            raise
        print(f"og-reid: {error}", file=sys.stderr)
        return _FAILED
    return _DONE
