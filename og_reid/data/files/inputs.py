"""Inputs of a bulk run: listing, checks, and a report of failures."""

from __future__ import annotations

import csv
import os
import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CLOUD_ENDINGS",
    "Failure",
    "Input",
    "Listing",
    "cause",
    "list_inputs",
    "name_failures",
    "named",
    "portable_name",
    "summarize_warnings",
    "unreadable_images",
    "write_failures",
]

#: Endings of point clouds, in lower case.
CLOUD_ENDINGS = frozenset({".ply", ".npz", ".obj"})
_NAMED = 5


@dataclass(frozen=True)
class Input:
    """Input file of a bulk run.

    Attributes:
        path: Path of the file.
        name: Path below the given folder, with ``/``; the bare name of a given file.
        listed: True for a file found in a folder.
    """

    path: Path
    name: str
    listed: bool = False


@dataclass(frozen=True)
class Failure:
    """Failed file.

    Attributes:
        path: Path, as given.
        reason: Reason, one clause.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Listing:
    """Input files of a bulk run.

    Attributes:
        inputs: Files in the order given; those of a folder sorted by path.
        failures: Given paths that are missing or cannot be listed.
        notes: Notes on other files in the folders.
    """

    inputs: tuple[Input, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]


def list_inputs(
    given: Sequence[str | Path],
    endings: Collection[str] | Callable[[], Collection[str]],
    others: Collection[str] = (),
) -> Listing:
    """Lists files and the files of folders.

    Hidden files and folders, and links to folders, are left out of folders.

    Args:
        given: Files, of any ending, and folders.
        endings: Endings to list in folders, in lower case with the dot; or a function that returns
            them, called when there is a folder.
        others: Endings to list in a folder without files of ``endings``.
    """
    inputs: list[Input] = []
    failures: list[Failure] = []
    notes: list[str] = []
    for each in map(Path, given):
        if each.is_dir():
            wanted = endings() if callable(endings) else endings
            found, unlisted = _walk(each)
            failures += unlisted
            chosen = [path for path in found if path.suffix.lower() in wanted]
            if not chosen:
                chosen = [path for path in found if path.suffix.lower() in others]
            rest = Counter(path.suffix.lower() for path in set(found) - set(chosen))
            if rest:
                kinds = ", ".join(f"{end or 'no ending'} {n:,}" for end, n in sorted(rest.items()))
                notes.append(f"{each}: {rest.total():,} other files left out ({kinds})")
            if not chosen and not unlisted:
                kinds = ", ".join(sorted({*wanted, *others}))
                failures.append(Failure(each, f"the folder holds no file of the kinds {kinds}"))
            for path in chosen:
                if path.is_file():
                    inputs.append(Input(path, path.relative_to(each).as_posix(), True))
                else:
                    failures.append(Failure(path, _absence(path)))
        elif each.is_file():
            inputs.append(Input(each, each.name))
        else:
            failures.append(Failure(each, _absence(each)))
    return Listing(tuple(inputs), tuple(failures), tuple(notes))


def _absence(path: Path) -> str:
    """Reason why a path is no file."""
    if path.exists():
        return "is no regular file"  # such as a pipe, which would block for ever
    return "is a link to a file that is not there" if path.is_symlink() else "there is no such file"


def _walk(folder: Path) -> tuple[list[Path], list[Failure]]:
    failures: list[Failure] = []

    def failed(error: OSError) -> None:
        failures.append(Failure(Path(error.filename or folder), error.strerror or str(error)))

    paths = []
    for place, folders, files in os.walk(folder, onerror=failed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(place, name) for name in files if not name.startswith(".")]
    return sorted(paths), failures


def cause(error: BaseException) -> str:
    """Reason of a failure: the message of an exception, or its type."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def name_failures(failures: Sequence[Failure], total: int, most: int = 100) -> str:
    """Text that names failed files and reasons.

    Args:
        failures: At least one failure.
        total: Number of files in all.
        most: Largest number of named failures; the rest is counted.
    """
    title = f"{len(failures):,} of {total:,} files failed:"
    # Messages of readers often start with the file.
    lines = [
        each.reason if str(each.path) in each.reason else f"{each.path}: {each.reason}"
        for each in failures[:most]
    ]
    if total == 1:
        return lines[0]
    if len(failures) > most:
        lines.append(f"and {len(failures) - most:,} more")
    return f"{title} {'; '.join(lines)}"


def portable_name(name: str) -> str:
    """File name without surrogates, which Python uses for umlauts in the C locale."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Writes failures as CSV with the columns ``file`` and ``reason``.

    Without failures a file of an earlier run is removed.
    """
    from pose.files.atomic_write import (
        atomic_write,  # the package needs torch, which listing does not
    )

    if not failures:
        path.unlink(missing_ok=True)
        return

    with (
        atomic_write(path) as partial,
        partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(("file", "reason"))
        rows.writerows((str(each.path), each.reason) for each in failures)


def unreadable_images(paths: Iterable[Path], threads: int = 1) -> list[Failure]:
    """Images that are missing or cannot be decoded, in the order given."""
    with ExitStack() as stack:
        # Warnings are raised when the images are used; warning filters are not thread-safe.
        if threading.current_thread() is threading.main_thread():
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        pool = stack.enter_context(ThreadPoolExecutor(max(1, threads)))
        return [each for each in pool.map(_unreadable, paths) if each is not None]


def _unreadable(path: Path) -> Failure | None:
    from pose import read_image  # which needs torch; files are listed before it is there

    try:
        if path.exists() and not path.is_file():
            return Failure(path, "must be a file; it is a folder, a pipe or a device")
        read_image(path)
    except (ValueError, OSError) as error:
        return Failure(path, cause(error))
    return None


def summarize_warnings(raised: Iterable[tuple[Path, str]]) -> tuple[str, ...]:
    """Warnings about single files, grouped to one text per kind.

    Two warnings are of one kind when they differ only in numbers and in the file name.

    Args:
        raised: Pairs of file and warning text.
    """
    kinds: dict[str, tuple[str, list[Path]]] = {}
    for path, text in raised:
        kind = re.sub(r"\d+(\.\d+)?", "#", text.replace(str(path), "*").replace(path.name, "*"))
        kinds.setdefault(kind, (text, []))[1].append(path)
    summaries = []
    for text, paths in kinds.values():
        count = f"{len(paths):,} files: " if len(paths) > 1 else ""
        more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
        named = (
            ""
            if len(paths) == 1 and str(paths[0]) in text
            else (f" ({', '.join(map(str, paths[:_NAMED]))}{more})")
        )
        summaries.append(f"{count}{text}{named}")
    return tuple(summaries)


def counted(count: int, one: str, many: str = "") -> str:
    """Number with its noun: ``1 image``, ``2,000 images``; ``many`` is an irregular plural."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def named(items: Sequence[object], count: int = 3) -> str:
    """First items as a text, and the number of further ones."""
    more = f" and {len(items) - count:,} more" if len(items) > count else ""
    return ", ".join(str(each) for each in items[:count]) + more
