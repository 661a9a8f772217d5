"""Samples and splits of data sets, clouds and images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["FEW_IDENTITIES", "FEW_QUERIES", "Sample", "Splits"]

#: Valid queries below which metrics are marked as unreliable.
FEW_QUERIES = 10
#: Identities of queries below which metrics are marked as unreliable.
FEW_IDENTITIES = 5


@dataclass(frozen=True)
class Sample:
    """Image (or cloud) with its identity and camera.

    Attributes:
        path: Image file, or cloud file in data sets of clouds.
        pid: Identity. In the gallery -1 = junk (never ranked) and 0 = distractor (never a match);
            in training sets -1 = unlabelled.
        camid: Camera, mostly from 1; 0 when unknown.
    """

    path: Path
    pid: int
    camid: int

    @property
    def name(self) -> str:
        """File name without its folder."""
        return self.path.name


@dataclass(frozen=True)
class Splits:
    """Training, query and gallery samples of a data set.

    Training and test identities are disjoint in data sets for training.

    Attributes:
        train: Training samples; identities are not renumbered.
        query: Queries, without junk and distractors.
        gallery: Gallery, with junk (-1) and distractors (0).
    """

    train: tuple[Sample, ...]
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]
