"""Read and write keypoints: COCO json (common, lossy) and npz (everything, no pickle)."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from .atomic import replacing
from .json_fields import check_file, number, read_json
from .keypoints import COCO_17, SKELETON, Keypoints

__all__ = ["CocoKeypoints", "read_coco", "read_npz", "write_coco", "write_npz"]


@dataclasses.dataclass(frozen=True, eq=False)
class CocoKeypoints:
    """The people of a file of many images, in the file's order.

    Attributes:
        keypoints: (N, K); row i is annotation i.
        images: N names; `images[i]` is the photo of row i: its file name where the file lists its
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


def read_coco(
    path: str | Path,
    *,
    names: Sequence[str] = COCO_17,
    values: Literal["flags", "scores"] = "flags",
) -> CocoKeypoints:
    """Read a COCO json: a list of annotations, or a dict with "annotations".

    Each annotation has "keypoints": K triples (x, y, v) in one flat list, pixels, and may have
    "score" in [0, 1], which multiplies the keypoints' scores.

    Args:
        path: the file.
        names: the K names, in the file's order.
        values: what v means. "flags", as COCO labels: 0 not labelled (score 0, visibility 0), 1
            labelled but hidden (1, 0), 2 labelled and visible (1, 1). "scores", as most
            estimators write: v in [0, 1] is both score and visibility.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: anything in the file is not as said; the message names file, entry and rule.
    """
    if values not in ("flags", "scores"):
        raise ValueError(f'values must be "flags" or "scores"; got {values!r}')
    path = Path(path)
    content = read_json(path)
    file_names = {}
    if isinstance(content, dict):
        if not isinstance(content.get("annotations"), list):
            raise ValueError(f'{path}: a COCO dict must hold a list under "annotations"')
        file_names = _file_names(path, content.get("images", []))
        content = content["annotations"]
    if not isinstance(content, list):
        raise ValueError(
            f"{path}: must hold a list of annotations or a dict; got {type(content).__name__}"
        )
    triples = np.zeros((len(content), len(names), 3))
    person_score = np.ones((len(content), 1))
    images = []
    for i, entry in enumerate(content):
        where = f"{path}: annotation {i}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: must be a dict; got {type(entry).__name__}")
        triples[i] = _triples(where, entry.get("keypoints"), len(names), values)
        person_score[i] = number(where, "score", entry.get("score", 1.0), 0, 1)
        image_id = entry.get("image_id", "")
        if not isinstance(image_id, (int, str)):
            raise ValueError(f'{where}: "image_id" must be a number or a text; got {image_id!r}')
        images.append(file_names.get(image_id, str(image_id)))
    xyv = torch.from_numpy(triples).float()
    value = xyv[..., 2]
    flags = values == "flags"
    score = (value > 0).float() if flags else value
    visibility = (value == 2).float() if flags else value
    score = score * torch.from_numpy(person_score).float()
    keypoints = Keypoints(xyv[..., :2].contiguous(), score, visibility, tuple(names))
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


def read_npz(path: str | Path) -> Keypoints:
    """Read what `write_npz` wrote: arrays xy, score, visibility, names and perhaps xyz.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no npz, an array is missing, pickled, or against the rules of
            `Keypoints`.
    """
    path = Path(path)
    check_file(path)
    arrays: dict[str, np.ndarray] = {}
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it holds one bare array")
        with loaded as archive:
            for key in ("xy", "score", "visibility", "names", "xyz"):
                if key in archive:
                    arrays[key] = archive[key]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: must be an npz of plain arrays: {error}") from error
    missing = [key for key in ("xy", "score", "names") if key not in arrays]
    if missing:
        raise ValueError(f"{path}: must hold the arrays xy, score and names; lacks {missing}")
    if arrays["names"].ndim != 1 or arrays["names"].dtype.kind != "U":
        raise ValueError(f"{path}: names must be a list of texts; got {arrays['names'].dtype}")
    names = tuple(str(name) for name in arrays.pop("names"))
    for key, value in arrays.items():
        if value.dtype.kind != "f":
            raise ValueError(f"{path}: {key} must be floating point; got {value.dtype}")
    try:
        tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
        return Keypoints(names=names, **tensors)
    except (ValueError, TypeError) as error:  # TypeError: a float type torch does not have
        raise ValueError(f"{path}: {error}") from error


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
    found = {}
    for i, entry in enumerate(images):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), (int, str)):
            raise ValueError(f'{path}: image {i}: must be a dict with an "id"')
        found[entry["id"]] = str(entry.get("file_name", entry["id"]))
    return found


def _triples(where: str, flat: Any, count: int, values: str) -> np.ndarray:
    if not isinstance(flat, list) or len(flat) != 3 * count:
        came = f"{len(flat)} values" if isinstance(flat, list) else type(flat).__name__
        raise ValueError(
            f'{where}: "keypoints" must be a flat list of {3 * count} numbers, x, y, v for each of '
            f"{count} keypoints; got {came}"
        )
    numbers = [number(where, f"keypoints[{j}]", value) for j, value in enumerate(flat)]
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
    with replacing(path) as partial:
        partial.write_bytes(content)
