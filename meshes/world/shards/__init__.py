"""Sets of the world on the disk: Parquet shards with images and truth."""

from .reader import StoredWorld, is_stored_world
from .writer import write_world_shards

__all__ = ["StoredWorld", "is_stored_world", "write_world_shards"]
