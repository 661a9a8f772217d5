"""Samples and splits: values that data sets, clouds and images have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Sample", "Splits"]


@dataclass(frozen=True)
class Sample:
    """An image (or a cloud) with its identity and camera.

    Attributes:
        path: The image file, or the cloud of data sets of clouds.
        pid: Identity as written in the name. In the gallery -1 = junk, which is never ranked,
            and 0 = distractor, always a wrong answer; in training sets -1 = unlabelled.
        camid: Camera as written in the name, mostly from 1; 0 where cameras are unknown.
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
    """Training, query and gallery samples of a data set.

    Identities of training and test are disjoint, unless a data set is only searched.

    Attributes:
        train: Samples to learn from; identities are not renumbered.
        query: Samples to search with; without junk and distractors.
        gallery: Samples to search in, junk (-1) and distractors (0) included.
    """

    train: tuple[Sample, ...]
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]
