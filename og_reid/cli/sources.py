"""The clouds that commands are given: stored ones, or photographs lifted to clouds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config.schema import TrainConfig
    from ..data import CloudSet, Sample, Splits
    from ..data.clouds.store import CloudStore
    from ..data.datasets.holdout import HoldoutSplit
    from ..evaluation.results import Clouds

__all__ = [
    "can_be_searched",
    "check_answers",
    "check_people",
    "check_search",
    "generated",
    "held_out",
    "lifted",
    "lifted_test",
    "naming_unreadable",
    "say",
    "stored_test",
]

_NAMED = 5  # unreadable photographs that a message names


def say(text: str) -> None:
    """Prints what all processes of a run find, in the first one alone."""
    from ..train.distributed import get_dist_info

    if get_dist_info().is_main:
        print(text)


def can_be_searched(images: Splits) -> bool:
    """Whether there are queries of one image each, and a gallery with answers to some.

    Without any answer a validation would fail after all the lifting and training.
    """
    if not (images.query and images.gallery) or _of_tracklets(images):
        return False
    cameras: dict[int, set[int]] = {}
    for each in images.gallery:
        cameras.setdefault(each.pid, set()).add(each.camid)
    if any(cameras.get(each.pid, set()) - {each.camid} for each in images.query):
        return True
    say("not validated: no query has a match of another camera in the gallery")
    return False


def check_search(images: Splits, dataset: str | None, protocol: str) -> None:
    """Refuses a data set whose queries cannot be scored image by image, and says why."""
    if not (images.query and images.gallery):
        raise ValueError(f"{dataset} has no queries or no gallery to evaluate on")
    if _of_tracklets(images):
        raise ValueError(
            f"{dataset} is scored by tracklets, and this command scores images: embed its images "
            "and score them in Python by Protocol('mars', query_tracks=..., gallery_tracks=...)"
        )
    query, gallery = (
        [(each.pid, each.camid) for each in samples] for samples in (images.query, images.gallery)
    )
    check_answers(query, gallery, protocol)


def check_answers(
    query: Sequence[tuple[int, int]], gallery: Sequence[tuple[int, int]], protocol: str
) -> None:
    """Finds before the work, not after it, that a search has no right answer.

    Says what figures are worth where all answers are right.

    Args:
        query: Identity and camera of each.
        gallery: The same.
        protocol: Name of an `og_reid.evaluation.Protocol`.

    Raises:
        ValueError: No query has a match.
    """
    from ..retrieval.labels import check_labels
    from ..retrieval.matches import find_matches

    (query_pids, query_camids), (gallery_pids, gallery_camids) = (
        list(zip(*side, strict=True)) for side in (query, gallery)
    )
    labels = check_labels(query_pids, gallery_pids, query_camids, gallery_camids)
    find_matches(labels, cameras=protocol != "unfiltered")
    if len(set(gallery_pids) - {-1}) == 1:
        print(
            "the gallery holds a single identity: every answer is right, and the figures say "
            "nothing about the model",
            file=sys.stderr,
        )


@contextmanager
def naming_unreadable(paths: Sequence[Path]) -> Iterator[None]:
    """An error about one photograph becomes one about all that cannot be read.

    They are opened after an error only; one that has another cause stays as it is.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        bad = [path for path in paths if not _readable(path)]
        if len(bad) < 2:
            raise
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise ValueError(
            f"{len(bad)} of {len(paths)} photographs cannot be read: "
            f"{', '.join(map(str, bad[:_NAMED]))}{more}; get them again or leave them out"
        ) from error


def _readable(path: Path) -> bool:
    from pose import read_image

    try:
        read_image(path)
    except (ValueError, OSError):
        return False
    return True


def _of_tracklets(images: Splits) -> bool:
    """Whether queries are several images each, which are not to be scored one by one."""
    return any(getattr(sample, "tracklet", "") for sample in images.query)


def generated(options: argparse.Namespace) -> tuple[Sample, ...]:
    """The photographs of ``--generated``, which show nobody in particular: identity -1."""
    from ..data import Sample
    from ..data.datasets import paths_from_csv
    from ..data.datasets.tree import scan

    source: Path | None = options.generated
    if source is None:
        return ()
    if source.is_file():
        paths = paths_from_csv(source, allow_absolute=options.absolute)
        return tuple(Sample(path, -1, 0) for path in paths)
    tree = scan(source) if source.is_dir() else None
    paths = [source / path for path in tree.images] if tree else []
    for doubt in tree.notes()[0] if tree else ():
        print(f"note: {source}: {doubt}", file=sys.stderr)
    if not paths:
        raise ValueError(
            "--generated must be a folder with images, or a CSV file with the column path; "
            f"{source} has none"
        )
    return tuple(Sample(path, -1, 0) for path in paths)


def held_out(samples: Sequence[Sample], people: int) -> HoldoutSplit:
    """Some of the people in training photographs kept back, see `og_reid.data.datasets.holdout`."""
    import torch

    from ..data.datasets.holdout import holdout_split

    pids = torch.tensor([sample.pid for sample in samples], dtype=torch.int64)
    camids = torch.tensor([sample.camid for sample in samples], dtype=torch.int64)
    return holdout_split(pids, camids, people)


def stored_test(store: CloudStore) -> tuple[Clouds, Clouds]:
    """Query and gallery of a store."""
    return store.split("query"), store.split("gallery")


def lifted_test(
    images: Splits, options: argparse.Namespace, canonical: bool
) -> tuple[CloudSet, CloudSet]:
    """Query and gallery, lifted to clouds or found in the cache.

    They are lifted in one go: all that cannot be read are named before the work.
    """
    both = lifted((*images.query, *images.gallery), "lifting images", options, canonical)
    rows, first = range(len(both)), len(images.query)
    return both.select(rows[:first]), both.select(rows[first:])


def lifted(
    samples: Sequence[Sample], title: str, options: argparse.Namespace, canonical: bool
) -> CloudSet:
    """Photographs lifted to clouds, perhaps in the resting pose, with a progress bar."""
    from ..data.clouds.lift_dataset import lift_dataset
    from .progress import progress_bar

    with progress_bar(title) as show:
        return lift_dataset(
            samples,
            workers=options.workers,
            progress=lambda done, total: show(done, total, ""),
            cache=options.cache,
            canonical=canonical,
        )


def check_people(config: TrainConfig, samples: Sequence[Sample]) -> None:
    """Refuses people that the settings cannot train on, before their photographs are lifted.

    Args:
        config: All settings of the run.
        samples: Training photographs, people held out among them.

    Raises:
        ValueError: There are too few people or photographs, or processes cannot share a batch.
    """
    import torch

    from ..train.distributed import get_dist_info
    from ..train.samplers import arrange, share_rows

    pids = torch.tensor([each.pid for each in samples], dtype=torch.int64)
    camids = torch.tensor([each.camid for each in samples], dtype=torch.int64)
    if config.data.hold_out:
        rows = held_out(samples, config.data.hold_out).train
        pids, camids = pids[rows], camids[rows]
    _, _, sampler = arrange(config, pids, camids)
    share_rows(sampler, get_dist_info())
