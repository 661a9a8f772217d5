"""Keypoints from files as a pose estimator: photographs are known by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import numpy as np
import torch

from .estimator import Pose, checked_image, choose
from .estimator_files import (
    read_alphapose,
    read_kpr,
    read_mmpose,
    read_openpose,
    read_sep_json,
)
from .io import CocoKeypoints, read_coco
from .keypoints import Keypoints
from .target import Target

__all__ = ["FileFormat", "PrecomputedPose"]

FileFormat = Literal["coco", "alphapose", "sep-json", "openpose", "kpr", "mmpose"]
"""``coco`` and ``alphapose`` are one file of many photographs, the others a folder with a file for
each: named as the photograph but for its ending, of ``openpose`` with ``_keypoints.json`` behind
the stem, and of ``kpr`` behind the whole name."""

_Photo = tuple[tuple[str, ...], Keypoints]  # its path in parts, and its people

_ENDINGS = {
    "sep-json": "{stem}.json",
    "openpose": "{stem}_keypoints.json",
    "kpr": "{name}_keypoints.json",
    "mmpose": "{stem}.json",
}


class PrecomputedPose:
    """Look people up in keypoint files.

    A photograph that no file names is one where nobody was found, as estimators write nothing for
    it then. That also hides a wrong folder: `len` tells how many photographs are known.

    Args:
        source: file or folder, see `FileFormat`.
        format: what it holds. Of ``coco`` the third number of a keypoint is COCO's flag.
        target: who of several people a photograph is about, see `select_person`; of ``kpr`` files
            None takes who they mark.
        threshold: scores above it are of found joints, for `target`.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a file is damaged, or the folder has no file of the format.
    """

    def __init__(
        self,
        source: str | Path,
        format: FileFormat,
        *,
        target: Target | None = None,
        threshold: float = 0.2,
    ) -> None:
        if format not in get_args(FileFormat):
            raise ValueError(
                f"format must be one of {', '.join(get_args(FileFormat))}; got {format!r}"
            )
        self.source, self.format = Path(source), format
        self.target: Target = target or ("first" if format == "kpr" else "most_joints")
        self.threshold = threshold
        if not self.source.exists():
            raise FileNotFoundError(f"there is no {self.source} with keypoints")
        self._people: Mapping[str, list[_Photo]] | None = None
        self._files: frozenset[str] = frozenset()
        self._names: tuple[str, ...] | None = None
        if format in _ENDINGS:
            self._files = self._folder()
        else:
            read = read_coco if format == "coco" else read_alphapose
            everybody = read(self.source)
            self._names = everybody.keypoints.names
            self._people = _by_image(everybody)

    def __len__(self) -> int:
        """Number of photographs with a file, or with somebody in the file."""
        if self._people is None:
            return len(self._files)
        return sum(map(len, self._people.values()))

    def __call__(self, image: np.ndarray | str | Path) -> Pose:
        """The people of a photograph.

        Args:
            image: its path; files know photographs by their names.

        Raises:
            ValueError: pixels were given, or the file of this photograph is damaged.
        """
        if not isinstance(image, (str, Path)):
            raise ValueError(
                "image must be a path for precomputed keypoints, which are known by names; got "
                f"{type(image).__name__}"
            )
        path = Path(image)
        people = self._found(path)
        size = checked_image(path).shape[:2] if self.target == "most_central" else None
        return choose(people, self.target, size, self.threshold)

    def _found(self, path: Path) -> Keypoints:
        if self._people is not None:
            photos = self._people.get(path.name) or self._people.get(path.stem)
            known = _closest(path, photos) if photos else None
            return _nobody(self._names or ()) if known is None else known
        name = _ENDINGS[self.format].format(stem=path.stem, name=path.name)
        if name not in self._files:
            return _nobody(self._layout())
        return self._read(self.source / name)

    def _folder(self) -> frozenset[str]:
        ending = _ENDINGS[self.format].rpartition("}")[2]
        if not self.source.is_dir():
            raise ValueError(f"source must be a folder for format {self.format}; got {self.source}")
        names = frozenset(p.name for p in self.source.iterdir() if p.name.endswith(ending))
        if not names:
            raise ValueError(f"{self.source} has no file *{ending}, as format {self.format} has")
        return names

    def _read(self, path: Path) -> Keypoints:
        read: Any = {
            "sep-json": read_sep_json,
            "openpose": read_openpose,
            "kpr": read_kpr,
            "mmpose": lambda each: read_mmpose(each).keypoints,
        }[self.format]
        people: Keypoints = read(path)
        return people

    def _layout(self) -> tuple[str, ...]:
        """Of the people in the first file, for photographs without one."""
        if self._names is None:
            self._names = self._read(self.source / min(self._files)).names
        return self._names


def _by_image(everybody: CocoKeypoints) -> dict[str, list[_Photo]]:
    """Photographs with their (P,) people, by their name without folders."""
    rows: dict[tuple[str, ...], list[int]] = {}
    for row, image in enumerate(everybody.images):
        rows.setdefault(PurePosixPath(image.replace("\\", "/")).parts, []).append(row)
    found: dict[str, list[_Photo]] = {}
    for parts, each in rows.items():
        if parts:
            photo = (parts, everybody.keypoints[torch.tensor(each)])
            found.setdefault(parts[-1], []).append(photo)
    return found


def _closest(path: Path, photos: list[_Photo]) -> Keypoints | None:
    """Whose path agrees with the end of this one; or the only one of the name."""
    own = path.parts[:-1]
    fitting = [
        (len(parts), people)
        for parts, people in photos
        if len(parts) == 1 or own[1 - len(parts) :] == parts[:-1]
    ]
    if fitting:
        return max(fitting, key=lambda each: each[0])[1]
    return photos[0][1] if len(photos) == 1 else None


def _nobody(names: tuple[str, ...]) -> Keypoints:
    return Keypoints.stack([Keypoints.none(names)])[:0]
