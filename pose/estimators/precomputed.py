"""Pose estimator that reads keypoint files; images are matched by name."""

from __future__ import annotations

import filecmp
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import numpy as np
import torch

from ..files.reading import InputWarning, level_outside
from ..formats.coco import CocoKeypoints, read_coco
from ..formats.estimators import read_alphapose, read_kpr, read_mmpose, read_openpose, read_sep_json
from ..formats.json_fields import are_fractions
from ..image import image_size
from ..joint_names import check_names
from ..keypoints import Keypoints
from ..literals import FileFormat, Target
from ..person_selection import lies_outside
from ..runtime.defaults import plain_torch
from .base import Pose, choose, validate_image

__all__ = ["FileFormat", "PrecomputedPose"]

# An entry: the parts of its path, the last one its name; and its people, or their file.
_Entry = tuple[tuple[str, ...], Keypoints | Path]

_ENDINGS = {
    "sep-json": "{stem}.json",
    "openpose": "{stem}_keypoints.json",
    "kpr": "{name}_keypoints.json",
    "mmpose": "{stem}.json",
}


class PrecomputedPose:
    """Pose estimator that reads keypoint files.

    An image without an entry is one without a person, as estimators write nothing for
    it then. That also hides a wrong folder: `len` is the number of images with an entry. Entries
    and images are matched by name, and by folder as far as the entry has folders. An
    entry belongs to one image (or to copies of it).

    People with joints that cannot be pixels of the image (`person_selection.lies_outside`) are left
    out with one warning; `left_out` counts them.

    Args:
        source: file or folder, see `FileFormat`.
        format: format of the files. The third number of a ``coco`` keypoint is COCO's flag.
        target: selection among several people, see `select_person`; None takes the person that
            ``kpr`` files mark, else ``most_joints``.
        threshold: joints with a score above it count as found, for `target`.
        names: joint names in the files' order, for files of another skeleton or order; None: the
            readers' defaults (`read_coco` and `read_mmpose`: the names in the file).

    Attributes:
        left_out: number of people so far with joints outside their image.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a file is damaged, all its joints lie in [-1, 1] and are no pixels, or the
            folder has no file of the format.
    """

    def __init__(
        self,
        source: str | Path,
        format: FileFormat,
        *,
        target: Target | None = None,
        threshold: float = 0.2,
        names: Sequence[str] | None = None,
    ) -> None:
        if format not in get_args(FileFormat):
            raise ValueError(
                f"format must be one of {', '.join(get_args(FileFormat))}; got {format!r}"
            )
        self.source, self.format = Path(source), format
        self.target: Target = target or ("first" if format == "kpr" else "most_joints")
        self.threshold = threshold
        self.names = None if names is None else check_names(names)
        self.left_out = 0
        self._owner: dict[tuple[str, ...], Path] = {}
        if not self.source.exists():
            raise FileNotFoundError(f"there is no {self.source} with keypoints")
        self._layout: tuple[str, ...] | None = None
        self._entries = self._folder() if format in _ENDINGS else self._file()

    def __len__(self) -> int:
        """Number of images with an entry: with a file, or with a person in the file."""
        return sum(map(len, self._entries.values()))

    @plain_torch()
    def __call__(self, image: np.ndarray | str | Path) -> Pose:
        """The people of an image.

        Args:
            image: path of the image; entries are matched by name.

        Raises:
            ValueError: pixels were given, the file of this image is damaged, or its entry is
                that of another image of the same name.

        Warns:
            InputWarning: the first people with joints outside their image.
        """
        if not isinstance(image, (str, Path)):
            raise ValueError(
                "image must be a path for precomputed keypoints, which are matched by name; got "
                f"{type(image).__name__}"
            )
        path = Path(image)
        people = self._found(path)
        size = image_size(path) if len(people.score) else None
        if size is not None:
            people = self._within(path, people, size)
        if self.target == "most_central" and size is None:
            height, width = validate_image(path).shape[:2]
            size = height, width
        return choose(people, self.target, size, self.threshold)

    def _found(self, path: Path) -> Keypoints:
        form = _ENDINGS.get(self.format)
        names = (
            (path.name, path.stem)
            if form is None
            else (form.format(stem=path.stem, name=path.name),)
        )
        entry = next(
            _fitting(path, [e for name in names for e in self._entries.get(name, ())]), None
        )
        if entry is None:
            return _no_people(self._known_layout())
        parts, people = entry
        self._claim(parts, path)
        return self._read(people) if isinstance(people, Path) else people

    def _claim(self, entry: tuple[str, ...], path: Path) -> None:
        """Refuse an entry that another image has already, unless that is a copy."""
        own = path.absolute()
        other = self._owner.setdefault(entry, own)
        if other == own or _same_content(other, own):
            return
        raise ValueError(
            f"{self.source}: an entry must belong to one image; {other} and {path} would both "
            f"take {'/'.join(entry)!r}: name entries with the folders of the images (such as "
            f"{path.parent.name}/{entry[-1]})"
        )

    def _within(self, path: Path, people: Keypoints, size: tuple[int, int]) -> Keypoints:
        """People with joints inside the image."""
        outside = lies_outside(people, size, self.threshold)
        count = int(outside.sum())
        if not count:
            return people
        first = not self.left_out
        self.left_out += count
        if first:
            warnings.warn(
                f"{self.source}: keypoints must be in pixels of their own image; of the people in "
                f"{path} at most one joint lies inside its {size[0]} x {size[1]} (rows x columns), "
                "so they are left out, and so are others like them: shift coordinates of a whole "
                "frame by the corner of the crop, scale those of another size",
                InputWarning,
                stacklevel=level_outside(),
            )
        return people[~outside]

    def _file(self) -> dict[str, list[_Entry]]:
        """Entries of a file of many images by their name without folders."""
        read = read_coco if self.format == "coco" else read_alphapose
        people: CocoKeypoints = read(self.source, names=self.names)
        self._check_pixels(self.source, people.keypoints)
        self._layout = people.keypoints.names
        rows: dict[tuple[str, ...], list[int]] = {}
        for row, image in enumerate(people.images):
            parts = PurePosixPath(image.replace("\\", "/")).parts
            while parts[:1] == ("..",):  # relative to a folder that is not known here
                parts = parts[1:]
            rows.setdefault(parts, []).append(row)
        found: dict[str, list[_Entry]] = {}
        for parts, each in rows.items():
            if parts:
                entry = (parts, people.keypoints[torch.tensor(each)])
                found.setdefault(parts[-1], []).append(entry)
        return found

    def _folder(self) -> dict[str, list[_Entry]]:
        ending = _ENDINGS[self.format].rpartition("}")[2]
        if not self.source.is_dir():
            raise ValueError(f"source must be a folder for format {self.format}; got {self.source}")
        found: dict[str, list[_Entry]] = {}
        for path in sorted(self.source.rglob(f"*{ending}")):
            found.setdefault(path.name, []).append((path.relative_to(self.source).parts, path))
        if not found:
            raise ValueError(f"{self.source} has no file *{ending}, as format {self.format} has")
        return found

    def _read(self, path: Path) -> Keypoints:
        read: Any = {
            "sep-json": read_sep_json,
            "openpose": read_openpose,
            "kpr": read_kpr,
            "mmpose": lambda each, names: read_mmpose(each, names=names).keypoints,
        }[self.format]
        people: Keypoints = read(path, names=self.names)
        self._check_pixels(path, people)
        return people

    def _check_pixels(self, path: Path, people: Keypoints) -> None:
        if are_fractions(people, self.threshold):
            raise ValueError(
                f"{path}: keypoints must be in pixels; all joints lie in [-1, 1], as fractions of "
                "the image do: multiply x by its width and y by its height"
            )

    def _known_layout(self) -> tuple[str, ...]:
        """Layout of the people in the first file, for images without one."""
        if self._layout is None:
            _, path = next(iter(self._entries.values()))[0]
            assert isinstance(path, Path)
            self._layout = self._read(path).names
        return self._layout


def _fitting(path: Path, entries: Sequence[_Entry]) -> Iterator[_Entry]:
    """Entries with folders equal to those of an image, the longest match first."""
    own = path.absolute().parts[:-1]
    for entry in sorted(entries, key=lambda each: -len(each[0])):
        folders = entry[0][:-1]
        if not folders or own[-len(folders) :] == folders:
            yield entry
        elif _is_moved(entry[0]) and own[-1:] == folders[-1:]:
            yield entry


def _is_moved(parts: tuple[str, ...]) -> bool:
    """True when an entry is the absolute path of a file that is not there (any more)."""
    absolute = parts[0] == "/" or parts[0].endswith(":")
    return absolute and not Path(*parts).exists()


def _same_content(first: Path, second: Path) -> bool:
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False


def _no_people(names: tuple[str, ...]) -> Keypoints:
    return Keypoints.stack([Keypoints.none(names)])[:0]
