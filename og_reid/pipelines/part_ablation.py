"""What guidance by keypoints buys: one network of photographs, compared in three ways."""

from __future__ import annotations

from collections.abc import Callable

from ..data.images.image_set import ImageSet
from ..evaluation.results import Search
from ..inference.extract import embed_images
from ..models.embedding import Embedding
from ..models.pgfa import PGFA, Descriptor
from ..models.stripe_net import StripeNet

__all__ = ["part_ablation"]


def part_ablation(
    query: ImageSet,
    gallery: ImageSet,
    network: PGFA | StripeNet,
    *,
    name: str = "pgfa",
    descriptor: Descriptor = "raw",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Search]:
    """Features to rank by the commonly visible parts, by all parts, and by the global vector alone.

    Args:
        query: Photographs to search with.
        gallery: Photographs to search in.
        network: Its mode is the same afterwards.
        name: Of the network, for the table.
        descriptor: Of the parts, see `PGFA.embed`.
        progress: Called with the number of photographs embedded, and of all.

    Returns:
        ``NAME``, ``NAME unmasked`` (both with parts only) and ``NAME global`` (with a global branch
        only), for `og_reid.evaluation.results.score`.
    """
    done, total = 0, len(query) + len(gallery)
    sides = []
    for people in (query, gallery):
        pieces = []
        for piece in embed_images(network, people, descriptor=descriptor):
            pieces.append(piece)
            done += len(piece)
            if progress is not None:
                progress(done, total)
        sides.append(Embedding.cat(pieces))
    asked, searched = sides
    searches: dict[str, Search] = {}
    if network.parts:
        searches[name] = asked, searched
        searches[f"{name} unmasked"] = asked.unmasked(), searched.unmasked()
    if asked.features is not None:
        searches[f"{name} global"] = asked.without_parts(), searched.without_parts()
    return searches
