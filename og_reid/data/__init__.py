"""Data sets of people: folders, images, packed clouds, augmentation and batch order.

Names are imported on first use, so that a folder is looked over before torch is there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pose.deprecation import deprecated_attribute

if TYPE_CHECKING:
    from .augmentation.identity_color import recolor_identities
    from .augmentation.transforms import Augmentation, augment
    from .clouds.batch import CloudBatch
    from .clouds.cloud_set import CloudSet
    from .datasets import Dataset, load_dataset, register_dataset
    from .datasets.market import Attributes, load_market, read_attributes
    from .images.image_set import ImageBatch, ImageSet
    from .sample import Sample, Splits
    from .samplers import PKSampler

__all__ = [
    "Attributes",
    "Augmentation",
    "CloudBatch",
    "CloudSet",
    "Dataset",
    "ImageBatch",
    "ImageSet",
    "PKSampler",
    "Sample",
    "Splits",
    "augment",
    "load_dataset",
    "load_market",
    "read_attributes",
    "recolor_identities",
    "register_dataset",
]

_HOME = {
    "Attributes": "datasets.market",
    "Augmentation": "augmentation.transforms",
    "CloudBatch": "clouds.batch",
    "CloudSet": "clouds.cloud_set",
    "Dataset": "datasets",
    "Splits": "sample",
    "PKSampler": "samplers",
    "ImageBatch": "images.image_set",
    "ImageSet": "images.image_set",
    "Sample": "sample",
    "augment": "augmentation.transforms",
    "load_dataset": "datasets",
    "load_market": "datasets.market",
    "read_attributes": "datasets.market",
    "recolor_identities": "augmentation.identity_color",
    "register_dataset": "datasets",
}

# Reached without an import of their own, as in ``og_reid.data.datasets.from_folder``.
_MODULES = {"augmentation", "clouds", "datasets", "images", "samplers"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    return deprecated_attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
