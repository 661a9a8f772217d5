"""How a search is scored and what is told of it, for all kinds of models."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..pipelines.data import check_searchable

if TYPE_CHECKING:
    from ..data import Splits
    from ..data.datasets.market import Attributes
    from ..evaluation.query_slices import LabelledImages
    from ..evaluation.results import Search

__all__ = ["check_scoring", "score_and_tell"]


def check_scoring(images: Splits, options: argparse.Namespace) -> None:
    """Finds before the work, not after it, that images cannot be scored as the options say.

    Raises:
        ValueError: No query has an answer, or what `add_scoring`'s ``--by`` needs is not known.
    """
    from ..evaluation.query_slices import known_attributes

    check_searchable(images, options.dataset, options.protocol)
    attributes = _attributes(options)
    query, gallery = ([each.name for each in side] for side in (images.query, images.gallery))
    cameras = {each.camid for each in (*images.query, *images.gallery)}
    if "cameras" in options.by and len(cameras) < 2:
        raise ValueError(f"--by cameras needs images of several cameras; got those of {cameras}")
    for by, names in (("visibility", query), ("yaw", [*query, *gallery])):
        if by in options.by:
            known_attributes(names, attributes, by)


def score_and_tell(
    searches: Mapping[str, Search],
    query: LabelledImages,
    gallery: LabelledImages,
    options: argparse.Namespace,
    views: str = "none",
) -> None:
    """Ranks, prints the figures and keeps them, as the options of `add_scoring` say."""
    from ..evaluation.results import format_table, rerank_by, save_results, score
    from .progress import progress_bar

    searches = dict(searches)
    for method, search in list(searches.items()):
        if options.rerank is not None and isinstance(search, tuple):
            with progress_bar(f"re-ranking {method}") as show:
                searches[f"{method} re-ranked"] = rerank_by(
                    options.rerank, *search, progress=lambda done, total: show(done, total, "")
                )
    with progress_bar("ranking") as show:
        rows = score(
            searches,
            query,
            gallery,
            attributes=_attributes(options),
            ap=options.ap,
            protocol=options.protocol,
            by=options.by,
            views=views,
            progress=lambda done, total: show(done, total, ""),
        )
    print(format_table(rows))
    if options.out is not None:
        save_results(rows, options.out)
        print(f"figures of every query, for og-reid compare: {options.out}")


def _attributes(options: argparse.Namespace) -> dict[str, Attributes]:
    """Those beside the images; of stores and of data sets by name there are none."""
    from ..data import read_attributes
    from ..data.clouds.store import is_store

    known = options.dataset is None and not is_store(options.data)
    return read_attributes(options.data) if known else {}
