"""What guidance by keypoints buys: one network of photographs, compared in three ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .comparison import Comparison, query_subsets
from .data.market import Attributes
from .data.people import PeopleSet
from .embedding import embed_people
from .evaluation import AveragePrecision, evaluate
from .models.embedding import Embedding
from .models.pgfa import PGFA, Descriptor
from .models.stripe_net import StripeNet

__all__ = ["compare_people", "score_views"]


def compare_people(
    query: PeopleSet,
    gallery: PeopleSet,
    network: PGFA | StripeNet,
    *,
    name: str = "pgfa",
    descriptor: Descriptor = "raw",
    attributes: Mapping[str, Attributes] | None = None,
    ap: AveragePrecision = "step",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Comparison, ...]:
    """Ranks by the commonly visible parts, by all parts, and by the global vector alone.

    Args:
        query: Photographs to search with.
        gallery: Photographs to search in.
        network: Its mode is the same afterwards.
        name: Of the network, for the table.
        descriptor: Of the parts, see `PGFA.embed`.
        attributes: By the file name of a query; with them, occluded and unoccluded ones are also
            scored apart.
        ap: Convention of average precision, see `og_reid.evaluation.evaluate`.
        progress: Called with the number of photographs embedded, and of all.

    Returns:
        Rows ``NAME``, ``NAME unmasked`` (both with parts only) and ``NAME global`` (with a global
        branch only), by queries.
    """
    done, total = 0, len(query) + len(gallery)
    sides = []
    for people in (query, gallery):
        pieces = []
        for piece in embed_people(network, people, descriptor=descriptor):
            pieces.append(piece)
            done += len(piece)
            if progress is not None:
                progress(done, total)
        sides.append(Embedding.cat(pieces))
    asked, searched = sides
    views = {}
    if network.parts:
        views = {
            name: (asked, searched),
            f"{name} unmasked": (asked.unmasked(), searched.unmasked()),
        }
    if asked.features is not None:
        views[f"{name} global"] = (asked.without_parts(), searched.without_parts())
    return score_views(views, query, gallery, attributes=attributes, ap=ap)


def score_views(
    views: Mapping[str, tuple[Embedding, Embedding]],
    query: PeopleSet,
    gallery: PeopleSet,
    *,
    attributes: Mapping[str, Attributes] | None = None,
    ap: AveragePrecision = "step",
) -> tuple[Comparison, ...]:
    """Figures of embeddings of query and gallery by method, over what both show.

    Arguments as for `compare_people`.
    """
    names = [sample.path.name for sample in query.samples]
    rows = []
    for method, pair in views.items():
        whole = evaluate(
            *pair,
            query_pids=query.pids,
            gallery_pids=gallery.pids,
            query_camids=query.camids,
            gallery_camids=gallery.camids,
            ap=ap,
        )
        for title, chosen in query_subsets(names, attributes or {}).items():
            rows.append(Comparison(method, title, whole.select(chosen)))
    return tuple(rows)
