"""Occluded-DukeMTMC (Miao et al., ICCV 2019), built from DukeMTMC-reID and the authors' lists.

Each list names the images of one folder. They come from the folder of that name in DukeMTMC-reID,
or else from its gallery, as some queries do. The lists are verified by their SHA-256; they are not
part of this package.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Protocol

from pose.files.atomic_write import atomic_write

from . import dataset_spec
from .person import DUKE_NAME
from .reader import find_root

__all__ = ["LISTS", "NameList", "Prepared", "prepare_occluded_duke"]

_NAME = re.compile(DUKE_NAME, re.IGNORECASE)
_GALLERY = "bounding_box_test"
_LARGEST = 32_000_000  # bytes of an image; the largest of DukeMTMC-reID have 60,000


@dataclass(frozen=True)
class NameList:
    """Expected content of one of the lists.

    Attributes:
        file: Name of the list.
        folder: Folder of the listed images.
        images: Number of names.
        sha256: SHA-256 of the sorted names, each followed by a line feed.
    """

    file: str
    folder: str
    images: int
    sha256: str


LISTS = (
    NameList(
        "train.list",
        "bounding_box_train",
        15_618,
        "dadffee79d8601545ca2217a38406c1cb6dab39d0b4b0c6370c8486738dee059",
    ),
    NameList(
        "query.list",
        "query",
        2_210,
        "fb5e1b1a749a0ab8602414bc9159e7a03216c2bdc519b5a4e513e05e3f612333",
    ),
    NameList(
        "gallery.list",
        _GALLERY,
        17_661,
        "0393fa86344ef4c220a5589aaad409f3adda1e14e39fc8425c80e90196065fca",
    ),
)
"""Published lists."""


@dataclass(frozen=True)
class Prepared:
    """Result of building a data set.

    Attributes:
        root: Folder of the data set.
        images: Number of images by folder.
        kept: Number of images that an earlier run had written.
    """

    root: Path
    images: dict[str, int]
    kept: int

    def __str__(self) -> str:
        counts = ", ".join(f"{folder} {count:,}" for folder, count in self.images.items())
        return f"{self.root}: {counts}; {self.kept:,} were there already"


def prepare_occluded_duke(
    duke: str | Path,
    lists: str | Path,
    out: str | Path,
    *,
    expected: Sequence[NameList] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Builds the folders of Occluded-Duke.

    They are renamed to ``out`` when complete. Until then they lie in a hidden folder beside it,
    from which the same call resumes a failed or interrupted run. Images of an unpacked
    DukeMTMC-reID are hard links where the disk allows it, and copies elsewhere.

    Args:
        duke: DukeMTMC-reID, as a .zip file or unpacked.
        lists: Folder with train.list, query.list and gallery.list; lines may end either way.
        out: Folder to build; missing, empty, or a finished Occluded-Duke.
        expected: Expected lists; None: `LISTS`.
        progress: Called with (images done, images in all).

    Returns:
        Folder and counts.

    Raises:
        ValueError: a list is not the published one, DukeMTMC-reID lacks an image or is damaged, or
            ``out`` is something else.
        OSError: ``out`` cannot be written, such as on a full disk; finished images stay.
    """
    out = Path(out)
    expected = LISTS if expected is None else expected
    names = {each.folder: _read_list(Path(lists), each) for each in expected}
    with ExitStack() as stack:
        source = _open(Path(duke), stack)
        jobs = _find(source, names, Path(duke))
        finished = out.is_dir() and any(out.iterdir())
        if finished:
            _refuse_other(out, names)
        place = out if finished else out.with_name(f".{out.name}.partial")
        kept = _write(source, jobs, place, progress)
    if not finished:
        place.replace(out)
    return Prepared(out, {folder: len(each) for folder, each in names.items()}, kept)


class _Images(Protocol):
    """Images of DukeMTMC-reID, in a folder or an archive; keys are folder and name."""

    def __contains__(self, key: tuple[str, str]) -> bool: ...

    def same(self, key: tuple[str, str], path: Path) -> bool:
        """True when a file is that image."""
        ...

    def write(self, key: tuple[str, str], path: Path) -> None:
        """Makes a file of that image."""
        ...


class _Unpacked:
    def __init__(self, root: Path) -> None:
        self.files = {
            _key(folder.name, name): folder / name
            for folder in sorted(root.iterdir())
            if folder.is_dir()
            for name in sorted(os.listdir(folder))
        }

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self.files

    def same(self, key: tuple[str, str], path: Path) -> bool:
        source = self.files[key]
        return path.samefile(source) or filecmp.cmp(source, path, shallow=False)

    def write(self, key: tuple[str, str], path: Path) -> None:
        source = self.files[key]
        try:
            os.link(source, path)
        except OSError:  # another disk, one without hard links, or a damaged file in the place
            with atomic_write(path) as partial:
                shutil.copyfile(source, partial)


class _Zipped:
    """Members of an archive by the last two parts of their paths."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.entries: dict[tuple[str, str], zipfile.ZipInfo] = {}
        for entry in archive.infolist():
            # Some programs of Windows write their own separators, against the format.
            path = PurePosixPath(entry.filename.replace("\\", "/"))
            if len(path.parts) < 2 or "__MACOSX" in path.parts or not _NAME.fullmatch(path.name):
                continue
            if ".." in path.parts or stat.S_ISLNK(entry.external_attr >> 16):
                raise ValueError(
                    f"{archive.filename}: {entry.filename} must be a file inside the archive; it "
                    "leads out of it or is a link: get the archive from its source again"
                )
            if entry.file_size > _LARGEST:
                raise ValueError(
                    f"{archive.filename}: {entry.filename} must be an image of at most "
                    f"{_LARGEST // 1_000_000} MB; got {entry.file_size:,} bytes: is the archive "
                    "damaged?"
                )
            before = self.entries.setdefault(_key(path.parent.name, path.name), entry)
            if (before.CRC, before.file_size) != (entry.CRC, entry.file_size):
                raise ValueError(
                    f"{archive.filename} holds two different images {before.filename} and "
                    f"{entry.filename}: unpack it, and give the right folder"
                )

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self.entries

    def same(self, key: tuple[str, str], path: Path) -> bool:
        entry = self.entries[key]
        if path.stat().st_size != entry.file_size:
            return False
        return zlib.crc32(path.read_bytes()) == entry.CRC

    def write(self, key: tuple[str, str], path: Path) -> None:
        entry = self.entries[key]
        try:
            data = self.archive.read(entry)
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk, not of the archive
            if type(error) is RuntimeError:
                raise ValueError(
                    f"{self.archive.filename}: {entry.filename} needs a password: unpack the "
                    "archive, and give the folder"
                ) from error
            raise ValueError(
                f"{self.archive.filename}: {entry.filename} is damaged ({error}): get the archive "
                "again"
            ) from error
        with atomic_write(path) as partial:
            partial.write_bytes(data)


def _key(folder: str, name: str) -> tuple[str, str]:
    """Key of an image in lower case: archives and disks of other systems change capitals."""
    return folder.lower(), name.lower()


def _open(duke: Path, stack: ExitStack) -> _Images:
    if not duke.exists():
        raise ValueError(f"there is no {duke}: give DukeMTMC-reID as a .zip file or a folder")
    if duke.is_dir():
        for folder in (duke, *sorted(child for child in duke.iterdir() if child.is_dir())):
            inside = {child.name.lower() for child in folder.iterdir()}
            if {"bounding_box_train", "query", _GALLERY} <= inside:
                return _Unpacked(folder)
        return _Unpacked(find_root(dataset_spec("dukemtmc-reid"), duke))
    if not duke.is_file():
        raise ValueError(f"{duke} must be a .zip file or a folder; it is neither")
    with _opening(duke):
        return _Zipped(stack.enter_context(zipfile.ZipFile(duke)))


@contextmanager
def _opening(duke: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        named = isinstance(error, ValueError) and str(error).startswith(str(duke))
        if named or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise ValueError(
            f"{duke} must be a whole .zip file or a folder; got neither ({error}): was the "
            "download cut short?"
        ) from error


def _read_list(folder: Path, expected: NameList) -> list[str]:
    """Sorted names of a verified list."""
    path = folder / expected.file
    if not path.is_file():
        raise ValueError(
            f"there is no {path}: give the folder with the authors' train.list, query.list and "
            "gallery.list"
        )
    size = path.stat().st_size
    if size > 1000 * (expected.images + 1000):
        raise ValueError(f"{path} must hold {expected.images:,} short names; got {size:,} bytes")
    text = path.read_bytes().decode("utf-8-sig", "replace")
    names = sorted(line.strip() for line in text.splitlines() if line.strip())
    wrong = [name for name in names if not re.fullmatch(DUKE_NAME, name)]
    if wrong:
        raise ValueError(
            f"{path} must hold names such as 0001_c2_f0046182.jpg; got {wrong[0][:80]!r}"
        )
    for before, name in pairwise(names):
        if before == name:
            raise ValueError(f"{path} names {name} twice")
    if len(names) != expected.images:
        raise ValueError(
            f"{path} must hold {expected.images:,} names; got {len(names):,} "
            f"({len(names) - expected.images:+,}): is it cut short, or of another data set?"
        )
    digest = hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()
    if digest != expected.sha256:
        raise ValueError(
            f"{path} has as many names as the published list, but others (SHA-256 {digest}, "
            f"expected {expected.sha256}): get the list of its authors again"
        )
    return names


_Job = tuple[str, str, tuple[str, str]]  # folder and name to write, key of the source


def _find(source: _Images, names: dict[str, list[str]], duke: Path) -> list[_Job]:
    jobs: list[_Job] = []
    missing = []
    for folder, listed in names.items():
        for name in listed:
            known = (_key(folder, name), _key(_GALLERY, name))
            keys = [key for key in known if key in source]
            if keys:
                jobs.append((folder, name, keys[0]))
            else:
                missing.append(f"{folder}/{name}")
    if missing:
        raise ValueError(
            f"{duke} lacks {len(missing):,} of the {len(jobs) + len(missing):,} images that the "
            f"lists name: is it all of DukeMTMC-reID? First: {missing[:3]}"
        )
    return jobs


def _refuse_other(out: Path, names: dict[str, list[str]]) -> None:
    for folder, listed in names.items():
        there = sorted(os.listdir(out / folder)) if (out / folder).is_dir() else []
        if there != listed:
            raise ValueError(
                f"{out} is there already and its {folder} is not that of Occluded-Duke: give a "
                "new folder, or remove it"
            )


def _write(
    source: _Images,
    jobs: Sequence[_Job],
    place: Path,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Writes missing images; returns the number of existing ones."""
    kept = 0
    for folder in {job[0] for job in jobs}:
        for stray in (place / folder).glob(".*.partial"):
            stray.unlink()
    for done, (folder, name, key) in enumerate(jobs):
        path = place / folder / name
        try:
            if path.is_file() and source.same(key, path):
                kept += 1
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                source.write(key, path)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror or error}, after {done:,} of {len(jobs):,} images; they stay in "
                f"{place}, from which the same command resumes",
            ) from error
        if progress is not None:
            progress(done + 1, len(jobs))
    return kept
