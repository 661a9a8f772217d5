"""The clouds that commands are given: stored ones, or photographs lifted to clouds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..comparison import Clouds
    from ..data import CloudSet, MarketSplits, Sample
    from ..data.hold_out import HeldOut
    from ..data.store import CloudStore

__all__ = [
    "can_be_searched",
    "check_search",
    "generated",
    "held_out",
    "lifted",
    "lifted_test",
    "stored_test",
]


def can_be_searched(images: MarketSplits) -> bool:
    """Whether there are queries of one image each, and a gallery."""
    return bool(images.query and images.gallery) and not _of_tracklets(images)


def check_search(images: MarketSplits, dataset: str | None) -> None:
    """Refuses a data set whose queries cannot be scored image by image, and says why."""
    if not (images.query and images.gallery):
        raise ValueError(f"{dataset} has no queries or no gallery to evaluate on")
    if _of_tracklets(images):
        raise ValueError(
            f"{dataset} is scored by tracklets, and this command scores images: embed its images "
            "and average each tracklet's in Python"
        )


def _of_tracklets(images: MarketSplits) -> bool:
    """Whether queries are several images each, which are not to be scored one by one."""
    return any(getattr(sample, "tracklet", "") for sample in images.query)


def generated(options: argparse.Namespace) -> tuple[Sample, ...]:
    """The photographs of ``--generated``, which show nobody in particular: identity -1."""
    from ..data import Sample
    from ..data.datasets.listing import IMAGE_ENDINGS

    folder: Path | None = options.generated
    if folder is None:
        return ()
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")
    )
    if not paths:
        raise ValueError(f"--generated must be a folder with images; {folder} has none")
    return tuple(Sample(path, -1, 0) for path in paths)


def held_out(samples: Sequence[Sample], people: int) -> HeldOut:
    """Some of the people in training photographs kept back, see `og_reid.data.hold_out`."""
    import torch

    from ..data.hold_out import hold_out

    pids = torch.tensor([sample.pid for sample in samples], dtype=torch.int64)
    camids = torch.tensor([sample.camid for sample in samples], dtype=torch.int64)
    return hold_out(pids, camids, people)


def stored_test(store: CloudStore) -> tuple[Clouds, Clouds]:
    """Query and gallery of a store."""
    return store.split("query"), store.split("gallery")


def lifted_test(
    images: MarketSplits, options: argparse.Namespace, canonical: bool
) -> tuple[CloudSet, CloudSet]:
    """Query and gallery, lifted to clouds or found in the cache."""
    return (
        lifted(images.query, "lifting queries", options, canonical),
        lifted(images.gallery, "lifting gallery", options, canonical),
    )


def lifted(
    samples: Sequence[Sample], title: str, options: argparse.Namespace, canonical: bool
) -> CloudSet:
    """Photographs lifted to clouds, perhaps in the resting pose, with a progress bar."""
    from ..lifting import lift_split
    from ..progress import progress_bar

    with progress_bar(title) as show:
        return lift_split(
            samples,
            workers=options.workers,
            progress=lambda done, total: show(done, total, ""),
            cache=options.cache,
            canonical=canonical,
        )
