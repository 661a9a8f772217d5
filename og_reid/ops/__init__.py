"""Geometry operators on batches of point clouds: neighbours, sampling, pooling over neighbours."""

from __future__ import annotations

from ._library import native_info
from .gate import EdgeTerms, gated_max
from .gather import gather_rows, in_degree, mean_neighbors, pool_neighbors
from .knn import knn, knn_torch
from .sampling import ball_query, farthest_point_sample, nearest_in_radius

__all__ = [
    "EdgeTerms",
    "ball_query",
    "farthest_point_sample",
    "gated_max",
    "gather_rows",
    "in_degree",
    "knn",
    "knn_torch",
    "mean_neighbors",
    "native_info",
    "nearest_in_radius",
    "pool_neighbors",
]
