"""Samples and splits: values that data sets, clouds and images have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Sample", "Splits"]


@dataclass(frozen=True)
class Sample:
    """An image (or a cloud) with its identity and camera.

    Attributes:
        path: The image file.
        pid: Identity as written in the name; -1 = junk, 0 = distractor.
        camid: Camera as written in the name (1, 2, ...).
    """

    path: Path
    pid: int
    camid: int

    @property
    def name(self) -> str:
        """The file name without its folder."""
        return self.path.name


@dataclass(frozen=True)
class Splits:
    """The three splits, each sorted by file name.

    Attributes:
        train: Images to learn from; identities are not renumbered.
        query: Images to search with.
        gallery: Images to search in, junk (-1) and distractors (0) included.
    """

    train: tuple[Sample, ...]
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]
