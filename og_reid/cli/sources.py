"""The clouds that commands are given: stored ones, or photographs lifted to clouds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..comparison import Clouds
    from ..data import CloudSet, MarketSplits, Sample
    from ..data.store import CloudStore

__all__ = ["lifted", "lifted_test", "of_tracklets", "stored_test"]


def of_tracklets(images: MarketSplits) -> bool:
    """Whether queries are several images each, which are not to be scored one by one."""
    return any(getattr(sample, "tracklet", "") for sample in images.query)


def stored_test(store: CloudStore) -> tuple[Clouds, Clouds]:
    """Query and gallery of a store."""
    return store.split("query"), store.split("gallery")


def lifted_test(images: MarketSplits, options: argparse.Namespace) -> tuple[CloudSet, CloudSet]:
    """Query and gallery, lifted to clouds or found in the cache."""
    return (
        lifted(images.query, "lifting queries", options),
        lifted(images.gallery, "lifting gallery", options),
    )


def lifted(samples: Sequence[Sample], title: str, options: argparse.Namespace) -> CloudSet:
    """Photographs lifted to clouds, with a progress bar."""
    from ..lifting import lift_split
    from ..progress import progress_bar

    with progress_bar(title) as show:
        return lift_split(
            samples,
            workers=options.workers,
            progress=lambda done, total: show(done, total, ""),
            cache=options.cache,
        )
