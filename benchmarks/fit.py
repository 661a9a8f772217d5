"""Accuracy and speed of the lift on worlds with known truth.

    python benchmarks/heldout.py FOLDER              # held-out world, once
    python benchmarks/fit.py FILE --make FOLDER      # truth and estimated keypoints of 600 images
    python benchmarks/fit.py FILE                    # score estimated and true keypoints

Images are grouped by the true hidden fraction of the person: clear up to 0.1, occluded beyond.

- ``PA`` and ``MPJPE``: mean error of 14 joints in mm, after the best similarity and with the
  pelvis in place. ``yaw``: fraction of headings off by over 60 degrees.
- ``box``: mean IoU of the boxes of fitted and true body, hidden parts and those outside the image
  included.
- ``colours``: fraction of coloured points whose pixel does not show the person; ``points``: number
  of coloured points.
- ``folded``: fraction of legs with hidden knee or ankle that bend the knee by over 75 or the hip by
  over 60 degrees (walking has at most 65 and 35). ``lean``: 95th percentile of the angle between
  trunk and vertical, degrees.
- ``wrong``: fraction of fits whose median keypoint is over 0.15 body heights off, with left and
  right exchanged, too; ``turned``: only with them as they are, as of bodies that face the wrong
  way.
- ``other``: fraction of estimates of another person or of a thing: their median keypoint is so far
  off. ``said``: how many lifts with such keypoints or a wrong body have a reason for doubt about
  the person (recall); ``right``: how many lifts with a reason are such (precision); ``false``: how
  many of all others have one.
- Reliability: fits by their joints' `BodyFit.confidence`, and how many joints are in their place.
- ``ms``: CPU time of a lift without the estimator, in batches of 32 and alone, medians; of masks.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.fit_set import FitSet, load, make, near
from meshes.fitting.confidence import NEAR
from meshes.fitting.fit import BodyFit
from meshes.fitting.skeleton import Skeleton
from meshes.lift import Lift, lift_images
from og_reid.inference.own_surface import OwnSurface
from pose import COCO_17_FEET, Pose

__all__ = ["compare", "fit_all", "is_other", "lift_all", "similarity_error"]

T = TypeVar("T")

#: First and last identity, not included, of the set behind the figures in results/.
IDENTITIES = (240, 300)
#: Upper ends of the groups of hidden fractions.
GROUPS = (0.1, 0.3, 0.5, 0.7, 1.0)
#: Joints of the errors.
JOINTS = (
    "neck", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
_BATCH = 32
_WRONG = 0.15  # body heights
_EXCHANGED = [
    COCO_17_FEET.index(name.replace("left", "#").replace("right", "left").replace("#", "right"))
    for name in COCO_17_FEET
]
_KNEE, _HIP = 75.0, 60.0  # degrees


def similarity_error(joints: Tensor, truth: Tensor) -> Tensor:
    """(B,) mean distance of joints (B, J, 3) to the truth after the best similarity, same unit."""
    x, y = joints - joints.mean(1, keepdim=True), truth - truth.mean(1, keepdim=True)
    left, values, right = torch.linalg.svd(x.transpose(1, 2) @ y)
    sign = torch.ones(len(x), 3)
    sign[:, 2] = torch.det(left @ right).sign()
    turn = left @ torch.diag_embed(sign) @ right
    scale = (values * sign).sum(1) / (x**2).sum((1, 2))
    return (scale[:, None, None] * x @ turn - y).norm(dim=-1).mean(1)


def lift_all(
    data: FitSet, rows: Sequence[int], poses: Sequence[Pose], *, masks: bool = False
) -> list[Lift]:
    """Lifts of images, in batches; with masks of the default model for images."""
    return [lift for lift, _ in _lifts(data, rows, poses, masks=masks)]


def fit_all(data: FitSet, *, masks: bool) -> Iterator[tuple[int, BodyFit, Tensor | None]]:
    """Row, fit and mask of the images in which the estimator finds a person."""
    rows = [row for row in range(len(data)) if data.estimated(row).found]
    poses = [data.estimated(row) for row in rows]
    for row, (lift, mask) in zip(rows, _lifts(data, rows, poses, masks=masks), strict=True):
        yield row, lift.fit, mask


def _lifts(
    data: FitSet, rows: Sequence[int], poses: Sequence[Pose], *, masks: bool
) -> Iterator[tuple[Lift, Tensor | None]]:
    source = OwnSurface() if masks else None
    for start in range(0, len(rows), _BATCH):
        part = slice(start, start + _BATCH)
        images = [data.image[row] for row in rows[part]]
        own = [None] * len(images) if source is None else source(images, poses[part])
        yield from zip(lift_images(images, poses[part], masks=own), own, strict=True)


def compare(data: FitSet, rows: Sequence[int], lifts: Sequence[Lift]) -> dict[str, Tensor]:
    """Figures of each lift: name -> (N,); NaN where it has none."""
    found = [_one(data, row, lift) for row, lift in zip(rows, lifts, strict=True)]
    return {name: torch.tensor([each[name] for each in found]) for name in found[0]}


def _one(data: FitSet, row: int, lift: Lift) -> dict[str, float]:
    fit, body = lift.fit, lift.fit.body
    chosen = [body.joint(name) for name in JOINTS]
    true, mine = torch.from_numpy(data.joints[row]), fit.joints[0]
    offset = (mine - mine[0])[chosen] - (true - true[0])[chosen]
    yaw = abs((float(fit.yaw[0]) - float(data.yaw[row]) + np.pi) % (2 * np.pi) - np.pi)
    projected = fit.camera.project(fit.vertices)[0, :, :2]
    box = torch.cat([projected.amin(0), projected.amax(0)])
    true_box = torch.from_numpy(data.box[row])
    skeleton = Skeleton(body)
    points = skeleton.pose(fit.rotations, fit.betas).points
    named = points[:, [skeleton.index(name) for name in COCO_17_FEET]]
    pixels = fit.camera.project(named)[0, :, :2]
    turned, wrong = _off(pixels, data, row)[0] > _WRONG, is_other(pixels, data, row)
    other = is_other(torch.from_numpy(data.estimate[row, :, :2]), data, row)
    doubt = _doubt(lift)
    return {
        "PA": 1000 * float(similarity_error(mine[None, chosen], true[None, chosen])[0]),
        "MPJPE": 1000 * float(offset.norm(dim=-1).mean()),
        "yaw": float(yaw > np.pi / 3),
        "box": _overlap(box, true_box),
        "box height": float((box[3] - box[1]) / (true_box[3] - true_box[1])),
        **_colours(data, row, lift),
        "folded": _folded(data, row, lift),
        "lean": _lean(lift),
        "wrong": float(wrong),
        "turned": float(turned and not wrong),
        "other": float(other),
        "said": doubt if wrong or other else np.nan,
        "right": float(wrong or other) if doubt else np.nan,
        "false": np.nan if wrong or other else doubt,
    }


def is_other(pixels: Tensor, data: FitSet, row: int) -> bool:
    """Whether keypoints (21, 2) are of another person or a thing, sides exchanged or not."""
    return min(_off(pixels, data, row)) > _WRONG


def _off(pixels: Tensor, data: FitSet, row: int) -> tuple[float, float]:
    """Median distance of keypoints (21, 2) to the truth in body heights, and of exchanged sides."""
    true = torch.from_numpy(data.keypoints[row, :, :2])
    height = float(data.box[row, 3] - data.box[row, 1])
    straight, exchanged = (
        float((each - true).norm(dim=-1).median()) / height for each in (pixels, pixels[_EXCHANGED])
    )
    return straight, exchanged


def _doubt(lift: Lift) -> float:
    """1 with a reason for doubt about who it is: the keypoints, their scores or their place."""
    about = ("keypoints", "joints", "no person")
    return float(any(word in reason for reason in lift.quality.reasons for word in about))


def _overlap(a: Tensor, b: Tensor) -> float:
    inner = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner))


def _colours(data: FitSet, row: int, lift: Lift) -> dict[str, float]:
    visible = lift.cloud.visible & ~lift.cloud.is_background
    place = lift.fit.camera.project(lift.cloud.points[None, visible])[0, :, :2].floor().long()
    height, width = data.mask.shape[1:]
    shown = torch.from_numpy(data.mask[row])[
        place[:, 1].clamp(0, height - 1), place[:, 0].clamp(0, width - 1)
    ]
    return {"coloured": float(visible.sum()), "beside": float((~shown).sum())}


def _folded(data: FitSet, row: int, lift: Lift) -> float:
    """Fraction of the legs with hidden joints that are folded; NaN without hidden legs."""
    body, turns = lift.fit.body, lift.fit.posed.global_rotations[0]
    folded = []
    for side in ("left", "right"):
        names = [COCO_17_FEET.index(f"{side}_{joint}") for joint in ("knee", "ankle")]
        if bool((data.keypoints[row, names, 2] > 0).all()):
            continue
        down = torch.tensor([0.0, -1.0, 0.0])
        trunk, thigh, shin = (
            turns[body.joint(name)] @ down for name in ("spine1", f"{side}_hip", f"{side}_knee")
        )
        folded.append(float(_angle(thigh, shin) > _KNEE or _angle(trunk, thigh) > _HIP))
    return float(np.mean(folded)) if folded else np.nan


def _lean(lift: Lift) -> float:
    points = lift.fit.joints[0]
    pitch = lift.fit.pitch[0]
    up = torch.stack([torch.zeros_like(pitch), pitch.cos(), pitch.sin()])
    return _angle(points[lift.fit.body.joint("neck")] - points[0], up)


def _angle(a: Tensor, b: Tensor) -> float:
    return float(
        torch.rad2deg(torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1).acos())
    )


def _print(
    title: str, figures: dict[str, Tensor], hidden: Tensor, *, estimated: bool = True
) -> None:
    """Table of figures; without columns about estimates for lifts of other keypoints."""
    print(f"\n{title}")
    print(
        "hidden      images    PA MPJPE  yaw   box  h/h  colours points folded  lean  wrong turned"
        + " other said right false" * estimated
    )
    low = -1.0
    groups = [
        (f"to {high:.1f}", (hidden > low_) & (hidden <= high))
        for low_, high in zip((-1.0, *GROUPS[:-1]), GROUPS, strict=True)
    ]
    groups += [("occluded", hidden > GROUPS[0]), ("all", hidden > low)]
    for name, rows in groups:
        if not bool(rows.any()):
            continue
        mean = {key: float(value[rows].nanmean()) for key, value in figures.items()}
        beside = float(figures["beside"][rows].sum() / figures["coloured"][rows].sum().clamp(min=1))
        lean = float(figures["lean"][rows].quantile(0.95))
        print(
            f"{name:<11}{int(rows.sum()):>6} {mean['PA']:>6.1f} {mean['MPJPE']:>5.0f} "
            f"{mean['yaw']:>5.2f} {mean['box']:>5.3f} {mean['box height']:>4.2f} {beside:>7.3f} "
            f"{mean['coloured']:>7.0f} {mean['folded']:>6.3f} {lean:>5.1f} {mean['wrong']:>6.3f} "
            f"{mean['turned']:>6.3f}"
            + f" {mean['other']:>5.3f} {mean['said']:>4.2f} {mean['right']:>5.2f} "
            f"{mean['false']:>5.3f}" * estimated
        )


def _reliability(data: FitSet, rows: Sequence[int], lifts: Sequence[Lift], hidden: Tensor) -> None:
    """Reliability table of the confidence of joints, and expected calibration error."""
    sure = torch.cat([lift.fit.confidence for lift in lifts])
    true = torch.stack(
        [near(data, row, lift.fit, NEAR) for row, lift in zip(rows, lifts, strict=True)]
    )
    print(
        f"\nreliability\n{'':<11}  mean  true   ECE  "
        + _bins([f"{x / 10:.1f}-" for x in range(10)])
    )
    for name, chosen in (("clear", hidden <= GROUPS[0]), ("occluded", hidden > GROUPS[0])):
        said, right = sure[chosen].flatten(), true[chosen].flatten().float()
        which = (10 * said).long().clamp(max=9)
        count = torch.bincount(which, minlength=10).float()
        total, hits = (torch.bincount(which, each, 10) for each in (said, right))
        error = float((total - hits).abs().sum() / len(said))
        print(
            f"{name:<11}{float(said.mean()):>6.3f}{float(right.mean()):>6.3f}{error:>6.3f}  "
            + _bins([f"{float(h / n):.2f}" if n else "-" for h, n in zip(hits, count, strict=True)])
        )
        print(f"{'  joints':<31}" + _bins([f"{int(n)}" for n in count]))


def _bins(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>6}" for cell in cells)


def _times(data: FitSet, poses: Sequence[Pose], rows: Sequence[int]) -> dict[str, float]:
    """Median CPU ms of masks and of lifts in batches and alone, without and with masks."""
    found: dict[str, list[float]] = {}
    source = OwnSurface()

    def timed(name: str, call: Callable[[], T], count: int) -> T:
        begun = time.process_time()
        result = call()
        found.setdefault(name, []).append(1000 * (time.process_time() - begun) / count)
        return result

    for start in range(0, min(len(rows) - _BATCH + 1, 3 * _BATCH), _BATCH):
        part = slice(start, start + _BATCH)
        images, some = [data.image[row] for row in rows[part]], poses[part]
        own = timed("masks", partial(source, images, some), _BATCH)
        timed("batch", partial(lift_images, images, some), _BATCH)
        timed("batch with masks", partial(lift_images, images, some, masks=own), _BATCH)
        for number in range(7):
            one = slice(number, number + 1)
            timed("alone", partial(lift_images, images[one], some[one]), 1)
            given = partial(lift_images, images[one], some[one], masks=own[one])
            timed("alone with mask", given, 1)
    return {name: float(np.median(values)) for name, values in found.items()}


def main() -> None:
    """Make a set, or score the lift on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="labelled set to make it of")
    parser.add_argument("--identities", type=int, nargs=2, default=IDENTITIES)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.make is not None:
        make(args.make, range(*args.identities), args.file)
        return
    data = load(args.file)
    hidden = torch.from_numpy(data.hidden)
    estimated = [data.estimated(row) for row in range(len(data))]
    found = [row for row in range(len(data)) if estimated[row].found]
    print(f"{len(data)} images; the estimator finds a person in {len(found)}")
    poses = [estimated[row] for row in found]
    times = _times(data, poses, found)
    lifts = lift_all(data, found, poses)
    _print("estimated keypoints", compare(data, found, lifts), hidden[found])
    _reliability(data, found, lifts, hidden[found])
    lifts = lift_all(data, found, poses, masks=True)
    _print(
        "estimated keypoints, masks of the default model",
        compare(data, found, lifts),
        hidden[found],
    )
    _reliability(data, found, lifts, hidden[found])
    seen = [row for row in range(len(data)) if data.true(row).found]
    lifts = lift_all(data, seen, [data.true(row) for row in seen])
    title = "true keypoints inside the image, without depth"
    _print(title, compare(data, seen, lifts), hidden[seen], estimated=False)
    print(f"\nCPU ms an image, batches of {_BATCH}")
    for name, value in times.items():
        print(f"{name:<17}{value:>6.1f}")


if __name__ == "__main__":
    main()
