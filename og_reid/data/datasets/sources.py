"""Readers of the sources of a specification: folders, lists, tracklets, protocols, labels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..sample import Sample
from .market import IMAGE_ENDINGS
from .mat_file import read_mat
from .posetrack import list_posetrack
from .schema import (
    AnyOf,
    Clouds,
    DatasetSample,
    Folder,
    LabelFile,
    ListFile,
    MatlabProtocol,
    PoseTrack,
    Source,
    TrackletFile,
    VehicleList,
    WildList,
)
from .vehicle_lists import list_vehicles, list_wild

__all__ = ["is_there", "list_source", "walk"]

_MARS_NAME = re.compile(r"(\d{4}|00-1)C[1-6]T\d{4}F\d{3}\.jpg")
_ITEM = re.compile(r"<Item\b([^>]*)>")
_ATTRIBUTE = re.compile(r'(\w+)\s*=\s*"([^"]*)"')
_COUNT = re.compile(r"[0-9]{1,9}")  # int() also accepts other digits, and any number of them
#: Lists of the published data sets are far below it.
_MAX_BYTES = 256_000_000
_CUHK03_NAME = re.compile(r"[1-5]_\d{3}_([12])_\d{2}\.png")


def is_there(source: Source, root: Path) -> bool:
    """True when all paths that a source needs exist in a folder."""
    if isinstance(source, AnyOf):
        return any(is_there(option, root) for option in source.options)
    return all((root / path).exists() for path in source.needs)


def list_source(source: Source, root: Path) -> tuple[Sample, ...]:
    """Images of a source, in the order of their paths (lists: of their lines).

    Raises:
        ValueError: no image, a name that does not parse, a missing listed file, or a malformed
            list.
    """
    match source:
        case AnyOf():
            option = next(each for each in source.options if is_there(each, root))
            return list_source(option, root)
        case Folder():
            return tuple(_folder(source, root / source.path))
        case Clouds():
            from ..clouds.market3d_tree import load_market3d

            return load_market3d(root, [source.path])[source.path]
        case ListFile():
            return _existing(_list_file(source, root), root / source.path)
        case TrackletFile():
            return _existing(_tracks(source, root), root / source.names)
        case MatlabProtocol():
            return _existing(_matlab(source, root), root / source.path)
        case PoseTrack():
            return _existing(list_posetrack(source, root), root / source.sampling)
        case VehicleList():
            return _existing(list_vehicles(source, root), root / source.path)
        case WildList():
            return _existing(list_wild(source, root), root / source.path)
        case LabelFile():
            return _existing(_labels(source, root), root / source.path)


def walk(folder: Path, depth: int) -> list[str]:
    """Paths of the images ``depth`` levels below a folder, with ``/``, sorted.

    Hidden files and folders, ``__MACOSX`` and files that are no images are skipped.
    """
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    entries = [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
    if depth == 0:
        return [
            entry.name
            for entry in entries
            if os.path.splitext(entry.name)[1].lower() in IMAGE_ENDINGS and entry.is_file()
        ]
    return [
        f"{entry.name}/{path}"
        for entry in entries
        if entry.is_dir()
        for path in walk(Path(entry.path), depth - 1)
    ]


def _folder(source: Folder, folder: Path) -> Iterator[DatasetSample]:
    paths = walk(folder, source.depth)
    if not paths:
        inside = sorted(child.name for child in folder.iterdir())[:3]
        raise ValueError(
            f"{folder} holds no image{' in its folders' if source.depth else ''}; it holds "
            f"{inside or 'nothing'}: was the archive unpacked whole, and only once?"
        )
    pattern = re.compile(source.name)
    matches = [(path, pattern.fullmatch(path)) for path in paths]
    wrong = [path for path, match in matches if match is None]
    if wrong:
        raise ValueError(
            f"{folder}: {len(wrong):,} of {len(paths):,} images are not called {source.name}: is "
            f"it the folder of another data set? First: {wrong[:3]}"
        )
    stems = sorted((os.path.splitext(path)[0], path) for path in paths)
    for (stem, first), (following, second) in pairwise(stems):
        if stem == following:
            raise ValueError(f"{folder}: {first} and {second} are one image: keep one of them")
    for path, match in matches:
        assert match is not None
        groups = match.groupdict()
        camera = int(groups["camid"]) if groups.get("camid") else None
        camid = camera if source.camid is None else source.camid
        assert camid is not None, "a source without cameras names one"
        yield DatasetSample(
            folder / path,
            int((groups.get("pair") or "") + groups["pid"]) + source.offset,
            camid,
            groups.get("tracklet") or "",
            None if camera == camid else camera,
        )


def _list_file(source: ListFile, root: Path) -> Iterator[DatasetSample]:
    path = root / source.path
    pattern = re.compile(source.name)
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        match = pattern.fullmatch(words[0]) if len(words) == 2 else None
        if match is None or not _COUNT.fullmatch(words[1]):
            raise ValueError(
                f"{path}, line {number}: must be '<image> <identity>' with an image called "
                f"{source.name}; got {line[:80]!r}"
            )
        yield DatasetSample(
            root / source.folder / words[0], int(words[1]) + source.offset, int(match["camid"])
        )


def _tracks(source: TrackletFile, root: Path) -> Iterator[DatasetSample]:
    names = _text(root / source.names).split()
    tracks = _whole_numbers(source.tracks, root)
    if tracks.ndim != 2 or tracks.shape[1] != 4:
        raise ValueError(
            f"{root / source.tracks}: must be (tracklets, 4) numbers; got {tracks.shape}"
        )
    chosen = np.ones(len(tracks), bool)
    if source.query:
        rows = _whole_numbers(source.query, root).reshape(-1) - 1
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(tracks):
            raise ValueError(
                f"{root / source.query}: must be in 1..{len(tracks)}; got {rows.min() + 1}.."
                f"{rows.max() + 1}: is it of another set of tracklets?"
            )
        chosen[:] = not source.queries
        chosen[rows] = source.queries
    for number in np.flatnonzero(chosen):
        first, last, pid, camid = map(int, tracks[number])
        if not 1 <= first <= last <= len(names):
            raise ValueError(
                f"{root / source.tracks}, row {number + 1}: images {first}..{last} must be in "
                f"1..{len(names)}, the lines of {source.names}"
            )
        for name in names[first - 1 : last]:
            match = _MARS_NAME.fullmatch(name)
            if match is None or int(match[1].lstrip("0") or "0") != pid:
                raise ValueError(
                    f"{root / source.tracks}, row {number + 1}: identity {pid}, but its image is "
                    f"called {name}: the tracklets and {source.names} do not belong together"
                )
            yield DatasetSample(
                root / source.folder / match[1] / name, pid, camid, f"{number + 1:05}"
            )


def _matlab(source: MatlabProtocol, root: Path) -> Iterator[DatasetSample]:
    path = root / source.path
    table = _load_mat(path)
    try:
        files = table["filelist"].reshape(-1)
        labels = _whole(f"{path}: labels", table["labels"]).reshape(-1)
        rows = _whole(f"{path}: {source.index}", table[source.index]).reshape(-1) - 1
        for row in rows:
            name = str(files[row][0])
            match = _CUHK03_NAME.fullmatch(name)
            if row < 0 or match is None:
                raise ValueError(f"{path}: entry {row + 1} must name an image; got {name[:80]!r}")
            yield DatasetSample(root / source.folder / name, int(labels[row]), int(match[1]))
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is not the protocol of CUHK03-NP: {error}") from error


def _labels(source: LabelFile, root: Path) -> Iterator[DatasetSample]:
    path = root / source.path
    # Not parsed as XML: the files call themselves gb2312, which expat lacks.
    for number, item in enumerate(_ITEM.finditer(_text(path, "latin-1")), 1):
        found = dict(_ATTRIBUTE.findall(item[1]))
        name, camera = found.get("imageName", ""), found.get("cameraID", "").lstrip("c")
        if not re.fullmatch(r"[\w-]+\.(jpg|png)", name):
            raise ValueError(f"{path}, item {number}: imageName must be a file; got {name!r}")
        if "vehicleID" not in found:
            return  # not published for test images
        if not (_COUNT.fullmatch(camera) and _COUNT.fullmatch(found["vehicleID"])):
            raise ValueError(
                f"{path}, item {number}: cameraID and vehicleID must be numbers; got "
                f"{found.get('cameraID')!r} and {found['vehicleID']!r}"
            )
        yield DatasetSample(root / source.folder / name, int(found["vehicleID"]), int(camera))


def _existing(samples: Iterator[DatasetSample], source: Path) -> tuple[DatasetSample, ...]:
    """Samples, checked for missing and repeated files."""
    listed = tuple(samples)
    names: dict[Path, set[str]] = {}
    for folder in {sample.path.parent for sample in listed}:
        names[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
    missing = [each for each in listed if each.name not in names[each.path.parent]]
    if missing:
        raise ValueError(
            f"{source}: {len(missing):,} of the {len(listed):,} images that it lists are not "
            f"there: was the archive unpacked whole? First: {[str(e.path) for e in missing[:3]]}"
        )
    seen: set[Path] = set()
    for sample in listed:
        if sample.path in seen:
            raise ValueError(f"{source}: {sample.path} is listed twice")
        seen.add(sample.path)
    return listed


def _text(path: Path, encoding: str = "utf-8") -> str:
    with _reading(path, f"a text file in {encoding.upper()}"):
        return path.read_text(encoding=encoding)


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Converts the errors of a parser to ``ValueError`` with file and expected content."""
    from pose.files.reading import reading

    with reading(path):
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ValueError(f"must have at most {_MAX_BYTES // 1_000_000} MB; got {size:,} bytes")
        try:
            yield
        except (ImportError, OSError):
            raise
        except Exception as error:
            raise ValueError(f"{path} must be {what}: {error}") from error


def _whole_numbers(where: str, root: Path) -> np.ndarray:
    """int64 array of a ``.mat`` file, given as ``<path>:<variable>``."""
    path, name = where.split(":")
    table = _load_mat(root / path)
    if name not in table:
        raise ValueError(f"{root / path}: must hold {name}; it holds {sorted(table)}")
    return _whole(f"{root / path}: {name}", table[name])


def _whole(name: str, values: Any) -> np.ndarray:
    found = np.asarray(values)
    # A conversion gives any number for NaN, and another one for fractions.
    sound = found.dtype.kind in "biuf" and bool(
        ((found == np.rint(found)) & (found > -(2**62)) & (found < 2**62)).all()
    )
    if not sound:
        raise ValueError(f"{name} must hold whole numbers")
    return found.astype(np.int64)


def _load_mat(path: Path) -> dict[str, Any]:
    with _reading(path, "a Matlab file before version 7.3"):
        data = path.read_bytes()
        if 0 not in data[:4]:
            return read_mat(data, _MAX_BYTES)
        from scipy.io import loadmat  # for version 4, with a reader in Python

        return {name: each for name, each in loadmat(path).items() if name[:2] != "__"}
