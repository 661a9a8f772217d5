"""Photographs of one's own: a folder for each person, or a CSV file."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path, PurePosixPath, PureWindowsPath

from .description import SPLITS, Dataset, DatasetSample
from .listing import walk

__all__ = ["from_csv", "from_folder", "paths_from_csv"]

#: Anything longer does not fit into 64 bits.
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


def from_folder(root: str | Path, *, train_share: float = 0.5) -> Dataset:
    """Photographs as ``<root>/<person>/<image>``, of unknown cameras.

    People called by whole numbers from 1 keep them, otherwise they are numbered from 1 by name.
    People are split as `from_csv` says.

    Args:
        root: The folder.
        train_share: Share of the people to train on, in [0, 1].

    Raises:
        ValueError: no image is there, or ``train_share`` is out of range.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the one that holds a folder a person")
    paths = walk(folder, 1)
    if not paths:
        raise ValueError(f"{folder} must hold images as <person>/<image>; got none")
    pids = _numbers((path.split("/")[0] for path in paths), f"{folder}:", lowest=1)
    samples = [DatasetSample(folder / path, pids[path.split("/")[0]], 0) for path in paths]
    return _split_people("folder", folder, samples, train_share, has_cameras=False)


def from_csv(
    path: str | Path,
    *,
    root: str | Path | None = None,
    train_share: float = 0.5,
    allow_absolute: bool = False,
) -> Dataset:
    """Photographs listed in a CSV file with the columns ``path`` and ``pid``.

    ``camid`` and ``split`` (train, query or gallery) may be there as well; more columns are passed
    over. Identities and cameras are whole numbers, or words, which are numbered from 1 in sorted
    order; identities -1 (junk) and 0 (distractor) may be in the gallery, also beside words.
    Without a column ``split``, people are divided by a hash of their number, so that adding some
    moves none of the others (unless words are numbered anew): a share to train on, and of each of
    the others the first image as query and the rest as gallery, or all as gallery when there is
    only one.

    Args:
        path: The file, UTF-8.
        root: What relative paths begin from; None: the folder of the file.
        train_share: Share of the people to train on when there is no column ``split``.
        allow_absolute: Take absolute paths and such that lead out of ``root``.

    Returns:
        The splits in the order of the lines.

    Raises:
        ValueError: naming the line: a column is missing, a value does not parse, a file is not
            there, listed twice, or outside ``root``.
    """
    file = Path(path)
    base = (file.parent if root is None else Path(root)).resolve()
    known = "the columns path, pid and, where known, camid and split"
    rows, columns = _read_rows(file, ("path", "pid"), known)
    paths = _paths(file, rows, base, allow_absolute)
    pids = _numbers((row["pid"] for _, row in rows), f"{file}: pid", lowest=-1)
    cameras: dict[str, int] = {}
    if "camid" in columns:
        filled = [bool(row["camid"]) for _, row in rows]
        if any(filled) and not all(filled):
            line = rows[filled.index(False)][0]
            raise ValueError(f"{file}, line {line}: camid must be given in all lines or in none")
        if all(filled):
            cameras = _numbers((row["camid"] for _, row in rows), f"{file}: camid", lowest=0)
    samples = [
        DatasetSample(each, pids[row["pid"]], cameras[row["camid"]] if cameras else 0)
        for each, (_, row) in zip(paths, rows, strict=True)
    ]
    if "split" not in columns:
        return _split_people("csv", base, samples, train_share, has_cameras=bool(cameras))
    splits: dict[str, list[DatasetSample]] = {split: [] for split in SPLITS}
    for sample, (line, row) in zip(samples, rows, strict=True):
        if row["split"] not in splits:
            raise ValueError(
                f"{file}, line {line}: split must be one of {', '.join(SPLITS)}; got "
                f"{row['split']!r}"
            )
        if sample.pid < 1 and row["split"] != "gallery":
            raise ValueError(
                f"{file}, line {line}: identities -1 (junk) and 0 (distractor) belong in the "
                f"gallery only; got {sample.pid} in {row['split']}"
            )
        splits[row["split"]].append(sample)
    shared = {each.pid for each in splits["train"]} & {
        each.pid for split in ("query", "gallery") for each in splits[split]
    }
    if shared:
        raise ValueError(
            f"{file}: {len(shared):,} people are in the training and in the test images, first: "
            f"{sorted(shared)[:3]}: give each person to one side"
        )
    return _dataset("csv", base, splits, has_cameras=bool(cameras))


def paths_from_csv(path: str | Path, *, allow_absolute: bool = False) -> list[Path]:
    """The photographs in the column ``path`` of a CSV file, in the order of its lines.

    Args:
        path: The file, UTF-8; relative paths begin from its folder.
        allow_absolute: As of `from_csv`.

    Raises:
        ValueError: As of `from_csv`.
    """
    file = Path(path)
    rows, _ = _read_rows(file, ("path",), "the column path")
    return _paths(file, rows, file.parent.resolve(), allow_absolute)


def _read_rows(
    file: Path, needed: Sequence[str], described: str
) -> tuple[list[tuple[int, dict[str, str]]], Sequence[str]]:
    """The number and the values of each line, and the names of the columns."""
    if not file.is_file():
        raise ValueError(f"{file} is not a file: give the CSV file that lists the photographs")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} must be text in UTF-8; {error}") from error
    try:
        reader = csv.DictReader(StringIO(text, newline=""), skipinitialspace=True)
        return _parse_rows(file, reader, needed, described)
    except csv.Error as error:
        raise ValueError(f"{file} must be a CSV file: {error}") from error


def _parse_rows(
    file: Path, reader: csv.DictReader[str], needed: Sequence[str], described: str
) -> tuple[list[tuple[int, dict[str, str]]], Sequence[str]]:
    columns = reader.fieldnames or ()
    missing = [column for column in needed if column not in columns]
    if missing:
        raise ValueError(
            f"{file} has no column {', '.join(missing)}; its first line must name "
            f"{described}; got {list(columns)}"
        )
    rows = []
    for row in reader:
        known = {name: (row[name] or "").strip() for name in columns}
        if not all(known[column] for column in needed):
            raise ValueError(
                f"{file}, line {reader.line_num}: {' and '.join(needed)} must be given"
            )
        rows.append((reader.line_num, known))
    if not rows:
        raise ValueError(f"{file} must list at least one image; got none")
    return rows, columns


def _paths(
    file: Path, rows: Sequence[tuple[int, dict[str, str]]], base: Path, allow_absolute: bool
) -> list[Path]:
    lines: dict[Path, int] = {}
    for line, row in rows:
        text = row["path"]
        absolute = PureWindowsPath(text).is_absolute() or PurePosixPath(text).is_absolute()
        path = base / (text if absolute else text.replace("\\", "/"))
        resolved = path.resolve()
        if not allow_absolute and (absolute or not resolved.is_relative_to(base)):
            raise ValueError(
                f"{file}, line {line}: path must stay in {base}; got {text!r}: move the image, or "
                "allow it with allow_absolute=True (--absolute on the command line)"
            )
        if not resolved.is_file():
            raise ValueError(f"{file}, line {line}: there is no file {path}")
        if resolved in lines:
            raise ValueError(
                f"{file}, line {line}: {text} is listed twice, before in line {lines[resolved]}"
            )
        lines[resolved] = line
    return list(lines)


def _numbers(labels: Iterable[str], what: str, *, lowest: int) -> dict[str, int]:
    """Whole numbers for labels: the labels themselves where all are, or their places from 1.

    Junk and distractors (-1 and 0, where ``lowest`` allows them) stay what they are beside words.
    """
    distinct = sorted(set(labels))
    values = {label: int(label) for label in distinct if _WHOLE.fullmatch(label)}
    if len(values) < len(distinct) or min(values.values()) < lowest:
        kept = {label: value for label, value in values.items() if lowest == -1 <= value < 1}
        words = (label for label in distinct if label not in kept)
        return kept | {label: place for place, label in enumerate(words, 1)}
    written: dict[int, str] = {}
    for label, value in values.items():
        if value in written:
            raise ValueError(
                f"{what} {written[value]!r} and {label!r} are one number: write them alike if they "
                "are the same, or in words if not"
            )
        written[value] = label
    return values


def _split_people(
    name: str,
    root: Path,
    samples: Sequence[DatasetSample],
    train_share: float,
    *,
    has_cameras: bool,
) -> Dataset:
    if not 0 <= train_share <= 1:
        raise ValueError(f"train_share must be in [0, 1]; got {train_share}")
    counts = Counter(sample.pid for sample in samples)
    splits: dict[str, list[DatasetSample]] = {split: [] for split in SPLITS}
    train = {pid for pid in counts if pid > 0 and _draw(pid) < train_share}
    asked: set[int] = set()
    for sample in samples:
        if sample.pid in train:
            splits["train"].append(sample)
        elif sample.pid > 0 and sample.pid not in asked and counts[sample.pid] > 1:
            asked.add(sample.pid)
            splits["query"].append(sample)
        else:
            splits["gallery"].append(sample)
    people = sum(pid > 0 for pid in counts)
    note = (
        f"{len(train):,} of the {people:,} people are for training, the others for testing: "
        "train_share and, in a CSV file, the column split say otherwise"
    )
    return _dataset(name, root, splits, has_cameras=has_cameras, notes=(note,) if train else ())


def _draw(pid: int) -> float:
    """A number in [0, 1) that depends on the person alone."""
    return int.from_bytes(hashlib.sha256(str(pid).encode()).digest()[:4], "big") / 2**32


def _dataset(
    name: str,
    root: Path,
    splits: Mapping[str, list[DatasetSample]],
    *,
    has_cameras: bool,
    notes: tuple[str, ...] = (),
) -> Dataset:
    # Queries of camera 0 and a gallery of camera 1: no rule about cameras leaves anything out.
    gallery = splits["gallery"]
    if not has_cameras:
        gallery = [DatasetSample(each.path, each.pid, 1) for each in gallery]
    return Dataset(
        tuple(splits["train"]),
        tuple(splits["query"]),
        tuple(gallery),
        name=name,
        root=root,
        has_cameras=has_cameras,
        notes=notes,
    )
