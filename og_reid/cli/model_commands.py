"""Commands of models: a typed specification, one call, what came of it printed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..pipelines.input_files import report_failures
from .options import data_spec
from .progress import progress_stages

if TYPE_CHECKING:
    from ..train import StepLog

__all__ = ["do_embed", "do_info", "do_train"]


def do_train(options: argparse.Namespace) -> None:
    """Trains on a folder, a cloud set, or a world of its own."""
    from ..pipelines.training import TrainSpec, train

    spec = TrainSpec(
        options.config,
        options.out,
        data_spec(options),
        tuple(options.settings),
        resume=options.resume,
        dist_timeout=options.dist_timeout,
    )
    with progress_stages() as show:

        def note(record: StepLog) -> None:
            text = f"step {record.step}, loss {record.loss:.3f}, accuracy {record.accuracy:.2f}"
            if record.mAP is not None:
                text += f", validation mAP {record.mAP:.3f}"
            show("training", record.fraction, 1.0, text)

        run = train(spec, show, note)
    if not run.main_process:
        return
    print(f"model: {run.model}")
    metrics = run.result.validation
    if metrics is not None:
        print(f"validation: rank-1 {100 * metrics.rank(1):.1f} %, mAP {100 * metrics.mAP:.1f} %")
        if metrics.test_view != "none":
            print(f"with test-time views: {metrics.test_view}")
    lacking = f"not drawn, for lack of matplotlib; {run.result.log} has the numbers"
    print(f"curves: {run.curves or lacking}")


def do_info(options: argparse.Namespace) -> None:
    """Shows what a run, a model or a checkpoint is."""
    from ..pipelines.run_info import describe_run

    print(describe_run(options.run_folder))


def do_embed(options: argparse.Namespace) -> None:
    """Writes the embeddings of clouds and images."""
    from ..pipelines.embedding import EmbedSpec, embed_inputs

    names = ("inputs", "out", "model", "skip", "cache", "workers")
    with progress_stages() as show:
        done = embed_inputs(EmbedSpec(**{name: getattr(options, name) for name in names}), show)
    features = done.features
    if len(features):
        print(f"{done.out}: {len(features)} embeddings of {features.shape[1]} numbers")
    if len(features) == 2:
        print(f"similarity: {float(features[0] @ features[1]):.3f} (1 = the same cloud)")
    report_failures(done, skip=options.skip)
