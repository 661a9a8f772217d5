"""Gallery: items on disk, searched in two stages, filtered, merged and forgotten."""

from __future__ import annotations

from .decisions import Decision, Drift
from .filters import Condition, conditions
from .gallery import Gallery
from .means import GroupMeans
from .measures import Measured
from .outside import ItemEngine
from .postgres import PostgresItems
from .qdrant import QdrantItems
from .result import Added, GalleryResult, GalleryStats, Item
from .settings import GallerySettings, SearchPlan
from .store import GalleryStore, StoreSnapshot
from .stored import comparable_query, stored_embeddings

__all__ = [
    "Added",
    "Condition",
    "Decision",
    "Drift",
    "Gallery",
    "GalleryResult",
    "GallerySettings",
    "GalleryStats",
    "GalleryStore",
    "GroupMeans",
    "Item",
    "ItemEngine",
    "Measured",
    "PostgresItems",
    "QdrantItems",
    "SearchPlan",
    "StoreSnapshot",
    "comparable_query",
    "conditions",
    "stored_embeddings",
]
