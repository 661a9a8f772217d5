"""One exception type for all file readers, and the warning category of doubtful input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["InputWarning", "level_outside", "reading"]

# Frames between a caller and a warning: these packages, and what decorators are made of.
_OWN = ("pose", "meshes", "og_reid", "contextlib", "functools", "torch")


class InputWarning(UserWarning):
    """Input that is accepted but probably a mistake; the message names the mend."""


@contextmanager
def reading(path: str | Path, rule: str = "must be a whole, readable file") -> Iterator[None]:
    """Converts the exceptions of a parser on a damaged file to ``ValueError`` with the path.

    Parsers (zipfile, zlib, json, Pillow, safetensors, pyarrow, ...) raise many types on crafted or
    damaged files: KeyError, AttributeError, NotImplementedError, struct.error, RecursionError,
    MemoryError. A caller can only handle one kind.

    Args:
        path: Path of the file, for the message.
        rule: Rule of a sound file, such as ``must be an npz of plain arrays``; used where the
            exception is not a ``ValueError`` that names the path itself.

    Raises:
        OSError: Unchanged (no such file, no permission, disk error), with the path.
        ImportError: Unchanged: an optional package is missing.
        ValueError: Anything else.
    """
    try:
        yield
    except (ImportError, Warning):
        raise
    except OSError as error:
        if error.errno is None:  # of a decoder, not of the system: Pillow's "truncated"
            raise ValueError(_message(path, rule, error)) from error
        if error.filename is None:
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(_message(path, rule, error)) from error
    except Exception as error:
        raise ValueError(_message(path, rule, error)) from error


def level_outside() -> int:
    """The stack level of the first frame outside these packages, for `warnings.warn`.

    A number would be wrong as soon as a function gets a decorator or is called by another one.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] in _OWN:
        level, frame = level + 1, frame.f_back
    return level


def _message(path: str | Path, rule: str, error: Exception) -> str:
    # The text of a KeyError is a bare key, of a MemoryError often nothing.
    plain = isinstance(error, ValueError | OSError)
    cause = str(error) if plain else f"{type(error).__name__}: {error}".rstrip(": ")
    # Rules of this package ("must hold ...") stand alone.
    return f"{path}: {cause}" if cause.startswith("must ") else f"{path}: {rule}: {cause}"
