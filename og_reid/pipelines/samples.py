"""Prepared samples of a data set: images with keypoints, lifted and stored point clouds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .data import DataSpec
from .keypoints import find_keypoints
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from ..config.schema import ImageConfig
    from ..data import CloudSet, ImageSet, Sample, Splits
    from ..data.clouds.store import CloudStore
    from ..data.datasets.holdout import HoldoutSplit
    from ..inference.preprocessing import ImagePreprocessing

__all__ = [
    "hold_out_identities",
    "image_set",
    "lift_samples",
    "lift_test",
    "stored_test",
    "unlabelled_samples",
]

_LOG = logging.getLogger("og_reid")


def unlabelled_samples(data: DataSpec) -> tuple[Sample, ...]:
    """Images of ``data.unlabelled``, with identity -1.

    Raises:
        ValueError: No image was found.
    """
    from ..data import Sample
    from ..data.datasets import paths_from_csv
    from ..data.datasets.tree import scan

    source = data.unlabelled
    if source is None:
        return ()
    if source.is_file():
        paths = paths_from_csv(source, allow_absolute=data.allow_absolute)
        return tuple(Sample(path, -1, 0) for path in paths)
    tree = scan(source) if source.is_dir() else None
    paths = [source / path for path in tree.images] if tree else []
    for doubt in tree.notes()[0] if tree else ():
        _LOG.warning("note: %s: %s", source, doubt)
    if not paths:
        raise ValueError(
            "--unlabelled must be a folder with images, or a CSV file with the column path; "
            f"{source} has none"
        )
    return tuple(Sample(path, -1, 0) for path in paths)


def hold_out_identities(samples: Sequence[Sample], count: int) -> HoldoutSplit:
    """Split of training images with ``count`` identities held out for validation."""
    import torch

    from ..data.datasets.holdout import holdout_split

    pids = torch.tensor([sample.pid for sample in samples], dtype=torch.int64)
    camids = torch.tensor([sample.camid for sample in samples], dtype=torch.int64)
    return holdout_split(pids, camids, count)


def stored_test(store: CloudStore) -> tuple[CloudStore, CloudStore]:
    """Query and gallery of a store."""
    return store.split("query"), store.split("gallery")


def lift_test(
    images: Splits, data: DataSpec, canonical: bool, progress: StageProgress | None = None
) -> tuple[CloudSet, CloudSet]:
    """Query and gallery, lifted to point clouds or read from the cache.

    Both are lifted in one pass, so that all unreadable images are listed before the work.
    """
    samples = (*images.query, *images.gallery)
    both = lift_samples(samples, "lifting images", data, canonical, progress)
    rows, first = range(len(both)), len(images.query)
    return both.select(rows[:first]), both.select(rows[first:])


def lift_samples(
    samples: Sequence[Sample],
    stage: str,
    data: DataSpec,
    canonical: bool,
    progress: StageProgress | None = None,
) -> CloudSet:
    """Point clouds of images.

    Args:
        samples: Images.
        stage: Name of the work, for ``progress``.
        data: Number of workers, cache folder, source of masks.
        canonical: Bodies in the resting pose.
        progress: Called with (stage, images done, images in all).
    """
    from ..data.clouds.lift_dataset import lift_dataset
    from ..inference.own_surface import mask_source

    return lift_dataset(
        samples,
        workers=data.workers,
        progress=stage_progress(progress, stage),
        cache=data.cache_folder,
        canonical=canonical,
        masks=mask_source(data.masks),
    )


def image_set(
    samples: Sequence[Sample],
    parts: int | tuple[int, ...],
    preprocessing: ImageConfig | ImagePreprocessing,
    data: DataSpec,
    *,
    guided: bool = False,
    progress: StageProgress | None = None,
) -> ImageSet:
    """Images with the keypoints of their people.

    Args:
        samples: Images.
        parts: Stripes, see `og_reid.data.ImageSet`.
        preprocessing: Height, width and mode.
        data: Source of the keypoints, threads.
        guided: Refuse a missing source of keypoints.
        progress: Called with ("looking for people", images done, images in all).

    Raises:
        ValueError: No image has keypoints.
    """
    from ..data import ImageSet

    return ImageSet(
        samples,
        find_keypoints(samples, data, required=guided, progress=progress),
        parts=parts,
        size=(preprocessing.height, preprocessing.width),
        mode=preprocessing.mode,
        # The PGFA authors' rules choose among people; otherwise the estimator has chosen.
        target=None if preprocessing.mode == "reference" else "first",
        threads=data.workers,
    )
