"""Models and the colour histogram baseline on the same clouds, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pose.atomic import replacing

from .checkpoint import StoredModel
from .data.clouds import CloudSet
from .data.market import Attributes
from .data.store import CloudStore
from .embedding import TestView, embed_set, name_views
from .evaluation import AveragePrecision, Metrics, evaluate_distances
from .evaluation.metrics import read_record
from .histogram import histogram_distance, part_histograms

__all__ = [
    "Clouds",
    "Comparison",
    "compare",
    "format_table",
    "load_comparisons",
    "measure_distances",
    "query_subsets",
    "save_comparisons",
    "score",
]


_FORMAT = "og_reid comparison 1"
#: Clouds to rank: lifted ones, or a store of published ones.
Clouds = CloudSet | CloudStore


@dataclass(frozen=True, eq=False)
class Comparison:
    """One row of a table.

    Attributes:
        method: ``histogram``, the name of a model, or that name and ``+ histogram``.
        queries: ``all``, ``unoccluded`` or ``occluded``.
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
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Comparison, ...]:
    """Ranks by the histogram baseline, by every model, and by both together.

    Args:
        query: Clouds to search with.
        gallery: Clouds to search in.
        models: By name, in the order of the table.
        attributes: By cloud name; with them, occluded and unoccluded queries are also scored
            apart.
        mirror: Average the descriptors of each cloud and its mirror image.
        test_view: ``scale-1.1`` adds the descriptors of clouds 1.1 times as large.
        ap: Convention of average precision, see `og_reid.evaluation.evaluate`.
        progress: Called with the number of clouds embedded and of all, for each model.

    Returns:
        Rows by method, then by queries.
    """
    distances = measure_distances(
        query, gallery, models, mirror=mirror, test_view=test_view, progress=progress
    )
    views = name_views(mirror, test_view)
    return score(distances, query, gallery, attributes=attributes, ap=ap, views=views)


def measure_distances(
    query: Clouds,
    gallery: Clouds,
    models: Mapping[str, StoredModel],
    *,
    mirror: bool = False,
    test_view: TestView = "none",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Tensor]:
    """(Q, G) distances by method: ``histogram``, every model, and the last model ``+ histogram``.

    The histogram needs to know the parts of the body: stores of published clouds go without it.

    The last adds both distances, each divided by its standard deviation over all pairs.
    """
    distances = {}
    if isinstance(query, CloudSet) and isinstance(gallery, CloudSet):
        distances["histogram"] = histogram_distance(
            part_histograms(query), part_histograms(gallery)
        )
    total = len(query) + len(gallery)
    for name, stored in models.items():
        parts = []
        for clouds, before in ((query, 0), (gallery, len(query))):
            if clouds.layout != stored.preprocessing.layout:
                raise ValueError(
                    f"model {name} takes clouds of layout {stored.preprocessing.layout!r}; got "
                    f"{clouds.layout!r}: give other clouds or another model"
                )
            features = embed_set(
                stored.model,
                clouds,
                stored.preprocessing.num_points,
                mirror=mirror,
                test_view=test_view,
                progress=_shifted(progress, before, total),
            )
            parts.append(features)
        distances[name] = 1 - parts[0] @ parts[1].T
    if models and "histogram" in distances:
        learned, colors = distances[name], distances["histogram"]
        distances[f"{name} + histogram"] = learned / _spread(learned) + colors / _spread(colors)
    return distances


def _shifted(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    """``progress`` for a part of the clouds that comes after ``before`` others."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


def _spread(distance: Tensor) -> Tensor:
    """Standard deviation over all pairs; never 0 or NaN."""
    return distance.std(unbiased=False).clamp_min(1e-12)


def score(
    distances: Mapping[str, Tensor],
    query: Clouds,
    gallery: Clouds,
    *,
    attributes: Mapping[str, Attributes] | None = None,
    ap: AveragePrecision = "step",
    views: str = "none",
) -> tuple[Comparison, ...]:
    """Figures of (Q, G) distances by method.

    ``views`` names the test-time views that the distances of the models were made with, to be kept
    with their figures; for the other arguments see `compare`.
    """
    rows = []
    for method, distance in distances.items():
        for name, chosen in query_subsets(query.names, attributes or {}).items():
            metrics = _score(distance[chosen], query.select(chosen), gallery, ap)
            if method != "histogram":
                metrics = replace(metrics, test_view=views)
            rows.append(Comparison(method, name, metrics))
    return tuple(rows)


def format_table(comparisons: Sequence[Comparison]) -> str:
    """The rows as plain text, figures in percent."""
    width = max((len(row.method) for row in comparisons), default=0)
    lines = [f"{'':{width}} {'queries':16} {'rank-1':>7} {'rank-5':>7} {'rank-10':>7} {'mAP':>7}"]
    for row in comparisons:
        metrics = row.metrics
        values = (*(metrics.rank(k) for k in (1, 5, 10)), metrics.mAP)
        figures = " ".join(f"{100 * value:7.1f}" for value in values)
        queries = f"{row.queries} ({metrics.num_valid})"
        lines.append(f"{row.method:{width}} {queries:16} {figures}")
    if comparisons:
        metrics = comparisons[0].metrics
        lines.append(f"mAP by the {metrics.ap} convention")
        views = {row.metrics.test_view for row in comparisons} - {"none"}
        lines += [f"models with test-time views: {view}" for view in sorted(views)]
        skipped = metrics.num_queries - metrics.num_valid
        if skipped:
            lines.append(f"{skipped} of {metrics.num_queries} queries have no match: left out")
    return "\n".join(lines)


def save_comparisons(comparisons: Sequence[Comparison], path: str | Path) -> None:
    """Writes the rows with the figures of every query, to print and compare them later."""
    rows = [
        {"method": row.method, "queries": row.queries, "metrics": row.metrics.record()}
        for row in comparisons
    ]
    with replacing(path) as partial:
        partial.write_text(json.dumps({"format": _FORMAT, "rows": rows}) + "\n", encoding="utf-8")


def load_comparisons(path: str | Path) -> tuple[Comparison, ...]:
    """What `save_comparisons` wrote.

    Raises:
        ValueError: When it is another file.
    """
    record = read_record(path, _FORMAT, "og-reid evaluate")
    try:
        return tuple(
            Comparison(row["method"], row["queries"], Metrics.from_record(row["metrics"]))
            for row in record["rows"]
        )
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def query_subsets(names: Sequence[str], attributes: Mapping[str, Attributes]) -> dict[str, Tensor]:
    """Rows of the queries of these names, all of them and by occlusion where it is known."""
    subsets = {"all": torch.arange(len(names))}
    known = [attributes.get(name) for name in names]
    for title, wanted in (("unoccluded", False), ("occluded", True)):
        rows = [row for row, each in enumerate(known) if each and each.occluded is wanted]
        if rows:
            subsets[title] = torch.tensor(rows)
    return subsets


def _score(distances: Tensor, query: Clouds, gallery: Clouds, ap: AveragePrecision) -> Metrics:
    return evaluate_distances(
        distances,
        query_pids=query.pids,
        gallery_pids=gallery.pids,
        query_camids=query.camids,
        gallery_camids=gallery.camids,
        ap=ap,
    )
