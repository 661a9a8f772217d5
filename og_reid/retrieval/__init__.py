"""Similarity of embeddings, nearest neighbours, labels and clusters: ranking without metrics."""

from __future__ import annotations

from .calibration import Calibration, fit_calibration
from .clustering import cluster, cluster_means
from .labels import ImageLabels, Labels
from .reranked import LazyDistances
from .result import RetrievalResult, VerificationResult
from .search import rank, rank_distances
from .similarity import similarity_blocks, visible_part_similarity

__all__ = [
    "Calibration",
    "ImageLabels",
    "Labels",
    "LazyDistances",
    "RetrievalResult",
    "VerificationResult",
    "cluster",
    "cluster_means",
    "fit_calibration",
    "rank",
    "rank_distances",
    "similarity_blocks",
    "visible_part_similarity",
]
