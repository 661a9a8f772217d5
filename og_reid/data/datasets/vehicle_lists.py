"""Lists of images of VehicleID and VERI-Wild."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from .schema import DatasetSample, VehicleList, WildList

__all__ = ["list_vehicles", "list_wild"]

_NUMBER = re.compile(r"[0-9]{1,9}")
_WILD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_INFO = 6  # fields of a line of vehicle_info.txt
_MOST_BYTES = 256_000_000


def list_vehicles(source: VehicleList, root: Path) -> Iterator[DatasetSample]:
    """Images of a list of lines ``<image> <vehicle>``; of a test list one side of the draw.

    Raises:
        ValueError: a line does not parse, or an image is listed twice.
    """
    path = root / source.path
    listed: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not all(map(_NUMBER.fullmatch, words)):
            raise ValueError(
                f"{path}, line {number}: must be '<image> <vehicle>', two numbers; "
                f"got {line[:80]!r}"
            )
        if words[0] in listed:
            raise ValueError(f"{path}, line {number}: image {words[0]} is listed twice")
        listed[words[0]] = int(words[1])
    kept = set(listed)
    if source.side != "all":
        drawn = _one_of_each(listed)
        kept = drawn if source.side == "gallery" else kept - drawn
    camid = 1 if source.side == "gallery" else 0
    for image, vehicle in listed.items():
        if image in kept:
            yield DatasetSample(root / source.folder / f"{int(image):07}.jpg", vehicle, camid)


def _one_of_each(listed: dict[str, int]) -> set[str]:
    """A random image of each vehicle, from a fixed seed."""
    draw = random.Random(0)
    images: dict[int, list[str]] = {}
    for image, vehicle in listed.items():
        images.setdefault(vehicle, []).append(image)
    return {draw.choice(sorted(each)) for _, each in sorted(images.items())}


def list_wild(source: WildList, root: Path) -> Iterator[DatasetSample]:
    """Images of a list of lines ``<vehicle>/<image>``, with the cameras of the table.

    Numbers of images occur in several folders of vehicles, so that both together are the key.

    Raises:
        ValueError: a line does not parse, or an image has no camera in the table.
    """
    path, table = root / source.path, root / source.info
    cameras = _cameras(table)
    for number, line in enumerate(_lines(path), 1):
        name = line.strip().removesuffix(".jpg")
        if not name:
            continue
        match = _WILD.fullmatch(name)
        if match is None:
            raise ValueError(
                f"{path}, line {number}: must be '<vehicle>/<image>', two numbers; "
                f"got {line[:80]!r}"
            )
        if name not in cameras:
            raise ValueError(f"{path}, line {number}: {name} is not in {table.name}")
        yield DatasetSample(root / source.folder / f"{name}.jpg", int(match[1]), cameras[name])


def _cameras(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        fields = [each.strip() for each in line.split(";")]
        if number == 1 or not line.strip():
            continue  # the header
        if (
            len(fields) < _INFO
            or not _WILD.fullmatch(fields[0])
            or not _NUMBER.fullmatch(fields[1])
        ):
            raise ValueError(
                f"{path}, line {number}: must be '<vehicle>/<image>;<camera>;<time>;<model>;"
                f"<type>;<colour>'; got {line[:80]!r}"
            )
        if found.setdefault(fields[0], int(fields[1])) != int(fields[1]):
            raise ValueError(f"{path}, line {number}: {fields[0]} has two cameras")
    return found


def _lines(path: Path) -> list[str]:
    from pose.files.reading import reading

    with reading(path, "must be a text file in UTF-8"):
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"must have at most {_MOST_BYTES // 1_000_000} MB")
        return path.read_text("utf-8").splitlines()
