"""Data sets of people: folders, images, packed clouds, augmentation and batch order.

Names are imported on first use, so that a folder is looked over before torch is there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import CloudBatch
    from .clouds import CloudSet
    from .datasets import Dataset, load_dataset, register_dataset
    from .market import Attributes, MarketSplits, Sample, load_market, read_attributes
    from .people import PeopleBatch, PeopleSet
    from .recolor import recolor_identities
    from .samplers import PKSampler
    from .transforms import Augmentation, augment

__all__ = [
    "Attributes",
    "Augmentation",
    "CloudBatch",
    "CloudSet",
    "Dataset",
    "MarketSplits",
    "PKSampler",
    "PeopleBatch",
    "PeopleSet",
    "Sample",
    "augment",
    "load_dataset",
    "load_market",
    "read_attributes",
    "recolor_identities",
    "register_dataset",
]

_HOME = {
    "Attributes": "market",
    "Augmentation": "transforms",
    "CloudBatch": "batch",
    "CloudSet": "clouds",
    "Dataset": "datasets",
    "MarketSplits": "market",
    "PKSampler": "samplers",
    "PeopleBatch": "people",
    "PeopleSet": "people",
    "Sample": "market",
    "augment": "transforms",
    "load_dataset": "datasets",
    "load_market": "market",
    "read_attributes": "market",
    "recolor_identities": "recolor",
    "register_dataset": "datasets",
}

# Reached without an import of their own, as in ``og_reid.data.datasets.from_folder``.
_MODULES = {*_HOME.values(), "market3d", "store"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
