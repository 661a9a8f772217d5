"""Saved evaluations, printed again or compared on the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.printable import printable
from .fields import as_path
from .input_files import check_exists, check_output
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from ..evaluation.paired import PairedRow
    from ..evaluation.results import ResultRow

__all__ = ["CompareSpec", "compare"]


@dataclass(frozen=True)
class CompareSpec:
    """One saved evaluation, or two of them.

    Attributes:
        first: File of `og_reid.evaluation.results.save_results`, or the folder of a run with one.
        other: Second evaluation, for the comparison, or None.
        details: All metrics of each row, for one evaluation.
        html: Page to write: tables, curves, slices, and learning curves of folders of runs.
    """

    first: Path
    other: Path | None = None
    details: bool = False
    html: Path | None = None

    def __post_init__(self) -> None:
        """Makes paths of strings."""
        as_path(self, "first")
        as_path(self, "other")
        as_path(self, "html")


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

    if spec.html is not None:
        check_output(spec.html)
    first = _printable(load_run_results(spec.first))
    if spec.other is None:
        rows = first if spec.details else ()
        details = (f"\n{row.method}, {row.queries}\n{row.metrics}" for row in rows)
        lines = [format_table(first), *details]
        pairs: tuple[PairedRow, ...] = ()
        runs = [first]
    else:
        second = _printable(load_run_results(spec.other))
        pairs = compare_runs(first, second, progress=stage_progress(progress, "comparing"))
        lines = [format_differences(pairs)]
        for file, names in zip(
            (spec.first, spec.other), unpaired(first, second, pairs), strict=True
        ):
            if names:
                lines.append(f"left out, only in {file}: {'; '.join(names)}")
        runs = [first, second]
    if spec.html is not None:
        _write_page(spec, spec.html, runs, pairs)
        lines.append(f"page: {spec.html}")
    return "\n".join(lines)


def _write_page(
    spec: CompareSpec, page: Path, runs: Sequence[Sequence[ResultRow]], pairs: tuple[PairedRow, ...]
) -> None:
    from ..train import LOG_FILE, read_log
    from .result_page import write_result_page

    files = [spec.first] if spec.other is None else [spec.first, spec.other]
    names = [printable(_run_name(file)) for file in files]
    if len(set(names)) < len(names):
        names = [printable(file) for file in files]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    folders = [file if file.is_dir() else file.parent for file in files]
    write_result_page(
        page,
        dict(zip(names, runs, strict=True)),
        pairs=pairs,
        histories={
            name: read_log(folder / LOG_FILE) for name, folder in zip(names, folders, strict=True)
        },
        title=" and ".join(names),
    )


def _run_name(file: Path) -> str:
    """Name of a run: of its folder, unless the file has a name of its own."""
    own = file.is_dir() or file.name == "evaluation.json"
    return (file if file.is_dir() else file.parent).resolve().name if own else file.stem


def _printable(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Rows of a file with printable names."""
    return [
        replace(each, method=printable(each.method), queries=printable(each.queries))
        for each in rows
    ]
