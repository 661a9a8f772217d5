"""Folders laid out like Market-1501 (Zheng et al., ICCV 2015).

The root holds ``bounding_box_train``, ``query`` and ``bounding_box_test``; an image is called
``<pid>_c<camera>s<sequence>_<frame>_<box>.jpg`` (or ``.png``). Identity -1 is junk (never ranked)
and identity 0 a distractor (ranked as a wrong answer); both may only occur in the gallery.
"""

from __future__ import annotations

import csv
import re
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

__all__ = [
    "IMAGE_ENDINGS",
    "Attributes",
    "MarketSplits",
    "Sample",
    "load_market",
    "read_attributes",
]

#: Of the names of images, in small letters.
IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

SPLIT_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_NAME = re.compile(r"^(-1|\d{4})_c(\d+)s(\d+)_(\d{6})_(\d{2})\.(jpg|png)$")
_COLUMNS = ("split", "name", "occluder", "visible_fraction", "yaw")


@dataclass(frozen=True)
class Sample:
    """One image of one person.

    Attributes:
        path: The image file.
        pid: Identity as written in the name; -1 = junk, 0 = distractor.
        camid: Camera as written in the name (1, 2, ...).
    """

    path: Path
    pid: int
    camid: int

    @property
    def name(self) -> str:
        """The file name without its folder."""
        return self.path.name


@dataclass(frozen=True)
class MarketSplits:
    """The three splits, each sorted by file name.

    Attributes:
        train: Images to learn from; identities are not renumbered.
        query: Images to search with.
        gallery: Images to search in, junk (-1) and distractors (0) included.
    """

    train: tuple[Sample, ...]
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]


@dataclass(frozen=True)
class Attributes:
    """What is known about how an image came about (a row of ``attributes.csv``).

    Attributes:
        split: Folder of the image, such as ``query``.
        occluder: Kind of the thing in front of the person; ``none`` when nothing is.
        visible_fraction: Share of the person's silhouette that can be seen, in [0, 1].
        yaw: Where the person faces, radians: 0 to the camera, positive to the image's right.
    """

    split: str
    occluder: str
    visible_fraction: float
    yaw: float

    @property
    def occluded(self) -> bool:
        """Whether something stands in front of the person."""
        return self.occluder != "none"


def load_market(root: str | Path) -> MarketSplits:
    """Lists the images of a Market-1501-style folder.

    The order is by file name, whatever the file system says. Files that are no images (such as
    ``Thumbs.db``) are skipped; an image whose name does not parse is an error, because leaving it
    out would change every figure in silence. Identities shared by train and test give a warning
    and not an error: the folder is still good for searching, only figures of a model that was
    trained on it are not.

    Args:
        root: The folder with the three split folders, or one that holds exactly one such folder.

    Raises:
        ValueError: When a folder is missing or holds no image, when a name does not parse or
            occurs twice, or when identity -1 or 0 occurs outside the gallery.
    """
    folder = _find_root(Path(root))
    splits = {
        split: _list_split(folder / name, allow_junk=split == "gallery")
        for split, name in SPLIT_FOLDERS.items()
    }
    train_pids = {sample.pid for sample in splits["train"]}
    test_pids = {sample.pid for sample in (*splits["query"], *splits["gallery"])}
    shared = sorted(train_pids & test_pids)
    if shared:
        warnings.warn(
            f"{folder}: {len(shared)} identities are in the training and in the test images "
            f"(first: {shared[:5]}); figures of a model trained here would be too good",
            stacklevel=2,
        )
    return MarketSplits(**splits)


def read_attributes(root: str | Path) -> dict[str, Attributes]:
    """Reads ``attributes.csv`` of a Market-1501-style folder.

    Args:
        root: As for `load_market`.

    Returns:
        The attributes by file name; empty when there is no such file.

    Raises:
        ValueError: When a column is missing, a value does not parse or a name occurs twice.
    """
    path = _find_root(Path(root)) / "attributes.csv"
    if not path.exists():
        return {}
    attributes: dict[str, Attributes] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path} has no column {', '.join(missing)}; its first line must be "
                f"{','.join(_COLUMNS)}"
            )
        for row in reader:
            if row["name"] in attributes:
                raise ValueError(f"{path}, line {reader.line_num}: {row['name']} occurs twice")
            try:
                attributes[row["name"]] = _parse_attributes(row)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    return attributes


def _parse_attributes(row: dict[str, str]) -> Attributes:
    folders = tuple(SPLIT_FOLDERS.values())
    if row["split"] not in folders:
        raise ValueError(f"split must be one of {', '.join(folders)}; got {row['split']!r}")
    visible_fraction = float(row["visible_fraction"])
    if not 0 <= visible_fraction <= 1:
        raise ValueError(f"visible_fraction must be in [0, 1]; got {visible_fraction}")
    return Attributes(row["split"], row["occluder"] or "none", visible_fraction, float(row["yaw"]))


def _find_root(root: Path) -> Path:
    """The folder that holds the split folders: ``root`` or its only sub-folder that does."""
    if not root.is_dir():
        raise ValueError(
            f"{root} is not a folder: give the folder that holds "
            f"{', '.join(SPLIT_FOLDERS.values())}"
        )
    candidates = [root, *sorted(child for child in root.iterdir() if child.is_dir())]
    complete = [
        folder
        for folder in candidates
        if all((folder / name).is_dir() for name in SPLIT_FOLDERS.values())
    ]
    if not complete:
        missing = [name for name in SPLIT_FOLDERS.values() if not (root / name).is_dir()]
        raise ValueError(
            f"{root} holds no {' and no '.join(missing)}: give the folder of a data set laid out "
            f"like Market-1501, with the folders {', '.join(SPLIT_FOLDERS.values())}"
        )
    if complete[0] != root and len(complete) > 1:
        raise ValueError(
            f"{root} holds {len(complete)} data sets "
            f"({', '.join(folder.name for folder in complete)}): give one of them"
        )
    return complete[0]


def _list_split(folder: Path, *, allow_junk: bool) -> tuple[Sample, ...]:
    images = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")
    )
    matches = [_NAME.match(path.name) for path in images]
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
    stems = [path.stem for path in images]
    # Sorted by name, so a .jpg and a .png of one stem are neighbours.
    twice = [stem for stem, following in pairwise(stems) if stem == following]
    if twice:
        raise ValueError(f"{folder}: {twice[0]} is there as .jpg and as .png: keep one of them")
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
