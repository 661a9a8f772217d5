"""Keypoint files of pose estimators and of other re-identification projects.

Files of one image give (P, K) people in the file's order; files of many images give
`CocoKeypoints`, which also says whose photograph each person is from. The layout follows from the
number of keypoints. What estimators call a score may overshoot 1 a little and is clamped to
[0, 1]; values that can be no score are refused. Written are positions and scores; visibility and
`xyz` are lost (`write_npz` keeps them). Files appear whole or not at all.

Every function raises FileNotFoundError when there is no such file, and ValueError, with file,
entry and rule, when something in it is not as said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .atomic import replacing
from .io import CocoKeypoints
from .json_fields import clamp_scores, number, read_json, rows, scored_rows
from .keypoints import COCO_17, Keypoints
from .layouts import HALPE_26, OPENPOSE_18, OPENPOSE_25, WHOLEBODY_23

__all__ = [
    "read_alphapose",
    "read_kpr",
    "read_mmpose",
    "read_openpose",
    "read_sep_json",
    "write_alphapose",
    "write_kpr",
    "write_mmpose",
    "write_openpose",
    "write_sep_json",
]

#: Layout by number of keypoints; of the last two only body and feet are taken.
_COCO_LIKE = {17: COCO_17, 26: HALPE_26, 133: WHOLEBODY_23, 136: HALPE_26}
_OPENPOSE_LIKE = {18: OPENPOSE_18, 25: OPENPOSE_25}
_Person = tuple[tuple[str, ...], np.ndarray]


def read_openpose(path: str | Path) -> Keypoints:
    """Read the people of one image from OpenPose's json, with 18 (COCO) or 25 keypoints.

    A dict with "people", each with "pose_keypoints_2d": flat x, y, c in pixels. Also AlphaPose's
    ``open`` and ``cmu`` formats of one image. An undetected joint has c = 0.

    Returns:
        (P, 18) named `OPENPOSE_18` or (P, 25) named `OPENPOSE_25`; (0, 18) for nobody.
    """
    return _stack(path, _openpose_people(str(path), read_json(Path(path))), OPENPOSE_18)


def write_openpose(path: str | Path, people: Keypoints) -> None:
    """Write (P, K) people of one image, named `OPENPOSE_18` or `OPENPOSE_25`, for OpenPose."""
    _write_people(path, people, (OPENPOSE_18, OPENPOSE_25), 1.3)


def read_sep_json(path: str | Path, *, missing_ok: bool = False) -> Keypoints:
    """Read a file of PGFA's ``sep-json`` folder: the people of one image by AlphaPose v0.2.

    Args:
        path: named as the image but for its ending.
        missing_ok: a missing file means that nobody was found, as there: AlphaPose writes none.

    Returns:
        (P, 18) named `OPENPOSE_18`, float64: PGFA's rules compare and cut the numbers as the file
        has them.
    """
    path = Path(path)
    if missing_ok and not path.exists():
        return _stack(path, [], OPENPOSE_18, torch.float64)
    people = _openpose_people(str(path), read_json(path), {18: OPENPOSE_18})
    return _stack(path, people, OPENPOSE_18, torch.float64)


def write_sep_json(path: str | Path, people: Keypoints) -> None:
    """Write (P, 18) people of one image named `OPENPOSE_18` as PGFA reads them."""
    _write_people(path, people, (OPENPOSE_18,), "AlphaPose v0.2")


def read_alphapose(path: str | Path) -> CocoKeypoints:
    """Read AlphaPose's ``alphapose-results.json``: people of many images.

    Of v0.2 and later: a list of dicts with "image_id" and flat "keypoints" x, y, c of COCO (17),
    Halpe (26, 136) or COCO-WholeBody (133); or, in formats ``open`` and ``cmu``, a dict from
    image to what `read_openpose` reads. The score of a whole person has no fixed range and is not
    kept.
    """
    content = read_json(Path(path))
    if isinstance(content, dict):
        images, people = [], []
        for image, entry in content.items():
            found = _openpose_people(f"{path}: image {image!r}", entry)
            people += found
            images += [image] * len(found)
        return CocoKeypoints(_stack(path, people, OPENPOSE_18), tuple(images))
    return _results_list(path, content, None)


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


def read_kpr(path: str | Path) -> Keypoints:
    """Read KPR's keypoint json of one image: the person meant first, then the others.

    A list of dicts (or one dict) with "keypoints", x, y, c of COCO's 17, flat or nested, and
    perhaps "is_target". Where no entry has that, the first is the target, as in KPR.

    Returns:
        (P, 17); row 0 is the target. (0, 17) for an empty list: nobody was found.
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
    people = [_coco_person(where, entry, {17: COCO_17}) for where, entry in entries]
    targets = [i for i, mark in enumerate(marks) if mark]
    if any(mark is not None for mark in marks) and len(targets) != 1:
        raise ValueError(f'{path}: one entry must have "is_target": true; got {len(targets)}')
    first = targets[0] if targets else 0
    order = sorted(range(len(people)), key=lambda i: i != first)
    return _stack(path, [people[i] for i in order], COCO_17)


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


def read_mmpose(path: str | Path, *, names: Sequence[str] | None = None) -> CocoKeypoints:
    """Read results of mmpose or ViTPose.

    The predictions of ``MMPoseInferencer`` and of mmpose's demos (dicts with "keypoints" and
    "keypoint_scores", frame by frame for videos), the results list of mmpose's evaluation and of
    ViTPose (flat or nested x, y, score with "image_id"), and easy_ViTPose's json (y, x, score and
    names in "skeleton").

    Args:
        path: the file.
        names: the layout where the number of keypoints does not tell: other than 17, 26, 133, 136.

    Returns:
        People; `images` holds image ids, frame numbers, or the file's name without its ending.
    """
    content = read_json(Path(path))
    layouts = None if names is None else {len(names): tuple(names)}
    stem = Path(path).stem.removeprefix("results_")
    if isinstance(content, dict) and "skeleton" in content:
        return _easy_vitpose(str(path), content)
    if isinstance(content, dict):
        content = content.get("instance_info")
    groups: list[tuple[str, str, Any]] = []
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
    return CocoKeypoints(_stack(path, people, tuple(names or COCO_17)), tuple(images))


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


def _entries(where: str, content: Any) -> list[tuple[str, dict[str, Any]]]:
    """Each dict of a list with where it stands."""
    if not isinstance(content, list):
        raise ValueError(f"{where}: must hold a list of people; got {type(content).__name__}")
    for i, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: entry {i}: must be a dict; got {type(entry).__name__}")
    return [(f"{where}: entry {i}", entry) for i, entry in enumerate(content)]


def _openpose_people(
    where: str, content: Any, layouts: dict[int, tuple[str, ...]] | None = None
) -> list[_Person]:
    """People of one image in formats ``open`` ("people") and ``cmu`` ("bodies")."""
    if not isinstance(content, dict) or not ({"people", "bodies"} & content.keys()):
        raise ValueError(f'{where}: must be a dict with a list under "people"')
    entries = _entries(where, content.get("people", content.get("bodies")))
    people = []
    for inner, entry in entries:
        known = ("pose_keypoints_2d", "pose_keypoints", "joints")
        key = next((each for each in known if each in entry), known[0])
        people.append(
            _named(inner, scored_rows(inner, key, entry.get(key)), layouts or _OPENPOSE_LIKE)
        )
    return people


def _results_list(
    path: str | Path, content: Any, layouts: dict[int, tuple[str, ...]] | None
) -> CocoKeypoints:
    """A list in COCO's results format."""
    people, images = [], []
    for where, entry in _entries(str(path), content):
        image = entry.get("image_id")
        if isinstance(image, bool) or not isinstance(image, (int, str)):
            raise ValueError(f'{where}: "image_id" must be a number or a text; got {image!r}')
        number(where, "score", entry.get("score", 1.0))
        people.append(_coco_person(where, entry, layouts))
        images.append(str(image))
    return CocoKeypoints(_stack(path, people, COCO_17), tuple(images))


def _coco_person(
    where: str, entry: dict[str, Any], layouts: dict[int, tuple[str, ...]] | None
) -> _Person:
    triples = scored_rows(where, "keypoints", entry.get("keypoints"))
    return _named(where, triples, layouts or _COCO_LIKE)


def _mmpose_person(
    where: str, entry: dict[str, Any], layouts: dict[int, tuple[str, ...]] | None
) -> _Person:
    xy = rows(where, "keypoints", entry.get("keypoints"), 2)
    scores = rows(where, "keypoint_scores", entry.get("keypoint_scores"), 1)
    if len(scores) != len(xy):
        raise ValueError(
            f'{where}: "keypoint_scores" must be one for each of {len(xy)} keypoints; got '
            f"{len(scores)}"
        )
    triples = clamp_scores(where, "keypoint_scores", np.concatenate([xy, scores], 1))
    return _named(where, triples, layouts or _COCO_LIKE)


def _easy_vitpose(path: str, content: dict[str, Any]) -> CocoKeypoints:
    skeleton = content["skeleton"]
    if not isinstance(skeleton, dict) or sorted(skeleton) != sorted(map(str, range(len(skeleton)))):
        raise ValueError(f'{path}: "skeleton" must name the keypoints "0", "1", and so on')
    names = tuple(str(skeleton[str(i)]) for i in range(len(skeleton)))
    if len(set(names)) < len(names):
        raise ValueError(f'{path}: the names in "skeleton" must differ; got {names}')
    people, images = [], []
    for i, (where, frame) in enumerate(_entries(path, content.get("keypoints"))):
        for person, value in frame.items():
            triples = scored_rows(f"{where}: person {person!r}", "keypoints", value)
            people.append(_named(where, triples[:, [1, 0, 2]], {len(names): names}))
            images.append(str(i))
    return CocoKeypoints(_stack(path, people, names), tuple(images))


def _named(where: str, triples: np.ndarray, layouts: dict[int, tuple[str, ...]]) -> _Person:
    """The keypoints with their names; of larger layouts only those that have a name."""
    names = layouts.get(len(triples))
    if names is None:
        known = ", ".join(map(str, layouts))
        raise ValueError(
            f"{where}: must have {known} keypoints; got {len(triples)}: this is of another skeleton"
        )
    return names, triples[: len(names)]


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
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
