"""Grid of the worst queries of an evaluation, or of those that changed most between two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .progress import StageProgress

if TYPE_CHECKING:
    from ..evaluation.paired import PairedRow
    from ..evaluation.results import ResultRow
    from ..evaluation.saved_rankings import SavedRanking
    from ..viz.ranking_grid import GridItem, GridRow, RankingGrid

__all__ = ["comparison_grid", "worst_grid"]

_FIGURE, _PAGE = 4, 50  # queries of each kind


@dataclass(frozen=True)
class _Run:
    """Evaluation of the grid: its row, the name of the run, its file, the folder of the images."""

    row: ResultRow
    name: str
    file: Path
    root: Path | None

    @property
    def ranking(self) -> SavedRanking:
        """Ranked items of the queries.

        Raises:
            ValueError: The file has none.
        """
        if self.row.ranking is None:
            raise ValueError(
                f"--grid needs the ranked items of the queries, which {self.file} lacks, as files "
                "of earlier versions do: evaluate again, with og-reid evaluate --out"
            )
        return self.row.ranking


def worst_grid(
    rows: Sequence[ResultRow], name: str, file: Path, path: Path, *, queries: int | None = None,
    data: Path | None = None, progress: StageProgress | None = None,
) -> RankingGrid:  # fmt: skip
    """Rankings of the queries with the smallest average precision.

    Args:
        rows: Rows of the evaluation; the first model is shown.
        name: Name of the run.
        file: File of the rows, for messages.
        path: Grid to write: a page has more queries than a figure.
        queries: Largest number of queries; None: 50 in a page, 4 in a figure.
        data: Folder of the images; None: that of the evaluation.
        progress: Called with ("drawing", images done, images in all).

    Raises:
        ValueError: The file has no ranked items.
    """
    run = _Run(_first_model(rows), name, file, data)
    precision = run.row.metrics.average_precision
    order = [each for each in precision.argsort(stable=True).tolist() if precision[each] >= 0]
    chosen = order[: _count(path, queries)]
    title = f"Worst queries of {name}, {run.row.method}"
    return _grid([_row(run, query) for query in chosen], title, progress)


def comparison_grid(
    pairs: Sequence[PairedRow], names: Sequence[str], files: Sequence[Path], path: Path, *,
    queries: int | None = None, data: Path | None = None, progress: StageProgress | None = None,
) -> RankingGrid:  # fmt: skip
    """Rankings by both runs of the queries that the second improves most, then those it worsens.

    Args:
        pairs: Result of `compare_runs`; the first model is shown.
        names: Names of both runs.
        files: Files of both, for messages.
        path: Grid to write: a page has more queries than a figure.
        queries: Largest number of queries of each kind; None: 50 in a page, 4 in a figure.
        data: Folder of the images; None: those of the evaluations.
        progress: Called with ("drawing", images done, images in all).

    Raises:
        ValueError: A file has no ranked items, or no query changed.
    """
    first = _first_model([pair.first for pair in pairs])
    pair = next(each for each in pairs if each.first is first)
    runs = [
        _Run(row, name, file, data)
        for row, name, file in zip((pair.first, pair.second), names, files, strict=True)
    ]
    one, two = (run.row.metrics.average_precision for run in runs)
    change = (two - one).nan_to_num(0.0)
    count = _count(path, queries)
    rising, falling = ((sign * change).argsort(stable=True).tolist() for sign in (-1, 1))
    better = [each for each in rising if change[each] > 0][:count]
    worse = [each for each in falling if change[each] < 0][:count]
    if not better and not worse:
        raise ValueError("--grid shows queries that changed; both runs have the same precisions")
    rows = [
        _row(run, query, float(change[query]) if number else None)
        for query in (*better, *worse)
        for number, run in enumerate(runs)
    ]
    return _grid(rows, f"Queries that changed most: {names[0]} and {names[1]}", progress)


def _count(path: Path, queries: int | None) -> int:
    return queries or (_PAGE if path.suffix.lower() == ".html" else _FIGURE)


def _first_model(rows: Sequence[ResultRow]) -> ResultRow:
    """Row of all queries of the first model; of the histogram without one.

    Raises:
        ValueError: No row is of all queries.
    """
    whole = [row for row in rows if row.queries == "all"]
    if not whole:
        raise ValueError("--grid needs an evaluation of all queries; got slices alone")
    return next((row for row in whole if row.method != "histogram"), whole[0])


def _row(run: _Run, query: int, change: float | None = None) -> GridRow:
    """Ranking of a query, with its average precision in percent."""
    from ..viz.ranking_grid import GridItem, GridRow

    ranking, metrics = run.ranking, run.row.metrics
    images = ranking.images
    root = Path(images.root) if run.root is None else run.root
    pid = int(metrics.query_pids[query])
    head = GridItem(
        (root / images.query[query]).as_posix(), identity=pid, camera=images.query_camids[query]
    )
    items: list[GridItem] = []
    for place, item in enumerate(ranking.items[query].tolist()):
        if item < 0:
            continue
        found = images.gallery_pids[item]
        items.append(
            GridItem(
                (root / images.gallery[item]).as_posix(),
                "right" if found == pid else "wrong",
                similarity=1 - float(ranking.distances[query, place]),
                identity=found,
                camera=images.gallery_camids[item],
            )
        )
    text = f"AP {100 * float(metrics.average_precision[query]):.1f} %"
    if change is not None:
        text += f" ({100 * change:+.1f})"
    note = f"{run.name}\n{text}\nfirst right: {int(metrics.first_match[query])}"
    return GridRow(head, tuple(items), images.occluded[query], note)


def _grid(rows: Sequence[GridRow], title: str, progress: StageProgress | None) -> RankingGrid:
    from ..viz.ranking_grid import RankingGrid
    from .ranking_grid import grid_images

    used = dict.fromkeys(each.name for row in rows for each in (row.query, *row.items))
    images, clouds = grid_images(list(used), progress)
    return RankingGrid(tuple(rows), images, clouds, title=title)
