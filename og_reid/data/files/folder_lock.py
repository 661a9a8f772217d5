"""Lock of a folder for one writing run at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO

__all__ = ["LOCK_FILE", "locked_folder"]

#: File name of the lock within a folder.
LOCK_FILE = ".lock"
# Folders locked by the running thread, which may lock them again; not by a forked child.
_held: ContextVar[frozenset[tuple[int, Path]]] = ContextVar("held", default=frozenset())


@contextmanager
def locked_folder(folder: str | Path, refusal: str) -> Iterator[None]:
    """Locks a folder while the block runs; a missing one is made.

    The lock is the system's and ends with the process, even a killed one. It works between
    processes and threads, and between machines where the file system has locks; without them, as on
    Windows, nothing is locked. A folder made here is removed when it is empty afterwards.

    Args:
        folder: Folder to lock; a nested block may lock it again.
        refusal: Text of the message about a folder in use, after its path.

    Raises:
        ValueError: Another run holds the lock, or the path is a file.
        OSError: The folder cannot be made or written to.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} must be a folder; it is a file")
    key = (os.getpid(), path.resolve())
    if key in _held.get():
        yield
        return
    new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    lock = None
    try:
        lock = _acquire(path / LOCK_FILE, f"{path} {refusal}")
        token = _held.set(_held.get() | {key})
        try:
            yield
        finally:
            _held.reset(token)
    finally:
        if lock is not None:
            with suppress(OSError):
                (
                    path / LOCK_FILE
                ).unlink()  # before the lock ends, so that no other run has locked it
            lock.close()
        if new:
            with suppress(OSError):
                path.rmdir()


def _acquire(path: Path, refusal: str) -> IO[str]:
    """Locked file, which may be removed while it is locked."""
    try:
        import fcntl  # not everywhere
    except ImportError:
        return path.open("a", encoding="ascii")
    while True:
        file = path.open("a+", encoding="ascii", errors="replace")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            number = file.read(20).strip()
            file.close()
            holder = f" (process {number})" if number.isdigit() else ""
            raise ValueError(f"{refusal}{holder}") from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                file.close()
                raise OSError(error.errno, error.strerror, str(path)) from error
        with suppress(OSError):
            # Another run may have removed the file between its opening and its locking here.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                with suppress(OSError):  # the number is for messages alone
                    file.truncate(0)
                    file.write(f"{os.getpid()}\n")
                    file.flush()
                return file
        file.close()
