"""Folders laid out like Market-1501 (Zheng et al., ICCV 2015).

The root holds ``query``, ``bounding_box_test`` and, for training, ``bounding_box_train``; an image
is called ``<pid>_c<camera>s<sequence>_<frame>_<box>.jpg`` (or ``.png``). Identity -1 is junk (never
ranked) and identity 0 a distractor (never a match); both may only occur in the gallery.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..files.image_files import IMAGE_ENDINGS, image_endings, is_unread_image
from ..files.inputs import counted
from ..files.table import read_table
from ..sample import FEW_IDENTITIES, FEW_QUERIES, Sample, Splits

__all__ = [
    "IMAGE_ENDINGS",
    "Attributes",
    "load_market",
    "parse_name",
    "read_attributes",
]


SPLIT_NAMES = {
    "train": ("bounding_box_train", "train", "training"),
    "query": ("query", "queries", "probe"),
    "gallery": ("bounding_box_test", "gallery", "test"),
}
"""Folders of the splits in lower case, first those of Market-1501 itself."""

SPLIT_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_NAME = re.compile(r"(-1|\d{4})_c(\d{1,9})s(\d+)_(\d{6})_(\d{2})\.(?:jpe?g|png)", re.IGNORECASE)
_COLUMNS = ("split", "name", "occluder", "visible_fraction", "yaw")


def few_queries(splits: Splits) -> str:
    """Note about metrics of few queries or identities; otherwise empty."""
    queries = len(splits.query)
    identities = len({sample.pid for sample in splits.query})
    if not queries or (queries >= FEW_QUERIES and identities >= FEW_IDENTITIES):
        return ""
    return (
        f"{counted(queries, 'query', 'queries')} of "
        f"{counted(identities, 'identity', 'identities')}: "
        f"one query moves rank-1 by {100 / queries:.0f} points; metrics of fewer than "
        f"{FEW_QUERIES} queries or {FEW_IDENTITIES} identities mean little"
    )


@dataclass(frozen=True)
class Attributes:
    """Attributes of a rendered image, a row of ``attributes.csv``.

    Attributes:
        split: Folder of the image, such as ``query``.
        occluder: Kind of the occluder; ``none`` without one.
        visible_fraction: Visible fraction of the person's silhouette, in [0, 1].
        yaw: Heading of the person, radians: 0 to the camera, positive to the image's right.
    """

    split: str
    occluder: str
    visible_fraction: float
    yaw: float

    @property
    def occluded(self) -> bool:
        """True with an occluder in front of the person."""
        return self.occluder != "none"


def parse_name(name: str) -> tuple[int, int] | None:
    """Identity and camera in a file name as in Market-1501; None for another name."""
    found = _NAME.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2]))


def load_market(root: str | Path) -> Splits:
    """Lists the images of a Market-1501-style folder.

    The order is by file name, on every file system. Files that are no images (such as
    ``Thumbs.db``) are skipped; an image name that does not parse is an error, because skipping it
    would silently change the metrics. Identities shared by train and test give a warning, no error:
    only metrics of models trained on the folder are invalid.

    Folders may be called ``gallery`` or ``test`` in place of ``bounding_box_test``, and ``train``
    in place of ``bounding_box_train``, in any case. Training images are optional.

    Args:
        root: Folder with the split folders, or the parent of exactly one such folder.

    Raises:
        ValueError: The folder of queries or of the gallery is missing or holds no image, a name
            does not parse or occurs twice, or identity -1 or 0 occurs outside the gallery.
    """
    _, folders = _find_root(Path(root))
    folder = folders["query"].parent
    splits = {
        split: _list_split(folders[split], allow_junk=split == "gallery")
        if split in folders and not (split == "train" and _is_bare(folders[split]))
        else ()
        for split in SPLIT_NAMES
    }
    train_pids = {sample.pid for sample in splits["train"]}
    test_pids = {sample.pid for sample in (*splits["query"], *splits["gallery"])}
    shared = sorted(train_pids & test_pids)
    if shared:
        warnings.warn(
            f"{folder}: {counted(len(shared), 'identity', 'identities')} in both the training and "
            f"the test images (first: {shared[:5]}); metrics of a model trained here would be too "
            "good",
            stacklevel=2,
        )
    return Splits(**splits)


def read_attributes(root: str | Path) -> dict[str, Attributes]:
    """Reads ``attributes.csv`` of a Market-1501-style folder.

    Args:
        root: See `load_market`.

    Returns:
        The attributes by file name; empty without the file.

    Raises:
        OSError: The file cannot be read.
        ValueError: A column is missing, a value does not parse or a name occurs twice.
    """
    folder, folders = _find_root(Path(root))
    path = folder / "attributes.csv"
    if not path.is_file():
        return {}
    known = {*SPLIT_FOLDERS.values(), *(each.name for each in folders.values())}
    table = read_table(path, _COLUMNS, "exactly " + ",".join(_COLUMNS), filled=("split", "name"))
    attributes: dict[str, Attributes] = {}
    for row in table.rows:
        if row["name"] in attributes:
            raise ValueError(f"{path}, line {row.line}: {row['name']} occurs twice")
        try:
            attributes[row["name"]] = _parse_attributes(row.values, known)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {row.line}: {error}") from error
    return attributes


def _parse_attributes(row: Mapping[str, str], folders: set[str]) -> Attributes:
    if row["split"] not in folders:
        known = (*SPLIT_FOLDERS.values(), *sorted(folders - set(SPLIT_FOLDERS.values())))
        raise ValueError(f"split must be one of {', '.join(known)}; got {row['split']!r}")
    visible_fraction, yaw = (_float(row, name) for name in ("visible_fraction", "yaw"))
    if not 0 <= visible_fraction <= 1:
        raise ValueError(f"visible_fraction must be in [0, 1]; got {visible_fraction}")
    # Twice around: written as -pi..pi or as 0..2 pi, never as degrees.
    if not abs(yaw) <= 2 * math.pi:
        raise ValueError(f"yaw must be in [-2 pi, 2 pi], radians; got {yaw}: is it in degrees?")
    return Attributes(row["split"], row["occluder"] or "none", visible_fraction, yaw)


def _float(row: Mapping[str, str], name: str) -> float:
    if not row[name]:
        raise ValueError(f"float expected in column {name}; got nothing")
    return float(row[name])


def _find_root(root: Path) -> tuple[Path, dict[str, Path]]:
    """Parent of the split folders (``root`` or its only sub-folder), and these."""
    wanted = ", ".join(SPLIT_FOLDERS.values())
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder: give the folder that holds {wanted}")
    candidates = [root, *sorted(child for child in root.iterdir() if child.is_dir())]
    found = {folder: _split_folders(folder) for folder in candidates}
    complete = [folder for folder in candidates if {"query", "gallery"} <= set(found[folder])]
    if not complete:
        missing = [
            SPLIT_FOLDERS[split] for split in ("query", "gallery") if split not in found[root]
        ]
        raise ValueError(
            f"{root} holds no {' and no '.join(missing)}: give the folder of a data set laid out "
            f"like Market-1501, with the folders {wanted} (the first only to train); folders of "
            "identities or cameras are read by --dataset folder, in Python load_dataset('folder', "
            "root)"
        )
    if complete[0] != root and len(complete) > 1:
        raise ValueError(
            f"{root} holds {len(complete)} data sets "
            f"({', '.join(folder.name for folder in complete)}): give one of them"
        )
    return complete[0], found[complete[0]]


def _split_folders(folder: Path) -> dict[str, Path]:
    """Folder of each split that is present, in any case."""
    try:
        inside = sorted(child for child in folder.iterdir() if child.is_dir())
    except PermissionError:
        return {}
    folders = {}
    for split, names in SPLIT_NAMES.items():
        for name in names:
            alike = [child for child in inside if child.name.lower() == name]
            exact = [child for child in alike if child.name == name]
            if len(alike) > 1 and not exact:
                raise ValueError(
                    f"{folder} holds {' and '.join(each.name for each in alike)}, which may both "
                    f"be {name}: rename one of them"
                )
            if alike:
                folders[split] = (exact or alike)[0]
                break
    return folders


def _is_bare(folder: Path) -> bool:
    return not any(_is_image(path) for path in folder.iterdir())


def _is_image(path: Path) -> bool:
    """True for images by their endings, readable here or not."""
    meant = path.suffix.lower() in IMAGE_ENDINGS | image_endings() or is_unread_image(path.name)
    return meant and not path.name.startswith(".")


def _list_split(folder: Path, *, allow_junk: bool) -> tuple[Sample, ...]:
    images = sorted(path for path in folder.iterdir() if _is_image(path))
    matches = [_NAME.fullmatch(path.name) for path in images]
    unreadable = [path.name for path, match in zip(images, matches, strict=True) if match is None]
    if len(unreadable) == len(images):
        raise ValueError(
            f"{folder} holds no image called <pid>_c<camera>s<sequence>_<frame>_<box>.jpg, such as "
            f"0001_c1s1_000151_01.jpg; found: {unreadable[:3] or 'no image at all'}"
        )
    if unreadable:
        raise ValueError(
            f"{folder}: {len(unreadable)} of {len(images)} images are not called "
            f"<pid>_c<camera>s<sequence>_<frame>_<box>.jpg or .png: rename them or move them away; "
            f"first: {unreadable[:3]}"
        )
    # Sorted by name, so a .jpg and a .png of one stem are neighbours.
    twice = [pair for pair in pairwise(images) if pair[0].stem == pair[1].stem]
    if twice:
        one, other = twice[0]
        raise ValueError(
            f"{folder}: {one.stem} is there as {one.suffix} and as {other.suffix}: keep one of them"
        )
    samples = tuple(
        Sample(path, int(match[1]), int(match[2]))
        for path, match in zip(images, matches, strict=True)
        if match is not None
    )
    if not allow_junk:
        wrong = [sample.name for sample in samples if sample.pid < 1]
        if wrong:
            raise ValueError(
                f"{folder}: identities -1 (junk) and 0 (distractor) belong in "
                f"{SPLIT_FOLDERS['gallery']} only; first: {wrong[:3]}"
            )
    return samples
