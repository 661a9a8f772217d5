"""Tracklets: boxes of one person without a break, the best images of each, and who is apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.files.mot import UNKNOWN, BoxTracks

__all__ = ["Tracklet", "box_clearness", "choose_boxes", "split_tracklets", "tracklets_apart"]


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


def box_clearness(tracks: BoxTracks) -> np.ndarray:
    """(n,) value of each box for an embedding: large, and hidden little by other boxes.

    It is the root of the area, pixels, times the squared fraction that no single box in front
    hides. Of two boxes of a frame the one that reaches lower is in front.

    Args:
        tracks: Boxes of one camera.
    """
    area = (tracks.boxes[:, 2:] - tracks.boxes[:, :2]).prod(1)
    hidden = np.zeros(len(tracks))
    order = np.argsort(tracks.frames, kind="stable")
    starts = np.flatnonzero(np.diff(tracks.frames[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        boxes = tracks.boxes[rows]
        low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        common = (high - low).clip(min=0).prod(-1)
        common[boxes[:, None, 3] >= boxes[None, :, 3]] = 0
        hidden[rows] = common.max(1) / area[rows]
    clear: np.ndarray = (1 - hidden) ** 2 * np.sqrt(area)
    return clear


def choose_boxes(clearness: np.ndarray, tracklet: Tracklet, count: int) -> np.ndarray:
    """Rows of the boxes that show a person best, spread over the tracklet.

    The tracklet is cut into ``count`` pieces of as many boxes; of each the clearest is chosen.

    Args:
        clearness: (n,) values of all boxes of the camera, see `box_clearness`.
        tracklet: One of its tracklets.
        count: Largest number of boxes, at least 1.
    """
    pieces = np.array_split(tracklet.rows, min(count, len(tracklet.rows)))
    return np.array([rows[clearness[rows].argmax()] for rows in pieces], np.int64)


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
