"""What the commands that score do: a model on a data set, and saved runs beside each other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..pipelines.data import (
    check_answers,
    check_keypoints,
    check_search_inputs,
    image_set,
    lift_test,
    refuse_keypoints,
    stored_test,
)
from ..pipelines.input_files import check_exists, check_output, check_readable
from .fusing import evaluate_fusion
from .options import data_spec
from .progress import progress_stages
from .scoring import check_scoring, score_and_tell

if TYPE_CHECKING:
    from ..evaluation.results import Clouds, ResultRow

__all__ = ["do_compare", "do_evaluate"]


def do_evaluate(options: argparse.Namespace) -> None:
    """Prints how well a model ranks a data set."""
    with progress_stages() as show:
        check_search_inputs(data_spec(options), options.model, show)

    from ..data.clouds.store import CloudStore, is_store
    from ..evaluation.query_slices import query_slices
    from ..evaluation.results import compute_distances
    from ..inference.fusion_file import is_fusion
    from ..inference.model_file import takes_photographs
    from ..inference.preprocessing import name_views
    from ..inference.pretrained import load_model, model_file
    from .progress import progress_bar

    if options.out is not None:
        check_output(options.out)
    fused = is_fusion(options.model)
    file = options.model if fused else model_file(options.model)
    if fused or (Path(file).is_file() and takes_photographs(file)):
        evaluate_fusion(options) if fused else evaluate_people(options)
        return
    refuse_keypoints(data_spec(options))
    stored = load_model(file)
    query: Clouds
    gallery: Clouds
    if options.dataset is None and is_store(options.data):
        query, gallery = stored_test(CloudStore(options.data))
        check_answers(_labels(query), _labels(gallery), options.protocol)
        query_slices(query, gallery, {}, options.by)  # refuses what is not known of a store
    else:
        images = data_spec(options).splits
        check_scoring(images, options)
        with progress_stages() as stages:
            query, gallery = lift_test(
                images, data_spec(options), stored.preprocessing.canonical, stages
            )
    with progress_bar("embedding") as show:
        distances = compute_distances(
            query,
            gallery,
            {str(options.model): stored},
            mirror=options.mirror,
            test_view=options.test_view,
            rerank=options.rerank,
            progress=lambda done, total: show(done, total, ""),
        )
    views = name_views(options.mirror, options.test_view)
    score_and_tell(distances, query, gallery, options, views)


def _labels(clouds: Clouds) -> list[tuple[int, int]]:
    return list(zip(clouds.pids.tolist(), clouds.camids.tolist(), strict=True))


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


def evaluate_people(options: argparse.Namespace) -> None:
    """Prints how well a network of photographs ranks a data set."""
    from ..inference.model_file import read_image_model
    from ..inference.pretrained import model_file
    from ..pipelines.part_ablation import part_ablation

    stored = read_image_model(model_file(options.model))
    if getattr(stored.model, "global_branch", None) == "pose":
        check_keypoints(data_spec(options))
    if options.mirror or options.test_view != "none":
        raise ValueError("--mirror and --test-view are for models of clouds; leave them out")
    if "parts" in options.by and not stored.model.parts:
        raise ValueError("--by parts needs a network with stripes; this one has none")
    data = data_spec(options)
    images = data.splits
    check_scoring(images, options)
    check_readable((*images.query, *images.gallery), options.workers)
    with progress_stages() as show:
        query, gallery = (
            image_set(side, stored.model.parts, stored.preprocessing, data, progress=show)
            for side in (images.query, images.gallery)
        )
        searches = part_ablation(
            query,
            gallery,
            stored.model,
            name=Path(options.model).stem,
            descriptor=options.descriptor,
            progress=lambda done, total: show("embedding", done, total),
        )
    score_and_tell(searches, query, gallery, options)
