"""Layouts of image trees: identity and camera from the parts of a path."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ..files.inputs import counted, named
from .numbering import normal

__all__ = ["LAYOUTS", "MARKET_NAME", "Layout", "Parts", "Reading", "read_as"]

Parts: TypeAlias = tuple[str, ...]
"""Path, from the first folder to the file name."""

#: Layout of a folder of images, see `og_reid.data.datasets.from_folder`.
Layout = Literal["people", "cameras", "people-cameras", "folders", "names", "splits", "table"]
#: All values of `Layout`.
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

#: Image names as in Market-1501 and DukeMTMC-reID: identity, camera, anything.
MARKET_NAME = re.compile(r"(?P<pid>-1|\d{1,9})_c(?P<camid>\d{1,9})(?:[^\d].*)?\.[a-z0-9]+", re.I)
_PREFIX = re.compile(r"[^_\-. ]+")
#: Folders of identity and camera, such as anna_cam1.
_JOINED = re.compile(
    r"(?P<person>.*[^ _.-])[ _.-]+(?P<camera>(?:cam|camera|kamera|kam|camid|cctv|webcam|view)"
    r"(?:[ _.-]?[0-9]{1,5}[a-z]?|[ _.-][a-z])|c[ _.-]?[0-9]{1,3})",
    re.IGNORECASE,
)

_SHAPES = {
    "people": "<identity>/.../<image>",
    "cameras": "<camera>/<identity>/.../<image>",
    "people-cameras": "<identity>/<camera>/.../<image>",
    "folders": "each folder with images is one identity",
    "names": "<identity>_c<camera>_....jpg",
}


@dataclass(frozen=True)
class Reading:
    """Identity and camera of each image.

    Attributes:
        layout: Name of the layout.
        paths: Paths of the images.
        labels: Names of identity and camera (None: unknown) of each image.
        hint: Rule from file names to identities; empty where identities are folders.
    """

    layout: str
    paths: tuple[Parts, ...]
    labels: tuple[tuple[str, str | None], ...]
    hint: str = ""

    def __str__(self) -> str:
        """The reading with its counts, for messages."""
        identities = sorted({identity for identity, _ in self.labels})
        cameras = sorted({camera for _, camera in self.labels if camera is not None})
        number = counted(len(identities), "identity", "identities")
        text = f"{self.layout} ({self.shape}): {number} ({named(identities)})"
        if cameras:
            text += f" in {counted(len(cameras), 'camera')} ({named(cameras)})"
        return f"{text}, {counted(len(self.paths), 'image')}"

    @property
    def shape(self) -> str:
        """Pattern of the paths."""
        return self.hint or _SHAPES[self.layout]


def read_as(layout: str, paths: Sequence[Parts]) -> Reading | str:
    """Reading of paths by a layout, or the reason (text) why they do not fit.

    Args:
        layout: One of `LAYOUTS` but ``splits`` and ``table``.
        paths: At least one.
    """
    if layout == "people-cameras" and (joined := _joined(paths)) is not None:
        return joined
    fewest = {"people": 2, "cameras": 2, "people-cameras": 3, "folders": 2, "names": 1}[layout]
    short = [path for path in paths if len(path) < fewest]
    if short:
        return (
            f"layout {layout} ({_SHAPES[layout]}) needs images {fewest - 1} or more folders deep; "
            f"{len(short):,} of {len(paths):,} are not: {named(['/'.join(each) for each in short])}"
        )
    if layout == "names":
        wrong = [path for path in paths if not MARKET_NAME.fullmatch(path[-1])]
        if wrong:
            return (
                f"layout names needs images called {_SHAPES['names']}, such as 0001_c1_0.jpg; "
                f"{len(wrong):,} of {len(paths):,} are not: "
                f"{named(['/'.join(each) for each in wrong])}"
            )
        return Reading(layout, tuple(paths), tuple(_of_name(path[-1]) for path in paths))
    if layout == "cameras":
        return _by_cameras(tuple(paths))
    rules: dict[str, Callable[[Parts], tuple[str, str | None]]] = {
        "people": lambda path: (normal(path[0]), None),
        "people-cameras": lambda path: (normal(path[0]), normal(path[1])),
        "folders": lambda path: (normal("/".join(path[:-1])), None),
    }
    return Reading(layout, tuple(paths), tuple(rules[layout](path) for path in paths))


def _joined(paths: Sequence[Parts]) -> Reading | None:
    """Folders named by identity and camera; None when they are not, or no identity recurs."""
    if any(len(path) < 2 for path in paths) or all(len(path) > 2 for path in paths):
        return None
    found = {top: _JOINED.fullmatch(top) for top in {path[0] for path in paths}}
    names = {
        top: (normal(match["person"]), normal(match["camera"]))
        for top, match in found.items()
        if match is not None
    }
    if len(names) < len(found) or len({person for person, _ in names.values()}) == len(names):
        return None
    labels = tuple(names[path[0]] for path in paths)
    return Reading("people-cameras", tuple(paths), labels, "<identity>_<camera>/.../<image>")


def _of_name(name: str) -> tuple[str, str]:
    match = MARKET_NAME.fullmatch(name)
    assert match is not None
    return str(int(match["pid"])), str(int(match["camid"]))


def _by_cameras(paths: tuple[Parts, ...]) -> Reading | str:
    flat = [path for path in paths if len(path) == 2]
    if not flat:
        labels = tuple((normal(path[1]), normal(path[0])) for path in paths)
        return Reading("cameras", paths, labels)
    if len(flat) < len(paths):
        return (
            f"layout cameras ({_SHAPES['cameras']}) needs a folder for each identity; "
            f"{len(flat):,} of {len(paths):,} images lie in none: "
            f"{named(['/'.join(each) for each in flat])}"
        )
    rule = _identity_rule(paths)
    if rule is None:
        return (
            "layout cameras needs a folder for each identity in those of the cameras, or names of "
            f"files that hold it, such as anna_1.jpg; found {named(['/'.join(e) for e in flat])}"
        )
    identity, source = rule
    labels = tuple((normal(identity(path[1])), normal(path[0])) for path in paths)
    return Reading("cameras", paths, labels, f"<camera>/<image>, identities by {source}")


def _identity_rule(paths: Sequence[Parts]) -> tuple[Callable[[str], str], str] | None:
    """Rule for the identity in file names: the part shared by several cameras' folders."""
    if all(MARKET_NAME.fullmatch(path[-1]) for path in paths):
        return lambda name: _of_name(name)[0], "names as in Market-1501"

    def stem(name: str) -> str:
        return os.path.splitext(name)[0]

    def prefix(name: str) -> str:
        match = _PREFIX.match(stem(name))
        return match[0] if match else stem(name)

    for rule, source in ((stem, "the whole name"), (prefix, "the beginning of the name")):
        cameras: dict[str, set[str]] = defaultdict(set)
        for path in paths:
            cameras[rule(path[-1])].add(path[0])
        if sum(len(each) > 1 for each in cameras.values()) * 2 > len(cameras):
            return rule, source
    return None
