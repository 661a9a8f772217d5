"""Similarity of embeddings, nearest neighbours, labels and clusters: ranking without metrics."""

from __future__ import annotations

from .clustering import cluster, cluster_means
from .labels import ImageLabels, Labels
from .reranked import LazyDistances
from .search import RetrievalResult, rank, rank_distances
from .similarity import similarity_blocks, visible_part_similarity

__all__ = [
    "ImageLabels",
    "Labels",
    "LazyDistances",
    "RetrievalResult",
    "cluster",
    "cluster_means",
    "rank",
    "rank_distances",
    "similarity_blocks",
    "visible_part_similarity",
]
