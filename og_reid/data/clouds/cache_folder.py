"""Cache folder of lifted clouds and poses: its content, removal of images, clearing.

The folder holds lifted clouds (`og_reid.data.clouds.cache`), estimated poses (`pose.CachedPose` in
``poses``), and perhaps unused clouds of earlier versions, 32 images to a file. Other files are
never touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pose import read_image
from pose.estimators.cache import pixel_key
from pose.files.atomic_write import PARTIAL

from .cache import ABOUT, CLOUDS, LIFT_VERSION, hash_file
from .cloud_set import CloudSet

__all__ = ["POSES", "CacheGroup", "Forgotten", "cache_groups", "clear_cache", "forget_images"]

#: Folder of estimated poses in a cache folder.
POSES = "poses"
_SETTINGS = re.compile(r"[0-9a-f]{16}")
_SHARD = re.compile(r"[0-9a-f]{2}")
_KEY = re.compile(r"[0-9a-f]{40}")
_OLD = re.compile(r"[0-9a-f]{24}\.safetensors")
_KINDS = {CLOUDS: (".safetensors", ABOUT), POSES: (".npz", "estimator.json")}


@dataclass(frozen=True)
class CacheGroup:
    """Entries of a cache with the same settings.

    Attributes:
        kind: ``clouds``, ``poses``, or ``old clouds`` (of earlier versions, not used any more).
        folder: Folder of the entries.
        settings: Settings as JSON on one line; empty when unknown.
        entries: Files, one per image; of ``old clouds`` up to 32 images each.
        rest: Further files: the description, and unfinished files of killed runs.
        bytes: Size of all files.
        used: True when this version of the package reads them.
    """

    kind: str
    folder: Path
    settings: str
    entries: tuple[Path, ...]
    rest: tuple[Path, ...]
    bytes: int
    used: bool


@dataclass(frozen=True)
class Forgotten:
    """Removed entries of an image.

    Attributes:
        image: Image, as given.
        clouds: Number of lifted clouds.
        poses: Number of estimated poses.
        old: Number of files of earlier versions that held an image of this name.
    """

    image: str
    clouds: int
    poses: int
    old: int


def cache_groups(root: str | Path) -> tuple[CacheGroup, ...]:
    """Content of a cache folder by kind and settings; empty without a folder.

    Raises:
        ValueError: ``root`` is a file.
    """
    root = Path(root)
    if root.exists() and not root.is_dir():
        raise ValueError(f"the cache must be a folder; {root} is a file")
    groups = []
    for kind, (ending, about) in _KINDS.items():
        for folder in _matching(root / kind, _SETTINGS):
            entries, rest = [], [path for path in (folder / about,) if path.is_file()]
            rest += _matching(folder, PARTIAL)
            for shard in _matching(folder, _SHARD):
                entries += [
                    path
                    for path in _matching(shard, re.compile(_KEY.pattern + re.escape(ending)))
                    if path.stem.startswith(shard.name)
                ]
                rest += _matching(shard, PARTIAL)
            if entries or rest:
                text = _settings(folder / about)
                groups.append(_group(kind, folder, text, entries, rest))
    old = [path for path in _matching(root, _OLD) if path.is_file()]
    if old:
        groups.append(_group("old clouds", root, "", old, []))
    return tuple(groups)


def forget_images(root: str | Path, images: Sequence[str | Path]) -> list[Forgotten]:
    """Removes the entries of images from a cache.

    Args:
        root: Cache folder.
        images: Image files, identified by their content; or for deleted images the 40 digits of
            their entries. A file of earlier versions is removed whole when it holds an image of the
            same file name.

    Raises:
        ValueError: An image is neither; nothing is removed then.
        OSError: An entry cannot be removed.
    """
    keys = [_keys(str(image)) for image in images]
    groups = cache_groups(root)
    held = {
        path: _names(path)
        for group in groups
        if group.kind == "old clouds"
        for path in group.entries
    }
    done = []
    for image, (cloud, pixels) in zip(images, keys, strict=True):
        count = {CLOUDS: 0, POSES: 0}
        for group in groups:
            if group.kind in count:
                ending = _KINDS[group.kind][0]
                for key in {cloud, pixels if group.kind == POSES else cloud}:
                    path = group.folder / key[:2] / f"{key}{ending}"
                    count[group.kind] += _remove(path)
        old = [path for path, names in held.items() if Path(image).name in names]
        done.append(
            Forgotten(str(image), count[CLOUDS], count[POSES], sum(_remove(path) for path in old))
        )
    return done


def clear_cache(root: str | Path, *, old: bool = False) -> tuple[CacheGroup, ...]:
    """Removes the content of a cache, and its emptied folders.

    Args:
        root: Cache folder. Files of other kinds stay.
        old: Remove only the clouds of other versions.

    Returns:
        The removed groups.

    Raises:
        OSError: An entry cannot be removed.
    """
    groups = tuple(group for group in cache_groups(root) if not (old and group.used))
    for group in groups:
        for path in (*group.entries, *group.rest):
            _remove(path)
        if group.kind in _KINDS:
            for folder in (*_matching(group.folder, _SHARD), group.folder, group.folder.parent):
                with suppress(OSError):  # another run keeps something there
                    folder.rmdir()
    return groups


def _matching(folder: Path, names: re.Pattern[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if names.fullmatch(path.name))


def _group(
    kind: str, folder: Path, settings: str, entries: Sequence[Path], rest: Sequence[Path]
) -> CacheGroup:
    total = sum(_sizes((*entries, *rest)))
    used = kind == POSES or (kind == CLOUDS and _lift_version(settings) in ("", LIFT_VERSION))
    return CacheGroup(kind, folder, settings, tuple(entries), tuple(rest), total, used)


def _lift_version(settings: str) -> str:
    """Version of the lift; empty when unknown."""
    try:
        return str(json.loads(settings)["lift"])
    except (ValueError, KeyError, TypeError):
        return ""


def _sizes(paths: Sequence[Path]) -> Iterator[int]:
    for path in paths:
        with suppress(FileNotFoundError):  # removed meanwhile
            yield path.stat().st_size


def _settings(path: Path) -> str:
    try:
        return json.dumps(json.loads(path.read_bytes()), ensure_ascii=False)
    except (OSError, ValueError, RecursionError):
        return ""


def _keys(image: str) -> tuple[str, str]:
    """Names of the entries of an image: that of its cloud, and that of its poses."""
    if not Path(image).exists():
        if _KEY.fullmatch(image):
            return image, image
        raise ValueError(
            f"there is no {image}: give an image file, or the 40 digits of an entry (of an image "
            "that is gone, see og-reid cache list --entries)"
        )
    key = hash_file(image)
    try:
        return key, pixel_key(read_image(image))
    except (ValueError, OSError):
        return key, key  # no image: there is no pose of it


def _names(path: Path) -> frozenset[str]:
    try:
        return frozenset(CloudSet.load(path).names)
    except (ValueError, OSError):
        return frozenset()


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
