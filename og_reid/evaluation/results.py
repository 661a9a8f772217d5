"""Tables of metrics, by method and by queries: text, JSON files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

from .metrics import Metrics, load_metrics
from .records import METRICS_FORMAT, read_record
from .saved_rankings import SavedRanking, SearchImages

__all__ = [
    "FORMATS",
    "WRITER",
    "ResultRow",
    "format_table",
    "load_results",
    "save_results",
]


_FORMAT = "og_reid comparison 1"
#: Format tags of the files that `load_results` reads.
FORMATS = (_FORMAT, METRICS_FORMAT)
#: Command that writes these files, for messages.
WRITER = "og-reid evaluate"


@dataclass(frozen=True, eq=False)
class ResultRow:
    """Row of a table.

    Attributes:
        method: ``histogram``, the name of a model, or that name and ``+ histogram``.
        queries: ``all``, or the name of a slice: ``occluded``, ``25-50 % seen``, ``camera 1 in 2``.
        metrics: Metrics of these queries.
        ranking: Ranked items of all queries, or None: of slices, and where they were not kept.
    """

    method: str
    queries: str
    metrics: Metrics
    ranking: SavedRanking | None = None


def format_table(rows: Sequence[ResultRow]) -> str:
    """Plain-text table: rank-1, rank-5, rank-10 and mAP in percent, then notes.

    Args:
        rows: Rows of one search; convention and protocol are those of the first.
    """
    width = max((len(row.method) for row in rows), default=0)
    lines = [f"{'':{width}} {'queries':20} {'rank-1':>7} {'rank-5':>7} {'rank-10':>7} {'mAP':>7}"]
    for row in rows:
        metrics = row.metrics
        values = (*(metrics.rank(k) for k in (1, 5, 10)), metrics.mAP)
        cells = " ".join(f"{100 * value:7.1f}" for value in values)
        queries = f"{row.queries} ({metrics.num_valid})"
        note = metrics.few_note()
        lines.append(f"{row.method:{width}} {queries:20} {cells}{note and '  ' + note}")
    return "\n".join(lines + _notes(rows))


def _notes(rows: Sequence[ResultRow]) -> list[str]:
    """Lines below a table: convention, protocol, deviations, views, re-ranking, skipped queries."""
    if not rows:
        return []
    metrics = rows[0].metrics
    lines = [f"mAP by the {metrics.ap} convention, protocol {metrics.protocol}"]
    lines += [note for row in rows if (note := _deviation_note(row))]
    views = {row.metrics.test_view for row in rows} - {"none"}
    lines += [f"models with test-time views: {view}" for view in sorted(views)]
    reranked = dict.fromkeys((row.method, row.metrics.reranking) for row in rows)
    lines += [f"{method}: {name}" for method, name in reranked if name != "none"]
    skipped = metrics.num_queries - metrics.num_valid
    if skipped:
        lines.append(f"{skipped} of {metrics.num_queries} queries have no match: left out")
    return lines


def _deviation_note(row: ResultRow) -> str:
    """Standard deviation of the ranks of all queries over random galleries, or empty."""
    shots = row.metrics.shot_ranks
    deviations = [d for k in (1, 5, 10) if (d := row.metrics.rank_std(k)) is not None]
    if row.queries != "all" or shots is None or not deviations:
        return ""
    values = ", ".join(f"{100 * each:.1f}" for each in deviations)
    return (
        f"{row.method}: ranks over {shots.shape[1]} random galleries, standard deviation {values}"
    )


def save_results(rows: Sequence[ResultRow], path: str | Path) -> None:
    """Writes rows with the metrics of every query as JSON, for `load_results`.

    Args:
        rows: Rows of the table; rankings of one search, so that names are written once.
        path: File to write.

    Raises:
        ValueError: Rankings are of different images.
        OSError: The file cannot be written.
    """
    records: list[dict[str, Any]] = []
    images = {id(row.ranking.images): row.ranking.images for row in rows if row.ranking is not None}
    if len(images) > 1:
        raise ValueError("rows must have rankings of the same images (one SearchImages)")
    for row in rows:
        metrics = row.metrics.record()
        records.append({"method": row.method, "queries": row.queries, "metrics": metrics})
        if row.ranking is not None:
            records[-1]["ranking"] = row.ranking.record()
    record: dict[str, Any] = {"format": _FORMAT, "rows": records}
    for each in images.values():
        record["images"] = each.record()
    with atomic_write(path) as partial:
        text = json.dumps(record)
        partial.write_text(text + "\n", encoding="utf-8")


def load_results(path: str | Path) -> tuple[ResultRow, ...]:
    """Rows from a file of `save_results`, or of `Metrics.to_json` as one row.

    Args:
        path: JSON file; for the folder of a run see `og_reid.pipelines.run_results`.

    Raises:
        ValueError: The file is of another kind, damaged, or a folder.
        OSError: The file cannot be read.
    """
    record = read_record(path, FORMATS, WRITER)
    if record["format"] == METRICS_FORMAT:
        return (ResultRow(Path(path).stem, "all", load_metrics(path)),)
    with reading(path, "is damaged"):
        try:
            images = record.get("images")
            known = None if images is None else SearchImages.from_record(images)
            return tuple(_row(each, known) for each in _listed(record.get("rows")))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _row(row: Any, images: SearchImages | None) -> ResultRow:
    if not isinstance(row, dict):
        raise ValueError(f"rows must be objects; got {type(row).__name__}")
    for name in ("method", "queries"):
        if not isinstance(row.get(name), str):
            raise ValueError(f"{name} must be a string; got {type(row.get(name)).__name__}")
    metrics, ranking = Metrics.from_record(row.get("metrics", {})), None
    if images is not None and row.get("ranking") is not None:
        ranking = SavedRanking.from_record(row["ranking"], images)
        if metrics.num_queries != len(images.query):
            raise ValueError(
                f"metrics must be of the {len(images.query)} ranked queries; got "
                f"{metrics.num_queries}"
            )
    return ResultRow(row["method"], row["queries"], metrics, ranking)


def _listed(rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise ValueError(f"rows must be a list; got {type(rows).__name__}")
    return rows
