"""Settings and result of following people through videos."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..data.files.mot import BoxTracks
from ..models.embedding import Embedding

__all__ = ["FollowResult", "FollowSettings", "FollowedTracklet"]

_FORMAT = "og_reid follow 1"


@dataclass(frozen=True)
class FollowSettings:
    """Settings of `og_reid.follow`.

    Attributes:
        images: Largest number of images of a tracklet that are embedded, at least 1.
        threshold: Least probability at which tracklets are joined, in (0, 1).
        prior: Fraction of pairs of tracklets of one person among all, in (0, 1).
        overlap: Smallest overlap of linked boxes, see `og_reid.tracking.link_boxes`.
        gap: Largest number of frames without a box within a tracklet, likewise.
        max_gap: Largest number of frames between joined tracklets of a camera; None: any.
    """

    images: int = 6
    threshold: float = 0.5
    prior: float = 0.5
    overlap: float = 0.3
    gap: int = 2
    max_gap: int | None = None

    def __post_init__(self) -> None:
        """Checks the values."""
        for name in ("threshold", "prior"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be in (0, 1); got {getattr(self, name)}")
        if not 0 < self.overlap <= 1:
            raise ValueError(f"overlap must be in (0, 1]; got {self.overlap}")
        if self.images < 1:
            raise ValueError(f"images must be at least 1; got {self.images}")
        for name in ("gap", "max_gap"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must be at least 0; got {value}")


@dataclass(frozen=True)
class FollowedTracklet:
    """Tracklet of a person.

    Attributes:
        camera: Name of the camera.
        id: Identity in the given boxes, or by linking.
        person: Number of the person, from 1, common to all cameras.
        first, last: First and last frame.
        boxes: Number of boxes.
        images: Number of embedded images.
        confidence: Probability that it is of the same person as the others of that number; None
            for a tracklet alone.
    """

    camera: str
    id: int
    person: int
    first: int
    last: int
    boxes: int
    images: int
    confidence: float | None


@dataclass(frozen=True, eq=False)
class FollowResult:
    """People followed through the videos of one or several cameras.

    Attributes:
        tracks: Boxes by the name of the camera, with the numbers of people as identities; the rows
            are those that were given.
        linked: The same boxes with the identities of tracklets.
        tracklets: Tracklets, by camera and first frame.
        settings: Settings of the result.
        embeddings: Embeddings of the tracklets that have images, in their order, such as for a
            gallery, see `og_reid.tracking.tracklet_embeddings`; None without any.
    """

    tracks: Mapping[str, BoxTracks]
    linked: Mapping[str, BoxTracks]
    tracklets: tuple[FollowedTracklet, ...]
    settings: FollowSettings
    embeddings: Embedding | None = None

    @property
    def people(self) -> int:
        """Number of different people."""
        return len({each.person for each in self.tracklets})

    def __str__(self) -> str:
        size = Counter(each.person for each in self.tracklets)
        several = sum(count > 1 for count in size.values())
        return (
            f"cameras: {len(self.tracks):,}; tracklets: {len(self.tracklets):,}; people: "
            f"{len(size):,}, {several:,} of them with several tracklets"
        )

    def summary(self) -> dict[str, Any]:
        """Plain values for a JSON file: cameras, settings, and each tracklet with its person."""
        return {
            "format": _FORMAT,
            "people": self.people,
            "cameras": {
                name: {
                    "boxes": len(boxes),
                    "frames": len(np.unique(boxes.frames)),
                    "tracklets": sum(each.camera == name for each in self.tracklets),
                }
                for name, boxes in self.tracks.items()
            },
            "settings": asdict(self.settings),
            "tracklets": [asdict(each) for each in self.tracklets],
        }


def rounded(probability: float) -> float | None:
    """Probability to four digits; None for NaN."""
    return None if math.isnan(probability) else round(probability, 4)
