"""Writing a file so that a reader never meets half of it; for all rooms."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path; what was written there becomes ``path`` when the block ends well.

    The temporary file lies beside ``path``, is flushed to the disk and then renamed over it, so an
    interruption leaves either the old file or the new one. When the block raises, the temporary
    file is removed and ``path`` stays as it was. Missing parent folders are made.

    Args:
        path: Where the finished file shall lie.

    Yields:
        The path to write to; it does not exist yet.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random: threads of a process, and processes of two machines, may write the same file.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode  # as the user wants new files
        partial.unlink()
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.chmod(mode)  # some writers make files that only their owner may read
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
