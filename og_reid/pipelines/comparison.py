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
        grid: Figure or page of the queries that changed most, or for one evaluation of the worst.
        queries: Queries of each kind in the grid; None: 4 in a figure, 50 in a page.
        data: Folder of the images in the grid; None: the one that was evaluated.

    Raises:
        ValueError: ``queries`` is under 1, or given without a grid, as ``data``.
    """

    first: Path
    other: Path | None = None
    details: bool = False
    html: Path | None = None
    grid: Path | None = None
    queries: int | None = None
    data: Path | None = None

    def __post_init__(self) -> None:
        """Checks the options of the grid, and makes paths of strings."""
        for name in ("first", "other", "html", "grid", "data"):
            as_path(self, name)
        if self.grid is None and (self.queries is not None or self.data is not None):
            raise ValueError("--queries and --data are for --grid: give it, too")
        if self.queries is not None and self.queries < 1:
            raise ValueError(f"--queries must be at least 1; got {self.queries}")


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
    from .kept_rankings import KEPT
    from .ranking_grid import check_grid
    from .run_results import load_run_results

    for path in (spec.html, spec.grid):
        if path is not None:
            check_output(path)
    if spec.grid is not None:
        check_grid(spec.grid, 2 * (spec.queries or 1), 2 * KEPT * (spec.queries or 1), KEPT)
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
    if spec.grid is not None:
        _write_grid(spec, spec.grid, first, pairs, progress)
        lines.append(f"grid: {spec.grid}")
    return "\n".join(lines)


def _write_page(
    spec: CompareSpec, page: Path, runs: Sequence[Sequence[ResultRow]], pairs: tuple[PairedRow, ...]
) -> None:
    from ..train import LOG_FILE, read_log
    from .result_page import write_result_page

    files = [spec.first] if spec.other is None else [spec.first, spec.other]
    names = _run_names(files)
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


def _write_grid(
    spec: CompareSpec,
    path: Path,
    first: Sequence[ResultRow],
    pairs: tuple[PairedRow, ...],
    progress: StageProgress | None,
) -> None:
    from ..viz import write_ranking
    from .comparison_grid import comparison_grid, worst_grid

    if spec.other is None:
        (name,) = _run_names([spec.first])
        grid = worst_grid(first, name, spec.first, path, queries=spec.queries, data=spec.data,
                          progress=progress)  # fmt: skip
    else:
        files = [spec.first, spec.other]
        grid = comparison_grid(pairs, _run_names(files), files, path, queries=spec.queries,
                               data=spec.data, progress=progress)  # fmt: skip
    write_ranking(grid, path)


def _run_names(files: Sequence[Path]) -> list[str]:
    """Different names of runs, short if possible."""
    names = [printable(_run_name(file)) for file in files]
    if len(set(names)) < len(names):
        names = [printable(file) for file in files]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return names


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
