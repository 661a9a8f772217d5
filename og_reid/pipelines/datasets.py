"""Data sets by name: list, integrity check, construction of Occluded-Duke."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .data import DataSpec, load_named
from .fields import as_path
from .input_files import check_exists
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from ..data.datasets import Dataset, DatasetSpec, IntegrityReport
    from ..data.datasets.build_occluded_duke import Prepared

__all__ = [
    "DatasetCheck",
    "PrepareSpec",
    "check_dataset",
    "describe_datasets",
    "prepare_occluded_duke",
]

_SHOWN = 10


@dataclass(frozen=True)
class DatasetCheck:
    """Data set and the integrity of its files.

    Attributes:
        dataset: Data set, with its differences from the published counts.
        report: Damaged and repeated files.
    """

    dataset: Dataset
    report: IntegrityReport

    def lines(self) -> list[str]:
        """Counts and findings, one per line."""
        lines = []
        for split in ("train", "query", "gallery"):
            samples = self.dataset.split(split)
            people = len({each.pid for each in samples if each.pid > 0})
            lines.append(f"{split:8} {len(samples):>9,} images of {people:,} identities")
        for title, found in _findings(self.report).items():
            lines += [f"{title}: {len(found):,}", *(f"  {line}" for line in found[:_SHOWN])]
            if len(found) > _SHOWN:
                lines.append(f"  ... and {len(found) - _SHOWN:,} more")
        if self.report.good:
            lines.append(f"{self.report.files:,} files are readable, without duplicates")
        return lines

    def raise_problems(self, *, verify: bool = True) -> None:
        """Raises an error for the findings.

        Args:
            verify: Whether differences from the published counts are errors.

        Raises:
            ValueError: There are findings.
        """
        root, count = self.dataset.root, f"{self.report.files:,}"
        if not self.report.good:
            raise ValueError(f"{root}: of {count} files not all are as they should be")
        if verify and self.dataset.differences:
            raise ValueError(f"{root} is not as published: {'; '.join(self.dataset.differences)}")


def check_dataset(data: DataSpec, progress: StageProgress | None = None) -> DatasetCheck:
    """Compares a data set with its published counts, and opens all its files.

    Args:
        data: Data set by name.
        progress: Called with ("listing" or "reading", files done, files in all).

    Raises:
        ValueError: The data set cannot be read.
    """
    from ..data.datasets import check_dataset as check

    # Files are opened whatever the counts: one call reports all findings.
    dataset = load_named(data, verify=False, progress=progress)
    return DatasetCheck(dataset, check(dataset, progress=stage_progress(progress, "reading")))


def _findings(report: IntegrityReport) -> dict[str, list[str]]:
    pairs = {
        "the same image twice in a split": report.twice,
        "the same image in training and test": report.leaked,
        "the same image with two identities": report.relabelled,
    }
    findings = {title: [f"{a} = {b}" for a, b in found] for title, found in pairs.items()}
    findings["cannot be read"] = list(report.damaged)
    return {title: lines for title, lines in findings.items() if lines}


def describe_datasets(
    root: str | Path | None = None, progress: StageProgress | None = None
) -> list[str]:
    """Data sets that can be read by name, one per line, and without ``root`` a hint on it.

    Args:
        root: Folder of data sets, to add their state in it; or None.
        progress: Called with ("looking", parts done, parts in all).

    Raises:
        ValueError: ``root`` is no folder.
    """
    from ..data.datasets import DATASETS, added_datasets

    added = added_datasets()
    width = max(map(len, (*DATASETS, *added)))
    states = {} if root is None else _states(DATASETS, Path(root), progress)
    rows = {name: f"{each.title}{states.get(name, '')}" for name, each in DATASETS.items()}
    rows |= dict.fromkeys(added, "added to this installation")
    rows["folder"] = "custom: folders of identities, of cameras, of queries and gallery"
    rows["csv"] = "custom: a file with the columns path, pid and, if known, camid, split"
    lines = [f"{name:{width}}  {text}" for name, text in rows.items()]
    hint = "og-reid datasets --root DIR shows which of them are in DIR"
    return lines if root is not None else [*lines, hint]


def _states(
    specs: Mapping[str, DatasetSpec], root: Path, progress: StageProgress | None
) -> dict[str, str]:
    report, states = stage_progress(progress, "looking"), {}
    for number, (name, spec) in enumerate(specs.items()):

        def inside(done: float, total: float, before: int = number) -> None:
            report(100 * (before + done / total), 100 * len(specs))

        states[name] = f"  {_state(spec, root, inside)}"
        inside(1, 1)
    return states


def _state(spec: DatasetSpec, root: Path, progress: Callable[[int, int], None]) -> str:
    from ..data.datasets import find_folder, read_dataset

    if not root.is_dir():
        raise ValueError(f"--root must be a folder; got {root}")
    folder = find_folder(spec, root)
    if folder is None:
        return "- not found"
    try:
        dataset = read_dataset(spec, folder, notice=lambda _: None, progress=progress)
    except (ValueError, OSError) as error:
        return f"- BAD: {error}"
    count = len(dataset.train) + len(dataset.query) + len(dataset.gallery)
    files = "clouds" if spec.kind == "clouds" else "images"
    known = spec.counts_from in ("split files", "reference loaders")
    return f"- {count:,} {files} in {dataset.root}" + (", as published" if known else "")


@dataclass(frozen=True)
class PrepareSpec:
    """Sources of Occluded-Duke, and the folder to build.

    Attributes:
        duke: DukeMTMC-reID, .zip file or folder.
        lists: Folder with train.list, query.list and gallery.list.
        out: Folder to build.
    """

    duke: Path
    lists: Path
    out: Path

    def __post_init__(self) -> None:
        """Makes paths of strings."""
        for name in ("duke", "lists", "out"):
            as_path(self, name)


def prepare_occluded_duke(spec: PrepareSpec, progress: StageProgress | None = None) -> Prepared:
    """Builds Occluded-DukeMTMC from DukeMTMC-reID and its authors' lists; resumable.

    Args:
        spec: Sources and folder.
        progress: Called with ("building", images done, images in all).

    Raises:
        ValueError: A source is missing, or differs from the published one.
    """
    check_exists(spec.duke, "give --duke the folder of DukeMTMC-reID, or its .zip file")
    check_exists(spec.lists, "give --lists the folder with the three lists")

    from ..data.datasets import dataset_spec
    from ..data.datasets.build_occluded_duke import prepare_occluded_duke as build

    logging.getLogger("og_reid").warning("%s", dataset_spec("occluded-duke").notice)
    return build(spec.duke, spec.lists, spec.out, progress=stage_progress(progress, "building"))
