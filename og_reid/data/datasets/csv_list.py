"""Custom data sets: images listed in a CSV file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..files.image_files import image_endings
from ..files.inputs import counted, named
from ..files.table import Row, Table, read_table
from .numbering import doubtful_names, is_unknown, listed_numbers, normal, numbers, whole
from .parting import by_people, finish, refuse_shared
from .schema import SPLITS, Dataset, DatasetSample

__all__ = ["from_csv", "is_list", "paths_from_csv"]

_KNOWN = "the columns path, pid and, where known, camid and split"
_SYNONYMS = {
    "path": ("filename", "filepath", "imagepath", "imagefile", "imagename", "imgpath", "imgname"),
    "pid": ("personid", "identity", "identityid"),
    "camid": ("cameraid", "camera", "cam"),
}
#: Ambiguous column names, by the column that they may mean.
_DOUBTFUL = {
    "path": ("image", "img", "file", "name", "url", "uri", "src", "key"),
    "pid": ("id", "person", "label", "name", "subject", "subjectid", "class", "target", "ids"),
}

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def from_csv(
    path: str | Path,
    *,
    root: str | Path | None = None,
    train_share: float = 0.5,
    allow_absolute: bool = False,
    name: str = "csv",
) -> Dataset:
    """Images listed in a CSV file with the columns ``path`` and ``pid``.

    Optional columns are ``camid`` and ``split`` (train, query or gallery); further ones are
    ignored. Values may be separated by semicolons or tabs, and columns have usual synonyms, such as
    ``Filename`` and ``person_id``: a note names those taken. Identities and cameras are whole
    numbers, or words, which are numbered from 1 in sorted order (``Dataset.identity_names``).
    Identity -1 (junk) may be in the gallery, also beside words. Identity 0 in train or query counts
    as an identity, and all are then one higher than in the file, because 0 means a distractor; in
    the gallery alone it stays a distractor.

    Without a column ``split``, identities are divided by a hash of their number, so that added ones
    do not move others (unless words are renumbered): a fraction for training, and of each other
    identity the first image as query and the rest as gallery, or all as gallery when there is only
    one.

    Args:
        path: CSV file, UTF-8 (or UTF-16 with a byte-order mark).
        root: Base of relative paths; None: the folder of the file.
        train_share: Fraction of training identities, without a column ``split``.
        allow_absolute: Allow absolute paths and paths outside ``root``.
        name: Name of the data set.

    Returns:
        The splits in the order of the lines.

    Raises:
        OSError: the file cannot be read.
        ValueError: naming the line: a column is missing, a value does not parse, a file is not
            there, listed twice, or outside ``root``.

    Warns:
        InputWarning: identities are probably wrong, or files are no readable images.
    """
    file = Path(path)
    base = _base(file, root)
    table = _read(file, ("path", "pid"), _KNOWN)
    paths = _paths(table, base, allow_absolute)
    has_split = "split" in table.columns
    splits_of = [_split(file, row) for row in table.rows] if has_split else []
    notes = [f"column {old!r} is read as {new}" for new, old in table.renamed.items()]
    names = [normal(row["pid"]) for row in table.rows]
    pids = _identities(file, names, splits_of, notes)
    cameras = _cameras(file, table)
    samples = [
        DatasetSample(each, pids[person], cameras[row["camid"]] if cameras else 0)
        for each, person, row in zip(paths, names, table.rows, strict=True)
    ]
    numbered = (listed_numbers(pids, "identities"), listed_numbers(cameras, "cameras"))
    notes += [each for each in numbered if each]
    doubts = [*doubtful_names(names), *_unreadable(paths)]
    parted = ""
    if has_split:
        splits = _given(file, table.rows, samples, splits_of)
    else:
        splits, parted = by_people(samples, train_share)
    return finish(
        name, base, splits, has_cameras=bool(cameras), names=(pids, cameras), parted=parted,
        doubts=doubts, notes=notes,
    )  # fmt: skip


def paths_from_csv(path: str | Path, *, allow_absolute: bool = False) -> list[Path]:
    """Images in the column ``path`` of a CSV file, in the order of its lines.

    Args:
        path: CSV file, see `from_csv`; relative paths start at its folder.
        allow_absolute: See `from_csv`.

    Raises:
        OSError: See `from_csv`.
        ValueError: See `from_csv`.
    """
    file = Path(path)
    table = _read(file, ("path",), "the column path")
    return _paths(table, _base(file, None), allow_absolute)


def is_list(file: Path) -> bool:
    """True when a file is a CSV file with the columns path and pid."""
    try:
        return bool(_read(file, ("path", "pid"), _KNOWN).rows)
    except (ValueError, OSError) as error:
        # A list with a mistake in a line counts, too: its reader names the mistake.
        return ", line " in str(error)


def _base(file: Path, root: str | Path | None) -> Path:
    try:
        return (file.parent if root is None else Path(root)).resolve()
    except Exception:
        from pose.files.reading import reading  # not before it is needed: it brings torch along

        with reading(file, "must be a path of a file"):
            raise


def _read(file: Path, needed: Sequence[str], described: str) -> Table:
    if not file.is_file():
        raise ValueError(f"{file} is not a file: give the CSV file that lists the images")
    table = read_table(
        file,
        needed,
        described,
        optional=("camid", "split"),
        synonyms=_SYNONYMS,
        doubtful=_DOUBTFUL,
    )
    if not table.rows:
        raise ValueError(f"{file} must list at least one image; got none")
    return table


def _split(file: Path, row: Row) -> str:
    split = row["split"].casefold()
    if split not in SPLITS:
        raise ValueError(
            f"{file}, line {row.line}: split must be one of {', '.join(SPLITS)}; got "
            f"{row['split']!r}"
        )
    return split


def _identities(
    file: Path, names: Sequence[str], splits: Sequence[str], notes: list[str]
) -> dict[str, int]:
    """Numbers of the identities, and notes about 0 and -1."""
    zeros = [place for place, name in enumerate(names) if whole(name) == 0]
    shown = {splits[place] for place in zeros} if splits else set()
    # A query of identity 0 without a match may be a distractor in the wrong split.
    person = bool(zeros) and (not splits or "train" in shown or shown >= {"query", "gallery"})
    pids = numbers(
        names,
        f"{file}: pid",
        lowest=0 if person else -1,
        kept=(-1,) if person else (-1, 0),
        shift=int(person),
    )
    junk = sum(pids[name] == -1 for name in names)
    if junk:
        notes.append(f"{counted(junk, 'image')} of identity -1: junk, ignored in the ranking")
    if person:
        zero = names[zeros[0]]
        notes.append(
            f"identity {zero} counts as an identity (-1 alone is junk) and gets number "
            f"{pids[zero]}, because 0 means a distractor"
            + (": every number is one higher than in the file" if pids[zero] == 1 else "")
        )
    elif zeros:
        notes.append(
            f"{counted(len(zeros), 'image')} of identity 0, in {' and '.join(sorted(shown))} "
            "alone: a distractor, never a match"
        )
    return pids


def _cameras(file: Path, table: Table) -> dict[str, int]:
    if "camid" not in table.columns:
        return {}
    filled = [not is_unknown(row["camid"]) for row in table.rows]
    if not any(filled):
        return {}
    if not all(filled):
        row = table.rows[filled.index(False)]
        raise ValueError(
            f"{file}, line {row.line}: camid must be given in all lines or in none; got "
            f"{row['camid']!r}"
        )
    return numbers((row["camid"] for row in table.rows), f"{file}: camid", lowest=0)


def _given(
    file: Path, rows: Sequence[Row], samples: Sequence[DatasetSample], splits_of: Sequence[str]
) -> Mapping[str, Sequence[DatasetSample]]:
    """Splits of the column ``split``."""
    splits: dict[str, list[DatasetSample]] = {split: [] for split in SPLITS}
    for sample, row, split in zip(samples, rows, splits_of, strict=True):
        if sample.pid < 1 and split != "gallery":
            raise ValueError(
                f"{file}, line {row.line}: identities -1 (junk) and 0 (distractor, unless it is in "
                f"query and gallery, or in train) belong in the gallery only; got {sample.pid} in "
                f"{split}"
            )
        splits[split].append(sample)
    refuse_shared(file, splits)
    return splits


def _paths(table: Table, base: Path, allow_absolute: bool) -> list[Path]:
    file = table.path
    lines: dict[Path, int] = {}
    missing: list[tuple[int, Path]] = []
    for row in table.rows:
        text = row["path"]
        if _ADDRESS.match(text):
            raise ValueError(
                f"{file}, line {row.line}: path must be one of a file; got the address "
                f"{text[:80]!r}: get the image, and give its path"
            )
        absolute = PureWindowsPath(text).is_absolute() or PurePosixPath(text).is_absolute()
        path = base / (text if absolute else text.replace("\\", "/"))
        try:
            resolved = path.resolve()
            there = resolved.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long, NUL, links in a circle
            raise ValueError(
                f"{file}, line {row.line}: path must be one of a file; got {text[:80]!r}: {error}"
            ) from error
        if not allow_absolute and (absolute or not resolved.is_relative_to(base)):
            raise ValueError(
                f"{file}, line {row.line}: path must stay in {base}; got {text!r}: move the image, "
                "or allow it with allow_absolute=True (--allow-absolute-paths on the command line)"
            )
        if resolved in lines:
            raise ValueError(
                f"{file}, line {row.line}: {text} is listed twice, before in line {lines[resolved]}"
            )
        lines[resolved] = row.line
        if not there:
            missing.append((row.line, path))
    if missing:
        raise ValueError(_missing(table, base, missing))
    return list(lines)


def _missing(table: Table, base: Path, missing: Sequence[tuple[int, Path]]) -> str:
    line, path = missing[0]
    text = f"{table.path}, line {line}: there is no file {path}"
    if len(missing) > 1:
        others = [f"{each} (line {number})" for number, each in missing[1:]]
        text += (
            f"; {len(missing):,} of {len(table.rows):,} listed images are not there: "
            f"{named(others, 10)}"
        )
    relative = os.path.relpath(path, base)
    elsewhere = [each for each in (base.parent, Path.cwd()) if (each / relative).is_file()]
    if elsewhere:
        text += f": paths begin from {base}, and the files lie below {elsewhere[0]}"
    return text


def _unreadable(paths: Sequence[Path]) -> list[str]:
    wrong = [path for path in paths if path.suffix.lower() not in image_endings()]
    if not wrong:
        return []
    return [
        f"{counted(len(wrong), 'listed file')} of formats that cannot be read here, by the "
        f"endings: {named(wrong)}"
    ]
