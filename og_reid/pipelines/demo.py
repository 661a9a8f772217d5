"""Demonstration: lift of an image, training and evaluation on a synthetic data set, a report.

Nothing is downloaded and no data set is needed. The code is that of a real experiment: the world is
rendered to a folder of images, and these are read, lifted, trained on and ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

import torch

from meshes.world import write_world
from pose.runtime.threads import one_thread

from ..config.load import load_config
from ..config.schema import TrainConfig
from ..data import CloudSet, Splits, load_market, read_attributes
from ..data.clouds.lift_dataset import lift_dataset
from ..data.datasets.market import Attributes
from ..inference.cloud_encoder import CloudEncoder
from ..inference.encoder import Encoder, Search
from ..inference.preprocessing import Preprocessing
from ..inference.pretrained import load_cloud_model, load_model
from ..train import MODEL_FILE, StepLog, TrainResult, build_model, train
from ..viz.html_report import write_report
from .data import DataSpec
from .demo_forecast import FIRST_IDENTITY, DemoProgress, DemoSize, with_forecast
from .demo_report import (
    DENSE,
    SHIPPED,
    TRAINED,
    UNTRAINED,
    lift_photo,
    photo_section,
    ranking_section,
    reading_section,
    results_section,
    training_section,
    view_section,
    world_section,
)
from .evaluation import compute_distances, score_distances
from .sample_source import DataSource

__all__ = ["DemoSize", "run_demo"]


@one_thread()  # workers use the other cores: threads that wait for each other take them away
def run_demo(
    out_dir: str | Path,
    image: str | Path | None = None,
    *,
    size: DemoSize | None = None,
    workers: int = 2,
    progress: DemoProgress | None = None,
) -> Path:
    """Run the demonstration; resumable.

    The metrics depend on the size alone: training has a number of steps and one thread, and no
    clock decides anything. Processors with other instructions round otherwise in the last bits.

    Args:
        out_dir: folder for the world, the run and the report.
        image: Image of one person to lift; None takes the astronaut portrait that comes with
            scikit-image (NASA, public domain).
        size: size of the demonstration; None: about five minutes of processor time, four of them
            beyond rendering the world.
        workers: processes that render and lift.
        progress: called with (stage, done, total, note).

    Returns:
        The report, ``out_dir/report.html``.

    Raises:
        NoPersonError: no person was found in ``image``.
        ImportError: a package of the extra ``demo`` is missing.
    """
    size = size or DemoSize()
    out = Path(out_dir)
    config = load_config("synthetic/og_net_small", size.overrides)
    tell = with_forecast(progress or (lambda *_: None), size, config.budget.steps, workers, out)
    photo = lift_photo(image, tell)
    splits, attributes = _world(out / "world", size, workers, tell)
    sets = _lift(splits, out / "clouds", workers, tell)
    query, gallery = sets["query"], sets["gallery"]
    result = _train(config, sets, out / "run", tell)
    models = _models(config, out / "run" / MODEL_FILE)
    distances = compute_distances(query, gallery, models) | _dense(splits, out / "world", workers)
    rows = score_distances(distances, query, gallery, attributes=attributes)
    sections = [
        photo_section(photo),
        world_section(splits, attributes),
        view_section(photo, splits, attributes),
        training_section(result),
        results_section(rows, splits),
        ranking_section(distances, splits, attributes),
        reading_section(),
    ]
    report = out / "report.html"
    write_report(report, sections, title="og_reid: re-identification of occluded persons")
    tell("report", 1, 1, str(report))
    return report


def _world(
    root: Path, size: DemoSize, workers: int, tell: DemoProgress
) -> tuple[Splits, dict[str, Attributes]]:
    """Render the world and read it back as a data set."""
    write_world(
        root,
        train_identities=size.train_identities,
        test_identities=size.test_identities,
        views=size.views,
        cameras=size.cameras,
        seed=1,
        first_identity=FIRST_IDENTITY,
        workers=workers,
        progress=lambda done, total: tell("making a world", done, total, ""),
    )
    return load_market(root), read_attributes(root)


def _lift(splits: Splits, cache: Path, workers: int, tell: DemoProgress) -> dict[str, CloudSet]:
    """Clouds of all splits, lifted in one go: workers take seconds to start."""

    def show(done: int, total: int) -> None:
        tell("lifting images", done, total, "")

    parts = {"train": splits.train, "query": splits.query, "gallery": splits.gallery}
    samples = [sample for part in parts.values() for sample in part]
    clouds = lift_dataset(samples, workers=workers, progress=show, cache=cache)
    ends = accumulate(len(part) for part in parts.values())
    return {
        name: clouds.select(range(end - len(parts[name]), end))
        for name, end in zip(parts, ends, strict=True)
    }


def _train(
    config: TrainConfig, sets: Mapping[str, CloudSet], folder: Path, tell: DemoProgress
) -> TrainResult:
    def show(record: StepLog) -> None:
        note = f"loss {record.loss:.2f}, accuracy {record.accuracy:.2f}"
        tell("training", record.fraction, 1.0, note)

    return train(
        config,
        sets["train"],
        out_dir=folder,
        validation=(sets["query"], sets["gallery"]),
        progress=show,
        resume=True,
    )


def _models(config: TrainConfig, trained: Path) -> dict[str, Encoder]:
    """Networks of point clouds: untrained (initial weights of the run), trained, shipped."""
    start = build_model(config.model, 0, torch.Generator().manual_seed(config.seed))
    return {
        UNTRAINED: CloudEncoder(start.eval(), Preprocessing(config.data.num_points)),
        TRAINED: load_model(trained),
        SHIPPED: load_cloud_model(),
    }


def _dense(splits: Splits, world: Path, workers: int) -> dict[str, Search]:
    """Searches of the images themselves by the default model of images."""
    model = load_model()
    source = DataSource(DataSpec(world, workers=workers))
    query, gallery = model.prepare((splits.query, splits.gallery), source)
    return compute_distances(query, gallery, {DENSE: model})
