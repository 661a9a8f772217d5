"""Metrics of tracking: IDF1 (Ristani et al., 2016) and HOTA (Luiten et al., 2021).

Both compare boxes of people, frame by frame, with boxes of the truth. IDF1 pairs each true identity
with at most one found identity over the whole video, so that it counts how long people keep their
identity. HOTA is the geometric mean of the accuracy of the boxes and of their association, averaged
over demands on the overlap of boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..data.files.mot import UNKNOWN, BoxTracks, box_overlap

__all__ = ["TrackMetrics", "evaluate_tracks"]

#: Demands on the overlap of boxes, alpha of HOTA.
ALPHAS = np.arange(1, 20) / 20
_OVERLAP = 0.5  # of boxes that IDF1 counts as one
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class TrackMetrics:
    """Metrics of tracking, fractions in [0, 1]; the names are those of the papers.

    Attributes:
        idf1: IDF1, harmonic mean of ``idp`` and ``idr``.
        idp: Identification precision, IDTP / (IDTP + IDFP).
        idr: Identification recall, IDTP / (IDTP + IDFN).
        idtp: Number of boxes with the identity that is paired with the true one.
        idfp: Number of found boxes without it.
        idfn: Number of true boxes without it.
        hota: HOTA, mean over alpha = 0.05, 0.1, ..., 0.95.
        det_a: Detection accuracy DetA, likewise.
        ass_a: Association accuracy AssA, likewise.
        loc_a: Localisation accuracy LocA, mean overlap of matched boxes, likewise.
        hota_alpha: HOTA at each alpha.
    """

    idf1: float
    idp: float
    idr: float
    idtp: int
    idfp: int
    idfn: int
    hota: float
    det_a: float
    ass_a: float
    loc_a: float
    hota_alpha: tuple[float, ...]

    def __str__(self) -> str:
        names = ("HOTA", "DetA", "AssA", "LocA", "IDF1", "IDP", "IDR")
        values = (
            self.hota, self.det_a, self.ass_a, self.loc_a, self.idf1, self.idp, self.idr
        )  # fmt: skip
        return "  ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True))


def evaluate_tracks(
    truth: BoxTracks | Mapping[str, BoxTracks], found: BoxTracks | Mapping[str, BoxTracks]
) -> TrackMetrics:
    """IDF1 and HOTA of tracks, with the values of TrackEval.

    Boxes are matched by their intersection over union. Boxes of the truth with a score of 0 are
    left out, as those of the MOT challenge that are not to be counted; its further rules, on
    classes of objects, are not applied.

    Args:
        truth: Boxes of the people in a video with their identities; or those of several cameras by
            name, with identities that are common to all cameras.
        found: Boxes and identities to be scored, likewise.

    Raises:
        ValueError: The names of cameras differ, a box has no identity, or the truth is empty.
    """
    true, made = _joined(truth, found)
    assert true.scores is not None
    true = true[true.scores != 0]
    for name, tracks in (("truth", true), ("found", made)):
        if (tracks.ids == UNKNOWN).any():
            raise ValueError(
                f"{name} must have an identity for each box; got id -1: join boxes to tracks first"
            )
    if not len(true):
        raise ValueError("truth must hold at least one box that counts; got none")
    matcher = _Matcher(true, made)
    idtp = matcher.identity_matches()
    det, ass, loc = matcher.accuracies()
    hota = np.sqrt(det * ass)
    return TrackMetrics(
        idf1=idtp / (0.5 * (len(true) + len(made))),
        idp=idtp / max(1, len(made)),
        idr=idtp / len(true),
        idtp=idtp,
        idfp=len(made) - idtp,
        idfn=len(true) - idtp,
        hota=float(hota.mean()),
        det_a=float(det.mean()),
        ass_a=float(ass.mean()),
        loc_a=float(loc.mean()),
        hota_alpha=tuple(hota.tolist()),
    )


def _joined(
    truth: BoxTracks | Mapping[str, BoxTracks], found: BoxTracks | Mapping[str, BoxTracks]
) -> tuple[BoxTracks, BoxTracks]:
    """Both as of one camera: the frames of each camera after those of the one before."""
    if isinstance(truth, BoxTracks) and isinstance(found, BoxTracks):
        return truth, found
    if isinstance(truth, BoxTracks) or isinstance(found, BoxTracks):
        raise ValueError("truth and found must both be of one camera, or both of several by name")
    if set(truth) != set(found) or not truth:
        raise ValueError(
            "truth and found must be of the same cameras, at least one; got "
            f"{sorted(truth)} and {sorted(found)}"
        )
    start, pieces = 0, []
    for name in sorted(truth):
        pair = truth[name], found[name]
        pieces.append([(each.frames + start, each) for each in pair])
        start += max((int(each.frames.max()) for each in pair if len(each)), default=0)
    true, made = zip(*pieces, strict=True)
    return _stacked(true), _stacked(made)


def _stacked(pieces: tuple[tuple[np.ndarray, BoxTracks], ...]) -> BoxTracks:
    frames = np.concatenate([frames for frames, _ in pieces])
    fields = [
        np.concatenate([getattr(each, name) for _, each in pieces])
        for name in ("ids", "boxes", "scores")
    ]
    return BoxTracks(frames, *fields)


class _Matcher:
    """Overlaps of true and found boxes by frame, with identities numbered from 0."""

    def __init__(self, truth: BoxTracks, found: BoxTracks) -> None:
        self.truth, self.found = truth, found
        self.true_ids, self.found_ids = (
            np.unique(each.ids, return_inverse=True)[1] for each in (truth, found)
        )
        self.true_count = np.bincount(self.true_ids)
        self.found_count = np.bincount(self.found_ids)
        self.shape = len(self.true_count), len(self.found_count)

    def frames(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Identities (n,) and (m,), and overlaps (n, m), of each frame with boxes of both."""
        orders = [np.argsort(each.frames, kind="stable") for each in (self.truth, self.found)]
        common = np.intersect1d(self.truth.frames, self.found.frames)
        ranges = [
            [
                np.searchsorted(each.frames[order], common, side=side)
                for side in ("left", "right")
            ]
            for each, order in zip((self.truth, self.found), orders, strict=True)
        ]  # fmt: skip
        for place in range(len(common)):
            true, made = (
                order[low[place] : high[place]]
                for order, (low, high) in zip(orders, ranges, strict=True)
            )
            overlap = box_overlap(self.truth.boxes[true], self.found.boxes[made])
            yield self.true_ids[true], self.found_ids[made], overlap

    def identity_matches(self) -> int:
        """IDTP: boxes that the best pairs of true and found identities have in common."""
        from scipy.optimize import linear_sum_assignment

        common = np.zeros(self.shape)
        for true, made, overlap in self.frames():
            common[np.ix_(true, made)] += overlap >= _OVERLAP
        pairs = linear_sum_assignment(common, maximize=True)
        return round(common[pairs].sum())

    def accuracies(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """DetA, AssA and LocA at each alpha.

        Boxes of a frame are matched so that the overlap, weighted by how well two identities agree
        over the whole video, is largest.
        """
        from scipy.optimize import linear_sum_assignment

        common = np.zeros(self.shape)
        for true, made, overlap in self.frames():
            union = overlap.sum(0)[None] + overlap.sum(1)[:, None] - overlap
            common[np.ix_(true, made)] += np.where(
                union > _EPSILON, overlap / np.maximum(union, _EPSILON), 0
            )
        either = self.true_count[:, None] + self.found_count[None]
        agreement = common / np.maximum(either - common, _EPSILON)
        matches = np.zeros((len(ALPHAS), *self.shape))
        located = np.zeros(len(ALPHAS))
        for true, made, overlap in self.frames():
            rows, columns = linear_sum_assignment(
                agreement[np.ix_(true, made)] * overlap, maximize=True
            )
            pair = overlap[rows, columns]
            kept = pair[None] >= ALPHAS[:, None] - _EPSILON
            matches[:, true[rows], made[columns]] += kept
            located += (pair * kept).sum(1)
        count = matches.sum((1, 2))
        each = matches / np.maximum(either - matches, 1)
        associated = (matches * each).sum((1, 2)) / np.maximum(count, 1)
        detected = count / (len(self.truth) + len(self.found) - count)
        placed = np.where(count > 0, located / np.maximum(count, 1), 1.0)
        return detected, associated, placed
