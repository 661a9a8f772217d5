"""Linking of boxes from frame to frame by their overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.files.mot import UNKNOWN, BoxTracks, box_overlap

__all__ = ["link_boxes"]


@dataclass
class _Open:
    """Track that may go on: its identity, last box, frame of it, and movement a frame."""

    number: int
    box: np.ndarray
    frame: int
    step: np.ndarray

    def at(self, frame: int) -> np.ndarray:
        """Box expected in a later frame."""
        expected: np.ndarray = self.box + (frame - self.frame) * self.step
        return expected


def link_boxes(tracks: BoxTracks, *, overlap: float = 0.3, gap: int = 2) -> BoxTracks:
    """Identities for boxes without one, by overlap with the box of the frames before.

    Boxes of a frame are matched to tracks so that the sum of overlaps is largest; a track is
    expected to go on as it moved between its last two boxes. These are tracklets: they end where a
    person is hidden.

    Args:
        tracks: Boxes of one camera.
        overlap: Smallest intersection over union of a box and the expected one, in (0, 1].
        gap: Largest number of frames without a box within a track, at least 0.

    Returns:
        The same rows; identities that are given are kept, and others have numbers above them, from
        1 on.

    Raises:
        ValueError: An argument is out of range.
    """
    from scipy.optimize import linear_sum_assignment

    if not 0 < overlap <= 1 or gap < 0:
        raise ValueError(f"overlap must be in (0, 1], and gap at least 0; got {overlap} and {gap}")
    ids = tracks.ids.copy()
    unknown = np.flatnonzero(ids == UNKNOWN)
    following = int(ids.max(initial=0)) + 1
    order = unknown[np.argsort(tracks.frames[unknown], kind="stable")]
    starts = np.flatnonzero(np.diff(tracks.frames[order], prepend=-1))
    active: list[_Open] = []
    for rows in np.split(order, starts[1:]) if len(order) else ():
        frame = int(tracks.frames[rows[0]])
        active = [each for each in active if frame - each.frame <= gap + 1]
        boxes = tracks.boxes[rows]
        matched: dict[int, _Open] = {}
        if active:
            common = box_overlap(np.stack([each.at(frame) for each in active]), boxes)
            common[common < overlap] = 0
            for one, other in zip(*linear_sum_assignment(common, maximize=True), strict=True):
                if common[one, other] > 0:
                    matched[int(other)] = active[one]
        for place, (row, box) in enumerate(zip(rows, boxes, strict=True)):
            track = matched.get(place)
            if track is None:
                track = _Open(following, box, frame, np.zeros(4))
                active.append(track)
                following += 1
            else:
                track.step = (box - track.box) / (frame - track.frame)
                track.box, track.frame = box, frame
            ids[row] = track.number
    return tracks.with_ids(ids)
