"""Many files at once, each of which may fail on its own: embeddings, and files of point clouds."""

from __future__ import annotations

from .embedding import EmbeddedFiles, embed_files
from .lifting import LiftedFile, LiftedFiles, lift_files

__all__ = ["EmbeddedFiles", "LiftedFile", "LiftedFiles", "embed_files", "lift_files"]
