"""The data sets of the field: what they look like, read and verified; none is downloaded."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from .checking import Check, check_dataset
from .description import Counts, Dataset, DatasetSample, Description
from .holistic import HOLISTIC
from .occluded import OCCLUDED
from .own import from_csv, from_folder, paths_from_csv
from .reading import find_folder, read_dataset
from .things import THINGS

__all__ = [
    "DATASETS",
    "OWN",
    "Check",
    "Counts",
    "Dataset",
    "DatasetSample",
    "Description",
    "check_dataset",
    "describe",
    "find_folder",
    "from_csv",
    "from_folder",
    "load_dataset",
    "paths_from_csv",
    "read_dataset",
]

DATASETS: dict[str, Description] = {each.name: each for each in (*HOLISTIC, *OCCLUDED, *THINGS)}
"""The published data sets by name."""

OWN = ("folder", "csv")
"""Names for one's own photographs, see `from_folder` and `from_csv`."""


def describe(name: str) -> Description:
    """The description of a published data set.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in DATASETS:
        names = (*DATASETS, *OWN)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f": did you mean {near[0]}?" if near else ""
        raise ValueError(f"dataset must be one of {', '.join(names)}; got {name!r}{hint}")
    return DATASETS[name]


def load_dataset(
    name: str,
    root: str | Path,
    *,
    verify: bool = True,
    notice: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    allow_absolute: bool = False,
) -> Dataset:
    """Lists the images of a data set by name.

    Args:
        name: One of `DATASETS` or `OWN`.
        root: Its folder, or one that holds it; the file for ``csv``.
        verify: See `read_dataset`.
        notice: See `read_dataset`.
        progress: See `read_dataset`.
        allow_absolute: See `from_csv`.

    Raises:
        ValueError: see `read_dataset`, `from_folder` and `from_csv`.
    """
    if name == "folder":
        return from_folder(root)
    if name == "csv":
        return from_csv(root, allow_absolute=allow_absolute)
    return read_dataset(describe(name), root, verify=verify, notice=notice, progress=progress)
