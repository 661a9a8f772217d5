"""Geometry operators on batches of point clouds: neighbours, sampling, pooling over neighbours."""

from __future__ import annotations

from ._library import native_info
from .ball import ball_query, ball_query_torch, nearest_in_radius, radius_count, radius_count_torch
from .counting import Thresholds, count_wrong, count_wrong_torch
from .edge_conv import EdgeNorm, edge_conv
from .gate import EdgeTerms, gated_max
from .gather import gather_neighbors
from .indices import in_degree
from .knn import knn, knn_torch
from .nearest import Nearest, select_nearest, select_nearest_torch
from .pool import mean_neighbors, pool_neighbors
from .sampling import farthest_point_sample, farthest_point_sample_torch

__all__ = [
    "EdgeNorm",
    "EdgeTerms",
    "Nearest",
    "Thresholds",
    "ball_query",
    "ball_query_torch",
    "count_wrong",
    "count_wrong_torch",
    "edge_conv",
    "farthest_point_sample",
    "farthest_point_sample_torch",
    "gated_max",
    "gather_neighbors",
    "in_degree",
    "knn",
    "knn_torch",
    "mean_neighbors",
    "native_info",
    "nearest_in_radius",
    "pool_neighbors",
    "radius_count",
    "radius_count_torch",
    "select_nearest",
    "select_nearest_torch",
]
