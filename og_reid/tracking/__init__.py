"""Tracklets of people in videos: linking of boxes, and joining across gaps and cameras."""

from __future__ import annotations

from .joining import join_tracklets
from .linking import link_boxes
from .pair_evidence import PairEvidence, pair_evidence
from .result import FollowedTracklet, FollowResult, FollowSettings
from .tracklet_embeddings import tracklet_embeddings
from .tracklets import (
    Tracklet,
    box_clearness,
    choose_boxes,
    split_tracklets,
    tracklets_apart,
)

__all__ = [
    "FollowResult",
    "FollowSettings",
    "FollowedTracklet",
    "PairEvidence",
    "Tracklet",
    "box_clearness",
    "choose_boxes",
    "join_tracklets",
    "link_boxes",
    "pair_evidence",
    "split_tracklets",
    "tracklet_embeddings",
    "tracklets_apart",
]
