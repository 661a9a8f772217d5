"""Folder of a rendered world: its settings, and the images in it that are complete."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

__all__ = ["ATTRIBUTES", "claim", "image_attributes", "is_whole", "read_manifest"]

#: Fields of the comment of an image, in the order of ``attributes.csv``.
ATTRIBUTES = ("occluder", "visible_fraction", "yaw")
_MANIFEST = "world.json"
_MOST_BYTES = 1 << 16  # largest manifest; usual ones have some hundreds
_MOST_PIXELS = 1 << 20  # largest image; usual ones have some ten thousands
_PARTIAL = re.compile(r"\..*\.partial")  # left by a killed process


def claim(folder: Path, manifest: Mapping[str, Any], splits: Sequence[str]) -> None:
    """Makes the folder of a world, or accepts that of the same world.

    The manifest is written first: a folder without one holds nothing that took time to make.

    Args:
        folder: Folder of the world; new, empty, or of the same world.
        manifest: Parameters of the world.
        splits: Folders of its images.

    Raises:
        FileExistsError: The folder holds something else.
        ValueError: The manifest is damaged.
        OSError: The folder cannot be made or written to.
    """
    path = folder / _MANIFEST
    if path.exists():
        found = read_manifest(path)
        if found != manifest:
            names = sorted({*found, *manifest})
            other = "; ".join(
                f"{name} {found.get(name)!r}, not {manifest.get(name)!r}"
                for name in names
                if found.get(name) != manifest.get(name)
            )
            raise FileExistsError(
                f"root {folder} holds another world ({other[:500]}): choose another folder or the "
                "same parameters"
            )
    elif folder.exists() and not _is_unused(folder, splits):
        raise FileExistsError(
            f"root must be new or empty; {folder} is neither: choose another folder"
        )
    else:
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    for split in splits:
        (folder / split).mkdir(parents=True, exist_ok=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """Reads ``world.json``.

    Raises:
        ValueError: The file is damaged, or no object of plain values.
    """
    rule = "must be the manifest of a world; remove it with its folder, and make the world again"
    with reading(path, rule):
        if not path.is_file():
            raise ValueError("must be a file")
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"must be a manifest of at most {_MOST_BYTES} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not all(
            isinstance(value, int | float | str) for value in found.values()
        ):
            raise ValueError("must be an object of numbers, as og_reid writes it")
    return found


def is_whole(path: Path) -> bool:
    """True when an image of a world is complete."""
    try:
        image_attributes(path)
        # Pillow may have been set to pass images that are cut short.
        with path.open("rb") as stream:
            stream.seek(-2, 2)
            return stream.read() == b"\xff\xd9"
    except (ValueError, OSError):
        return False


def image_attributes(path: Path) -> dict[str, str]:
    """Attributes of an image of a world, from its comment.

    Returns:
        ``occluder``, ``visible_fraction`` in [0, 1] and ``yaw`` in radians, as texts.

    Raises:
        ValueError: The file is no complete image of a world.
        OSError: The file cannot be read.
    """
    from PIL import Image

    with reading(path, "must be a whole image of a world"):
        with Image.open(path, formats=("JPEG",)) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"must be small; got {image.width} x {image.height} pixels")
            image.load()
            found = json.loads(image.info["comment"])
        attributes = {name: found[name] for name in ATTRIBUTES}
        if not all(isinstance(value, str) for value in attributes.values()):
            raise ValueError("must have text as attributes")
        if not 0 <= float(attributes["visible_fraction"]) <= 1:
            raise ValueError("must have a visible_fraction in [0, 1]")
        if not math.isfinite(float(attributes["yaw"])):
            raise ValueError("must have a finite yaw")
    return attributes


def _is_unused(folder: Path, splits: Sequence[str]) -> bool:
    """True when a folder holds only leftovers of a process that was killed at its start."""
    for path in folder.iterdir():
        if path.name in splits and path.is_dir() and not any(path.iterdir()):
            continue
        if not (_PARTIAL.fullmatch(path.name) and path.is_file()):
            return False
    return True
