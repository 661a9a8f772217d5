"""Keypoint files of pose estimators and of other re-identification projects.

Files of one image give (P, K) people in the file's order; files of many images give
`CocoKeypoints`, which also names the image of each person. The layout follows from the
number of keypoints. What estimators call a score may overshoot 1 a little and is clamped to
[0, 1]; values that can be no score are refused.

Every reader takes ``names``, the joints in the file's order, for files of another skeleton. It
raises FileNotFoundError when there is no such file, and ValueError, with file, entry and rule,
when it breaks the format; it warns (`InputWarning`) when all joints lie in [-1, 1], as
fractions of an image do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..joint_names import check_names, human_names
from ..keypoints import COCO_17, Keypoints
from ..layouts import HALPE_26, OPENPOSE_18, OPENPOSE_25, WHOLEBODY_23
from ..runtime.defaults import plain_torch
from .coco import CocoKeypoints
from .json_fields import (
    clamp_scores,
    read_json,
    read_number,
    read_rows,
    read_scored_rows,
    warn_of_fractions,
)

__all__ = [
    "read_alphapose",
    "read_kpr",
    "read_mmpose",
    "read_openpose",
    "read_sep_json",
]

#: Layout by number of keypoints; of the last two only body and feet are taken.
_COCO_LIKE = {17: COCO_17, 26: HALPE_26, 133: WHOLEBODY_23, 136: HALPE_26}
_OPENPOSE_LIKE = {18: OPENPOSE_18, 25: OPENPOSE_25}
_Person = tuple[tuple[str, ...], np.ndarray]
# Names by number of keypoints; a keypoint called "" is left out.
_Layouts = dict[int, tuple[str, ...]]


@plain_torch()
def read_openpose(path: str | Path, *, names: Sequence[str] | None = None) -> Keypoints:
    """Read the people of one image from OpenPose's json, with 18 (COCO) or 25 keypoints.

    A dict with "people", each with "pose_keypoints_2d": flat x, y, c in pixels. Also AlphaPose's
    ``open`` and ``cmu`` formats of one image. An undetected joint has c = 0.

    Returns:
        (P, 18) named `OPENPOSE_18` or (P, 25) named `OPENPOSE_25`; (0, 18) without people.
    """
    content = read_json(Path(path))
    people = _openpose_people(str(path), content, _given(names) or _OPENPOSE_LIKE)
    found = _stack(path, people, OPENPOSE_18 if names is None else tuple(names))
    warn_of_fractions(path, found)
    return found


@plain_torch()
def read_sep_json(
    path: str | Path, *, missing_ok: bool = False, names: Sequence[str] | None = None
) -> Keypoints:
    """Read a file of PGFA's ``sep-json`` folder: the people of one image by AlphaPose v0.2.

    Args:
        path: named as the image but for its ending.
        missing_ok: a missing file means no person, as in AlphaPose, which writes none then.
        names: joint names, in place of `OPENPOSE_18`.

    Returns:
        (P, 18) named `OPENPOSE_18`, float64: PGFA's rules compare and cut the numbers as the file
        has them.
    """
    path = Path(path)
    layout = OPENPOSE_18 if names is None else check_names(names)
    if missing_ok and not path.exists():
        return _stack(path, [], layout, torch.float64)
    people = _openpose_people(str(path), read_json(path), {len(layout): layout})
    found = _stack(path, people, layout, torch.float64)
    warn_of_fractions(path, found)
    return found


@plain_torch()
def read_alphapose(path: str | Path, *, names: Sequence[str] | None = None) -> CocoKeypoints:
    """Read AlphaPose's ``alphapose-results.json``: people of many images.

    Of v0.2 and later: a list of dicts with "image_id" and flat "keypoints" x, y, c of COCO (17),
    Halpe (26, 136) or COCO-WholeBody (133); or, in formats ``open`` and ``cmu``, a dict from
    image to what `read_openpose` reads. The score of a whole person has no fixed range and is not
    kept.
    """
    content, layouts = read_json(Path(path)), _given(names)
    if isinstance(content, dict):
        images, people = [], []
        for image, entry in content.items():
            found = _openpose_people(f"{path}: image {image!r}", entry, layouts or _OPENPOSE_LIKE)
            people += found
            images += [image] * len(found)
        empty = OPENPOSE_18 if names is None else tuple(names)
        result = CocoKeypoints(_stack(path, people, empty), tuple(images))
    else:
        result = _results_list(path, content, layouts)
    warn_of_fractions(path, result.keypoints)
    return result


@plain_torch()
def read_kpr(path: str | Path, *, names: Sequence[str] | None = None) -> Keypoints:
    """Read KPR's keypoint json of one image: the target person first, then the others.

    A list of dicts (or one dict) with "keypoints", x, y, c of COCO's 17, flat or nested, and
    perhaps "is_target". Where no entry has that, the first is the target, as in KPR.

    Returns:
        (P, 17); row 0 is the target. (0, 17) for an empty list.
    """
    content = read_json(Path(path))
    content = [content] if isinstance(content, dict) else [] if content is None else content
    entries = _entries(str(path), content)
    marks = []
    for where, entry in entries:
        mark = entry.get("is_target")
        if not (mark is None or isinstance(mark, bool)):
            raise ValueError(f'{where}: "is_target" must be true or false; got {mark!r}')
        marks.append(mark)
    layout = COCO_17 if names is None else check_names(names)
    people = [_coco_person(where, entry, {len(layout): layout}) for where, entry in entries]
    targets = [i for i, mark in enumerate(marks) if mark]
    if any(mark is not None for mark in marks) and len(targets) != 1:
        raise ValueError(f'{path}: one entry must have "is_target": true; got {len(targets)}')
    first = targets[0] if targets else 0
    order = sorted(range(len(people)), key=lambda i: i != first)
    found = _stack(path, [people[i] for i in order], layout)
    warn_of_fractions(path, found)
    return found


@plain_torch()
def read_mmpose(path: str | Path, *, names: Sequence[str] | None = None) -> CocoKeypoints:
    """Read results of mmpose or ViTPose.

    The predictions of ``MMPoseInferencer`` and of mmpose's demos (dicts with "keypoints" and
    "keypoint_scores", frame by frame for videos, or in a list for each image), the results list of
    mmpose's evaluation and of ViTPose (flat or nested x, y, score with "image_id"), and
    easy_ViTPose's json (y, x, score and names in "skeleton").

    Args:
        path: file to read.
        names: joint names; None: those in the file ("meta_info", "skeleton"), otherwise by their
            number, 17, 26, 133 or 136.

    Returns:
        People; `images` holds image ids, frame numbers, or the file's name without its ending.
    """
    content, layouts = read_json(Path(path)), _given(names)
    if isinstance(content, dict) and "skeleton" in content:
        result = _easy_vitpose(str(path), content, names)
    else:
        if isinstance(content, dict):
            layouts = layouts or _meta_layouts(str(path), content.get("meta_info"))
            content = content.get("instance_info")
        result = _mmpose_people(path, content, layouts, tuple(names or COCO_17))
    warn_of_fractions(path, result.keypoints)
    return result


def _mmpose_people(
    path: str | Path, content: Any, layouts: _Layouts | None, empty: tuple[str, ...]
) -> CocoKeypoints:
    stem = Path(path).stem.removeprefix("results_")
    groups: list[tuple[str, str, Any]] = []
    if isinstance(content, list) and content and all(isinstance(each, list) for each in content):
        # The "predictions" of MMPoseInferencer: a list of people for each image.
        content = [{"instances": each, "frame_id": i} for i, each in enumerate(content)]
        if len(content) == 1:
            content = content[0]["instances"]
    for where, entry in _entries(str(path), content):
        if "instances" in entry:
            groups.append((f"{where}: instances", str(entry.get("frame_id")), entry["instances"]))
        elif "image_id" in entry:
            return _results_list(path, content, layouts)
        else:
            groups.append((where, stem, [entry]))
    people, images = [], []
    for where, image, instances in groups:
        for inner, entry in _entries(where, instances):
            people.append(_mmpose_person(inner, entry, layouts))
            images.append(image)
    return CocoKeypoints(_stack(path, people, empty), tuple(images))


def _given(names: Sequence[str] | None) -> _Layouts | None:
    return None if names is None else {len(names): check_names(names)}


def _meta_layouts(path: str, meta: Any) -> _Layouts | None:
    """Skeleton in the metadata of mmpose's results; None without one."""
    named = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if not isinstance(named, dict) or not named:
        return None
    if sorted(named) != sorted(map(str, range(len(named)))):
        raise ValueError(f'{path}: "keypoint_id2name" must name the keypoints "0", "1", and so on')
    spelled = [str(named[str(i)]) for i in range(len(named))]
    human = human_names(spelled)
    if human is None:
        raise ValueError(
            f'{path}: the joints in "keypoint_id2name" must be those of a human skeleton, each '
            f"named once; got {', '.join(spelled[:30])}: pass names= with their names in order"
        )
    kept = dict(zip(human[1], human[0], strict=True))
    return {len(spelled): tuple(kept.get(i, "") for i in range(len(spelled)))}


def _entries(where: str, content: Any) -> list[tuple[str, dict[str, Any]]]:
    """Dicts of a list, each with its place for messages."""
    if not isinstance(content, list):
        raise ValueError(f"{where}: must hold a list of people; got {type(content).__name__}")
    for i, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: entry {i}: must be a dict; got {type(entry).__name__}")
    return [(f"{where}: entry {i}", entry) for i, entry in enumerate(content)]


def _openpose_people(where: str, content: Any, layouts: _Layouts) -> list[_Person]:
    """People of one image in formats ``open`` ("people") and ``cmu`` ("bodies")."""
    if not isinstance(content, dict) or not ({"people", "bodies"} & content.keys()):
        raise ValueError(f'{where}: must be a dict with a list under "people"')
    entries = _entries(where, content.get("people", content.get("bodies")))
    people = []
    for inner, entry in entries:
        known = ("pose_keypoints_2d", "pose_keypoints", "joints")
        key = next((each for each in known if each in entry), known[0])
        people.append(_named(inner, read_scored_rows(inner, key, entry.get(key)), layouts))
    return people


def _results_list(path: str | Path, content: Any, layouts: _Layouts | None) -> CocoKeypoints:
    """People of a list in COCO's results format."""
    people, images = [], []
    for where, entry in _entries(str(path), content):
        image = entry.get("image_id")
        if isinstance(image, bool) or not isinstance(image, (int, str)):
            raise ValueError(f'{where}: "image_id" must be a number or a text; got {image!r}')
        read_number(where, "score", entry.get("score", 1.0))
        people.append(_coco_person(where, entry, layouts))
        images.append(str(image))
    return CocoKeypoints(_stack(path, people, COCO_17), tuple(images))


def _coco_person(where: str, entry: dict[str, Any], layouts: _Layouts | None) -> _Person:
    triples = read_scored_rows(where, "keypoints", entry.get("keypoints"))
    return _named(where, triples, layouts or _COCO_LIKE)


def _mmpose_person(where: str, entry: dict[str, Any], layouts: _Layouts | None) -> _Person:
    xy = read_rows(where, "keypoints", entry.get("keypoints"), 2)
    scores = read_rows(where, "keypoint_scores", entry.get("keypoint_scores"), 1)
    if len(scores) != len(xy):
        raise ValueError(
            f'{where}: "keypoint_scores" must be one for each of {len(xy)} keypoints; got '
            f"{len(scores)}"
        )
    triples = clamp_scores(where, "keypoint_scores", np.concatenate([xy, scores], 1))
    return _named(where, triples, layouts or _COCO_LIKE)


def _easy_vitpose(path: str, content: dict[str, Any], given: Sequence[str] | None) -> CocoKeypoints:
    skeleton = content["skeleton"]
    if not isinstance(skeleton, dict) or sorted(skeleton) != sorted(map(str, range(len(skeleton)))):
        raise ValueError(f'{path}: "skeleton" must name the keypoints "0", "1", and so on')
    names = tuple(str(skeleton[str(i)]) for i in range(len(skeleton)))
    if len(set(names)) < len(names):
        raise ValueError(f'{path}: the names in "skeleton" must differ; got {names}')
    human = human_names(names)
    if given is not None:
        names = check_names(given)
    elif human is not None and "left_shoulder" in human[0] and len(human[0]) == len(names):
        names = human[0]
    people, images = [], []
    for i, (where, frame) in enumerate(_entries(path, content.get("keypoints"))):
        for person, value in frame.items():
            triples = read_scored_rows(f"{where}: person {person!r}", "keypoints", value)
            people.append(_named(where, triples[:, [1, 0, 2]], {len(names): names}))
            images.append(str(i))
    return CocoKeypoints(_stack(path, people, names), tuple(images))


def _named(where: str, triples: np.ndarray, layouts: _Layouts) -> _Person:
    """Keypoints with their names; in larger layouts only those with a name."""
    names = layouts.get(len(triples))
    if names is None:
        known = ", ".join(map(str, layouts))
        raise ValueError(
            f"{where}: must have {known} keypoints; got {len(triples)}: this is of another "
            "skeleton, pass names= with its joints in order"
        )
    kept = [i for i, name in enumerate(names) if name]
    return tuple(names[i] for i in kept), triples[kept]


def _stack(
    path: str | Path,
    people: list[_Person],
    names: tuple[str, ...],
    dtype: torch.dtype = torch.float32,
) -> Keypoints:
    """(P, K) of one layout; `names` is that of an empty file."""
    names = people[0][0] if people else names
    for i, (other, _) in enumerate(people):
        if other != names:
            raise ValueError(
                f"{path}: person {i}: all people must have one skeleton; got {len(other)} "
                f"keypoints after {len(names)}: read them from files of their own"
            )
    triples = np.stack([each for _, each in people]) if people else np.zeros((0, len(names), 3))
    values = torch.from_numpy(triples).to(dtype)
    return Keypoints(values[..., :2].contiguous(), values[..., 2].contiguous(), names=names)
