"""Lock of a folder: one run at a time writes to it, until that run ends in any way."""

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
# Of the running thread, which may lock a folder again that it holds. Not of a forked child.
_held: ContextVar[frozenset[tuple[int, Path]]] = ContextVar("held", default=frozenset())


@contextmanager
def locked_folder(folder: str | Path, refusal: str) -> Iterator[None]:
    """Makes a folder where it is missing, and locks it while the block runs.

    The lock is the system's: a killed process holds none, whatever files it left. It works between
    processes and threads, and between machines where the file system has locks; without them, as on
    Windows, nothing is locked. A folder that was made here and holds nothing afterwards is removed.

    Args:
        folder: To be locked; a block inside the block may lock it again.
        refusal: Text of the message about a folder in use, after its path.

    Raises:
        ValueError: Another run holds it, or there is a file in its place.
        OSError: It cannot be made or written to.
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
                (path / LOCK_FILE).unlink()  # before the lock ends, so that it is ours
            lock.close()
        if new:
            with suppress(OSError):
                path.rmdir()


def _acquire(path: Path, refusal: str) -> IO[str]:
    """The locked file; it may be removed while it is locked."""
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
