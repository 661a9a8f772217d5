"""First ranked items of each query, kept beside the metrics of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from ..data.datasets.market import Attributes
from ..evaluation.protocols import Protocol, ProtocolName
from ..evaluation.query_slices import LabelledImages
from ..evaluation.saved_rankings import SavedRanking, SearchImages
from ..inference.encoder import Search
from ..retrieval.labels import ImageLabels, Labels
from ..retrieval.matches import LabelIndex
from ..retrieval.recorded import RankingRecorder
from ..retrieval.reranked import DistanceRows, LazyDistances
from ..retrieval.result import RetrievalResult
from ..retrieval.search import rank, rank_distances
from .data import DataSpec

__all__ = ["KEPT", "keep_ranking", "search_images"]

#: Items of each query that are kept.
KEPT = 10


def search_images(
    data: DataSpec,
    query: LabelledImages,
    gallery: LabelledImages,
    attributes: Mapping[str, Attributes],
) -> SearchImages:
    """Names and labels of the images of an evaluation.

    Args:
        data: Data set; stores have names alone.
        query: Names, identities and cameras of the queries.
        gallery: Likewise.
        attributes: Attributes by image name.
    """
    folder = data.place if data.place.is_dir() else data.place.parent
    paths = [tuple(side.names) for side in (query, gallery)]
    if data.holds_images:
        images = data.list_images()
        paths = [
            tuple(_below(each.path, folder) for each in side)
            for side in (images.query, images.gallery)
        ]
    known = [attributes.get(name) for name in query.names]
    return SearchImages(
        root=folder.as_posix(),
        query=paths[0],
        query_camids=tuple(query.camids.tolist()),
        gallery=paths[1],
        gallery_pids=tuple(gallery.pids.tolist()),
        gallery_camids=tuple(gallery.camids.tolist()),
        occluded=tuple(None if each is None else each.occluded for each in known),
    )


def _below(path: Path, folder: Path) -> str:
    """Path below a folder; the name of a file elsewhere."""
    inside = path.is_relative_to(folder) and ".." not in path.relative_to(folder).parts
    return path.relative_to(folder).as_posix() if inside else path.name


def keep_ranking(
    search: Search, labels: Labels, protocol: ProtocolName, images: SearchImages | None
) -> tuple[Search, Callable[[], SavedRanking | None]]:
    """The search, and a function to its first items that is to be called after an evaluation.

    Args:
        search: Embeddings or distances; distances in blocks are computed once for both.
        labels: Labels of both sides.
        protocol: Protocol of the evaluation.
        images: Images of both sides; None to keep nothing.
    """
    if images is None:
        return search, lambda: None
    if not Protocol(protocol).cameras:
        labels = Labels(*(ImageLabels(side.identities) for side in (labels.query, labels.gallery)))
    rows = _recorded(search, labels)
    found: Callable[[], RetrievalResult]
    if rows is not None:
        search, found = rows
    elif isinstance(search, tuple):
        found = partial(rank, *search, labels, k=KEPT)
    else:
        found = partial(rank_distances, search, labels, k=KEPT)

    def finish() -> SavedRanking:
        result = found()
        return SavedRanking(images, result.indices, result.distances)

    return search, finish


def _recorded(
    search: Search, labels: Labels
) -> tuple[Search, Callable[[], RetrievalResult]] | None:
    """The search with a recorder of its first items, for distances in blocks."""
    recorder = RankingRecorder(LabelIndex.of(labels), KEPT)
    if isinstance(search, DistanceRows):
        return recorder.watch(search), recorder.result
    if isinstance(search, LazyDistances):
        return recorder.watch(search), recorder.result
    return None
