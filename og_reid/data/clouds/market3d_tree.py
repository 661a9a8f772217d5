"""Samples of the splits of the OG-Net authors' trees of clouds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..sample import Sample

__all__ = ["SPLITS", "load_market3d"]

SPLITS = ("train", "train_all", "val", "gallery", "query")
"""Folders of the authors' trees."""

# <pid>_c<camera>... (Market, Duke, CUHK) and <pid>_<number>_<camera>_... (MSMT17).
_NAMES = (re.compile(r"^(-1|\d+)_c(\d+)"), re.compile(r"^(\d+)_\d+_(\d+)_"))


def load_market3d(
    root: str | Path, splits: Sequence[str] | None = None
) -> dict[str, tuple[Sample, ...]]:
    """Lists the clouds of a tree ``<root>/<split>/<identity>/<image name>.obj``.

    Identity and camera are part of the image's name: ``<pid>_c<camera>...`` as in Market-1501,
    DukeMTMC-reID and CUHK03-NP, or ``<pid>_<number>_<camera>_...`` as in MSMT17. Files that do not
    end in ``.obj`` are skipped.

    Args:
        root: folder with the split folders, or the parent of exactly one such folder.
        splits: names from `SPLITS`; None: those present.

    Returns:
        The samples of each split, sorted by folder and by name as strings.

    Raises:
        ValueError: a split is missing or holds no cloud, a name does not parse, name and folder
            disagree on the identity, or the identity -1 (junk) occurs outside the gallery.
    """
    unknown = sorted(set(splits or ()) - set(SPLITS))
    if unknown or (splits is not None and not splits):
        raise ValueError(f"splits must be some of {', '.join(SPLITS)}; got {unknown or 'none'}")
    folder = _find_root(Path(root))
    there = [name for name in SPLITS if (folder / name).is_dir()]
    missing = [name for name in splits or () if name not in there]
    if missing:
        raise ValueError(f"{folder} holds no {', '.join(missing)}; it holds {', '.join(there)}")
    return {name: _list_split(folder / name) for name in there if splits is None or name in splits}


def _find_root(root: Path) -> Path:
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder: give the one that holds {', '.join(SPLITS)}")
    candidates = [root, *sorted(child for child in root.iterdir() if child.is_dir())]
    found = [folder for folder in candidates if any((folder / name).is_dir() for name in SPLITS)]
    if not found:
        raise ValueError(f"{root} must hold at least one of the folders {', '.join(SPLITS)}")
    if found[0] != root and len(found) > 1:
        raise ValueError(
            f"{root} holds {len(found)} data sets ({', '.join(each.name for each in found)}): "
            "give one of them"
        )
    return found[0]


def _list_split(folder: Path) -> tuple[Sample, ...]:
    samples = []
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        for path in sorted(person.glob("*.obj")):
            match = next(filter(None, (name.match(path.name) for name in _NAMES)), None)
            if match is None:
                raise ValueError(
                    f"{path} must be called <pid>_c<camera>....obj, such as "
                    "0002_c1s1_000451_03.jpg.obj, or <pid>_<number>_<camera>_....obj"
                )
            pid, camid = int(match[1]), int(match[2])
            if person.name.lstrip("-").isdigit() and int(person.name) != pid:
                raise ValueError(
                    f"{path}: the folder has identity {int(person.name)}, the name {pid}: move "
                    "the file or rename it"
                )
            if pid < 0 and folder.name != "gallery":
                raise ValueError(f"{path}: identity -1 (junk) belongs in the gallery only")
            samples.append(Sample(path, pid, camid))
    if not samples:
        raise ValueError(f"{folder} must hold clouds as <identity>/<image name>.obj; got none")
    return tuple(samples)
