"""Command ``og-reid``: argument parsing, calls of `og_reid.pipelines`, printed results."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from ..files.printable import PrintableStream, printable
from . import actions
from .commands import COMMANDS
from .parser import parse
from .terminal import guarded, log_lines

__all__ = ["main"]

_DONE, _FAILED, _INTERRUPTED, _UNHEARD = 0, 1, 130, 141
# Errors of invalid input, with messages for the user.
_OF_INPUT = (ValueError, OSError, ImportError, RuntimeError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: Arguments after ``og-reid``; None: those of the process.

    Returns:
        Exit status: 0 for success, 1 for an error, 130 for an interrupt, 141 for a closed output
        (``og-reid ... | head``). Wrong usage ends the process with 2.
    """
    with guarded(), log_lines():
        try:
            try:
                return _run(arguments)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except BrokenPipeError:
            _silence()
            return _UNHEARD
        except OSError as error:  # of the flush: a full disk behind `og-reid ... > FILE`
            _silence()
            _complain(f"the output is lost: {error}")
            return _FAILED


def _run(arguments: Sequence[str] | None) -> int:
    debug = False
    try:
        options = parse(COMMANDS, arguments)
        debug = options.debug
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, PrintableStream):
                stream.keep_on_one_line(vars(options).values())
        if getattr(options, "workers", 1) < 1:
            raise ValueError(f"--workers must be at least 1; got {options.workers}")
        getattr(actions, f"do_{options.command}")(options)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as stop:
        _complain(str(stop) or "interrupted")
        return _INTERRUPTED
    except Exception as error:
        if debug:
            raise
        if isinstance(error, _OF_INPUT):
            _complain(str(error) or type(error).__name__)
        else:
            _complain(f"{_unexpected(error)}; --debug shows its origin")
        return _FAILED
    return _DONE


def _unexpected(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"{'out of memory' if isinstance(error, MemoryError) else 'unexpected error'}: {text}"


def _complain(text: str) -> None:
    print(f"og-reid: {printable(text)}", file=sys.stderr)


def _silence() -> None:
    """Discards all further output, to avoid an error at exit."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)
