"""Progress of a job, stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["StageProgress", "stage_progress"]

#: Called with (stage, items done, items in all).
StageProgress: TypeAlias = Callable[[str, int, int], None]


def stage_progress(progress: StageProgress | None, stage: str) -> Callable[[float, float], None]:
    """Progress of one stage, as functions with calls of (done, total) report it.

    Args:
        progress: Called with (stage, done, total); None for no calls.
        stage: Name of the work.
    """

    def report(done: float, total: float) -> None:
        if progress is not None:
            progress(stage, int(done), int(total))

    return report
