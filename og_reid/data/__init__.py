"""Data sets of people: folders, photographs, packed clouds, augmentation and batch order."""

from __future__ import annotations

from .batch import CloudBatch
from .clouds import CloudSet
from .datasets import Dataset, load_dataset
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
]
