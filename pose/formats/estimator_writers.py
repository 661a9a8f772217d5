"""Writers of the keypoint formats of pose estimators and re-identification projects.

Positions and scores are written; visibility and `xyz` are lost (`write_npz` keeps them). Writes
are atomic. The readers of `pose.formats.estimators` return the same values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.atomic_write import atomic_write
from ..keypoints import COCO_17, Keypoints
from ..layouts import HALPE_26, OPENPOSE_18, OPENPOSE_25
from .coco import CocoKeypoints

__all__ = ["write_alphapose", "write_kpr", "write_mmpose", "write_openpose", "write_sep_json"]


def write_openpose(path: str | Path, people: Keypoints) -> None:
    """Write (P, K) people of one image, named `OPENPOSE_18` or `OPENPOSE_25`, for OpenPose."""
    _write_people(path, people, (OPENPOSE_18, OPENPOSE_25), 1.3)


def write_sep_json(path: str | Path, people: Keypoints) -> None:
    """Write (P, 18) people of one image named `OPENPOSE_18` as PGFA reads them."""
    _write_people(path, people, (OPENPOSE_18,), "AlphaPose v0.2")


def write_alphapose(path: str | Path, people: CocoKeypoints) -> None:
    """Write people of many images as AlphaPose's default list.

    The layout must be COCO-17 or Halpe-26. "score" of a person is the mean of the found joints'.
    """
    keypoints = people.keypoints
    _check_layout(keypoints, (COCO_17, HALPE_26))
    triples = _triples(keypoints).flatten(1).tolist()
    person = _person_scores(keypoints).tolist()
    _write(
        path,
        [
            {"image_id": image, "category_id": 1, "keypoints": flat, "score": score}
            for image, flat, score in zip(people.images, triples, person, strict=True)
        ],
    )


def write_kpr(path: str | Path, people: Keypoints) -> None:
    """Write (P, 17) people of one image, the target first, for KPR."""
    _check_layout(people, (COCO_17,))
    _check_one_image(people)
    _write(
        path,
        [
            {"keypoints": person, "is_target": i == 0}
            for i, person in enumerate(_triples(people).tolist())
        ],
    )


def write_mmpose(path: str | Path, people: Keypoints) -> None:
    """Write (P, K) people of one image as ``MMPoseInferencer`` does."""
    _check_one_image(people)
    _write(
        path,
        [
            {"keypoints": xy, "keypoint_scores": scores}
            for xy, scores in zip(people.xy.tolist(), people.score.tolist(), strict=True)
        ],
    )


def _triples(people: Keypoints) -> Tensor:
    return torch.cat([people.xy, people.score[..., None]], -1)


def _person_scores(people: Keypoints) -> Tensor:
    return people.score.sum(-1) / (people.score > 0).sum(-1).clamp(min=1)


def _write_people(
    path: str | Path, people: Keypoints, layouts: tuple[tuple[str, ...], ...], version: float | str
) -> None:
    _check_layout(people, layouts)
    _check_one_image(people)
    flat = _triples(people).flatten(1).tolist()
    entries = [{"pose_keypoints_2d": person} for person in flat]
    _write(path, {"version": version, "people": entries})


def _check_layout(people: Keypoints, layouts: tuple[tuple[str, ...], ...]) -> None:
    if people.names not in layouts:
        lengths = " or ".join(str(len(each)) for each in layouts)
        raise ValueError(
            f"people must be of this format's {lengths} keypoints; got {people.names}: use "
            ".select(names) or to_openpose18(people)"
        )


def _check_one_image(people: Keypoints) -> None:
    if len(people.shape) != 1:
        raise ValueError(
            f"people must be (P,) people of one image; got batch shape {tuple(people.shape)}"
        )


def _write(path: str | Path, content: Any) -> None:
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
