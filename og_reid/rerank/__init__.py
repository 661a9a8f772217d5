"""Re-ranking by neighbours of neighbours: k-reciprocal, graph propagation, query expansion.

Published variants differ in their result; each has its name here, and `LazyDistances` carries name
and parameters, to be reported with every metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pose.deprecation import deprecated_getattr

from ..retrieval.clustering import cluster, cluster_means
from ..retrieval.reranked import LazyDistances
from .cameras import (
    MetadataStep,
    Seen,
    complete_labels,
    join_features,
    rerank_by_metadata,
    verify_cameras,
    verify_pairs,
)
from .centring import center_gallery, center_neighbors
from .expansion import augment_database, expand_queries
from .graph import gnn_rerank
from .jaccard import JaccardVariant, jaccard_neighbors
from .k_reciprocal import Variant, k_reciprocal, k_reciprocal_distances
from .local import k_reciprocal_local
from .metadata import add_track_means, body_yaw, penalise_same_camera, penalise_same_direction
from .search_methods import SearchMethods, search_local

__all__ = [
    "JaccardVariant",
    "LazyDistances",
    "MetadataStep",
    "SearchMethods",
    "Seen",
    "Variant",
    "add_track_means",
    "augment_database",
    "body_yaw",
    "center_gallery",
    "center_neighbors",
    "cluster",
    "cluster_means",
    "complete_labels",
    "expand_queries",
    "gnn_rerank",
    "jaccard_neighbors",
    "join_features",
    "k_reciprocal",
    "k_reciprocal_distances",
    "k_reciprocal_local",
    "penalise_same_camera",
    "penalise_same_direction",
    "rerank_by_metadata",
    "search_local",
    "verify_cameras",
    "verify_pairs",
]

if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
