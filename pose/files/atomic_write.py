"""Atomic writing of files: a reader sees the old file or the whole new one."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["PARTIAL", "READ_ONLY", "atomic_write"]

_NAME_BYTES = 255  # of a file's name, on nearly every file system
#: Errors of a read-only folder.
READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
#: Names of the temporary files of `atomic_write`.
PARTIAL = re.compile(r"\..*\.[0-9a-f]{16}\.partial", re.DOTALL)
_OLD_SECONDS = 24 * 3600.0
_SWEPT_AT_MOST = 4096
_swept: set[Path] = set()
# Errors of a disk, independent of the content written.
_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENODEV, errno.ESTALE}
)
# As Rust (safetensors), C++ (Arrow) and Python write the number.
_NUMBER = re.compile(r"(?:os error|errno) (\d+)", re.IGNORECASE)
# Messages of numpy and torch about a write that the system cut short, without its reason.
_CUT_SHORT = re.compile(
    r"\d+ requested and \d+ written|fail\w* writing|file write failed|iostream error|unexpected pos"
)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Temporary path; the file written there becomes ``path`` when the block ends without error.

    The temporary file lies beside ``path``, is flushed to the disk and then renamed over it, so an
    interruption leaves either the old file or the new one. When the block raises, the temporary
    file is removed and ``path`` stays as it was. Missing parent folders are made.

    A new file has the permissions that the umask gives; a file that is replaced passes its own on,
    its owner and group where that is allowed. A symbolic link stays, and the file that it names is
    replaced, or made. Other hard links to a replaced file keep the old content.

    A process that is killed leaves its temporary file, ``.NAME.<16 hexadecimal digits>.partial``.
    The first write of a process into a folder removes those that are older than a day.

    Args:
        path: Path of the finished file.

    Yields:
        The path to write to. No file is there yet, or an empty one
        with no more readers than the file that is replaced.

    Raises:
        OSError: The disk is full, a limit is reached, ``path`` is a folder or a device, or the
            like; with ``path`` as the name of the file, for any exception of the writer.
    """
    path = Path(path)
    target, before = _target(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    partial = _partial(target)
    try:
        with _naming(path, partial):
            partial.touch()
            mode = stat.S_IMODE(partial.stat().st_mode)  # by the umask
            if before is None:
                partial.unlink()
            else:
                mode = stat.S_IMODE(before.st_mode)
                partial.chmod(mode & 0o777 | stat.S_IRUSR | stat.S_IWUSR)
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            if before is not None:
                _keep_owner(partial, before)
            partial.chmod(mode)  # some writers make files that only their owner may read
            partial.replace(target)
    finally:
        with suppress(OSError):
            partial.unlink()


def _target(path: Path) -> tuple[Path, os.stat_result | None]:
    """The file that is replaced, behind all symbolic links, and its present status."""
    target = path
    try:
        if stat.S_ISLNK(os.lstat(path).st_mode):
            target = Path(os.path.realpath(path))
        before = os.stat(target)
    except FileNotFoundError:
        return target, None
    except OSError as error:  # too long a name, a loop of links, no permission to look
        raise type(error)(error.errno, error.strerror, str(path)) from error
    if stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(before.st_mode):
        raise OSError(
            errno.EINVAL,
            "A pipe, socket or device cannot be replaced by a file: give the name of a file",
            str(path),
        )
    return target, before


def _partial(target: Path) -> Path:
    # Random: threads of a process, and processes of two machines, may write the same file.
    ending = f".{secrets.token_hex(8)}.partial"
    room = _NAME_BYTES - len(ending) - 1
    name = target.name
    while len(os.fsencode(name)) > room:
        name = name[:-1]  # by characters: some systems refuse half of one
    return target.with_name(f".{name}{ending}")


def _keep_owner(partial: Path, before: os.stat_result) -> None:
    now = partial.stat()
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        with suppress(OSError):
            os.chown(partial, before.st_uid, before.st_gid)


def _sweep(folder: Path) -> None:
    """Removes what killed processes left long ago; once a process, as folders may be large."""
    if folder in _swept:
        return
    if len(_swept) >= _SWEPT_AT_MOST:
        _swept.clear()
    _swept.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not PARTIAL.fullmatch(entry.name):
                continue
            with suppress(OSError):
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if age > _OLD_SECONDS and entry.is_file(follow_symlinks=False):
                    os.unlink(entry)


@contextmanager
def _naming(path: Path, partial: Path) -> Iterator[None]:
    """Errors about the temporary file, and of the disk below it, become errors about ``path``."""
    try:
        yield
    except OSError as error:
        ours = error.filename is not None and os.fspath(error.filename) == str(partial)
        number = error.errno if ours else _disk_error(error, path)
        if number is None or (error.filename is not None and not ours):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    except Exception as error:
        number = _disk_error(error, path)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _disk_error(error: BaseException, path: Path) -> int | None:
    """Error number of a disk behind an exception of any package; None without one."""
    known: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in known:
        known.add(id(cause))
        number = _number(cause, path)
        if number is not None:
            return number
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


def _number(error: BaseException, path: Path) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        # With a name it is about another file.
        return error.errno if error.errno in _DISK and error.filename is None else None
    text = str(error)
    for found in _NUMBER.findall(text):
        if int(found) in _DISK:
            return int(found)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
        if os.strerror(number).lower() in text.lower():
            return number
    if _CUT_SHORT.search(text):
        with suppress(OSError):
            if not os.statvfs(path.parent).f_bavail:
                return errno.ENOSPC
        return errno.EIO
    return None
