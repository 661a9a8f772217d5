"""What the commands about training runs do."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .datasets import splits
from .missing import check_data
from .photos import people_task, refuse_keypoints
from .sources import (
    can_be_searched,
    check_people,
    generated,
    lifted,
    lifted_test,
    say,
    stored_test,
)

if TYPE_CHECKING:
    from ..config.schema import TrainConfig, WorldConfig
    from ..data import CloudSet, Sample
    from ..data.clouds.store import CloudStore
    from ..evaluation.results import Clouds
    from ..train import StepLog, Task, TrainResult

__all__ = ["do_show", "do_train"]

# Columns that are drawn, and about how many points of each.
_CURVES = ("step", "loss", "accuracy", "mAP", "rank1")
_DRAWN = 2000


def do_train(options: argparse.Namespace) -> None:
    """Trains on a folder, a cloud set, or a world of its own."""
    import torch

    from ..config.schema import IMAGE_ARCHITECTURES, WorldConfig, load_config
    from ..models.pgfa_weights import imagenet_state
    from ..train import (
        build_model,
        check_empty_run_dir,
        check_resumable,
        choose_device,
        fit,
        init_distributed,
        main_process_first,
        only_run,
    )
    from ..train.run_log import require_tensorboard
    from ..train.step import check_precision
    from .progress import progress_bar

    config = load_config(options.config, options.settings)
    if options.dataset is not None and options.data is None:
        raise ValueError(f"--data must say where {options.dataset} is")
    if options.data is not None:
        check_data(options.data)
        config = replace(config, world=WorldConfig())  # the model's file says what it was made of
    if config.tensorboard:
        require_tensorboard()
    # All that can be wrong is found before hours of lifting.
    if options.resume:
        check_resumable(options.out, config)
    else:
        check_empty_run_dir(options.out)
    device = choose_device(config.device)
    check_precision(config.optim, device)
    if config.model.preset not in IMAGE_ARCHITECTURES:
        build_model(config.model, 0, torch.Generator())  # refuses wrong settings and weights
    elif config.model.weights is not None:
        imagenet_state(config.model.weights)
    with (
        init_distributed(device.type, seconds=options.patience) as processes,
        only_run(options.out, processes, choose_device(config.device)),
    ):
        # What the first process makes or lifts, the others find.
        task = main_process_first(processes, lambda: _task(config, options))
        with progress_bar("training") if processes.is_main else nullcontext() as show:

            def tell(record: StepLog) -> None:
                note = f"step {record.step}, loss {record.loss:.3f}, accuracy {record.accuracy:.2f}"
                if record.mAP is not None:
                    note += f", validation mAP {record.mAP:.3f}"
                if show is not None:
                    show(record.fraction, 1.0, note)

            result = fit(config, task, out_dir=options.out, progress=tell, resume=options.resume)
    if processes.is_main:
        _report(options.out, result)


def _report(folder: Path, result: TrainResult) -> None:
    from ..train import MODEL_FILE

    print(f"model: {folder / MODEL_FILE}")
    if result.validation is not None:
        metrics = result.validation
        print(f"validation: rank-1 {100 * metrics.rank(1):.1f} %, mAP {100 * metrics.mAP:.1f} %")
        if metrics.test_view != "none":
            print(f"with test-time views: {metrics.test_view}")
    print(_curves(folder, result))


def _curves(folder: Path, result: TrainResult) -> str:
    """Draws the learning curves; says where, or why not."""
    from pose.files.atomic_write import atomic_write

    from ..viz.figures import curves_figure

    records = [
        {
            name: value
            for name, value in asdict(record).items()
            if name in _CURVES and value is not None
        }
        for record in result.history
    ]
    path = folder / "curves.png"
    try:
        figure = curves_figure(records[:: max(1, len(records) // _DRAWN)])
    except ImportError:
        return f"curves: not drawn, for lack of matplotlib; {result.log} has the numbers"
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
    return f"curves: {path}"


def do_show(options: argparse.Namespace) -> None:
    """Tells what a run, a model or a checkpoint is."""
    import yaml

    from ..inference.fusion_file import is_fusion
    from ..train import BEST_FILE, LOG_FILE, MODEL_FILE, STATE_FILE, read_log
    from ..train.checkpoint import read_provenance
    from .progress import shown as on_one_line

    folder = options.run_folder
    if not folder.exists():
        raise ValueError(f"{folder} is not there: give the folder of a run, or a file of one")
    if is_fusion(folder):
        _show_fusion(folder)
        return
    files = [folder / name for name in (MODEL_FILE, STATE_FILE, BEST_FILE)]
    files = [each for each in files if each.is_file()] if folder.is_dir() else [folder]
    if not files:
        raise ValueError(f"{folder} holds no {MODEL_FILE} and no {STATE_FILE}: it is no run yet")
    try:
        told = read_provenance(files[0])
    except ValueError as error:
        if folder.is_dir() or folder.suffix == ".safetensors":
            raise
        raise ValueError(
            f"{folder} is no run of og-reid train, nor a model or checkpoint of one: give the "
            "folder that --out named"
        ) from error
    step, seed = (on_one_line(told.get(name, "unknown")) for name in ("step", "seed"))
    print(f"{files[0]}: after step {step}, seed {seed}")
    others = {each.name: read_provenance(each) for each in files[1:]}
    for each in files[1:]:
        print(f"{each}: after step {on_one_line(others[each.name].get('step', 'unknown'))}")
    _show_source(told)
    records = read_log(folder / LOG_FILE) if folder.is_dir() else ()
    if records:
        last = records[-1]
        print(
            f"last step: {last.step} ({100 * last.fraction:.0f} % of the budget), loss "
            f"{last.loss:.4f}, accuracy {last.accuracy:.3f}, {last.wall_seconds / 60:.1f} minutes"
        )
    looked = [each for each in records if each.mAP is not None and each.rank1 is not None]
    figures = [(f"step {each.step}", each.mAP or 0.0, each.rank1) for each in looked]
    final = told.get("validation")
    shown = [("last validation", figures[-1])] if figures else []
    if final is not None:
        figures.append(("the finished model", final["mAP"], final["rank1"]))
        shown.append(("final validation", figures[-1]))
    best = others.get(BEST_FILE, {})
    if "validation" in best:  # perhaps a network that was finished before the run went on
        figures.append((f"step {best['step']}", *(best["validation"][k] for k in ("mAP", "rank1"))))
    if looked:
        shown.append(("best", max(figures, key=lambda each: each[1])))
    for title, (when, precision, first) in shown:
        print(f"{title}: {when}, mAP {precision:.4f}, rank-1 {first:.4f}")
    print(yaml.safe_dump(told.get("config", {}), sort_keys=False, default_flow_style=None), end="")


def _show_fusion(folder: Path) -> None:
    import yaml

    from ..inference.fusion_file import read_fusion_record

    record = read_fusion_record(folder)
    print(f"{folder}: share of the second model {record['second']:.2f}, weight of each part "
          f"{record['parts']:.2f}")  # fmt: skip
    if record["mAP"] is not None:
        print(f"chosen on {len(record['people'])} people: mAP {record['mAP']:.4f}")
    told = record["origin"]
    _show_source(told)
    print(yaml.safe_dump(told["config"], sort_keys=False, default_flow_style=None), end="")


def _show_source(told: Mapping[str, Any]) -> None:
    from .progress import shown

    print("versions: " + shown(", ".join(f"{k} {v}" for k, v in told.get("versions", {}).items())))
    source = told.get("source")
    if source is not None:
        print(
            f"source: {shown(source['commit'])}" + (", with changes" if source["changed"] else "")
        )


def _task(config: TrainConfig, options: argparse.Namespace) -> Task[Any]:
    """What a configuration trains, by the kind of its network (``model.preset``)."""
    from ..config.schema import IMAGE_ARCHITECTURES

    if config.model.preset not in IMAGE_ARCHITECTURES:
        refuse_keypoints(options)
    if options.data is None and config.world.train_identities:
        check_people(config, _world_samples(config.world))
    data = _world(config.world, options) if options.data is None else options.data
    if config.model.preset in IMAGE_ARCHITECTURES:
        return people_task(config, data, options)
    return _cloud_task(config, data, options)


def _cloud_task(config: TrainConfig, data: Path, options: argparse.Namespace) -> Task[Any]:
    from ..data import CloudSet
    from ..data.clouds.store import CloudStore, is_store
    from ..data.datasets.holdout import holdout_split
    from ..train import CloudTask
    from ..train.samplers import describe_sampling

    named = options.dataset is not None
    validation: tuple[Clouds, Clouds] | None = None
    train_set: CloudSet | CloudStore
    if not named and (data.is_file() or is_store(data)):
        if options.generated is not None or config.data.canonical:
            raise ValueError(
                "--generated and data.canonical are for photographs, which are lifted; --data "
                "holds clouds"
            )
    if data.is_file() and not named:
        train_set = CloudSet.load(data)
    elif is_store(data) and not named:
        store = CloudStore(data)
        everyone = "train_all" if "train_all" in store.splits else "train"
        train_set = store.split(everyone)
        validation = None if config.data.hold_out else stored_test(store)
    else:
        images = splits(data, options)
        samples = (*images.train, *generated(options))
        check_people(config, samples)
        if config.data.layout != CloudSet.layout:
            raise ValueError(
                f"data.layout={config.data.layout} is for stored clouds of that layout; "
                f"photographs are lifted to layout {CloudSet.layout!r}: leave the setting out"
            )
        train_set = lifted(samples, "lifting training images", options, config.data.canonical)
        if not config.data.hold_out and can_be_searched(images):
            validation = lifted_test(images, options, config.data.canonical)
    if config.data.hold_out:
        held = holdout_split(train_set.pids, train_set.camids, config.data.hold_out)
        validation = train_set.select(held.query), train_set.select(held.gallery)
        train_set = train_set.select(held.train)
    task = CloudTask(config, train_set, validation=validation)
    if config.data.sampling != "pk":
        say(describe_sampling(task.sampler, train_set.pids))
    return task


def _world_samples(plan: WorldConfig) -> list[Sample]:
    """The identities of a world, without its photographs."""
    from ..data import Sample

    return [
        Sample(Path(), pid, view)
        for pid in range(plan.train_identities)
        for view in range(plan.views)
    ]


def _world(plan: WorldConfig, options: argparse.Namespace) -> Path:
    """Makes the world of a configuration beside the run, or finds it there."""
    from meshes.world import write_world

    from .progress import progress_bar

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
