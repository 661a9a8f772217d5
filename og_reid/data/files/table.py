"""Text tables: CSV and its dialects, as rows with line numbers."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

__all__ = ["Row", "Table", "read_table"]

#: Largest table: above ten million lines of 50 characters.
MAX_BYTES = 512_000_000
_DELIMITERS = (",", ";", "\t", "|")
_SEP_LINE = re.compile(r"sep=([,;\t|])\s*", re.IGNORECASE)  # what Excel writes and reads
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Row:
    """Row of a table.

    Attributes:
        line: Line number in the file, from 1; the last one of several lines.
        values: Values by column, stripped; in a short line missing values of requested columns are
            empty, and others are absent.
    """

    line: int
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]


@dataclass(frozen=True)
class Table:
    """Rows of a file.

    Attributes:
        path: Path of the file.
        columns: Names of the columns, the keys of the rows' values.
        rows: Rows in the order of the file, without blank lines.
        renamed: Header in the file by requested name, where they differ by more than capitals and
            blanks.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    renamed: Mapping[str, str]


def read_table(
    path: str | Path,
    needed: Sequence[str],
    described: str,
    *,
    optional: Sequence[str] = (),
    synonyms: Mapping[str, Sequence[str]] | None = None,
    doubtful: Mapping[str, Sequence[str]] | None = None,
    filled: Sequence[str] | None = None,
) -> Table:
    """Reads a table with column names in the first line.

    Values are separated by commas, semicolons, tabs or bars: the separator that gives the needed
    columns in the first line. The text is UTF-8, with or without a byte-order mark, or UTF-16 with
    one. Capitals, blanks, ``-`` and ``_`` in names of columns do not matter.

    Args:
        path: File to read.
        needed: Required columns.
        described: Description of the required columns, for messages.
        optional: Other columns with synonyms.
        synonyms: Synonyms of columns, in lower case, by requested name.
        doubtful: Ambiguous names that may mean a needed column, for messages.
        filled: Needed columns that must have a value in each line; None: all needed ones.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is no text or too large, lacks a column or a value, has two columns for
            one name, or a line has more values than columns.
    """
    file = Path(path)
    text = _decoded(file)
    lines = _records(file, text, _delimiter(text, needed, synonyms or {}))
    number, header = next(lines, (1, []))
    names, renamed = _columns(file, header, (*needed, *optional), synonyms or {})
    missing = [column for column in needed if column not in names]
    if missing:
        raise ValueError(
            f"{file} has no column {', '.join(missing)}; its first line must name {described}; "
            f"got {header}" + _hint(header, missing, doubtful or {})
        )
    wanted = needed if filled is None else filled
    known = [column for column in (*needed, *optional) if column in names]
    rows = []
    for number, record in lines:
        if len(record) > len(names) and any(each.strip() for each in record[len(names) :]):
            raise ValueError(
                f"{file}, line {number}: has {len(record)} values for {len(names)} columns: is "
                'there a separator in a value? Put the value in quotes ("...")'
            )
        values = dict.fromkeys(known, "")
        values |= {name: each.strip() for name, each in zip(names, record, strict=False)}
        if not all(values[column] for column in wanted):
            raise ValueError(f"{file}, line {number}: {' and '.join(wanted)} must be given")
        rows.append(Row(number, values))
    return Table(file, tuple(names), tuple(rows), renamed)


def _decoded(file: Path) -> str:
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(
                f"must be a table of at most {MAX_BYTES // 1_000_000:,} MB; got {size:,} bytes"
            )
        data = file.read_bytes()
    except Exception:
        from pose.files.reading import reading  # not before it is needed: it brings torch along

        with reading(file, "must be a readable text file"):
            raise
    try:
        if data.startswith(_BYTE_ORDER_MARKS):
            text = data.decode("utf-16")
        else:
            text = data.decode("utf-8-sig")
        if "\0" in text.partition("\n")[0]:  # UTF-16 without a byte-order mark, UTF-32
            raise ValueError("it has zero bytes, as text in UTF-16 or UTF-32")
        return text
    except ValueError as error:
        raise ValueError(
            f"{file} must be text in UTF-8 (of a spreadsheet: saved as 'CSV UTF-8'); {error}"
        ) from error


def _delimiter(text: str, needed: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> str:
    """Separator with the most needed columns, then with the most columns."""
    first = next((line for line in StringIO(text) if line.strip()), "")
    stated = _SEP_LINE.fullmatch(first)
    if stated:
        return stated[1]
    known = [{_plain(each) for each in (name, *synonyms.get(name, ()))} for name in needed]

    def fit(delimiter: str) -> tuple[int, int]:
        names = {_plain(each.strip().strip('"')) for each in first.split(delimiter)}
        return sum(bool(names & each) for each in known), first.count(delimiter)

    return max(_DELIMITERS, key=fit)  # of equals the first: a comma


def _records(file: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(
        StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    begun = False
    try:
        for record in reader:
            blank = not any(each.strip() for each in record)
            excel = not begun and _SEP_LINE.fullmatch(delimiter.join(record))
            if blank or excel:
                continue
            begun = True
            yield reader.line_num, record
    except csv.Error as error:
        raise ValueError(f"{file} must be a CSV file: {error} (line {reader.line_num})") from error


def _columns(
    file: Path, header: Sequence[str], asked: Sequence[str], synonyms: Mapping[str, Sequence[str]]
) -> tuple[list[str], dict[str, str]]:
    """Names of the columns, requested ones by their requested name."""
    names = [each.strip() for each in header]
    twice = [each for each, count in Counter(names).items() if each and count > 1]
    if twice:
        raise ValueError(f"{file} has two columns {twice[0]!r}: rename or remove one of them")
    renamed: dict[str, str] = {}
    for name in asked:
        if name in names:
            continue
        spelled = [each for each in names if _plain(each) == _plain(name)]
        others = {_plain(each) for each in synonyms.get(name, ())}
        found = spelled or [each for each in names if _plain(each) in others]
        if len(found) > 1:
            raise ValueError(
                f"{file} has the columns {' and '.join(map(repr, found))}, which may both be "
                f"{name}: call the right one {name}"
            )
        if found:
            names[names.index(found[0])] = name
            if not spelled:
                renamed[name] = found[0]
    return names, renamed


def _hint(header: Sequence[str], missing: Sequence[str], doubtful: Mapping[str, object]) -> str:
    for name in missing:
        known = doubtful.get(name, ())
        assert isinstance(known, Sequence)
        near = [each for each in header if _plain(each) in known]
        if near:
            return f": if {near[0]!r} is {name}, call it {name}"
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()
