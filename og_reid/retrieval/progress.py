"""Progress callbacks of work in several passes or parts."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "offset_progress", "subprogress"]


#: Called with (done, total).
Progress = Callable[[int, int], None]


def subprogress(progress: Progress | None, number: int, parts: int) -> Progress | None:
    """``progress`` for one of several passes over the same data."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, parts * total)


def offset_progress(progress: Progress | None, before: int, total: int) -> Progress | None:
    """``progress`` for a part of the work that comes after ``before`` of ``total``."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)
