"""Dialects of CSV, and what is refused."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from pathlib import Path

import pytest

from og_reid.data.files import table
from og_reid.data.files.table import read_table

ROWS = [("1/a b.png", "anna", "3"), ("2/ü,;x.png", "7", ""), ('3/"q".png', "-1", "c 2")]
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
NEEDED = ("path", "pid")


def text(delimiter: str, ending: str, quoted: bool, header: tuple[str, ...]) -> str:
    def cell(value: str) -> str:
        special = quoted or any(each in value for each in '",;\t|')
        return '"' + value.replace('"', '""') + '"' if special else value

    lines = [delimiter.join(map(cell, row)) for row in (header, *ROWS)]
    return ending.join(lines)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_dialects_read_to_the_same_values(tmp_path: Path, encoding: str, delimiter: str) -> None:
    file = tmp_path / "list.csv"
    headers = (("path", "pid", "camid"), (" PATH", "Pid ", "cam_ID"))
    for ending, quoted, header, last in itertools.product(
        ("\n", "\r\n", "\r"), (False, True), headers, ("", "\n", "\n\n \n")
    ):
        file.write_bytes((text(delimiter, ending, quoted, header) + last).encode(encoding))
        found = read_table(file, NEEDED, "path and pid", optional=("camid",))
        got = [(row["path"], row["pid"], row["camid"]) for row in found.rows]
        assert got == ROWS, (ending, quoted, header, last)
        assert not found.renamed


def test_the_separator_line_of_excel_is_read(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("sep=;\npath;pid\na,b.png;1\n")
    (row,) = read_table(file, NEEDED, "path and pid").rows
    assert (row["path"], row["pid"], row.line) == ("a,b.png", "1", 3)


def test_lines_are_counted_with_blank_and_quoted_ones(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text('\npath,pid\n\n,,\n"a\nb",1\nc,2,\n')
    found = read_table(file, NEEDED, "path and pid")
    assert [(row.line, row["path"]) for row in found.rows] == [(6, "a\nb"), (7, "c")]


def test_synonyms_are_taken_and_named(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("File Name,ID\na.png,5\n")
    names = {"path": ("filename",), "pid": ("id",)}
    found = read_table(file, NEEDED, "path and pid", synonyms=names)
    assert found.rows[0].values == {"path": "a.png", "pid": "5"}
    assert found.renamed == {"path": "File Name", "pid": "ID"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,pid\na,b.png,1\n", r"line 2: has 3 values for 2 columns: .* quotes"),
        (b"path,pid,pid\na,1,2\n", "two columns 'pid'"),
        (b"Path,PATH,pid\na,b,2\n", "columns 'Path' and 'PATH', which may both be path"),
        (b'path,pid\n"a,1\n', r"must be a CSV file: .* \(line 2\)"),
        (b"path,label\na,1\n", "has no column pid; .*: if 'label' is pid, call it pid"),
        (b"a.png,1\n", r"has no column path, pid; .* got \['a.png', '1'\]"),
        (b"", "has no column path, pid"),
        ("path,pid\nä,1".encode("cp1252"), "must be text in UTF-8 .*saved as 'CSV UTF-8'"),
        (b"\xff\xfep", "must be text in UTF-8"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_table(file, NEEDED, "path and pid", doubtful={"pid": ("label",)})
    assert str(error.value).startswith(str(file))


def test_a_huge_file_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "list.csv"
    with file.open("wb") as sparse:
        sparse.truncate(table.MAX_BYTES + 1)
    monkeypatch.delattr(Path, "read_bytes")
    with pytest.raises(ValueError, match="must be a table of at most 512 MB; got 512,000,001"):
        read_table(file, NEEDED, "path and pid")


def test_many_columns_take_no_memory_in_lines_that_have_few_values(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    columns = ["path", "pid", *(f"c{number}" for number in range(20_000))]
    file.write_text(",".join(columns) + "\n" + "a,1\n" * 2_000)
    tracemalloc.start()
    start = time.process_time()
    try:
        found = read_table(file, NEEDED, "path and pid", optional=("c7",))
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 10
    assert (len(found.rows), found.rows[3]["pid"], found.rows[3]["c7"]) == (2_000, "1", "")
