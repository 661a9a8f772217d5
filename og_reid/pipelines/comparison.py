"""Saved evaluations, printed again or compared on the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.printable import printable
from .fields import as_path
from .input_files import check_exists
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from ..evaluation.results import ResultRow

__all__ = ["CompareSpec", "compare"]


@dataclass(frozen=True)
class CompareSpec:
    """One saved evaluation, or two of them.

    Attributes:
        first: File of `og_reid.evaluation.results.save_results`, or the folder of a run with one.
        other: Second evaluation, for the comparison, or None.
        details: All metrics of each row, for one evaluation.
    """

    first: Path
    other: Path | None = None
    details: bool = False

    def __post_init__(self) -> None:
        """Makes paths of strings."""
        as_path(self, "first")
        as_path(self, "other")


def compare(spec: CompareSpec, progress: StageProgress | None = None) -> str:
    """Table of a saved evaluation, or of the differences of two on the same queries.

    Args:
        spec: Files.
        progress: Called with ("comparing", pairs of rows done, pairs in all).

    Returns:
        Lines for a terminal. `og_reid.evaluation.paired.compare_runs` gives the numbers.

    Raises:
        ValueError: A file is missing, or no saved evaluation.
    """
    for path in (spec.first, spec.other):
        check_exists(path, "give a file of og-reid evaluate --out, or the folder of a run with one")

    from ..evaluation.paired import compare_runs, format_differences, unpaired
    from ..evaluation.results import format_table
    from .run_results import load_run_results

    first = _printable(load_run_results(spec.first))
    if spec.other is None:
        rows = first if spec.details else ()
        details = (f"\n{row.method}, {row.queries}\n{row.metrics}" for row in rows)
        return "\n".join([format_table(first), *details])
    second = _printable(load_run_results(spec.other))
    pairs = compare_runs(first, second, progress=stage_progress(progress, "comparing"))
    lines = [format_differences(pairs)]
    for file, names in zip((spec.first, spec.other), unpaired(first, second, pairs), strict=True):
        if names:
            lines.append(f"left out, only in {file}: {'; '.join(names)}")
    return "\n".join(lines)


def _printable(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Rows of a file with printable names."""
    return [
        replace(each, method=printable(each.method), queries=printable(each.queries))
        for each in rows
    ]
