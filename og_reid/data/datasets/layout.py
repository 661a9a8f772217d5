"""Detection of the layout of a custom image folder."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..files.inputs import counted, named
from .readings import MARKET_NAME, Parts, Reading, read_as

__all__ = ["Sides", "decide", "find_sides"]

_CAMERA = re.compile(
    r"(?:cam|camera|kamera|kam|camid|cctv|webcam|view)"
    r"(?:[ _.-]+\w{1,12}|[0-9]{1,5}[a-z]?|[a-z])",
    re.IGNORECASE,
)
_SHORT_CAMERA = re.compile(r"c[ _.-]?[0-9]{1,3}", re.IGNORECASE)
#: From this many on, folders c1, c2, ... are identities rather than cameras.
_MANY_CAMERAS = 16
#: Folders inside those of identities that are no identities.
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-_.]?[01][0-9](?:[-_.]?[0-3][0-9])?(?:[-_.T ].*)?")
_SESSION = re.compile(
    r"(?:day|date|session|seq|sequence|track|tracklet|take|shot|clip|video|visit|walk|scene|run|"
    r"set|part|img|image|images|photo|photos|pic|pics|pictures|crop|crops|frames?|tag|"
    r"serie|series)[ _.-]*[0-9]{0,6}|(?:19|20)[0-9]{2}(?:[-_.]?[0-9]{2}){0,2}|"
    r"front|back|left|right|side|morning|noon|evening|night|day|indoors?|outdoors?|"
    r"(?:un)?occluded|summer|winter|spring|autumn",
    re.IGNORECASE,
)
_SIDES = {
    "bounding_box_train": "train", "train": "train", "training": "train",
    "query": "query", "queries": "query", "probe": "query", "probes": "query",
    "bounding_box_test": "gallery", "gallery": "gallery", "galleries": "gallery",
    "test": "test", "testing": "test",
}  # fmt: skip
_VALIDATION = frozenset({"val", "valid", "validation", "dev"})


@dataclass(frozen=True)
class Sides:
    """Folders that are splits.

    Attributes:
        folders: Split (``train``, ``query``, ``gallery`` or ``test``) by folder.
        others: Other folders beside them.
    """

    folders: Mapping[str, str]
    others: tuple[str, ...]


def find_sides(tops: Sequence[str]) -> Sides | None:
    """Splits among the folders of a data set; None without them.

    Of two folders for one split, Market-1501's own name takes precedence.
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in sorted(tops, key=lambda top: list(_SIDES).index(top.casefold())
                       if top.casefold() in _SIDES else len(_SIDES)):  # fmt: skip
        split = _SIDES.get(name.casefold())
        if split is not None and split not in taken:
            taken[split], found[name] = name, split
    if "gallery" in taken and "query" in taken and "test" in taken:
        del found[taken["test"]]
    if "query" in taken and "gallery" not in taken and "test" in taken:
        found[taken["test"]] = "gallery"
    others = tuple(sorted(set(tops) - set(found)))
    searched = "query" in taken and ("gallery" in taken or "test" in taken)
    parted = {"train", "test"} <= set(taken) and not others
    return Sides(found, others) if searched or parted else None


def decide(paths: Sequence[Parts], where: str) -> tuple[Reading, list[str]]:
    """Reading of a tree of images, and notes about it.

    Args:
        paths: Paths of at least one image; all or none of them in a folder.
        where: The folder, for messages.

    Raises:
        ValueError: No reading fits, or several do: the message lists them and the option that
            selects one.
    """
    if all(len(path) == 1 for path in paths):
        reading = _flat(paths, where)
        return reading, [_found_out(reading)]
    tops = _children(paths, 0)
    splits = [top for top in tops if top.casefold() in _VALIDATION | set(_SIDES)]
    if splits and len(tops) > 1:
        raise ValueError(
            f"{where} holds {named([repr(top) for top in splits])}, as if its folders were splits, "
            f"but not query and gallery, nor train and test alone; it holds {named(sorted(tops))}: "
            f"rename the folders, or choose a layout, such as {read_as('people', paths)}, by "
            "layout='people' (--layout people on the command line)"
        )
    flat = [path for path in paths if len(path) == 2]
    deeper = [path for path in paths if len(path) > 2]
    inner = {name for path in deeper for name in [path[1]]}
    cameras = all(_is_camera(top) for top in tops)
    if cameras and not (len(flat) == len(paths) and _rather_people(tops)):
        return _of_cameras(paths, flat, deeper, where)
    if not deeper:
        joined = read_as("people-cameras", paths)
        if isinstance(joined, Reading):
            return joined, [_found_out(joined)]
        return _sure("people", paths), _perhaps_cameras(paths, tops)
    if not flat and all(map(_is_camera, inner)) and len(tops) > 1:
        # Dates and sites are few above many, identities many above few recordings.
        below = {path[2] for path in paths if len(path) > 3 and not _SESSION.fullmatch(path[2])}
        if all(map(_DATE.fullmatch, tops)) or len(below) > len(tops):
            raise ValueError(_asked(where, paths, ("people-cameras", "folders")))
        reading = _sure("people-cameras", paths)
        return reading, [_found_out(reading)]
    if all(map(_SESSION.fullmatch, inner)):
        return _sure("people", paths), [_deeper(deeper)]
    if len(tops) == 1 and not flat and len(inner) > 1:
        (top,) = tops
        reading, notes = decide([path[1:] for path in paths], f"{where}/{top}")
        whole = Reading(reading.layout, tuple(paths), reading.labels, reading.hint)
        return whole, [f"all images lie in {top}: read from there", *notes]
    if not flat and _shared(deeper):
        ways = ("people", "cameras", "people-cameras", "folders")
        raise ValueError(_asked(where, paths, ways))
    groups = {top for top in tops if len(tops[top]) > 1} - {path[0] for path in flat}
    if groups:
        raise ValueError(_asked(where, paths, ("people", "folders")))
    return _sure("people", paths), [_deeper(deeper)]


def _flat(paths: Sequence[Parts], where: str) -> Reading:
    reading = read_as("names", paths)
    if isinstance(reading, Reading):
        return reading
    raise ValueError(
        f"{where} holds {counted(len(paths), 'image')} in one folder, of unknown identities: "
        "give each identity a folder (<identity>/<image>), put a CSV file with the columns path "
        "and pid beside them, or name all images <identity>_c<camera>_<anything>; first: "
        f"{named(['/'.join(path) for path in paths])}"
    )


def _of_cameras(
    paths: Sequence[Parts], flat: Sequence[Parts], deeper: Sequence[Parts], where: str
) -> tuple[Reading, list[str]]:
    inner = {path[1] for path in deeper}
    reading = read_as("cameras", paths)
    nested = bool(deeper) and not flat
    words = all(_CAMERA.fullmatch(path[0]) for path in paths)
    sure = nested and not any(map(_is_camera, inner)) and (words or _shared(deeper))
    named_so = not deeper and all(MARKET_NAME.fullmatch(path[-1]) for path in paths)
    if isinstance(reading, Reading) and (sure or named_so):
        return reading, [_found_out(reading)]
    other = ("people-cameras",) if nested and all(map(_is_camera, inner)) else ()
    raise ValueError(_asked(where, paths, ("people", "cameras", *other)))


def _asked(where: str, paths: Sequence[Parts], layouts: Sequence[str]) -> str:
    readings = [read_as(layout, paths) for layout in layouts]
    possible = [each for each in readings if isinstance(each, Reading)]
    refused = [each for each in readings if not isinstance(each, Reading)]
    shown = "; or as ".join(map(str, possible))
    choices = ", ".join(f"layout={each.layout!r}" for each in possible)
    text = (
        f"{where} can be read in several ways: as {shown}. Choose by {choices} (--layout "
        f"{possible[0].layout} on the command line), or list the images in a CSV file with the "
        "columns path, pid and camid (csv in place of folder)"
    )
    return text + "".join(f"; {each}" for each in refused)


def _perhaps_cameras(paths: Sequence[Parts], tops: Mapping[str, object]) -> list[str]:
    """Note about few folders with images of the same names, probably cameras."""
    names: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        names[path[0]].add(path[1])
    first, *others = names.values()
    if not others or len(tops) >= len(first) or any(each != first for each in others):
        return []
    return [
        f"{len(tops):,} folders hold images of the same {len(first):,} names: if the folders are "
        "cameras, and the names identities, give layout='cameras' (--layout cameras)"
    ]


def _sure(layout: str, paths: Sequence[Parts]) -> Reading:
    reading = read_as(layout, paths)
    assert isinstance(reading, Reading), reading
    return reading


def _found_out(reading: Reading) -> str:
    return f"read as {reading}; layout (--layout) changes that"


def _deeper(deeper: Sequence[Parts]) -> str:
    folders = sorted({"/".join(path[:-1]) for path in deeper})
    return (
        f"{counted(len(deeper), 'image')} in folders below those of the identities, counted for "
        f"these: {named(folders)}"
    )


def _is_camera(name: str) -> bool:
    return bool(_CAMERA.fullmatch(name) or _SHORT_CAMERA.fullmatch(name))


def _rather_people(tops: Mapping[str, object]) -> bool:
    return len(tops) > _MANY_CAMERAS and not any(_CAMERA.fullmatch(top) for top in tops)


def _children(paths: Sequence[Parts], level: int) -> dict[str, set[str]]:
    """Names of the folders of a level, and those inside each."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        if len(path) > level + 1:
            found[path[level]] |= {path[level + 1]} if len(path) > level + 2 else set()
    return dict(found)


def _shared(deeper: Sequence[Parts]) -> bool:
    """True when folders of one name lie in several others."""
    inside: dict[str, set[str]] = defaultdict(set)
    for path in deeper:
        inside[path[1]].add(path[0])
    return any(len(each) > 1 for each in inside.values())
