"""Tracklets: boxes of one person without a break, the best images of each, and who is apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.files.mot import UNKNOWN, BoxTracks

__all__ = ["Tracklet", "choose_boxes", "split_tracklets", "tracklets_apart"]


@dataclass(frozen=True, eq=False)
class Tracklet:
    """Boxes of one person in one camera.

    Attributes:
        camera: Name of the camera.
        id: Identity in the boxes of the camera.
        rows: (n,) rows of the boxes, in the order of frames.
        frames: (n,) their frames, ascending.
    """

    camera: str
    id: int
    rows: np.ndarray
    frames: np.ndarray


def split_tracklets(camera: str, tracks: BoxTracks) -> list[Tracklet]:
    """One tracklet for each identity of a camera, in the order of their first frames.

    Raises:
        ValueError: A box has no identity.
    """
    if (tracks.ids == UNKNOWN).any():
        raise ValueError("tracks must have an identity for each box: use link_boxes first")
    order = np.lexsort((tracks.frames, tracks.ids))
    starts = np.flatnonzero(np.diff(tracks.ids[order], prepend=-1))
    groups = np.split(order, starts[1:]) if len(order) else []
    found = [Tracklet(camera, int(tracks.ids[rows[0]]), rows, tracks.frames[rows])
             for rows in groups]  # fmt: skip
    return sorted(found, key=lambda each: (int(each.frames[0]), each.id))


def choose_boxes(tracks: BoxTracks, tracklet: Tracklet, count: int) -> np.ndarray:
    """Rows of the boxes that show a person best, spread over the tracklet.

    The tracklet is cut into ``count`` pieces of as many boxes; of each the box is chosen that is
    large and of which other boxes hide little. Of two boxes the one that reaches lower is in front.

    Args:
        tracks: Boxes of the camera.
        tracklet: One of its tracklets.
        count: Largest number of boxes, at least 1.
    """
    value = np.array([_clearness(tracks, row) for row in tracklet.rows])
    pieces = np.array_split(np.arange(len(value)), min(count, len(value)))
    return tracklet.rows[[piece[value[piece].argmax()] for piece in pieces]]


def _clearness(tracks: BoxTracks, row: int) -> float:
    """Height of the part of a box that no box in front hides, roughly, pixels."""
    box = tracks.boxes[row]
    others = tracks.boxes[(tracks.frames == tracks.frames[row]) & (tracks.boxes[:, 3] > box[3])]
    area = (box[2:] - box[:2]).prod()
    common = np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2])
    hidden = (common.clip(min=0).prod(1) / area).max(initial=0.0)
    return float((1 - hidden) ** 2 * np.sqrt(area))


def tracklets_apart(tracklets: Sequence[Tracklet], max_gap: int | None = None) -> np.ndarray:
    """(T, T) bool, True for two tracklets that cannot be of one person.

    These are tracklets with boxes in one frame of one camera.

    Args:
        tracklets: T tracklets of any cameras.
        max_gap: Largest number of frames between two tracklets of one camera; None: any.
    """
    apart = np.zeros((len(tracklets),) * 2, bool)
    present: dict[tuple[str, int], list[int]] = {}
    for number, each in enumerate(tracklets):
        for frame in each.frames.tolist():
            present.setdefault((each.camera, frame), []).append(number)
    for group in present.values():
        apart[np.ix_(group, group)] = True
    if max_gap is not None:
        first = np.array([each.frames[0] for each in tracklets])
        last = np.array([each.frames[-1] for each in tracklets])
        cameras = np.array([each.camera for each in tracklets])
        between = np.maximum(first[:, None] - last[None], first[None] - last[:, None]) - 1
        apart |= (cameras[:, None] == cameras[None]) & (between > max_gap)
    np.fill_diagonal(apart, False)
    return apart
