"""Operators: neighbours, sampling and pooling of point clouds, late interaction, ranks, top-k."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pose.deprecation import deprecated_getattr

from ._native.library import native_info
from .ball_query import (
    ball_query,
    ball_query_torch,
    nearest_in_radius,
    radius_count,
    radius_count_torch,
)
from .edge_conv import EdgeNorm, edge_conv
from .fps import farthest_point_sample, farthest_point_sample_torch
from .gated_pool import EdgeTerms, gated_max
from .gather import gather_neighbors
from .knn import knn, knn_torch
from .late_interaction import int8_features, late_interaction, late_interaction_torch
from .late_topk import LateTopK, late_interaction_topk
from .neighbor_index import in_degree
from .pool import mean_neighbors, pool_neighbors
from .rank_counts import RankThresholds, count_closer, count_closer_torch
from .topk import TopK, merge_topk, merge_topk_torch

__all__ = [
    "EdgeNorm",
    "EdgeTerms",
    "LateTopK",
    "RankThresholds",
    "TopK",
    "ball_query",
    "ball_query_torch",
    "count_closer",
    "count_closer_torch",
    "edge_conv",
    "farthest_point_sample",
    "farthest_point_sample_torch",
    "gated_max",
    "gather_neighbors",
    "in_degree",
    "int8_features",
    "knn",
    "knn_torch",
    "late_interaction",
    "late_interaction_topk",
    "late_interaction_torch",
    "mean_neighbors",
    "merge_topk",
    "merge_topk_torch",
    "native_info",
    "nearest_in_radius",
    "pool_neighbors",
    "radius_count",
    "radius_count_torch",
]

if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
