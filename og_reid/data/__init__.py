"""Data sets, point clouds, images with keypoints or labels, augmentation, order of batches.

Subpackages, in order of dependency: ``files``, ``clouds``, ``images`` and ``labelled``,
``datasets`` and ``augmentation``. Names are imported on first use, so that listing a folder needs
no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pose.deprecation import deprecated_attribute

if TYPE_CHECKING:
    from .augmentation.cross_cloud import CameraStyles, swap_background
    from .augmentation.identity_color import recolor_identities
    from .augmentation.styled import StyledSet, measure_styles
    from .augmentation.transforms import Augmentation, augment
    from .clouds.batch import CloudBatch
    from .clouds.cloud_set import CloudSet
    from .clouds.lift_dataset import lift_dataset
    from .clouds.lift_store import lift_store
    from .clouds.lifted_store import LiftedStore
    from .clouds.market3d import RawCloud, ReferenceClouds, subsample, subsample_batch, subsample_to
    from .clouds.market3d_tree import load_market3d
    from .clouds.source import CloudDataset
    from .clouds.store import CloudStore
    from .datasets import (
        Dataset,
        check_dataset,
        from_csv,
        from_folder,
        load_dataset,
        register_dataset,
    )
    from .datasets.holdout import HoldoutSplit, holdout_split
    from .datasets.market import Attributes, load_market, read_attributes
    from .files.mot import BoxTracks, read_mot, write_mot
    from .images.augment import augment_images
    from .images.image_set import ImageBatch, ImageSet
    from .images.preprocess import preprocess_image
    from .keyed_random import KeyedRandom, occurrence_index
    from .labelled.batch import LabelledBatch
    from .labelled.config import CompositeConfig
    from .labelled.images import LabelledSet
    from .sample import Sample, Splits
    from .samplers import PKSampler

__all__ = [
    "Attributes",
    "Augmentation",
    "BoxTracks",
    "CameraStyles",
    "CloudBatch",
    "CloudDataset",
    "CloudSet",
    "CloudStore",
    "CompositeConfig",
    "Dataset",
    "HoldoutSplit",
    "ImageBatch",
    "ImageSet",
    "KeyedRandom",
    "LabelledBatch",
    "LabelledSet",
    "LiftedStore",
    "PKSampler",
    "RawCloud",
    "ReferenceClouds",
    "Sample",
    "Splits",
    "StyledSet",
    "augment",
    "augment_images",
    "check_dataset",
    "from_csv",
    "from_folder",
    "holdout_split",
    "lift_dataset",
    "lift_store",
    "load_dataset",
    "load_market",
    "load_market3d",
    "measure_styles",
    "occurrence_index",
    "preprocess_image",
    "read_attributes",
    "read_mot",
    "recolor_identities",
    "register_dataset",
    "subsample",
    "subsample_batch",
    "subsample_to",
    "swap_background",
    "write_mot",
]

_HOME = {
    "Attributes": "datasets.market",
    "Augmentation": "augmentation.transforms",
    "BoxTracks": "files.mot",
    "CameraStyles": "augmentation.cross_cloud",
    "StyledSet": "augmentation.styled",
    "measure_styles": "augmentation.styled",
    "CloudBatch": "clouds.batch",
    "CloudDataset": "clouds.source",
    "CloudSet": "clouds.cloud_set",
    "CloudStore": "clouds.store",
    "CompositeConfig": "labelled.config",
    "Dataset": "datasets",
    "HoldoutSplit": "datasets.holdout",
    "ImageBatch": "images.image_set",
    "ImageSet": "images.image_set",
    "KeyedRandom": "keyed_random",
    "LabelledBatch": "labelled.batch",
    "LabelledSet": "labelled.images",
    "LiftedStore": "clouds.lifted_store",
    "PKSampler": "samplers",
    "RawCloud": "clouds.market3d",
    "ReferenceClouds": "clouds.market3d",
    "Sample": "sample",
    "Splits": "sample",
    "augment": "augmentation.transforms",
    "augment_images": "images.augment",
    "check_dataset": "datasets",
    "from_csv": "datasets",
    "from_folder": "datasets",
    "holdout_split": "datasets.holdout",
    "lift_dataset": "clouds.lift_dataset",
    "lift_store": "clouds.lift_store",
    "load_dataset": "datasets",
    "load_market": "datasets.market",
    "load_market3d": "clouds.market3d_tree",
    "occurrence_index": "keyed_random",
    "preprocess_image": "images.preprocess",
    "read_attributes": "datasets.market",
    "read_mot": "files.mot",
    "recolor_identities": "augmentation.identity_color",
    "register_dataset": "datasets",
    "subsample": "clouds.market3d",
    "subsample_batch": "clouds.market3d",
    "subsample_to": "clouds.market3d",
    "swap_background": "augmentation.cross_cloud",
    "write_mot": "files.mot",
}

# Accessible without an import of their own, as in ``og_reid.data.datasets.from_folder``.
_MODULES = {"augmentation", "clouds", "datasets", "images", "labelled", "samplers"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    return deprecated_attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
