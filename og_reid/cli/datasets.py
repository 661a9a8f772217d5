"""What the commands about data sets do, and the data set that other commands are given."""

from __future__ import annotations

import argparse
import functools
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ..data import Sample, Splits
    from ..data.datasets import Dataset, DatasetSpec, IntegrityReport

__all__ = ["do_check", "do_datasets", "do_prepare", "look_first", "splits"]

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
    from .progress import progress_bar

    # Whatever the numbers, the files are opened: one call tells all that is wrong.
    dataset = _load(options.data, options, verify=False)
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

    _tell(dataset_spec(options.what).notice)
    with progress_bar("building") as show:
        built = prepare_occluded_duke(
            options.duke,
            options.lists,
            options.out,
            progress=lambda done, total: show(done, total, f"{done:,} of {total:,} images"),
        )
    counts = ", ".join(f"{folder} {count:,}" for folder, count in built.images.items())
    print(f"{built.root}: {counts}; {built.kept:,} were there already")


def splits(data: Path, options: argparse.Namespace) -> Splits:
    """The images in a folder (or CSV file), which ``--dataset`` says what it is.

    They are listed once for a command: what `look_first` found is not listed again.

    Raises:
        ValueError: the data set holds clouds, or is not as it should be.
    """
    known: tuple[Path, Splits] | None = getattr(options, "looked", None)
    if known is not None and known[0] == data:
        return known[1]
    images = _market(data, options) if options.dataset is None else _images(data, options)
    if hasattr(options, "resume") and not images.train:  # of og-reid train
        raise ValueError(
            f"{options.dataset or data} has no training images: it is there to test on"
        )
    return images


def _market(data: Path, options: argparse.Namespace) -> Splits:
    from ..data.datasets.market import few_queries, load_market

    for name in ("layout", "train_share"):
        if getattr(options, name, None) is not None:
            given = f"--{name.replace('_', '-')} {getattr(options, name)}"
            raise ValueError(f"{given} is for --dataset folder: give both")
    images = load_market(data)
    few = few_queries(images)
    if few and hasattr(options, "protocol"):
        _tell(f"note: {few}")
    return images


def _images(data: Path, options: argparse.Namespace) -> Dataset:
    dataset = _load(data, options, verify=not options.unverified)
    if dataset.name == "og-net-3d":
        raise ValueError(
            f"{dataset.root} holds clouds: make a store of it with og-reid convert, and give that "
            "as --data without --dataset"
        )
    return dataset


def look_first(run: _Command) -> _Command:
    """A command that scores, once its images are listed: before slow imports and the model.

    What is wrong with the data is found in a second; `splits` gives the command what was found.
    """

    @functools.wraps(run)
    def looking(options: argparse.Namespace) -> None:
        named = options.dataset is not None
        # What is wrong with a model that must be read for it is said before data are missed.
        read = getattr(options, "model", "default") != "default" and not options.data.exists()
        if hasattr(options, "protocol") and not read and (named or _of_images(options.data)):
            images = splits(options.data, options)
            if not (images.query and images.gallery):
                raise ValueError(_unsearchable(options.dataset or options.data, images))
            options.looked = (options.data, images)
        run(options)

    return looking


def _of_images(data: Path) -> bool:
    """Whether data without a name are images rather than stored clouds."""
    stored = data.is_dir() and ((data / "store.json").is_file() or any(data.glob("clouds-*.arrow")))
    return not data.is_file() and not stored


def _unsearchable(what: object, images: Splits) -> str:
    people = len({each.pid for each in images.train if each.pid > 0})
    text = f"{what} has no queries or no gallery to evaluate on"
    if images.gallery and not images.query and max(_counts(images.gallery), default=0) < 2:
        return (
            f"{text}: no identity for testing has 2 images, one to search with and one to be found"
        )
    if not images.train:
        return text
    return (
        f"{text}: all {people:,} identities are for training; put test images into folders query "
        "and gallery, give a CSV file with a column split, or say --train-share 0"
    )


def _counts(samples: Sequence[Sample]) -> list[int]:
    """How many images each identity has, junk and distractors left out."""
    return list(Counter(each.pid for each in samples if each.pid > 0).values())


def _load(data: Path, options: argparse.Namespace, *, verify: bool) -> Dataset:
    from ..data import load_dataset
    from ..data.datasets import CUSTOM
    from .progress import progress_bar

    share: float | None = getattr(options, "train_share", None)
    if share is not None and options.dataset not in CUSTOM:
        raise ValueError(f"--train-share is for --dataset folder and csv; got {options.dataset}")
    with progress_bar("listing") as show, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load_dataset(
            options.dataset,
            data,
            verify=verify,
            notice=_tell,
            progress=lambda done, total: show(done, total, ""),
            allow_absolute=options.absolute,
            layout=getattr(options, "layout", None),
            train_share=0.5 if share is None else share,
        )
    for each in caught:  # what is among the notes is not said twice
        if not any(note in str(each.message) for note in dataset.notes):
            _tell(f"note: {each.message}")
    for difference in dataset.differences:
        _tell(f"not as published: {difference}")
    for note in dataset.notes:
        _tell(f"note: {note}")
    return dataset


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


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
