"""Adaptation to cameras without labels: pseudo labels, their reliability and their quality.

The functions are pure: features and labels in, labels out. `og_reid.losses` has the losses, and
`og_reid.rerank.jaccard_neighbors` the distances.
"""

from __future__ import annotations

from .cameras import center_cameras
from .pseudo_labels import (
    Centers,
    add_source_distance,
    dbscan,
    eps_of_fraction,
    kmeans,
    source_distance,
    spherical_kmeans,
)
from .quality import LabelQuality, label_quality, rand_index
from .reliability import (
    SelfPaced,
    common_groups,
    near_centers,
    nearest_to_center,
    self_paced,
    singletons,
)

__all__ = [
    "Centers",
    "LabelQuality",
    "SelfPaced",
    "add_source_distance",
    "center_cameras",
    "common_groups",
    "dbscan",
    "eps_of_fraction",
    "kmeans",
    "label_quality",
    "near_centers",
    "nearest_to_center",
    "rand_index",
    "self_paced",
    "singletons",
    "source_distance",
    "spherical_kmeans",
]
