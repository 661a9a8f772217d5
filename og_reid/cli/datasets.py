"""What the commands about data sets do, and the data set that other commands are given."""

from __future__ import annotations

import argparse
import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..pipelines.data import list_test_images, load_named
from .progress import progress_stages

if TYPE_CHECKING:
    from ..data.datasets import DatasetSpec, IntegrityReport

__all__ = ["do_check", "do_datasets", "do_prepare", "look_first"]

_SHOWN = 10
_Command: TypeAlias = Callable[[argparse.Namespace], None]


def do_datasets(options: argparse.Namespace) -> None:
    """Lists the data sets that are known, and what a folder holds of them."""
    from ..data.datasets import DATASETS, added_datasets

    added = added_datasets()
    width = max(map(len, (*DATASETS, *added)))
    states = {} if options.root is None else _states(DATASETS, options.root)
    for name, description in DATASETS.items():
        print(f"{name:{width}}  {description.title}{states.get(name, '')}")
    for name in added:
        print(f"{name:{width}}  added to this installation")
    print(f"{'folder':{width}}  your own: folders of people, of cameras, of queries and gallery")
    print(
        f"{'csv':{width}}  your own: a file with the columns path, pid and, if known, camid, split"
    )
    if options.root is None:
        print("og-reid datasets --root DIR shows which of them are in DIR")


def do_check(options: argparse.Namespace) -> None:
    """Compares a data set with its published numbers and opens all its files."""
    from ..data.datasets import check_dataset
    from .options import data_spec
    from .progress import progress_bar

    # Whatever the numbers, the files are opened: one call tells all that is wrong.
    with progress_stages() as show:
        dataset = load_named(data_spec(options), verify=False, progress=show)
    for split in ("train", "query", "gallery"):
        samples = dataset.split(split)
        people = len({each.pid for each in samples if each.pid > 0})
        print(f"{split:8} {len(samples):>9,} images of {people:,} people")
    with progress_bar("reading") as show:
        check = check_dataset(
            dataset, progress=lambda done, total: show(done, total, f"{done:,} of {total:,} files")
        )
    findings = _findings(check)
    for title, lines in findings.items():
        print(f"{title}: {len(lines):,}")
        for line in lines[:_SHOWN]:
            print(f"  {line}")
        if len(lines) > _SHOWN:
            print(f"  ... and {len(lines) - _SHOWN:,} more")
    if check.good:
        print(f"{check.files:,} files can be read, none is there twice")
    else:
        raise ValueError(f"{dataset.root}: of {check.files:,} files not all are as they should be")
    if dataset.differences and not options.unverified:
        raise ValueError(f"{dataset.root} is not as published: {'; '.join(dataset.differences)}")


def do_prepare(options: argparse.Namespace) -> None:
    """Builds Occluded-Duke."""
    from ..data.datasets import dataset_spec
    from ..data.datasets.build_occluded_duke import prepare_occluded_duke
    from .progress import progress_bar

    logging.getLogger("og_reid").warning(dataset_spec(options.what).notice)
    with progress_bar("building") as show:
        built = prepare_occluded_duke(
            options.duke,
            options.lists,
            options.out,
            progress=lambda done, total: show(done, total, f"{done:,} of {total:,} images"),
        )
    counts = ", ".join(f"{folder} {count:,}" for folder, count in built.images.items())
    print(f"{built.root}: {counts}; {built.kept:,} were there already")


def look_first(run: _Command) -> _Command:
    """A command that scores, once its images are listed: before slow imports and the model.

    What is wrong with the data is found in a second; `splits` gives the command what was found.
    """
    from .options import data_spec

    @functools.wraps(run)
    def looking(options: argparse.Namespace) -> None:
        named = options.dataset is not None
        # What is wrong with a model that must be read for it is said before data are missed.
        read = getattr(options, "model", "default") != "default" and not options.data.exists()
        if hasattr(options, "protocol") and not read and (named or data_spec(options).holds_images):
            with progress_stages() as show:
                list_test_images(data_spec(options), show)
        run(options)

    return looking


def _states(descriptions: Mapping[str, DatasetSpec], root: Path) -> dict[str, str]:
    from .progress import progress_bar

    states = {}
    with progress_bar("looking") as show:
        for number, (name, description) in enumerate(descriptions.items()):

            def inside(done: int, total: int, before: int = number) -> None:
                show(before + done / total, len(descriptions), "")

            states[name] = f"  {_state(description, root, inside)}"
            inside(1, 1)
    return states


def _state(description: DatasetSpec, root: Path, progress: Callable[[int, int], None]) -> str:
    from ..data.datasets import find_folder, read_dataset

    if not root.is_dir():
        raise ValueError(f"--root must be a folder; got {root}")
    folder = find_folder(description, root)
    if folder is None:
        return "- not here"
    try:
        dataset = read_dataset(description, folder, notice=lambda _: None, progress=progress)
    except (ValueError, OSError) as error:
        return f"- BAD: {error}"
    count = len(dataset.train) + len(dataset.query) + len(dataset.gallery)
    files = "clouds" if description.kind == "clouds" else "images"
    known = description.counts_from in ("split files", "reference loaders")
    return f"- {count:,} {files} in {dataset.root}" + (", as published" if known else "")


def _findings(check: IntegrityReport) -> dict[str, list[str]]:
    pairs = {
        "the same image twice in a split": check.twice,
        "the same image in training and test": check.leaked,
        "the same image with two identities": check.relabelled,
    }
    findings = {title: [f"{a} = {b}" for a, b in found] for title, found in pairs.items()}
    findings["cannot be read"] = list(check.damaged)
    return {title: lines for title, lines in findings.items() if lines}
