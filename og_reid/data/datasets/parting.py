"""Splits of custom data sets, and notes about the result."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files.inputs import counted, named
from .market import few_queries
from .schema import SPLITS, Dataset, DatasetSample
from .tree import same_images

__all__ = ["Names", "by_people", "finish", "refuse_shared"]

Names = tuple[Mapping[str, int], Mapping[str, int]]
"""Numbers of identities and cameras by name."""


def by_people(
    samples: Sequence[DatasetSample], train_share: float
) -> tuple[dict[str, list[DatasetSample]], str]:
    """Identity-disjoint splits; added identities do not move others.

    A hash of their numbers selects the training identities. Of each other identity the first image
    is a query and the rest are gallery, or all are gallery when there is only one.

    Args:
        samples: All images.
        train_share: Fraction of training identities, in [0, 1].

    Returns:
        The splits, and a note about them; empty without training images.

    Raises:
        ValueError: ``train_share`` is out of range.
    """
    if not 0 <= train_share <= 1:
        raise ValueError(f"train_share must be in [0, 1]; got {train_share}")
    counts = Counter(sample.pid for sample in samples)
    splits: dict[str, list[DatasetSample]] = {split: [] for split in SPLITS}
    train = {pid for pid in counts if pid > 0 and _draw(pid) < train_share}
    asked: set[int] = set()
    for sample in samples:
        if sample.pid in train:
            splits["train"].append(sample)
        elif sample.pid > 0 and sample.pid not in asked and counts[sample.pid] > 1:
            asked.add(sample.pid)
            splits["query"].append(sample)
        else:
            splits["gallery"].append(sample)
    identities = sum(pid > 0 for pid in counts)
    note = (
        f"{len(train):,} of the {identities:,} identities are for training, the others for "
        "testing: train_share (--train-share) and, in a CSV file, the column split change that"
    )
    return splits, note if train else ""


def _draw(pid: int) -> float:
    """Number in [0, 1) that depends on the identity alone."""
    return int.from_bytes(hashlib.sha256(str(pid).encode()).digest()[:4], "big") / 2**32


def refuse_shared(where: Path, splits: Mapping[str, Sequence[DatasetSample]]) -> None:
    """Refuses identities in both training and test images."""
    shared = {each.pid for each in splits["train"]} & {
        each.pid for split in ("query", "gallery") for each in splits[split]
    }
    if shared:
        raise ValueError(
            f"{where}: {counted(len(shared), 'identity', 'identities')} in both the training and "
            f"the test images, first: {sorted(shared)[:3]}: give each identity to one side"
        )


def finish(
    name: str,
    root: Path,
    splits: Mapping[str, Sequence[DatasetSample]],
    *,
    has_cameras: bool,
    names: Names = ({}, {}),
    parted: str = "",
    doubts: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Dataset:
    """Custom data set from its splits, with checks and a warning about doubts.

    Args:
        name: Name of the data set.
        root: Folder or file of the data set.
        splits: Images by split.
        has_cameras: True when the cameras of the samples are known.
        names: Numbers of identities and cameras by name.
        parted: Note about the origin of the splits.
        doubts: Probable mistakes, for notes and a warning.
        notes: Further notes.
    """
    # Queries of camera 0 and a gallery of camera 1: camera rules exclude nothing.
    gallery = list(splits["gallery"])
    if not has_cameras:
        gallery = [DatasetSample(each.path, each.pid, 1) for each in gallery]
    doubts = [*doubts, *_doubts(splits, has_cameras=has_cameras)]
    alone = len({each.pid for each in splits["train"]}) == 1
    single = "the training images show a single identity: nothing can be learned from one"
    notes = [*notes, single if alone else ""]
    dataset = Dataset(
        tuple(splits["train"]), tuple(splits["query"]), tuple(gallery), name=name, root=root
    )
    few = few_queries(dataset)
    counted = "; ".join(each for each in (parted, few, _unmatched(dataset, has_cameras)) if each)
    if doubts:
        from pose.files.reading import InputWarning, level_outside

        warnings.warn(f"{root}: {'; '.join(doubts)}", InputWarning, stacklevel=level_outside())
    return Dataset(
        dataset.train,
        dataset.query,
        dataset.gallery,
        name=name,
        root=root,
        has_cameras=has_cameras,
        notes=tuple(each for each in (*doubts, *notes, counted) if each),
        identity_names=names[0],
        camera_names=names[1],
    )


def _doubts(splits: Mapping[str, Sequence[DatasetSample]], *, has_cameras: bool) -> list[str]:
    doubts = []
    pids = {each.path: each.pid for split in SPLITS for each in splits[split]}
    groups = same_images(pids)
    pairs = [
        (group[0], path) for group in groups for path in group[1:] if pids[path] != pids[group[0]]
    ]
    if pairs:
        shown = [f"{a} = {b}" for a, b in pairs]
        times = "once" if len(pairs) == 1 else f"{len(pairs):,} times"
        doubts.append(f"the same image under two identities, {times}: {named(shown)}")
    queries = {each.path: each.camid for each in splits["query"]}
    gallery = {each.path: each.camid for each in splits["gallery"]}
    found = []
    for group in groups:
        copies = {gallery[path]: path for path in reversed(group) if path in gallery}
        for path in group:
            # Matches of the same camera are excluded from the ranking.
            others = [
                copy
                for camid, copy in copies.items()
                if not (has_cameras and camid == queries.get(path))
            ]
            if path in queries and others:
                found.append(f"{path} = {others[0]}")
    if found:
        doubts.append(
            f"{counted(len(found), 'query', 'queries')} also in the gallery as the same image, and "
            f"therefore trivial matches: {named(found)}"
        )
    if splits["query"] and not splits["gallery"]:
        doubts.append("there are queries but no gallery")
    elif splits["query"] and not {each.pid for each in splits["query"]} & {
        each.pid for each in splits["gallery"]
    }:
        doubts.append("none of the identities of the queries is in the gallery")
    return doubts


def _unmatched(dataset: Dataset, has_cameras: bool) -> str:
    if not has_cameras or not dataset.gallery:
        return ""
    cameras: dict[int, set[int]] = {}
    for each in dataset.gallery:
        cameras.setdefault(each.pid, set()).add(each.camid)
    alone = sum(not cameras.get(each.pid, set()) - {each.camid} for each in dataset.query)
    if not alone:
        return ""
    return f"{alone:,} of {len(dataset.query):,} queries have no match of another camera"
