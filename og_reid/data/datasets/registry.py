"""Registry of data sets by name: published ones, and those of users and other packages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pose.deprecation import deprecated_getattr

from ..sample import Splits
from .objects import OBJECTS
from .occluded_person import OCCLUDED
from .person import HOLISTIC
from .reader import refuse_junk
from .schema import SPLITS, Dataset, DatasetSpec

__all__ = [
    "CUSTOM",
    "DATASETS",
    "ENTRY_POINTS",
    "Loader",
    "added_datasets",
    "dataset_spec",
    "find_dataset",
    "load_by",
    "register_dataset",
]

DATASETS: dict[str, DatasetSpec] = {each.name: each for each in (*HOLISTIC, *OCCLUDED, *OBJECTS)}
"""Published data sets by name."""

CUSTOM = ("folder", "csv")
"""Names of custom data sets, see `from_folder` and `from_csv`."""

ENTRY_POINTS = "og_reid.datasets"
"""Group of entry points by which installed packages add data sets."""

Loader: TypeAlias = Callable[[Path], Splits]
"""Function from the folder (or file) of a data set to its images."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*", re.IGNORECASE)
_registered: dict[str, DatasetSpec | Loader] = {}


def register_dataset(name: str, source: DatasetSpec | Loader, *, overwrite: bool = False) -> None:
    """Adds a data set, for `load_dataset` and ``--dataset``.

    Installed packages need no call: an entry point in the group ``og_reid.datasets``, named as the
    data set, with a specification or a loader as its object, does the same.

    Args:
        name: Name of the data set: letters, digits, ``.``, ``_``, ``+`` and ``-``.
        source: A `DatasetSpec`, or a function that takes the path given to `load_dataset` and
            returns `Splits` (or a `Dataset`). The name in a specification is ignored.
        overwrite: Replace an earlier registration; published data sets stay.

    Raises:
        ValueError: the name is taken or not of that form, or ``source`` is neither.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"name must be of letters, digits, '.', '_', '+' and '-', such as my-data; got {name!r}"
        )
    if name in DATASETS or name in CUSTOM:
        raise ValueError(
            f"name must be a new one; {name!r} is a data set of og_reid: choose another"
        )
    if name in _registered and not overwrite:
        raise ValueError(
            f"name must be a new one; {name!r} is registered already: choose another, or pass "
            "overwrite=True"
        )
    _registered[name] = _checked(source, f"source of {name!r}")


def _checked(source: object, what: str) -> DatasetSpec | Loader:
    if not isinstance(source, DatasetSpec) and not callable(source):
        raise ValueError(
            f"{what} must be a DatasetSpec, or a function from a path to Splits; got "
            f"{type(source).__name__}"
        )
    return source


def added_datasets() -> tuple[str, ...]:
    """Names of the data sets that are registered or that installed packages offer."""
    offered = {each.name for each in entry_points(group=ENTRY_POINTS)}
    return tuple(sorted(({*_registered} | offered) - {*DATASETS, *CUSTOM}))


def find_dataset(name: str) -> DatasetSpec | Loader:
    """Specification or loader of a data set.

    Raises:
        ValueError: there is none of that name, or the package that offers it cannot be imported.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name in _registered:
        return _registered[name]
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            try:
                source = point.load()
            except Exception as error:  # anything that the import of another package raises
                raise ValueError(
                    f"data set {name!r} is offered by {point.value}, which cannot be loaded: "
                    f"{type(error).__name__}: {error}"
                ) from error
            return _checked(source, f"entry point {name!r} ({point.value})")
    names = (*DATASETS, *CUSTOM, *added_datasets())
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]}?" if near else ""
    raise ValueError(f"dataset must be one of {', '.join(names)}; got {name!r}{hint}")


def dataset_spec(name: str) -> DatasetSpec:
    """Specification of a data set.

    Raises:
        ValueError: the name is unknown, or it was registered as a function.
    """
    source = find_dataset(name)
    if isinstance(source, DatasetSpec):
        return source if name in DATASETS else replace(source, name=name)
    raise ValueError(f"data set {name!r} is listed by a function and has no specification")


def load_by(loader: Loader, name: str, root: Path) -> Dataset:
    """Images listed by a function, as a data set of that name.

    Raises:
        ValueError: the function returns another type, no image, or junk outside the gallery.
    """
    found = loader(root)
    if not isinstance(found, Splits):
        raise ValueError(
            f"the function of data set {name!r} must return Splits; got {type(found).__name__}"
        )
    splits = {split: tuple(getattr(found, split)) for split in SPLITS}
    if not any(splits.values()):
        raise ValueError(f"the function of data set {name!r} found no image in {root}")
    refuse_junk(root, splits)
    if isinstance(found, Dataset):
        return replace(found, name=name)
    return Dataset(splits["train"], splits["query"], splits["gallery"], name=name, root=root)


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
