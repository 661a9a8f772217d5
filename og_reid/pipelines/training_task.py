"""Task of a training run: images or point clouds, prepared by the settings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .data import DataSpec, can_validate, list_training_images, refuse_keypoints
from .dense_training import dense_task
from .progress import StageProgress, stage_progress
from .samples import (
    hold_out_identities,
    image_set,
    lift_samples,
    lift_test,
    stored_test,
    unlabelled_samples,
)

if TYPE_CHECKING:
    from ..config.schema import TrainConfig, WorldConfig
    from ..data import CloudSet, ImageSet, Sample
    from ..data.clouds.store import CloudStore
    from ..train import Task

__all__ = ["build_task", "check_identities"]

_LOG = logging.getLogger("og_reid")


def build_task(
    config: TrainConfig, data: DataSpec, out: Path, progress: StageProgress | None = None
) -> Task[Any]:
    """Task of a configuration, by the architecture of its network.

    Args:
        config: All settings.
        data: Data set; without a path, the synthetic world of ``config``.
        out: Folder of the run, also for the world.
        progress: Called with (stage, done, total).

    Raises:
        ValueError: The data do not fit the settings.
    """
    from ..config.schema import IMAGE_ARCHITECTURES

    if config.model.arch == "dense":
        return dense_task(config, data, out, progress)
    if config.model.arch not in IMAGE_ARCHITECTURES:
        refuse_keypoints(data)
    if data.path is None:
        if config.world.train_identities:
            check_identities(config, _world_samples(config.world))
        data = replace(data, path=_make_world(config.world, out, data.workers, progress))
    if config.model.arch in IMAGE_ARCHITECTURES:
        return _image_task(config, data, progress)
    return _cloud_task(config, data, progress)


def _image_task(config: TrainConfig, data: DataSpec, progress: StageProgress | None) -> Task[Any]:
    from ..train import ImageTask
    from ..train.image_task import stripe_counts

    def prepare(samples: Sequence[Sample], guided: bool = False) -> ImageSet:
        stripes = stripe_counts(config.model)
        return image_set(samples, stripes, config.image, data, guided=guided, progress=progress)

    images = list_training_images(data, progress)
    known, held = images.train, None
    if config.data.val_identities:
        held = hold_out_identities(images.train, config.data.val_identities)
        known = tuple(images.train[i] for i in held.train)
    unlabelled = unlabelled_samples(data)
    check_identities(config, (*images.train, *unlabelled))
    guided = config.model.arch == "pgfa" and config.model.global_branch == "pose"
    train_set = prepare((*known, *unlabelled), guided)
    validation = None
    if held is not None:
        query, gallery = ([images.train[i] for i in rows] for rows in (held.query, held.gallery))
        validation = prepare(query), prepare(gallery)
    elif can_validate(images):
        validation = prepare(images.query), prepare(images.gallery)
    return ImageTask(config, train_set, validation=validation)


def _cloud_task(config: TrainConfig, data: DataSpec, progress: StageProgress | None) -> Task[Any]:
    from ..data.datasets.holdout import holdout_split
    from ..train import CloudTask
    from ..train.samplers import describe_sampling

    train_set, validation = _clouds(config, data, progress)
    if config.data.val_identities:
        held = holdout_split(train_set.pids, train_set.camids, config.data.val_identities)
        validation = train_set.select(held.query), train_set.select(held.gallery)
        train_set = train_set.select(held.train)
    task = CloudTask(config, train_set, validation=validation)
    if config.data.sampling != "pk":
        _LOG.info("%s", describe_sampling(task.sampler, train_set.pids))
    return task


def _clouds(
    config: TrainConfig, data: DataSpec, progress: StageProgress | None
) -> tuple[CloudSet | CloudStore, Any]:
    """Training clouds, and query and gallery for validation, if any."""
    from ..data import CloudSet
    from ..data.clouds.store import CloudStore, is_store

    path, named = data.place, data.dataset is not None
    if not named and (path.is_file() or is_store(path)):
        if data.unlabelled is not None or config.data.canonical:
            raise ValueError(
                "--unlabelled and data.canonical are for images, which are lifted; --data "
                "holds clouds"
            )
    if path.is_file() and not named:
        return CloudSet.load(path), None
    if is_store(path) and not named:
        store = CloudStore(path)
        everyone = "train_all" if "train_all" in store.splits else "train"
        return store.split(everyone), None if config.data.val_identities else stored_test(store)
    images = list_training_images(data, progress)
    samples = (*images.train, *unlabelled_samples(data))
    check_identities(config, samples)
    if config.data.point_order != CloudSet.point_order:
        raise ValueError(
            f"data.point_order={config.data.point_order} is for stored clouds of that layout; "
            f"images are lifted to layout {CloudSet.point_order!r}: leave the setting out"
        )
    canonical = config.data.canonical
    train_set = lift_samples(samples, "lifting training images", data, canonical, progress)
    if not config.data.val_identities and can_validate(images):
        return train_set, lift_test(images, data, canonical, progress)
    return train_set, None


def check_identities(config: TrainConfig, samples: Sequence[Sample]) -> None:
    """Checks the training identities against the settings, before images are lifted.

    Args:
        config: All settings of the run.
        samples: Training images, including held-out identities.

    Raises:
        ValueError: Too few identities or images, or a batch that does not divide among ranks.
    """
    import torch

    from ..train.distributed import get_dist_info
    from ..train.samplers import arrange, check_rank_rows

    pids = torch.tensor([each.pid for each in samples], dtype=torch.int64)
    camids = torch.tensor([each.camid for each in samples], dtype=torch.int64)
    if config.data.val_identities:
        rows = hold_out_identities(samples, config.data.val_identities).train
        pids, camids = pids[rows], camids[rows]
    _, _, sampler = arrange(config, pids, camids)
    check_rank_rows(sampler, get_dist_info())


def _world_samples(plan: WorldConfig) -> list[Sample]:
    """Samples of a world, before its images are rendered."""
    from ..data import Sample

    return [
        Sample(Path(), pid, view)
        for pid in range(plan.train_identities)
        for view in range(plan.views)
    ]


def _make_world(plan: WorldConfig, out: Path, workers: int, progress: StageProgress | None) -> Path:
    """Folder of the world of a configuration, rendered in the run unless it exists."""
    from meshes.world import write_world

    if not plan.train_identities:
        raise ValueError(
            "--data must be given: this configuration has no synthetic world of its own "
            "(world.train_identities is 0)"
        )
    return write_world(
        out / "world",
        **asdict(plan),
        workers=workers,
        progress=stage_progress(progress, "making a world"),
    )
