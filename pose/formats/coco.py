"""Read and write keypoints: COCO json (common, lossy) and npz (everything, no pickle)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ..files.atomic_write import atomic_write
from ..files.npz import read_npz_arrays
from ..files.reading import reading
from ..joint_names import check_names, human_names
from ..keypoints import COCO_17, SKELETON, Keypoints
from ..runtime.defaults import plain_torch
from .json_fields import check_file, read_json, read_number, warn_of_fractions

_REQUIRED, _OPTIONAL = ("xy", "score", "names"), ("visibility", "xyz")
_POSETRACK = {"head_bottom", "head_top", "nose"}
_LARGEST_ARRAYS = 1 << 30  # bytes that the arrays of a file may take
_MOST_NAMES = 1 << 12  # keypoints of a person; the finest skeletons have some hundreds

__all__ = ["CocoKeypoints", "read_coco", "read_npz", "write_coco", "write_npz"]


@dataclasses.dataclass(frozen=True, eq=False)
class CocoKeypoints:
    """People of a file of many images, in the file's order.

    Attributes:
        keypoints: (N, K); row i is annotation i of those with keypoints.
        images: N names; `images[i]` is the image of row i: its file name where the file lists its
            images, otherwise the image id as text, or "" where there is neither.
    """

    keypoints: Keypoints
    images: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that both hold N people."""
        if tuple(self.keypoints.shape) != (len(self.images),):
            raise ValueError(
                f"keypoints and images must hold the same number of people; got batch shape "
                f"{tuple(self.keypoints.shape)} and {len(self.images)} images"
            )


@plain_torch()
def read_coco(
    path: str | Path,
    *,
    names: Sequence[str] | None = None,
    values: Literal["flags", "scores"] = "flags",
) -> CocoKeypoints:
    """Read a COCO json: a list of annotations, or a dict with "annotations".

    Each annotation has "keypoints": K triples (x, y, v) in one flat list, pixels, and may have
    "score" in [0, 1], which multiplies the keypoints' scores. The skeleton is the one that the
    file names under "categories", in any order and in the spellings that data sets have
    (``L_Eye``, ``left eye``); the joints of PoseTrack, CrowdPose, MPII, Human3.6M and JRDB are
    known. A file without names has COCO's 17 joints. Beside a category with joints, annotations of
    categories without joints (boxes of cars) are left out.

    Args:
        path: file to read.
        names: K names, in the file's order, in place of those in the file.
        values: meaning of v. "flags", as COCO labels: 0 not labelled (score 0, visibility 0), 1
            labelled but hidden (1, 0), 2 labelled and visible (1, 1); in files of PoseTrack's
            skeleton without any 2, 1 is visible. "scores", as most estimators write: v in [0, 1] is
            both score and visibility.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file breaks the format, or its joints are of no human skeleton;
            the message names file, entry and rule.

    Warns:
        InputWarning: all joints lie in [-1, 1], as fractions of an image do.
    """
    if values not in ("flags", "scores"):
        raise ValueError(f'values must be "flags" or "scores"; got {values!r}')
    given = None if names is None else check_names(names)
    path = Path(path)
    content = read_json(path)
    file_names: dict[int | str, str] = {}
    categories: dict[int | str, tuple[str, ...]] = {}
    boxes: set[int | str] = set()
    if isinstance(content, dict):
        if not isinstance(content.get("annotations"), list):
            raise ValueError(f'{path}: a COCO dict must hold a list under "annotations"')
        file_names = _file_names(path, content.get("images", []))
        if given is None:
            categories = _categories(path, content.get("categories"))
        boxes = _boxes(content.get("categories"))
        content = content["annotations"]
    if not isinstance(content, list):
        raise ValueError(
            f"{path}: must hold a list of annotations or a dict; got {type(content).__name__}"
        )
    found, kept, count = _skeleton(path, content, given, categories)
    people = [(i, each) for i, each in enumerate(content) if not _is_box(each, boxes)]
    triples = np.zeros((len(people), len(found), 3))
    person_score = np.ones((len(people), 1))
    images = []
    for row, (i, entry) in enumerate(people):
        where = f"{path}: annotation {i}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: must be a dict; got {type(entry).__name__}")
        triples[row] = _triples(where, entry.get("keypoints"), count, values)[kept]
        person_score[row] = read_number(where, "score", entry.get("score", 1.0), 0, 1)
        image_id = entry.get("image_id", "")
        if not isinstance(image_id, (int, str)):
            raise ValueError(f'{where}: "image_id" must be a number or a text; got {image_id!r}')
        images.append(file_names.get(image_id, str(image_id)))
    xyv = torch.from_numpy(triples).float()
    value = xyv[..., 2]
    flags = values == "flags"
    score = (value > 0).float() if flags else value
    # PoseTrack's annotations have 0 and 1 only.
    seen = 1 if _POSETRACK <= set(found) and not bool((value == 2).any()) else 2
    visibility = (value == seen).float() if flags else value
    score = score * torch.from_numpy(person_score).float()
    keypoints = Keypoints(xyv[..., :2].contiguous(), score, visibility, found)
    warn_of_fractions(path, keypoints)
    return CocoKeypoints(keypoints, tuple(images))


def write_coco(path: str | Path, people: CocoKeypoints) -> None:
    """Write a COCO json dict with "images", "annotations" and "categories".

    COCO holds less than `Keypoints`: v is 0 where the score is 0, otherwise 2 where visibility is
    over 0.5 and 1 where it is not; "score" is the mean score of the found keypoints; `xyz` is
    lost. The file appears whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    keypoints = people.keypoints
    ids = {name: i for i, name in enumerate(dict.fromkeys(people.images))}
    flags = (keypoints.score > 0).float() * (1 + (keypoints.visibility > 0.5).float())
    triples = torch.cat([keypoints.xy, flags[..., None].to(keypoints.xy)], -1).flatten(1)
    found = (keypoints.score > 0).sum(-1)
    score = keypoints.score.sum(-1) / found.clamp(min=1)
    annotations = [
        {
            "id": i,
            "image_id": ids[name],
            "category_id": 1,
            "keypoints": triples[i].tolist(),
            "num_keypoints": int(found[i]),
            "score": float(score[i].clamp(0, 1)),
        }
        for i, name in enumerate(people.images)
    ]
    bones = [
        [keypoints.names.index(a) + 1, keypoints.names.index(b) + 1]
        for a, b in SKELETON
        if a in keypoints.names and b in keypoints.names
    ]
    category = {"id": 1, "name": "person", "keypoints": keypoints.names, "skeleton": bones}
    content = {
        "images": [{"id": i, "file_name": name} for name, i in ids.items()],
        "annotations": annotations,
        "categories": [category],
    }
    _write_bytes(Path(path), json.dumps(content, allow_nan=False).encode())


@plain_torch()
def read_npz(path: str | Path) -> Keypoints:
    """Read what `write_npz` wrote: arrays xy, score, visibility, names and perhaps xyz.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no npz, an array is missing, pickled, or against the rules of
            `Keypoints`.
    """
    path = Path(path)
    check_file(path)
    with reading(path, "must be an npz of plain arrays"):
        arrays = read_npz_arrays(
            path, _REQUIRED, _OPTIONAL, content="numbers or text", most_bytes=_LARGEST_ARRAYS
        )
    if arrays["names"].ndim != 1 or arrays["names"].dtype.kind != "U":
        raise ValueError(f"{path}: names must be a list of texts; got {arrays['names'].dtype}")
    if len(arrays["names"]) > _MOST_NAMES:
        raise ValueError(f"{path}: names must be at most {_MOST_NAMES}; got {len(arrays['names'])}")
    names = tuple(str(name) for name in arrays.pop("names"))
    for key, value in arrays.items():
        if value.dtype.kind != "f":
            raise ValueError(f"{path}: {key} must be floating point; got {value.dtype}")
    with reading(path):
        # Files of machines with another byte order are as good.
        native = {key: each.astype(each.dtype.newbyteorder("=")) for key, each in arrays.items()}
        keypoints = Keypoints(names=names, **{k: torch.from_numpy(v) for k, v in native.items()})
    return keypoints


def write_npz(path: str | Path, keypoints: Keypoints) -> None:
    """Write keypoints of any batch shape, losing nothing; the file appears whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    import io as byte_io

    arrays = {
        key: getattr(keypoints, key).detach().cpu().numpy()
        for key in ("xy", "score", "visibility", "xyz")
        if getattr(keypoints, key) is not None
    }
    buffer = byte_io.BytesIO()
    np.savez_compressed(buffer, names=np.array(keypoints.names, dtype=np.str_), **arrays)
    _write_bytes(Path(path), buffer.getvalue())


def _file_names(path: Path, images: Any) -> dict[int | str, str]:
    if not isinstance(images, list):
        raise ValueError(f'{path}: "images" must be a list; got {type(images).__name__}')
    found: dict[int | str, str] = {}
    for i, entry in enumerate(images):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), (int, str)):
            raise ValueError(f'{path}: image {i}: must be a dict with an "id"')
        name = str(entry.get("file_name", entry["id"]))
        if found.setdefault(entry["id"], name) != name:
            raise ValueError(
                f"{path}: image {i}: ids must differ; {found[entry['id']]} and {name} have one"
            )
    return found


def _categories(path: Path, categories: Any) -> dict[int | str, tuple[str, ...]]:
    """Joint names of each category that has them, by category id."""
    if categories is None:
        return {}
    if not isinstance(categories, list) or not all(isinstance(each, dict) for each in categories):
        raise ValueError(f'{path}: "categories" must be a list of dicts')
    found: dict[int | str, tuple[str, ...]] = {}
    for i, each in enumerate(categories):
        names = each.get("keypoints")
        if not names:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f'{path}: category {i}: "keypoints" must be a list of names')
        if not isinstance(each.get("id", 0), (int, str)):
            raise ValueError(f'{path}: category {i}: "id" must be a number or a text')
        found[each.get("id", 0)] = tuple(names)
    return found


def _boxes(categories: Any) -> set[int | str]:
    """Ids of categories without joints, such as cars, where another category has joints."""
    if not isinstance(categories, list):
        return set()
    known = [each for each in categories if isinstance(each, dict)]
    plain = [each.get("id") for each in known if not each.get("keypoints")]
    if len(plain) == len(known):
        return set()
    return {each for each in plain if isinstance(each, (int, str))}


def _is_box(entry: Any, boxes: set[int | str]) -> bool:
    if not isinstance(entry, dict) or entry.get("keypoints"):
        return False
    category = entry.get("category_id")
    return isinstance(category, (int, str)) and category in boxes


def _skeleton(
    path: Path,
    annotations: list[Any],
    given: tuple[str, ...] | None,
    categories: Mapping[int | str, tuple[str, ...]],
) -> tuple[tuple[str, ...], list[int], int]:
    """Names of the joints that are kept, their positions in the file, and the number there."""
    if given is not None or not categories:
        names = COCO_17 if given is None else given
        return names, list(range(len(names))), len(names)
    ids = [each.get("category_id") for each in annotations if isinstance(each, dict)]
    used = [each for each in categories if each in ids] or list(categories)
    skeletons = {categories[each] for each in used}
    if len(skeletons) > 1:
        raise ValueError(
            f"{path}: the categories of all annotations must have one skeleton; got "
            f"{len(skeletons)}: give each a file of its own"
        )
    spelled = skeletons.pop()
    human = human_names(spelled)
    if human is None:
        raise ValueError(
            f'{path}: the joints under "categories" must be those of a human skeleton, each named '
            f"once; got {_listed(spelled)}: pass names= (--keypoints-names) with their names in "
            f"the file's order (such as {', '.join(COCO_17[:6])})"
        )
    return human[0], list(human[1]), len(spelled)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")


def _triples(where: str, flat: Any, count: int, values: str) -> np.ndarray:
    if not isinstance(flat, list) or len(flat) != 3 * count:
        came = f"{len(flat)} values" if isinstance(flat, list) else type(flat).__name__
        raise ValueError(
            f'{where}: "keypoints" must be a flat list of {3 * count} numbers, x, y, v for each of '
            f"{count} keypoints; got {came}: pass names= for another skeleton"
        )
    numbers = [read_number(where, f"keypoints[{j}]", value) for j, value in enumerate(flat)]
    triples = np.array(numbers).reshape(count, 3)
    third = triples[:, 2]
    if values == "flags" and not np.isin(third, (0, 1, 2)).all():
        bad = third[~np.isin(third, (0, 1, 2))][0]
        raise ValueError(
            f"{where}: v must be 0, 1 or 2; got {bad:.4g}: if these are scores, pass "
            'values="scores"'
        )
    if values == "scores" and not ((third >= 0) & (third <= 1)).all():
        raise ValueError(f"{where}: scores must be in [0, 1]; got {third.min()} to {third.max()}")
    return triples


def _write_bytes(path: Path, content: bytes) -> None:
    with atomic_write(path) as partial:
        partial.write_bytes(content)
