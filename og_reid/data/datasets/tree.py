"""Listing of a folder tree: all images, and notes about all other files."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..files.image_files import image_endings, is_unread_image
from ..files.inputs import counted, named

__all__ = ["Tree", "same_images", "scan"]

# Leftovers of operating systems and archives.
_LITTER = frozenset({"thumbs.db", "desktop.ini", ".ds_store", "@eadir", "__macosx"})
_TABLES = frozenset({".csv", ".tsv"})
_HEIC = (".heic", ".heif", ".hif")
_LINKS = 3  # nesting of followed links to folders: more can grow without bound
_HEAD = 4096  # leading bytes, which distinguish most files


@dataclass(frozen=True)
class Tree:
    """Content of a folder.

    Attributes:
        root: The folder.
        images: Paths of the images below it, with ``/``, folder by folder in the order of names.
        unread: Images and films of formats that cannot be read here.
        broken: Folders that cannot be listed, links that lead nowhere or in a circle, and images
            that are no regular files.
        empty: Images of 0 bytes; they are among the images.
        hidden: Images and folders with names that begin with a dot.
        bare: Folders without images at any depth.
        others: Other files.
        tables: CSV files in the folder itself.
    """

    root: Path
    images: tuple[str, ...]
    unread: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    def notes(self) -> tuple[list[str], list[str]]:
        """Notes on skipped files: probable mistakes, and others."""
        doubts, notes = [], []
        heic = [each for each in self.unread if each.lower().endswith(_HEIC)]
        other = [each for each in self.unread if not each.lower().endswith(_HEIC)]
        if heic:
            doubts.append(
                f"left out: {counted(len(heic), 'HEIC image')}, which Pillow does not read: "
                f"{named(heic)}; convert to JPEG (or, in Python, pip install pillow-heif and call "
                "pillow_heif.register_heif_opener())"
            )
        if other:
            doubts.append(
                f"left out: {counted(len(other), 'file')} of formats that cannot be read here "
                f"({', '.join(sorted({_ending(each) for each in other}))}): {named(other)}; "
                "convert to JPEG or PNG"
            )
        if self.broken:
            doubts.append(
                f"left out: {len(self.broken):,} that cannot be read (folders without permission, "
                f"links that lead nowhere or in a circle): {named(self.broken)}"
            )
        if self.empty:
            doubts.append(f"{counted(len(self.empty), 'image')} of 0 bytes: {named(self.empty)}")
        if self.hidden:
            notes.append(f"left out: {len(self.hidden):,} hidden: {named(self.hidden)}")
        if self.bare:
            notes.append(f"{counted(len(self.bare), 'folder')} without images: {named(self.bare)}")
        if self.others:
            notes.append(
                f"left out: {counted(len(self.others), 'file')} with endings of no images "
                f"({', '.join(sorted({_ending(each) for each in self.others})[:8])}): "
                f"{named(self.others)}"
            )
        return doubts, notes


@dataclass
class _Found:
    images: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def scan(root: Path) -> Tree:
    """Lists a folder to any depth; links are followed, but not in a circle.

    Raises:
        OSError: The folder itself cannot be listed.
    """
    found = _Found()
    # Folder, its path below the root, the real paths from the root to it, links on the way.
    waiting: list[tuple[str, str, tuple[frozenset[str], int]]] = [
        (str(root), "", (frozenset({os.path.realpath(root)}), 0))
    ]
    while waiting:
        folder, below, way = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            if not below:
                raise
            found.broken.append(below)
            continue
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.name.lower() in _LITTER or entry.name.startswith("._"):
                continue
            try:
                inner = _look(entry, path, way, found)
            except OSError:  # a link in a circle, a name that the system cannot follow
                found.broken.append(path)
                continue
            if inner is not None:
                waiting.append((entry.path, path, inner))
    return _tree(root, found)


def _look(
    entry: os.DirEntry[str], path: str, way: tuple[frozenset[str], int], found: _Found
) -> tuple[frozenset[str], int] | None:
    """Classifies an entry; returns the way into a folder to list."""
    hidden = entry.name.startswith(".")
    if entry.is_dir():
        if hidden:
            found.hidden.append(f"{path}/")
            return None
        found.folders.append(path)
        real, links = os.path.realpath(entry.path), way[1] + entry.is_symlink()
        if real in way[0] or links > _LINKS:
            found.broken.append(path)
            return None
        return way[0] | {real}, links
    ending = os.path.splitext(entry.name)[1].lower()
    image = ending in image_endings()
    if hidden:
        if image:
            found.hidden.append(path)
    elif image and entry.is_file():
        found.images.append(path)
        if entry.stat().st_size == 0:
            found.empty.append(path)
    elif image or (entry.is_symlink() and not entry.is_file()):
        found.broken.append(path)
    elif is_unread_image(entry.name):
        found.unread.append(path)
    elif ending in _TABLES and "/" not in path:
        found.tables.append(path)
    else:
        found.others.append(path)
    return None


def _tree(root: Path, found: _Found) -> Tree:
    full: set[str] = set()
    for path in (*found.images, *found.unread):
        parts = path.split("/")
        full.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    full.update(found.broken)
    bare = [path for path in found.folders if path not in full]
    # The outermost of nested folders suffices.
    nested = set(bare)
    bare = [path for path in bare if os.path.dirname(path) not in nested]

    def ordered(paths: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(paths, key=lambda path: path.split("/")))

    return Tree(
        root,
        ordered(found.images),
        ordered(found.unread),
        ordered(found.broken),
        ordered(found.empty),
        ordered(found.hidden),
        ordered(bare),
        ordered(found.others),
        ordered(found.tables),
    )


def same_images(paths: Iterable[Path]) -> list[list[Path]]:
    """Groups of files with the same content; only files of one size are read."""
    sizes: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        with suppress(OSError):
            sizes[path.stat().st_size].append(path)
    sizes.pop(0, None)
    return [
        same
        for alike in sizes.values()
        for begun_alike in _grouped(alike, _HEAD)
        for same in _grouped(begun_alike, -1)
    ]


def _grouped(paths: list[Path], head: int) -> list[list[Path]]:
    """Groups of files with the same first bytes."""
    groups: dict[bytes, list[Path]] = defaultdict(list)
    if len(paths) > 1:
        for path in paths:
            with suppress(OSError), path.open("rb") as file:
                data = file.read(head)
                groups[hashlib.blake2b(data, digest_size=16).digest()].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower() or "no ending"
