"""Benchmark data sets: specifications, readers, verification; none is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pose.deprecation import deprecated_getattr

from .csv_list import from_csv, paths_from_csv
from .custom import from_folder
from .integrity import IntegrityReport, check_dataset
from .reader import find_folder, read_dataset
from .readings import LAYOUTS, Layout
from .registry import (
    CUSTOM,
    DATASETS,
    added_datasets,
    dataset_spec,
    find_dataset,
    load_by,
    register_dataset,
)
from .schema import Counts, Dataset, DatasetSample, DatasetSpec, Folder

__all__ = [
    "CUSTOM",
    "DATASETS",
    "LAYOUTS",
    "Counts",
    "Dataset",
    "DatasetSample",
    "DatasetSpec",
    "Folder",
    "IntegrityReport",
    "Layout",
    "added_datasets",
    "check_dataset",
    "dataset_spec",
    "find_folder",
    "from_csv",
    "from_folder",
    "load_dataset",
    "paths_from_csv",
    "read_dataset",
    "register_dataset",
]


def load_dataset(
    name: str,
    root: str | Path,
    *,
    verify: bool = True,
    notice: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    allow_absolute: bool = False,
    layout: Layout | None = None,
    train_share: float = 0.5,
) -> Dataset:
    """Data set by name: its images, listed and verified, not opened.

    Args:
        name: One of `DATASETS` or `CUSTOM`, or one added by `register_dataset`.
        root: Its folder or the parent folder; the file for ``csv``.
        verify: See `read_dataset`.
        notice: See `read_dataset`.
        progress: See `read_dataset`.
        allow_absolute: See `from_csv`.
        layout: See `from_folder`; for ``folder`` alone.
        train_share: Fraction of training identities, in [0, 1]; for `CUSTOM` alone.

    Returns:
        Training, query and gallery samples, in an order that does not depend on the file system.

    Raises:
        ValueError: see `read_dataset`, `from_folder` and `from_csv`.
    """
    if layout is not None and name != "folder":
        raise ValueError(f"layout is for the data set folder; got {layout!r} for {name!r}")
    if name == "folder":
        return from_folder(
            root, layout=layout, train_share=train_share, allow_absolute=allow_absolute
        )
    if name == "csv":
        return from_csv(root, train_share=train_share, allow_absolute=allow_absolute)
    source = find_dataset(name)
    if isinstance(source, DatasetSpec):
        return read_dataset(
            dataset_spec(name), root, verify=verify, notice=notice, progress=progress
        )
    return load_by(source, name, Path(root))


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
