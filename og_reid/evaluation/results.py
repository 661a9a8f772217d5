"""Models and the colour histogram baseline on the same clouds, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

from ..data.clouds.cloud_set import CloudSet
from ..data.clouds.store import CloudStore
from ..data.datasets.market import Attributes
from ..inference.extract import embed_set
from ..inference.model_file import StoredModel
from ..inference.preprocessing import TestView, name_views
from ..models.embedding import Embedding
from ..rerank import LazyDistances, Variant, gnn_rerank, k_reciprocal
from ..retrieval.features import Features
from ..retrieval.labels import Labels
from ..retrieval.progress import offset_progress, subprogress
from .color_histogram import histogram_distance, part_histograms
from .engine import evaluate
from .metrics import AveragePrecision, Metrics, load_metrics
from .protocols import ProtocolName
from .query_slices import LabelledImages, Slicing, query_slices
from .records import METRICS_FORMAT, read_record
from .viewpoints import camera_pairs

__all__ = [
    "FORMATS",
    "WRITER",
    "Clouds",
    "Reranking",
    "ResultRow",
    "Search",
    "compare",
    "compute_distances",
    "format_table",
    "load_results",
    "rerank_by",
    "save_results",
    "score",
]


_FORMAT = "og_reid comparison 1"
#: Format tags of the files that `load_results` reads, and the command that writes them.
FORMATS = (_FORMAT, METRICS_FORMAT)
WRITER = "og-reid evaluate"
#: Clouds to rank: lifted ones, or a store of published ones.
Clouds = CloudSet | CloudStore
#: By what a gallery is ranked: (Q, G) distances, or features of queries and gallery.
Search = Tensor | LazyDistances | tuple[Embedding, Embedding]
#: A variant of k-reciprocal re-ranking, or the graph's, by the name of `og_reid.rerank`.
Reranking = Variant | Literal["gnn"]


@dataclass(frozen=True, eq=False)
class ResultRow:
    """One row of a table.

    Attributes:
        method: ``histogram``, the name of a model, or that name and ``+ histogram``.
        queries: ``all``, or the name of some: ``occluded``, ``25-50 % seen``, ``camera 1 in 2``.
        metrics: The figures.
    """

    method: str
    queries: str
    metrics: Metrics


def compare(
    query: Clouds,
    gallery: Clouds,
    models: Mapping[str, StoredModel],
    *,
    attributes: Mapping[str, Attributes] | None = None,
    mirror: bool = False,
    test_view: TestView = "none",
    ap: AveragePrecision = "step",
    protocol: ProtocolName = "market",
    by: Sequence[Slicing] = ("occlusion",),
    rerank: Reranking | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ResultRow, ...]:
    """Ranks by the histogram baseline, by every model, and by both together.

    Args:
        query: Clouds to search with.
        gallery: Clouds to search in.
        models: By name, in the order of the table.
        attributes: By cloud name, of queries and (for ``yaw``) gallery.
        mirror: Average the descriptors of each cloud and its mirror image.
        test_view: ``scale-1.1`` adds the descriptors of clouds 1.1 times as large.
        ap: Convention of average precision, see `og_reid.evaluation.evaluate`.
        protocol: One that takes distances, see `og_reid.evaluation.Protocol`.
        by: What queries are also scored apart by, see
            `og_reid.evaluation.query_slices.query_slices`; ``cameras`` scores the queries of each
            camera in the images of each other one.
        rerank: Also rank by re-ranked distances of every model, see `og_reid.rerank`.
        progress: Called with the number of clouds described and of all, for each method.

    Returns:
        Rows by method, then by queries.
    """
    distances = compute_distances(
        query, gallery, models,
        mirror=mirror, test_view=test_view, rerank=rerank, progress=progress,
    )  # fmt: skip
    views = name_views(mirror, test_view)
    return score(
        distances, query, gallery,
        attributes=attributes, ap=ap, protocol=protocol, by=by, views=views,
    )  # fmt: skip


def compute_distances(
    query: Clouds,
    gallery: Clouds,
    models: Mapping[str, StoredModel],
    *,
    mirror: bool = False,
    test_view: TestView = "none",
    rerank: Reranking | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Tensor | LazyDistances]:
    """(Q, G) distances by method: ``histogram``, every model, and the last model ``+ histogram``.

    The histogram needs to know the parts of the body: stores of published clouds go without it.

    The last adds both distances, each divided by its standard deviation over all pairs. With
    ``rerank`` every model is there once more as ``NAME re-ranked``.
    """
    distances: dict[str, Tensor | LazyDistances] = {}
    learned = colors = None
    total = len(query) + len(gallery)
    if isinstance(query, CloudSet) and isinstance(gallery, CloudSet):
        distances["histogram"] = colors = histogram_distance(
            part_histograms(query, progress=offset_progress(progress, 0, total)),
            part_histograms(gallery, progress=offset_progress(progress, len(query), total)),
        )
    for name, stored in models.items():
        parts = []
        for clouds, before in ((query, 0), (gallery, len(query))):
            if clouds.point_order != stored.preprocessing.point_order:
                raise ValueError(
                    f"model {name} takes clouds of point order "
                    f"{stored.preprocessing.point_order!r}; got {clouds.point_order!r}: give other "
                    "clouds or another model"
                )
            features = embed_set(
                stored.model,
                clouds,
                stored.preprocessing.num_points,
                mirror=mirror,
                test_view=test_view,
                progress=offset_progress(progress, before, total),
            )
            parts.append(features)
        distances[name] = learned = 1 - parts[0] @ parts[1].T
        if rerank is not None:
            distances[f"{name} re-ranked"] = rerank_by(
                rerank, parts[0], parts[1], progress=progress
            )
    if learned is not None and colors is not None:
        distances[f"{name} + histogram"] = learned / _spread(learned) + colors / _spread(colors)
    return distances


def rerank_by(
    name: Reranking,
    query: Features,
    gallery: Features,
    progress: Callable[[int, int], None] | None = None,
) -> LazyDistances:
    """Re-ranking by its name, with the parameters that its authors have."""
    if name == "gnn":
        return gnn_rerank(query, gallery, progress=progress)
    return k_reciprocal(query, gallery, variant=name, progress=progress)


def _spread(distance: Tensor) -> Tensor:
    """Standard deviation over all pairs; never 0 or NaN."""
    return distance.std(unbiased=False).clamp_min(1e-12)


def score(
    searches: Mapping[str, Search],
    query: LabelledImages,
    gallery: LabelledImages,
    *,
    attributes: Mapping[str, Attributes] | None = None,
    ap: AveragePrecision = "step",
    protocol: ProtocolName = "market",
    by: Sequence[Slicing] = ("occlusion",),
    views: str = "none",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ResultRow, ...]:
    """Figures of searches by method.

    ``views`` names the test-time views that the distances of the models were made with, to be kept
    with their figures; ``progress`` is called with what is done and all, over the methods; for the
    other arguments see `compare`.
    """
    pairs = [each for each in searches.values() if isinstance(each, tuple)]
    seen = next((pair[0].visibility for pair in pairs if pair[0].visibility is not None), None)
    slices = query_slices(
        query, gallery, attributes or {}, by, seen, own_camera=protocol == "unfiltered"
    )
    labels = Labels.of(query, gallery)
    rows = []
    passes = 2 if "cameras" in by else 1
    for number, (method, search) in enumerate(searches.items()):
        given: dict[str, Any] = {"ap": ap, "protocol": protocol, "labels": labels}
        if isinstance(search, tuple):
            given |= {"query": search[0], "gallery": search[1]}
        else:
            given["distance"] = search
        shows = [subprogress(progress, passes * number + i, passes * len(searches)) for i in (0, 1)]
        whole = evaluate(**given, progress=shows[0])
        scored = {"all": whole} | {name: whole.select(some) for name, some in slices.items()}
        if "cameras" in by:
            between = camera_pairs(**given, progress=shows[1])
            scored |= {f"camera {one} in {two}": each for (one, two), each in between.items()}
        for name, metrics in scored.items():
            told = metrics if method == "histogram" else replace(metrics, test_view=views)
            rows.append(ResultRow(method, name, told))
    return tuple(rows)


def format_table(comparisons: Sequence[ResultRow]) -> str:
    """The rows as plain text, figures in percent."""
    width = max((len(row.method) for row in comparisons), default=0)
    lines = [f"{'':{width}} {'queries':20} {'rank-1':>7} {'rank-5':>7} {'rank-10':>7} {'mAP':>7}"]
    for row in comparisons:
        metrics = row.metrics
        values = (*(metrics.rank(k) for k in (1, 5, 10)), metrics.mAP)
        figures = " ".join(f"{100 * value:7.1f}" for value in values)
        queries = f"{row.queries} ({metrics.num_valid})"
        note = metrics.few_note()
        lines.append(f"{row.method:{width}} {queries:20} {figures}{note and '  ' + note}")
    if comparisons:
        metrics = comparisons[0].metrics
        lines.append(f"mAP by the {metrics.ap} convention, protocol {metrics.protocol}")
        lines += [told for row in comparisons if (told := _told_spread(row))]
        views = {row.metrics.test_view for row in comparisons} - {"none"}
        lines += [f"models with test-time views: {view}" for view in sorted(views)]
        lines += [
            f"{method}: {told}"
            for method, told in dict.fromkeys(
                (row.method, row.metrics.reranking) for row in comparisons
            )
            if told != "none"
        ]
        skipped = metrics.num_queries - metrics.num_valid
        if skipped:
            lines.append(f"{skipped} of {metrics.num_queries} queries have no match: left out")
    return "\n".join(lines)


def _told_spread(row: ResultRow) -> str:
    """How much the ranks of all queries differ between random galleries, where there are any."""
    shots = row.metrics.shot_ranks
    deviation = [d for k in (1, 5, 10) if (d := row.metrics.rank_std(k)) is not None]
    if row.queries != "all" or shots is None or not deviation:
        return ""
    spread = ", ".join(f"{100 * each:.1f}" for each in deviation)
    return (
        f"{row.method}: ranks over {shots.shape[1]} random galleries, standard deviation {spread}"
    )


def save_results(comparisons: Sequence[ResultRow], path: str | Path) -> None:
    """Writes the rows with the figures of every query, to print and compare them later."""
    rows = [
        {"method": row.method, "queries": row.queries, "metrics": row.metrics.record()}
        for row in comparisons
    ]
    with atomic_write(path) as partial:
        partial.write_text(json.dumps({"format": _FORMAT, "rows": rows}) + "\n", encoding="utf-8")


def load_results(path: str | Path) -> tuple[ResultRow, ...]:
    """What `save_results` wrote, or `Metrics.to_json` as one row.

    Args:
        path: Of the file; for the folder of a run see `og_reid.pipelines.run_results`.

    Raises:
        ValueError: It is another file, damaged, or a folder.
        OSError: When it cannot be read.
    """
    record = read_record(path, FORMATS, WRITER)
    if record["format"] == METRICS_FORMAT:
        return (ResultRow(Path(path).stem, "all", load_metrics(path)),)
    with reading(path, "is damaged"):
        try:
            return tuple(map(_comparison, _listed(record.get("rows"))))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _comparison(row: Any) -> ResultRow:
    if not isinstance(row, dict):
        raise ValueError(f"rows must be objects; got {type(row).__name__}")
    for name in ("method", "queries"):
        if not isinstance(row.get(name), str):
            raise ValueError(f"{name} must be a text; got {type(row.get(name)).__name__}")
    return ResultRow(row["method"], row["queries"], Metrics.from_record(row.get("metrics", {})))


def _listed(rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise ValueError(f"rows must be a list; got {type(rows).__name__}")
    return rows
