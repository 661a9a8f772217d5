"""Disk cache of lifted clouds: one entry per image, keyed by the hash of its bytes.

An entry lies at ``clouds/<settings>/<2 digits>/<40 digits>.safetensors`` of a cache folder:
``<settings>`` is a hash of everything that determines a lift besides the image (in readable form in
``about.json``), and the digits are the hash of the image file. Names, identities, cameras, places
and times of images are no part of it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pose.files.atomic_write import READ_ONLY, atomic_write
from pose.runtime.defaults import plain_torch

from .cloud_file import read_cloud_file, write_cloud_file
from .cloud_set import CloudSet

__all__ = ["ABOUT", "CLOUDS", "LIFT_VERSION", "CachedCloud", "CloudCache", "hash_file"]

#: Version of the lift; clouds of other versions are made again.
LIFT_VERSION = "5"
#: Folder of lifted clouds in a cache folder.
CLOUDS = "clouds"
#: File with the settings of a folder's entries.
ABOUT = "about.json"
_FIELDS = ("points", "colors", "part", "visible")


@dataclass(frozen=True, eq=False)
class CachedCloud:
    """A lifted image.

    Attributes:
        cloud: One cloud without a name, of identity -1 and camera 0.
        found: True when a person was found in the image.
        warnings: Doubts about the image or its lift, repeated at each use of the entry.
    """

    cloud: CloudSet
    found: bool
    warnings: tuple[str, ...] = ()


def hash_file(path: str | Path) -> str:
    """40 hexadecimal digits of the SHA-256 of a file's bytes.

    Raises:
        OSError: The file cannot be read.
        ValueError: The path is a folder, a pipe or a device.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} must be a file; it is a folder, a pipe or a device")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:40]


class CloudCache:
    """Lifted clouds of one setting.

    Several processes may use a folder: writes are atomic, and equal keys have equal content. A
    damaged entry counts as missing.

    Args:
        root: Cache folder; made with the first entry.
        settings: Plain values that determine a lift besides the image: versions and thresholds.

    Raises:
        ValueError: ``settings`` holds other than plain values.
        NotADirectoryError: ``root`` is a file.
    """

    def __init__(self, root: str | Path, settings: Mapping[str, Any]) -> None:
        try:
            text = json.dumps(dict(settings), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"settings must be plain values that JSON has: {error}") from error
        if Path(root).exists() and not Path(root).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "the cache must be a folder", str(root))
        self._settings = text
        self.folder = Path(root) / CLOUDS / hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def writable(self) -> bool:
        """True when permissions allow new entries."""
        place = self.folder.absolute()
        while not place.exists() and place != place.parent:
            place = place.parent
        return os.access(place, os.W_OK | os.X_OK)

    def path(self, key: str) -> Path:
        """Path of the entry of an image.

        Args:
            key: Result of `hash_file`.
        """
        return self.folder / key[:2] / f"{key}.safetensors"

    def has(self, key: str) -> bool:
        """True when an entry exists, sound or damaged."""
        return self.path(key).is_file()

    @plain_torch()
    def read(self, key: str) -> CachedCloud | None:
        """Entry of an image; None for a missing or damaged one.

        Raises:
            OSError: An existing entry cannot be read.
        """
        try:
            file = read_cloud_file(self.path(key), _FIELDS)
            if file.about.get("settings") != self._settings or file.about.get("image") != key:
                return None  # renamed, or copied from another folder
            count = len(file.tensors["points"])
            cloud = CloudSet(
                **file.tensors,
                ptr=torch.tensor([0, count], device="cpu"),
                pids=torch.tensor([-1], device="cpu"),
                camids=torch.tensor([0], device="cpu"),
                names=("",),
            )
            doubts = tuple(map(str, json.loads(file.about.get("warnings", "[]"))))
        except (ValueError, TypeError, FileNotFoundError):
            return None
        return CachedCloud(cloud, file.about.get("found") == "yes", doubts)

    @plain_torch()
    def write(self, key: str, entry: CachedCloud) -> bool:
        """Writes an entry.

        Returns:
            False for a read-only folder.

        Raises:
            OSError: The disk is full, or the like; with the path.
        """
        about = {"settings": self._settings, "image": key, "found": "yes" if entry.found else "no"}
        about["warnings"] = json.dumps(entry.warnings)
        tensors = {name: getattr(entry.cloud, name) for name in _FIELDS}
        try:
            for last in (False, True):
                try:
                    self._describe()
                    write_cloud_file(self.path(key), tensors, [], about)
                    break
                except FileNotFoundError:  # `og-reid cache clear` took the folder away
                    if last:
                        raise
        except OSError as error:
            if error.errno in READ_ONLY:
                return False
            if error.filename is None and error.errno is not None:
                raise type(error)(error.errno, error.strerror, str(self.path(key))) from error
            raise
        return True

    def _describe(self) -> None:
        if not (self.folder / ABOUT).is_file():
            with atomic_write(self.folder / ABOUT) as partial:
                partial.write_text(json.dumps(json.loads(self._settings), indent=1), "utf-8")
