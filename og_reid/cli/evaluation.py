"""Commands that score: a typed specification, one call, its result printed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..pipelines.data import check_search_inputs
from ..pipelines.input_files import check_exists, check_output
from ..pipelines.training import check_run_inputs
from .options import data_spec
from .progress import progress_stages

if TYPE_CHECKING:
    from ..evaluation.results import ResultRow

__all__ = ["do_compare", "do_evaluate", "do_fuse"]


def do_evaluate(options: argparse.Namespace) -> None:
    """Prints how well a model ranks a data set."""
    data, names = data_spec(options), "mirror test_view descriptor ap protocol by rerank".split()
    with progress_stages() as show:
        check_search_inputs(data, options.model, show)

        from ..evaluation.results import format_table, save_results
        from ..pipelines.evaluation import EvaluateSpec, evaluate

        if options.out is not None:
            check_output(options.out)
        chosen = {name: getattr(options, name) for name in names}
        rows = evaluate(EvaluateSpec(data, options.model, **chosen), show)
    print(format_table(rows))
    if options.out is not None:
        save_results(rows, options.out)
        print(f"figures of every query, for og-reid compare: {options.out}")


def do_fuse(options: argparse.Namespace) -> None:
    """Chooses the weights of two models, and writes both as one run."""
    for path in (options.first, options.second):
        check_exists(path, "give the folder of a run, or a model")
    data, settings = data_spec(options), tuple(options.settings)
    check_run_inputs(options.config, data, settings)

    from ..pipelines.fusion import FuseSpec, fuse

    spec = FuseSpec(options.config, options.first, options.second, options.out, data, settings)
    with progress_stages() as show:
        fusion = fuse(spec, show)
    told = f"share of {options.second} {fusion.second:.2f}, weight of each part {fusion.parts:.2f}"
    if fusion.mAP is not None:
        told += f"; chosen on {len(fusion.people)} people (mAP {100 * fusion.mAP:.1f} %)"
    print(f"{told}\nmodel: {options.out}")


def do_compare(options: argparse.Namespace) -> None:
    """Prints a saved run again, or how much better another one is."""
    for path in (options.first, options.other):
        check_exists(path, "give a file of og-reid evaluate --out, or the folder of a run with one")

    from ..evaluation.paired import compare_runs, format_differences, unpaired
    from ..evaluation.results import format_table
    from ..pipelines.run_results import load_run_results
    from .progress import progress_bar

    first = _of_one_line(load_run_results(options.first))
    if options.other is None:
        print(format_table(first))
        if options.details:
            for row in first:
                print(f"\n{row.method}, {row.queries}\n{row.metrics}")
        return
    second = _of_one_line(load_run_results(options.other))
    with progress_bar("comparing") as show:
        pairs = compare_runs(first, second, progress=lambda done, total: show(done, total, ""))
    print(format_differences(pairs))
    files = options.first, options.other
    for file, names in zip(files, unpaired(first, second, pairs), strict=True):
        if names:
            print(f"left out, of {file} alone: {'; '.join(names)}")


def _of_one_line(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Rows of a file, whose names may be any text, as a terminal shows them."""
    from ..files.printable import printable

    return [
        replace(each, method=printable(each.method), queries=printable(each.queries))
        for each in rows
    ]
