"""Re-association of people in videos of the synthetic world, by gap length and occlusion.

``OMP_NUM_THREADS=1 python benchmarks/follow.py``: people walk behind a wall and other things in two
cameras each (`benchmarks/follow_world.py`). Tracklets are linked by overlap, then joined: by
position alone, by colour histograms, by `og_reid.follow`, and as the truth has it, the best that
the tracklets allow. Thresholds of position and histograms are the best ones on videos of other
people; that of `og_reid.follow` is its default.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from follow_world import RATE, Video
from scipy.optimize import linear_sum_assignment

import og_reid
from og_reid.data import BoxTracks
from og_reid.evaluation import TrackMetrics, evaluate_tracks
from og_reid.inference import crop_people
from og_reid.tracking import (
    FollowSettings,
    PairEvidence,
    Tracklet,
    box_clearness,
    choose_boxes,
    join_tracklets,
    link_boxes,
    split_tracklets,
    tracklets_apart,
)

IMAGES = 4
GAPS = ((0.5, 2.0), (2.0, 3.0), (3.0, 99.0))  # seconds
CLEAR = 0.6  # visible fraction of the boxes beside a gap
_SPREAD = 0.02  # of similarities of histograms, for the logit


@dataclass(frozen=True)
class Gap:
    """A person who is not seen for a while: rows of its boxes before and after."""

    camera: str
    before: int
    after: int
    seconds: float
    visible: float


@dataclass(frozen=True, eq=False)
class Group:
    """Videos of the same people, and their tracklets."""

    videos: Mapping[str, Video]
    linked: Mapping[str, BoxTracks]
    tracklets: list[Tracklet]

    @classmethod
    def of(cls, number: int, people: int, frames: int) -> Group:
        """Videos of a number of people."""
        videos = {f"camera {n}": Video(number, n, people, frames) for n in (1, 2)}
        linked = {name: link_boxes(each.detections) for name, each in videos.items()}
        tracklets = [each for name in linked for each in split_tracklets(name, linked[name])]
        return cls(videos, linked, tracklets)

    @property
    def truth(self) -> dict[str, BoxTracks]:
        """True identities of the boxes, by camera."""
        return {name: each.truth[0] for name, each in self.videos.items()}

    def tracks(self, groups: np.ndarray) -> dict[str, BoxTracks]:
        """Boxes with the numbers of groups of tracklets."""
        ids = {name: np.zeros(len(each), np.int64) for name, each in self.linked.items()}
        for number, each in zip(groups, self.tracklets, strict=True):
            ids[each.camera][each.rows] = number
        return {name: each.with_ids(ids[name]) for name, each in self.linked.items()}

    def gaps(self) -> list[Gap]:
        """Gaps that linking does not bridge."""
        found = []
        for name, video in self.videos.items():
            truth, seen = video.truth
            order = np.lexsort((truth.frames, truth.ids))
            for before, after in itertools.pairwise(order):
                missing = (truth.frames[after] - truth.frames[before] - 1) / RATE
                if truth.ids[before] == truth.ids[after] and missing >= GAPS[0][0]:
                    beside = [
                        row
                        for row in np.flatnonzero(truth.ids == truth.ids[before])
                        if -RATE <= truth.frames[row] - truth.frames[before] <= 0
                        or 0 <= truth.frames[row] - truth.frames[after] <= RATE
                    ]
                    found.append(Gap(name, before, after, missing, float(seen[beside].mean())))
        return found


def joined(group: Group, logit: np.ndarray) -> np.ndarray:
    """Groups by agglomeration, of pairs with a positive mean logit."""
    weight = torch.ones(logit.shape, dtype=torch.float64)
    evidence = PairEvidence(torch.from_numpy(logit), weight)
    return join_tracklets(evidence, tracklets_apart(group.tracklets))[0]


def by_histogram(group: Group) -> np.ndarray:
    """(T, T) mean similarity of the colour histograms of the images of tracklets."""
    histograms = []
    for each in group.tracklets:
        tracks, video = group.linked[each.camera], group.videos[each.camera]
        rows = choose_boxes(box_clearness(tracks), each, IMAGES)
        crops = [crop_people(video[int(tracks.frames[row]) - 1], tracks.boxes[[row]]).images[0]
                 for row in rows]  # fmt: skip
        histograms.append(np.stack([histogram(crop) for crop in crops]))
    return np.array([[(one @ other.T).mean() for other in histograms] for one in histograms])


def histogram(image: np.ndarray) -> np.ndarray:
    """Square roots of colour frequencies, upper and lower body; products are at most 1."""
    high, wide = image.shape[:2]
    parts = []
    for top, bottom in ((0.18, 0.5), (0.5, 0.9)):
        part = image[int(top * high) : int(bottom * high), int(0.25 * wide) : int(0.75 * wide)]
        color = part.reshape(-1, 3).astype(np.float64)
        light = color.mean(1)
        shares = color / np.maximum(color.sum(1, keepdims=True), 1)
        columns = np.stack([light / 255 * 5, shares[:, 0] * 12, shares[:, 2] * 12], 1)
        index = np.clip(columns, 0, [4, 11, 11]).astype(int)
        counts = np.bincount(index @ np.array([144, 12, 1]), minlength=720).astype(np.float64)
        parts.append(np.sqrt(counts / max(1.0, counts.sum())) / np.sqrt(2))
    return np.concatenate(parts)


def by_position(group: Group, reach: float) -> np.ndarray:
    """Groups by constant movement: the later tracklet that begins nearest to the expected place.

    Args:
        group: The videos.
        reach: Largest distance, heights of a box for each second of the gap and one more.
    """
    count = len(group.tracklets)
    cost = np.full((count, count), np.inf)
    for a, one in enumerate(group.tracklets):
        boxes = group.linked[one.camera].boxes[one.rows]
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        steps = min(5, len(middle))
        span = max(1, int(one.frames[-1] - one.frames[-steps]))
        movement = (middle[-1] - middle[-steps]) / span
        for b, other in enumerate(group.tracklets):
            gap = int(other.frames[0] - one.frames[-1])
            if one.camera != other.camera or gap <= 0:
                continue
            first = group.linked[other.camera].boxes[other.rows[0]]
            expected = middle[-1] + gap * movement
            away = np.linalg.norm((first[:2] + first[2:]) / 2 - expected)
            away /= (boxes[-1, 3] - boxes[-1, 1]) * (1 + gap / RATE)
            if away <= reach:
                cost[a, b] = away
    rows, columns = linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e6))
    groups = np.arange(count)
    for a, b in zip(rows, columns, strict=True):
        if np.isfinite(cost[a, b]):
            groups[groups == groups[b]] = groups[a]
    return groups


def by_truth(group: Group) -> np.ndarray:
    """Groups of tracklets by their most frequent true identity, two of a frame apart."""
    known = np.array(
        [Counter(group.truth[each.camera].ids[each.rows].tolist()).most_common(1)[0][0]
         for each in group.tracklets]
    )  # fmt: skip
    return joined(group, np.where(known[:, None] == known[None], 5.0, -5.0))


def by_appearance(group: Group) -> np.ndarray:
    """Groups of `og_reid.follow`."""
    boxes = {name: each.detections for name, each in group.videos.items()}
    settings = FollowSettings(images=IMAGES)
    found = og_reid.follow(group.videos, boxes, settings=settings, batch_size=8)
    person = {(each.camera, each.id): each.person for each in found.tracklets}
    return np.array([person[each.camera, each.id] for each in group.tracklets])


def bridged(group: Group, groups: np.ndarray) -> list[bool]:
    """Whether each gap has one number before and after."""
    tracks = group.tracks(groups)
    return [
        bool(tracks[each.camera].ids[each.before] == tracks[each.camera].ids[each.after])
        for each in group.gaps()
    ]


def across(group: Group, groups: np.ndarray) -> list[bool]:
    """Whether each person has the same most frequent number in both cameras."""
    tracks, truth = group.tracks(groups), group.truth
    numbers = []
    for name, true in truth.items():
        numbers.append(
            {
                int(person): Counter(tracks[name].ids[true.ids == person].tolist()).most_common(1)[
                    0
                ][0]
                for person in np.unique(true.ids)
            }
        )
    both = set(numbers[0]) & set(numbers[1])
    return [numbers[0][person] == numbers[1][person] for person in sorted(both)]


def best(
    group: Group, values: np.ndarray, make: Callable[[float], np.ndarray]
) -> tuple[float, TrackMetrics]:
    """The threshold with the highest IDF1."""
    scored = [(value, evaluate_tracks(group.truth, group.tracks(make(value)))) for value in values]
    return max(scored, key=lambda each: each[1].idf1)


def fraction(hits: list[bool]) -> str:
    """Cell of a table."""
    return f"{sum(hits) / len(hits):7.2f}" if hits else f"{'-':>7}"


def report(name: str, groups: list[Group], labels: list[np.ndarray]) -> None:
    """Prints a row: means of metrics over the groups, and fractions of all gaps and people."""
    metrics = [
        evaluate_tracks(group.truth, group.tracks(each))
        for group, each in zip(groups, labels, strict=True)
    ]
    pairs = list(zip(groups, labels, strict=True))
    gaps = [gap for group in groups for gap in group.gaps()]
    hits = [hit for group, each in pairs for hit in bridged(group, each)]
    scored = list(zip(hits, gaps, strict=True))
    cells = [
        fraction([hit for hit, gap in scored if low <= gap.seconds < high]) for low, high in GAPS
    ]
    for clear in (True, False):
        cells.append(fraction([hit for hit, gap in scored if (gap.visible >= CLEAR) == clear]))
    cells.append(fraction([hit for group, each in pairs for hit in across(group, each)]))
    means = (np.mean([each.idf1 for each in metrics]), np.mean([each.hota for each in metrics]))
    print(f"{name:22}{means[0]:6.3f}{means[1]:7.3f}" + "".join(cells), flush=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=3, help="groups of people")
    parser.add_argument("--people", type=int, default=4, help="people of a group")
    parser.add_argument("--frames", type=int, default=60, help="frames of a video")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tuning = Group.of(0, options.people, options.frames)
    groups = [Group.of(1 + n, options.people, options.frames) for n in range(options.groups)]
    gaps = [gap for group in groups for gap in group.gaps()]
    counts = [sum(low <= gap.seconds < high for gap in gaps) for low, high in GAPS]
    counts += [sum((gap.visible >= CLEAR) == clear for gap in gaps) for clear in (True, False)]
    print(
        f"{2 * len(groups)} videos of {options.frames} frames, {RATE:g} a second; "
        f"{sum(len(each.tracklets) for each in groups)} tracklets, {len(gaps)} gaps"
    )
    print(f"{'':35}re-associated by gap, s; by visible fraction; across cameras")
    names = ("<2", "<3", ">=3", ">=.6", "<.6", "across")
    print(f"{'':22}{'IDF1':>6}{'HOTA':>7}" + "".join(f"{name:>7}" for name in names))
    print(f"{'number':35}" + "".join(f"{count:7}" for count in counts))
    report("tracklets", groups, [np.arange(len(each.tracklets)) for each in groups])
    reach, _ = best(tuning, np.linspace(0.1, 2, 20), lambda value: by_position(tuning, value))
    report("position", groups, [by_position(each, reach) for each in groups])
    similar = by_histogram(tuning)
    level, _ = best(tuning, np.linspace(0.3, 0.98, 35),
                    lambda value: joined(tuning, (similar - value) / _SPREAD))  # fmt: skip
    report("colour histogram", groups,
           [joined(each, (by_histogram(each) - level) / _SPREAD) for each in groups])  # fmt: skip
    report("og_reid.follow", groups, [by_appearance(each) for each in groups])
    report("truth of tracklets", groups, [by_truth(each) for each in groups])


if __name__ == "__main__":
    main()
