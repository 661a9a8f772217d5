"""Evaluation of a model on a data set: embeddings, baseline, re-ranking, metrics by queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import Tensor

from ..data import read_attributes
from ..data.clouds.cloud_set import CloudSet
from ..data.clouds.source import point_order_of
from ..data.clouds.store import CloudStore, is_store
from ..data.datasets.market import Attributes
from ..evaluation.color_histogram import histogram_distance, part_histograms
from ..evaluation.engine import evaluate as evaluate_search
from ..evaluation.metrics import AveragePrecision
from ..evaluation.protocols import ProtocolName
from ..evaluation.query_slices import (
    LabelledImages,
    Slicing,
    known_attributes,
    known_yaw,
    query_slices,
)
from ..evaluation.results import ResultRow
from ..evaluation.saved_rankings import SearchImages
from ..evaluation.viewpoints import camera_pairs, viewpoint_curve
from ..inference.encoder import EmbedOptions, Encoder, Search
from ..inference.preprocessing import TestView, name_views
from ..inference.pretrained import DEFAULT_MODEL, encoder_for
from ..models.pgfa import Descriptor
from ..rerank import LazyDistances, Variant, gnn_rerank, k_reciprocal
from ..retrieval.features import Features
from ..retrieval.labels import Labels
from ..retrieval.progress import Progress, offset_progress, subprogress
from .data import DataSpec, as_data, check_answers, check_searchable, refuse_keypoints
from .fields import as_path, as_tuple, check_choice
from .input_files import check_model, check_readable
from .kept_rankings import keep_ranking, search_images
from .keypoints import check_keypoint_files, check_keypoints
from .local_rerank import check_local_rerank, rerank_local
from .progress import StageProgress, stage_progress
from .result_page import verify_searches, write_result_page
from .sample_source import DataSource
from .samples import stored_test

if TYPE_CHECKING:
    from ..data import Splits

__all__ = [
    "EvaluateSpec",
    "Reranking",
    "compute_distances",
    "evaluate",
    "rerank_by",
    "score_distances",
]

#: Name of a re-ranking: a variant of `k_reciprocal`, or ``gnn`` (`og_reid.rerank`).
Reranking = Variant | Literal["gnn"]


@dataclass(frozen=True)
class EvaluateSpec:
    """Evaluation of a model on the queries and the gallery of a data set.

    Attributes:
        data: Data set, or store of point clouds.
        model: Path for `og_reid.load_model`, or its result.
        name: Name of the model in the table; None: from its path.
        mirror: See `EmbedOptions`.
        test_view: Likewise.
        descriptor: Likewise.
        ap: Convention of average precision, see `og_reid.evaluation.evaluate`.
        protocol: See `og_reid.evaluation.Protocol`.
        by: Slices of queries to score separately, see `score_distances`.
        rerank: Also score the model re-ranked.
        html: Page to write, see `og_reid.pipelines.result_page`.
        keep: Keep the first ranked items of each query in the rows (`ResultRow.ranking`).

    Raises:
        ValueError: A value is not one of its choices.
    """

    data: DataSpec
    model: str | Path | Encoder = DEFAULT_MODEL
    _: KW_ONLY
    name: str | None = None
    mirror: bool = False
    test_view: TestView = "none"
    descriptor: Descriptor = "backbone"
    ap: AveragePrecision = "step"
    protocol: ProtocolName = "market"
    by: tuple[Slicing, ...] = ("occlusion",)
    rerank: Reranking | None = None
    html: Path | None = None
    keep: bool = False

    def __post_init__(self) -> None:
        """Checks the choices, and makes data of a path."""
        as_data(self)
        as_tuple(self, "by")
        as_path(self, "html")
        check_choice("ap", self.ap, get_args(AveragePrecision))
        check_choice("protocol", self.protocol, get_args(ProtocolName))
        check_choice("rerank", self.rerank, (*get_args(Variant), "gnn"))
        for each in self.by:
            check_choice("by", each, get_args(Slicing))
        self.options  # noqa: B018 - checks

    @property
    def options(self) -> EmbedOptions:
        """Options at test time."""
        return EmbedOptions(self.mirror, self.test_view, self.descriptor)


def evaluate(spec: EvaluateSpec, progress: StageProgress | None = None) -> tuple[ResultRow, ...]:
    """Metrics of a model on the queries and the gallery of a data set.

    Args:
        spec: Model, data, and options of the evaluation.
        progress: Called with (stage, items done, items in all).

    Returns:
        Rows by method, then by queries: the model with its ablations, for lifted point clouds the
        colour histogram alone and with the model; all also re-ranked with ``rerank``.

    Raises:
        ValueError: Model, data and options do not fit; raised before images are lifted or embedded.
        OSError: A file cannot be read.
    """
    check_model(spec.model)
    check_keypoint_files(spec.data)
    model = encoder_for(spec.model, clouds=not spec.data.holds_images)
    _check_choices(model, spec)
    attributes = _attributes(spec.data)
    query: LabelledImages
    gallery: LabelledImages
    if spec.data.holds_images:
        images = spec.data.list_images(progress)
        _check_images(images, attributes, spec)
        if model.inputs != "cloud":
            check_readable((*images.query, *images.gallery), spec.data.workers)
        source = DataSource(spec.data, progress)
        query, gallery = model.prepare((images.query, images.gallery), source)
    else:
        query, gallery = _stored(model, spec)
    model.check_identities(query.pids, spec.data.dataset)
    name = spec.name or (
        type(model).__name__ if isinstance(spec.model, Encoder) else _method_name(spec.model, model)
    )
    searches = compute_distances(
        query,
        gallery,
        {name: model},
        mirror=spec.mirror,
        test_view=spec.test_view,
        descriptor=spec.descriptor,
        rerank=spec.rerank,
        progress=stage_progress(progress, "embedding"),
        rerank_progress=progress,
    )
    rows = score_distances(
        searches,
        query,
        gallery,
        attributes=attributes,
        ap=spec.ap,
        protocol=spec.protocol,
        by=spec.by,
        views=name_views(spec.mirror, spec.test_view),
        images=search_images(spec.data, query, gallery, attributes) if spec.keep else None,
        progress=stage_progress(progress, "ranking"),
    )
    if spec.html is not None:
        rates = verify_searches(searches, Labels.of(query, gallery))
        write_result_page(spec.html, {name: rows}, rates=rates, title=f"Evaluation of {name}")
    return rows


def _check_choices(model: Encoder, spec: EvaluateSpec) -> None:
    """Refuses data and options that a kind of model lacks.

    Raises:
        ValueError: Gives the reason.
    """
    if model.inputs == "cloud":
        refuse_keypoints(spec.data)
    elif model.needs_keypoints:
        check_keypoints(spec.data)
    model.check(spec.options)
    if getattr(model, "has_local", False):
        check_local_rerank(spec.rerank)
    if "parts" in spec.by and model.inputs != "cloud" and not model.has_parts:
        raise ValueError("--slice-by parts needs a network with stripes; this one has none")


def _check_images(images: Splits, attributes: Mapping[str, Attributes], spec: EvaluateSpec) -> None:
    """Refuses images that cannot be scored with the options, before the work.

    Raises:
        ValueError: No query has a match, or attributes for ``by`` are unknown.
    """
    check_searchable(images, spec.data.dataset, spec.protocol)
    query, gallery = ([each.name for each in side] for side in (images.query, images.gallery))
    cameras = {each.camid for each in (*images.query, *images.gallery)}
    if "cameras" in spec.by and len(cameras) < 2:
        raise ValueError(
            f"--slice-by cameras needs images of several cameras; got those of {cameras}"
        )
    for by, names in (
        ("visibility", query),
        ("yaw", [*query, *gallery]),
        ("viewpoint", [*query, *gallery]),
    ):
        if by in spec.by:
            known_attributes(names, attributes, by)


def _stored(model: Encoder, spec: EvaluateSpec) -> tuple[LabelledImages, LabelledImages]:
    """Query and gallery of a store of point clouds.

    Raises:
        ValueError: The model takes images, or attributes for ``by`` are unknown.
    """
    if model.inputs != "cloud":
        raise ValueError(
            f"--data must hold images for this model; {spec.data.path} is a store of point clouds: "
            "give their images, or a model of clouds"
        )
    query, gallery = stored_test(CloudStore(spec.data.place))
    labels = [
        list(zip(side.pids.tolist(), side.camids.tolist(), strict=True))
        for side in (query, gallery)
    ]
    check_answers(labels[0], labels[1], spec.protocol)
    query_slices(query, gallery, {}, spec.by)  # refuses slices that a store has no attributes for
    if "viewpoint" in spec.by:
        known_yaw(query, {}, "viewpoint")
    return query, gallery


def _attributes(data: DataSpec) -> dict[str, Attributes]:
    """Attributes beside the images; stores and data sets by name have none."""
    known = data.dataset is None and not is_store(data.place)
    return read_attributes(data.place) if known else {}


def compute_distances(
    query: LabelledImages,
    gallery: LabelledImages,
    models: Mapping[str, Encoder],
    *,
    mirror: bool = False,
    test_view: TestView = "none",
    descriptor: Descriptor = "backbone",
    rerank: Reranking | None = None,
    progress: Progress | None = None,
    rerank_progress: StageProgress | None = None,
) -> dict[str, Search]:
    """Searches by method: baseline, every model with its ablations, model and baseline combined.

    The baseline is the colour histogram of body parts, for lifted point clouds only.

    Args:
        query: Query items from `Encoder.prepare`, or point clouds.
        gallery: Gallery items.
        models: Models by name, in the order of the table.
        mirror: See `EmbedOptions`.
        test_view: Likewise.
        descriptor: Likewise.
        rerank: Also re-rank the methods of every model, see `og_reid.rerank`.
        progress: Called with (items embedded, items of both), for each model.
        rerank_progress: Called with (``re-ranking METHOD``, done, total).

    Returns:
        ``histogram``; for each model the methods of `Encoder.searches`, and each of these as
        ``METHOD re-ranked``; ``NAME + histogram`` of the last model, the sum of both distances,
        each divided by its standard deviation over all pairs.

    Raises:
        ValueError: Items do not fit a model, or it lacks an option.
    """
    options = EmbedOptions(mirror, test_view, descriptor)
    searches: dict[str, Search] = {}
    learned = colors = None
    total = len(query) + len(gallery)
    if isinstance(query, CloudSet) and isinstance(gallery, CloudSet):
        searches["histogram"] = colors = histogram_distance(
            part_histograms(query, progress=offset_progress(progress, 0, total)),
            part_histograms(gallery, progress=offset_progress(progress, len(query), total)),
        )
    for name, model in models.items():
        for items in (query, gallery):
            _check_point_order(name, model, items)
        pairs = model.searches(name, query, gallery, options, progress=progress)
        searches |= {method: model.search(*pair) for method, pair in pairs.items()}
        learned = searches[name] if name in searches else None
        if rerank is not None:
            for method, pair in pairs.items():
                shown = stage_progress(rerank_progress, f"re-ranking {method}")
                local = pair[0].local is not None
                searches[f"{method} re-ranked"] = (
                    rerank_local(rerank, model, pair, progress=shown)
                    if local
                    else rerank_by(rerank, *pair, progress=shown)
                )
    if isinstance(learned, Tensor) and colors is not None:
        searches[f"{name} + histogram"] = learned / _spread(learned) + colors / _spread(colors)
    return searches


def _method_name(model: str | Path, encoder: Encoder) -> str:
    """Name of a model in tables: the given name for clouds, the stem of the file otherwise."""
    if encoder.inputs == "cloud":
        return str(model)
    name = Path(model)
    return name.stem if encoder.inputs == "image" else name.name.removesuffix(".safetensors")


def _check_point_order(name: str, model: Encoder, items: LabelledImages) -> None:
    wanted, found = getattr(model.preprocessing, "point_order", None), point_order_of(items)
    if wanted != found:
        raise ValueError(
            f"model {name} takes clouds of point order {wanted!r}; got {found!r}: give other "
            "clouds or another model"
        )


def rerank_by(
    name: Reranking,
    query: Features,
    gallery: Features,
    progress: Progress | None = None,
) -> LazyDistances:
    """Re-ranking by name, with the parameters of its authors."""
    if name == "gnn":
        return gnn_rerank(query, gallery, progress=progress)
    return k_reciprocal(query, gallery, variant=name, progress=progress)


def _spread(distance: Tensor) -> Tensor:
    """Standard deviation over all pairs; never 0 or NaN."""
    return distance.std(unbiased=False).clamp_min(1e-12)


def score_distances(
    searches: Mapping[str, Search],
    query: LabelledImages,
    gallery: LabelledImages,
    *,
    attributes: Mapping[str, Attributes] | None = None,
    ap: AveragePrecision = "step",
    protocol: ProtocolName = "market",
    by: Sequence[Slicing] = ("occlusion",),
    views: str = "none",
    images: SearchImages | None = None,
    progress: Progress | None = None,
) -> tuple[ResultRow, ...]:
    """Metrics of searches by method, then by queries.

    Args:
        searches: Result of `compute_distances`.
        query: Names, identities and cameras of the queries.
        gallery: Likewise.
        attributes: Attributes by image name, of queries and (for ``yaw``) gallery.
        ap: Convention of average precision, see `og_reid.evaluation.evaluate`.
        protocol: One that takes distances, see `og_reid.evaluation.Protocol`.
        by: Slices of queries to score separately, see
            `og_reid.evaluation.query_slices.query_slices`; ``cameras`` scores the queries of each
            camera against the images of each other one, ``viewpoint`` all queries against the
            matches of each range of angles between the bodies' headings.
        views: Name of the test-time views of the models, see
            `og_reid.inference.preprocessing.name_views`; stored with their metrics.
        images: Names of the images, to keep the first ranked items in the rows of all queries.
        progress: Called with (queries done, queries in all), over the methods.

    Returns:
        Rows by method, then by queries.

    Raises:
        ValueError: No query has a match, or attributes for ``by`` are unknown.
    """
    pairs = [each for each in searches.values() if isinstance(each, tuple)]
    seen = next((pair[0].visibility for pair in pairs if pair[0].visibility is not None), None)
    slices = query_slices(
        query, gallery, attributes or {}, by, seen, own_camera=protocol == "unfiltered"
    )
    labels = Labels.of(query, gallery)
    yaws: dict[str, Any] = {}
    if "viewpoint" in by:
        yaws["query_yaw"] = known_yaw(query, attributes or {}, "viewpoint")
        yaws["gallery_yaw"] = known_yaw(gallery, attributes or {}, "viewpoint")
    rows = []
    passes = 2 if {"cameras", "viewpoint"} & set(by) else 1
    for number, (method, search) in enumerate(searches.items()):
        search, ranking = keep_ranking(search, labels, protocol, images)
        given: dict[str, Any] = {"ap": ap, "protocol": protocol, "labels": labels}
        if isinstance(search, tuple):
            given |= {"query": search[0], "gallery": search[1]}
        else:
            given["distance"] = search
        shows = [subprogress(progress, passes * number + i, passes * len(searches)) for i in (0, 1)]
        whole = evaluate_search(**given, progress=shows[0])
        scored = {"all": whole} | {name: whole.select(some) for name, some in slices.items()}
        if "cameras" in by:
            between = camera_pairs(**given, progress=shows[1])
            scored |= {f"camera {one} in {two}": each for (one, two), each in between.items()}
        if "viewpoint" in by:
            curve = viewpoint_curve(**given, **yaws, progress=shows[1])
            scored |= {f"matches {a:g}-{b:g} deg": each for (a, b), each in curve.items()}
        for name, metrics in scored.items():
            tagged = metrics if method == "histogram" else replace(metrics, test_view=views)
            rows.append(ResultRow(method, name, tagged, ranking() if name == "all" else None))
    return tuple(rows)
