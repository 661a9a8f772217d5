"""Folders of a user by the XDG base directory specification."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["user_folder"]


def user_folder(variable: str, below_home: str) -> Path | None:
    """Folder ``og-reid`` in the folder of an environment variable, or below the home folder.

    Args:
        variable: Name of the variable, such as ``XDG_CACHE_HOME``; relative values are ignored, as
            the standard says.
        below_home: Folder below the home folder without it, such as ``.cache``.

    Returns:
        An absolute path; None without a home folder, as in a container with an unnamed user.
    """
    given = Path(os.environ.get(variable, ""))
    if given.is_absolute():
        return given / "og-reid"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / below_home / "og-reid" if home.is_absolute() else None
