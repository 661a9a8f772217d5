"""What the commands about training runs do."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import data_spec
from .progress import progress_stages

if TYPE_CHECKING:
    from ..pipelines.train import TrainedRun
    from ..train import StepLog

__all__ = ["do_show", "do_train"]


def do_train(options: argparse.Namespace) -> None:
    """Trains on a folder, a cloud set, or a world of its own."""
    from ..pipelines.train import TrainSpec, train

    spec = TrainSpec(
        options.config,
        options.out,
        data_spec(options),
        tuple(options.settings),
        resume=options.resume,
        dist_timeout=options.patience,
    )
    with progress_stages() as show:

        def note(record: StepLog) -> None:
            text = f"step {record.step}, loss {record.loss:.3f}, accuracy {record.accuracy:.2f}"
            if record.mAP is not None:
                text += f", validation mAP {record.mAP:.3f}"
            show("training", record.fraction, 1.0, text)

        run = train(spec, show, note)
    if run.main_process:
        _report(run)


def _report(run: TrainedRun) -> None:
    print(f"model: {run.model}")
    metrics = run.result.validation
    if metrics is not None:
        print(f"validation: rank-1 {100 * metrics.rank(1):.1f} %, mAP {100 * metrics.mAP:.1f} %")
        if metrics.test_view != "none":
            print(f"with test-time views: {metrics.test_view}")
    if run.curves is None:
        print(f"curves: not drawn, for lack of matplotlib; {run.result.log} has the numbers")
    else:
        print(f"curves: {run.curves}")


def do_show(options: argparse.Namespace) -> None:
    """Tells what a run, a model or a checkpoint is."""
    import yaml

    from ..files.printable import printable as on_one_line
    from ..inference.fusion_file import is_fusion
    from ..train import BEST_FILE, LOG_FILE, MODEL_FILE, STATE_FILE, read_log
    from ..train.checkpoint import read_provenance

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
    from ..files.printable import printable

    print(
        "versions: " + printable(", ".join(f"{k} {v}" for k, v in told.get("versions", {}).items()))
    )
    source = told.get("source")
    if source is not None:
        print(
            f"source: {printable(source['commit'])}"
            + (", with changes" if source["changed"] else "")
        )
