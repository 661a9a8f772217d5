"""Commands: a typed specification from the options, one call, a printed result."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any, TypeVar

from .. import pipelines
from ..pipelines.data import check_search_inputs
from ..pipelines.input_files import check_exists, check_output
from ..pipelines.training import check_run_inputs
from .options import data_spec, fill
from .progress import progress_stages

__all__ = ["call"]

Outcome = TypeVar("Outcome")


def call(job: Callable[..., Outcome], *arguments: Any) -> Outcome:
    """Result of a job of `og_reid.pipelines`, with a progress bar."""
    with progress_stages() as show:
        return job(*arguments, show)


def do_demo(options: Namespace) -> None:
    check_exists(options.image, "give --image an image of one person")
    print(
        "about 5 minutes of processor time; finished parts of an earlier run are kept. The times "
        "below are wall-clock times under the current load",
        file=sys.stderr,
    )
    with progress_stages() as show:
        named = {"workers": options.workers, "progress": show}
        report = pipelines.run_demo(options.out, options.image, **named)
        print(f"report: {report} ({report.stat().st_size / 1e6:.1f} MB)")


def do_world(options: Namespace) -> None:
    print(call(pipelines.make_world, fill(pipelines.WorldSpec, options)))


def do_lift(options: Namespace) -> None:
    spec = fill(pipelines.LiftSpec, options)
    if spec.single:
        out, cloud = pipelines.lift_file(spec)
        print(f"{out}: {len(cloud)} points, {len(cloud.seen())} of them seen on the body")
        if spec.html is not None:
            print(f"page: {spec.html}")
        return
    done = call(pipelines.lift_folder, spec)
    print(done)
    pipelines.report_failures(done, skip=spec.skip)


def do_generate(options: Namespace) -> None:
    data = data_spec(options)
    done = call(pipelines.generate, fill(pipelines.GenerateSpec, options, data=data))
    print(done)
    pipelines.report_failures(done, skip=options.skip)


def do_view(options: Namespace) -> None:
    print(call(pipelines.view_files, fill(pipelines.ViewSpec, options)))


def do_embed(options: Namespace) -> None:
    done = call(pipelines.embed_inputs, fill(pipelines.EmbedSpec, options))
    print(done, end="")
    pipelines.report_failures(done, skip=options.skip)


def do_rank(options: Namespace) -> None:
    done = call(pipelines.rank_files, fill(pipelines.RankSpec, options))
    if done.result is not None:
        print(done.result)
        if options.grid is not None:
            print(f"grid: {options.grid}")
    pipelines.report_failures(done, skip=options.skip)


def do_search(options: Namespace) -> None:
    done = call(pipelines.search_words, fill(pipelines.SearchSpec, options))
    print(done)
    pipelines.report_failures(done, skip=options.skip)


def do_words(options: Namespace) -> None:
    print(call(pipelines.train_words, fill(pipelines.WordsSpec, options)))


def do_explain(options: Namespace) -> None:
    print(call(pipelines.explain_files, fill(pipelines.ExplainSpec, options)))
    if options.out is not None:
        print(f"explanation: {options.out}")


def do_follow(options: Namespace) -> None:
    print(call(pipelines.follow_videos, fill(pipelines.FollowSpec, options)))


def do_pose(options: Namespace) -> None:
    done = call(pipelines.estimate_poses, fill(pipelines.PoseSpec, options))
    print(f"{done.out}: people in {done.found:,} of {done.made:,} images")
    pipelines.report_failures(done, skip=options.skip)


def do_train(options: Namespace) -> None:
    spec = fill(pipelines.TrainSpec, options, data=data_spec(options))
    with progress_stages() as show:

        def note(record: Any) -> None:
            show("training", record.fraction, 1.0, str(record))

        run = pipelines.train(spec, show, note)
    if run.main_process:
        print(run)


def do_adapt(options: Namespace) -> None:
    spec = fill(pipelines.AdaptSpec, options, data=data_spec(options))
    with progress_stages() as show:

        def note(number: int, record: Any) -> None:
            show(f"round {number}", record.fraction, 1.0, str(record))

        run = pipelines.adapt(spec, show, print, note)
    print(run)


def do_export(options: Namespace) -> None:
    print(pipelines.export_model(fill(pipelines.ExportSpec, options)))


def do_info(options: Namespace) -> None:
    print(pipelines.describe_run(options.run_folder))


def do_evaluate(options: Namespace) -> None:
    data = data_spec(options)
    call(check_search_inputs, data, options.model)
    for file in (options.out, options.html):
        if file is not None:
            check_output(file)
    keep = options.out is not None
    rows = call(pipelines.evaluate, fill(pipelines.EvaluateSpec, options, data=data, keep=keep))

    from ..evaluation.results import format_table, save_results

    print(format_table(rows))
    if options.out is not None:
        save_results(rows, options.out)
        print(f"metrics and first results of every query, for og-reid compare: {options.out}")


def do_fuse(options: Namespace) -> None:
    for path in (options.first, options.second):
        check_exists(path, "give the folder of a run, or a model")
    check_run_inputs(options.config, data_spec(options), options.settings)
    spec = fill(pipelines.FuseSpec, options, data=data_spec(options))
    print(pipelines.describe_fusion(spec, call(pipelines.fuse, spec)))


def do_compare(options: Namespace) -> None:
    print(call(pipelines.compare, fill(pipelines.CompareSpec, options)))


def do_pack(options: Namespace) -> None:
    print(f"{options.out}: {call(pipelines.pack_clouds, fill(pipelines.PackSpec, options))}")


def do_datasets(options: Namespace) -> None:
    print("\n".join(call(pipelines.describe_datasets, options.root)))


def do_check(options: Namespace) -> None:
    check = call(pipelines.check_dataset, data_spec(options))
    print("\n".join(check.lines()))
    check.raise_problems(verify=options.verify)


def do_prepare(options: Namespace) -> None:
    print(call(pipelines.prepare_occluded_duke, fill(pipelines.PrepareSpec, options)))


def do_gallery(options: Namespace) -> None:
    print("\n".join(call(pipelines.manage_gallery, fill(pipelines.GallerySpec, options))))


def do_serve(options: Namespace) -> None:
    from ..serve import ServeSettings, find_token, serve

    settings = fill(ServeSettings, options, token=find_token(options.token_file))
    print(f"http://{settings.host}:{settings.port}", file=sys.stderr)
    serve(options.gallery, settings, options.model)


def do_cache(options: Namespace) -> None:
    print("\n".join(pipelines.manage_cache(fill(pipelines.CacheSpec, options))))


def do_doctor(_: Namespace) -> None:
    results = pipelines.run_checks()
    print(pipelines.format_checks(results))
    pipelines.raise_findings(results)
