"""Metrics of retrieval: CMC, mAP and mINP, exact, in blocks, by counting instead of sorting.

A gallery item with identity -1 is junk and never ranked; one of the query's own identity *and*
camera is left out for that query. Distractors (identity 0 in Market-1501) have no query of their
identity and are wrong answers. Queries without a remaining match are counted, but not in the means.

Ties are broken pessimistically: a match at the same distance as a wrong answer ranks after it,
so metrics do not depend on the order of the gallery, and constant features score near 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pose.deprecation import deprecated_getattr

from ..retrieval.labels import ImageLabels, Labels
from ..retrieval.result import RetrievalResult
from ..retrieval.search import rank, rank_distances
from .engine import evaluate, evaluate_distances
from .metrics import AveragePrecision, Metrics, load_metrics
from .one_per_identity import OnePerIdentity, one_per_identity
from .paired import PairedDifference, compare_paired, compare_runs
from .protocols import Protocol, ProtocolName
from .reliability import Reliability, reliability
from .results import ResultRow, format_table, load_results, save_results
from .significance import bootstrap_interval
from .tracking import TrackMetrics, evaluate_tracks
from .university import UniversityMetrics, university_metrics
from .verification import OpenSet, Verification, identify, verify
from .viewpoints import camera_pairs, viewpoint_curve, yaw_difference

__all__ = [
    "AveragePrecision",
    "ImageLabels",
    "Labels",
    "Metrics",
    "OnePerIdentity",
    "OpenSet",
    "PairedDifference",
    "Protocol",
    "ProtocolName",
    "Reliability",
    "ResultRow",
    "RetrievalResult",
    "TrackMetrics",
    "UniversityMetrics",
    "Verification",
    "bootstrap_interval",
    "camera_pairs",
    "compare_paired",
    "compare_runs",
    "evaluate",
    "evaluate_distances",
    "evaluate_tracks",
    "format_table",
    "identify",
    "load_metrics",
    "load_results",
    "one_per_identity",
    "rank",
    "rank_distances",
    "reliability",
    "save_results",
    "university_metrics",
    "verify",
    "viewpoint_curve",
    "yaw_difference",
]

if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
