"""What the commands about training runs do."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .datasets import splits
from .sources import lifted, lifted_test, of_tracklets, stored_test

if TYPE_CHECKING:
    from ..comparison import Clouds
    from ..config import TrainConfig, WorldConfig
    from ..data import CloudSet
    from ..data.store import CloudStore
    from ..train import Record, Task

__all__ = ["do_train"]


def do_train(options: argparse.Namespace) -> None:
    """Trains on a folder, a cloud set, or a world of its own."""
    from ..config import WorldConfig, load_config
    from ..progress import progress_bar
    from ..train import MODEL_FILE, fit

    config = load_config(options.config, options.settings)
    if options.dataset is not None and options.data is None:
        raise ValueError(f"--data must say where {options.dataset} is")
    if options.data is None:
        data = _world(config.world, options)
    else:
        data = options.data
        config = replace(config, world=WorldConfig())  # the model's file says what it was made of
    task = _task(config, data, options)
    with progress_bar("training") as show:

        def tell(record: Record) -> None:
            note = f"step {record.step}, loss {record.loss:.3f}, accuracy {record.accuracy:.2f}"
            if record.mAP is not None:
                note += f", validation mAP {record.mAP:.3f}"
            show(record.fraction, 1.0, note)

        result = fit(config, task, out_dir=options.out, progress=tell, resume=options.resume)
    print(f"model: {options.out / MODEL_FILE}")
    if result.validation is not None:
        metrics = result.validation
        print(f"validation: rank-1 {100 * metrics.rank(1):.1f} %, mAP {100 * metrics.mAP:.1f} %")
        if metrics.test_view != "none":
            print(f"with test-time views: {metrics.test_view}")


def _task(config: TrainConfig, data: Path, options: argparse.Namespace) -> Task[Any]:
    """What a configuration trains, by the kind of its network (``model.preset``)."""
    return _cloud_task(config, data, options)


def _cloud_task(config: TrainConfig, data: Path, options: argparse.Namespace) -> Task[Any]:
    from ..data import CloudSet
    from ..data.store import CloudStore, is_store
    from ..train import CloudTask

    named = options.dataset is not None
    validation: tuple[Clouds, Clouds] | None = None
    train_set: CloudSet | CloudStore
    if data.is_file() and not named:
        train_set = CloudSet.load(data)
    elif is_store(data) and not named:
        store = CloudStore(data)
        everyone = "train_all" if "train_all" in store.splits else "train"
        train_set, validation = store.split(everyone), stored_test(store)
    else:
        images = splits(data, options)
        if not images.train:
            raise ValueError(f"{options.dataset} has no training images: it is there to test on")
        train_set = lifted(images.train, "lifting training images", options)
        if images.query and images.gallery and not of_tracklets(images):
            validation = lifted_test(images, options)
    return CloudTask(config, train_set, validation=validation)


def _world(plan: WorldConfig, options: argparse.Namespace) -> Path:
    """Makes the world of a configuration beside the run, or finds it there."""
    from meshes.world import write_world

    from ..progress import progress_bar

    if not plan.train_identities:
        raise ValueError(
            "--data must be given: this configuration has no synthetic world of its own "
            "(world.train_identities is 0)"
        )
    with progress_bar("making a world") as show:
        return write_world(
            options.out / "world",
            **asdict(plan),
            workers=options.workers,
            progress=lambda done, total: show(done, total, ""),
        )
